"""A chain as the reward of a generator's training: texts in, a score of each out.

N texts, T tokens, V vocabulary, m reviews of each
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from memformer.reward.chain import Chain
from memformer.reward.reviewer import Reviewer

_PRIME = 1_000_003


class TextAgain:
    """Implements `ReviewFeatures` for ids alone: reviews are decoded, and their text is read.

    For models of another tokenizer. No gradient goes through text.

    Args:
        decode: ids of a review to text.
        features: texts to (B, d), NaN where there is nothing to read.
    """

    def __init__(
        self, decode: Callable[[Sequence[int]], str], features: Callable[[Sequence[str]], Tensor]
    ) -> None:
        self.decode, self.features = decode, features

    def __call__(self, review: Tensor, weight: Tensor) -> Tensor:
        """(B, R) ids, weight (B, R), 0 from the end on -> (B, d).

        Raises:
            ValueError: rows instead of ids.
        """
        if review.dim() != 2:
            raise ValueError(
                "raters that read text give no gradient to relaxed tokens: use rloo or raft, or "
                "fit the raters to features of the reviewer itself (--features REVIEWER)"
            )
        rows = [
            [i for i, w in zip(ids, share, strict=True) if w > 0]
            for ids, share in zip(review.tolist(), weight.tolist(), strict=True)
        ]
        return self.features([self.decode(row) for row in rows])


class ChainReward:
    """Mean score, by the raters, of m reviews that the reviewer writes of a text.

    Of ids the reviews are plain draws; of rows they are relaxed, and the gradient goes back through
    them (`st_gumbel`). The same texts get the same reviews: draws depend on their tokens alone, so
    that a resumed training is the uninterrupted one. A review without an end, an empty one and a
    NaN score are left out and counted; a text without any is NaN, which whoever asks must count.

    Args:
        chain: of `reviewer`.
        reviewer: reads each text into a state of its own.
        n_review: m.

    Raises:
        ValueError: m below 1, or a chain of another reviewer.
    """

    def __init__(self, chain: Chain, reviewer: Reviewer, n_review: int = 4) -> None:
        if n_review < 1:
            raise ValueError(f"n_review must be at least 1, got {n_review}")
        if chain.writer is not reviewer:
            raise ValueError("reviewer must be the chain's own writer")
        self.chain, self.reviewer, self.n_review = chain, reviewer, n_review
        self.n_drawn, self.n_left_out = 0, 0

    def __call__(self, text: Tensor) -> Tensor:
        """(N, T) ids or (N, T, V) rows -> (N,) float32; NaN where no review could be scored.

        Raises:
            ValueError: rows for raters that read text.
            TooManyUnscorable: as in `Chain.score`.
        """
        is_relaxed = text.dim() == 3
        ids = text.detach().argmax(-1) if is_relaxed else text
        generator = torch.Generator().manual_seed(_seed(ids.flatten().tolist()))
        N, T = ids.shape
        with torch.set_grad_enabled(is_relaxed and torch.is_grad_enabled()):
            state = self.reviewer.new_state(N, n_token=T if is_relaxed else None)
            reading = self.reviewer.read(text, state)
            said = self.chain.write_and_score(
                reading, self.n_review, generator, is_relaxed=is_relaxed
            )
            n = said.is_scored.sum(1)
            total = said.score.where(said.is_scored, 0.0).sum(1)
            self.n_drawn += said.is_scored.numel()
            self.n_left_out += int((~said.is_scored).sum())
            return (total / n.clamp(min=1)).where(n > 0, torch.nan).float()


def _seed(ids: list[int]) -> int:
    """A number that follows from the tokens alone."""
    found = 0
    for i in ids:
        found = (found * _PRIME + i + 1) % (1 << 61)
    return found
