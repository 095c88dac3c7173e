"""Text features of a review: the hidden states of a decoder that reads it alone.

B reviews, R tokens, V vocabulary
"""

import torch
from torch import Tensor

from memformer.model.decoder import Decoder
from memformer.reward.review_text import one_hot_rows


class DecoderFeatures:
    """Implements `ReviewFeatures`: the weighted mean of a decoder's last hidden states.

    The decoder reads a mark and the review in a fresh state, so that what it knows of the novel is
    what the review says. A token that stands before others weighs on them as a whole, whatever its
    own weight: weights are those of the mean.

    Args:
        model: the decoder; it is read as it is, training or not.
        start: id that is read before the review, `ReviewVocabulary.review` for a reviewer's.

    Raises:
        ValueError: start outside the vocabulary.
    """

    def __init__(self, model: Decoder, *, start: int) -> None:
        if not 0 <= start < model.config.vocab_size:
            raise ValueError(f"start must be in [0, {model.config.vocab_size}), got {start}")
        self.model, self.start, self.dim = model, start, model.config.n_embd

    def __call__(self, review: Tensor, weight: Tensor) -> Tensor:
        """Features of reviews, (B, n_embd).

        Args:
            review: (B, R) ids, or (B, R, V) rows.
            weight: (B, R) in [0, 1], 0 after the end; differentiable.

        Raises:
            ValueError: shapes that do not fit, a weight outside [0, 1] or NaN, a review without
                any weight.
        """
        B, R = review.shape[:2]
        if weight.shape != (B, R) or not bool(((weight >= 0) & (weight <= 1)).all()):
            raise ValueError(
                f"weight must be ({B}, {R}) numbers in [0, 1], got {tuple(weight.shape)} from "
                f"{float(weight.detach().min())} to {float(weight.detach().max())}"
            )
        if not bool(weight.sum(1).all()):
            lane = int((weight.sum(1) == 0).nonzero()[0])
            raise ValueError(f"review {lane} has no token of weight above 0: leave it out")
        mark = torch.full((B, 1), self.start, device=review.device)
        if review.dim() == 3:
            mark = one_hot_rows(mark, self.model.config.vocab_size, review)
        state = self.model.new_state(B)
        out = self.model(torch.cat((mark, review), 1), state, want_hidden=True, n_logits=0)
        assert out.hidden is not None
        share = weight / weight.sum(1, keepdim=True)
        mean: Tensor = (share[..., None] * out.hidden[:, 1:]).sum(1)
        return mean
