"""What a reviewer refuses to read: other tokenizers, other states, rows that are none.

B lanes, L tokens of a novel, R of a review, V vocabulary
"""

import torch
from torch import Tensor

from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState
from memformer.reward.review_text import ReviewVocabulary


def checked_novel(
    x: Tensor, state: DecoderState, model: Decoder, vocabulary: ReviewVocabulary
) -> Tensor:
    """A novel's tokens as ids (B, L), or as rows over the whole vocabulary (B, L, V).

    Raises:
        ValueError: as `Reviewer.read_novel`.
    """
    if state.config != model.config:
        raise ValueError(
            "the state is of another decoder (a generator's, say): read the novel again from the "
            "reviewer's own new_state"
        )
    n, V = vocabulary.n_text, vocabulary.vocab_size
    if x.dim() == 2:
        if x.numel() and not 0 <= int(x.min()) <= int(x.max()) < n:
            raise ValueError(
                f"ids of a novel must be in [0, {n}), got {int(x.min())} to {int(x.max())}: "
                "was it encoded with the reviewer's tokenizer?"
            )
        return x
    if x.dim() != 3 or x.shape[2] not in (n, V):
        raise ValueError(
            f"relaxed tokens must be (B, L, {n}) rows over the reviewer's text, or (B, L, {V}), "
            f"got {tuple(x.shape)}: rows over another tokenizer's vocabulary cannot be read"
        )
    _check_rows(x)
    return torch.nn.functional.pad(x, (0, V - x.shape[2]))


def checked_review(review: Tensor, never: Tensor, vocab_size: int) -> Tensor:
    """A review's tokens as they are, (B, R) ids or (B, R, V) rows.

    Args:
        never: ids that no review contains.

    Raises:
        ValueError: it contains one, or an id outside the vocabulary, or its rows are none.
    """
    never = never.to(review.device)
    if review.dim() == 3:
        _check_rows(review)
        if review.shape[2] != vocab_size:
            raise ValueError(
                f"relaxed reviews must be (B, R, {vocab_size}), got {tuple(review.shape)}"
            )
        found = bool((review[..., never] != 0).any())
    else:
        is_in = (review >= 0) & (review < vocab_size)
        found = not bool(is_in.all()) or bool(torch.isin(review, never).any())
    if found:
        raise ValueError(
            "a review must consist of text and its end; this one has a special token: was it "
            "encoded with the reviewer's tokenizer?"
        )
    return review


def check_reach(n_token: int, state: DecoderState, needs: int) -> None:
    """The graph of a state is long enough for a gradient to n_token relaxed tokens.

    Raises:
        ValueError: it is not.
    """
    has = state.layers[0].grad_segments
    if has < needs:
        raise ValueError(
            f"a gradient to {n_token} relaxed tokens needs grad_segments={needs}, the state has "
            f"{has}: make it with new_state(n_lane, n_token=...), or let the gradient end earlier "
            "with Reviewer(..., is_partial=True)"
        )


def _check_rows(rows: Tensor) -> None:
    """Relaxed tokens are finite and sum to 1."""
    if not rows.is_floating_point() or not bool(rows.isfinite().all()):
        raise ValueError(f"relaxed tokens must be finite floats, got NaN or another dtype in "
                         f"{tuple(rows.shape)} {rows.dtype}")  # fmt: skip
    off = (rows.detach().sum(-1) - 1).abs()
    if off.numel() and float(off.max()) > 0.01:
        raise ValueError(f"relaxed tokens must sum to 1, got a row off by {float(off.max()):.3g}")
