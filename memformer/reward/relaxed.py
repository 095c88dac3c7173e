"""Relaxed tokens: rows over a vocabulary through which a gradient goes back.

B lanes, R tokens of a review, V vocabulary, d features
"""

from typing import Any

import torch
from torch import Tensor


def gumbel(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard Gumbel noise: log p + noise has its maximum at v with probability p_v.

    Drawn in float64 on the generator's device, so that the same seed draws the same tokens
    everywhere; returned like `like`.
    """
    device = torch.device("cpu") if generator is None else generator.device
    u = torch.rand(shape, dtype=torch.float64, generator=generator, device=device)
    tiny = torch.finfo(torch.float64).tiny
    return -(-u.clamp(min=tiny).log()).clamp(min=tiny).log().to(like)


def gumbel_rows(
    log_p: Tensor, noise: Tensor, temperature: float, *, is_hard: bool
) -> tuple[Tensor, Tensor]:
    """Draw a token a lane as a row: Gumbel softmax (Jang et al. 2017, arXiv:1611.01144, eq. 2).

    The token does not depend on the temperature. Hard rows are one-hot forward and the softmax
    backward (straight-through, §2.2 there): biased, and at temperature 1 of lower variance than
    at lower ones.

    Args:
        log_p: (B, V) log-probabilities.
        noise: (B, V) from `gumbel`.

    Returns:
        (B,) ids and (B, V) rows that sum to 1.
    """
    perturbed = log_p + noise
    token = perturbed.detach().argmax(-1)
    soft = (perturbed / temperature).softmax(-1)
    if not is_hard:
        return token, soft
    hard = torch.nn.functional.one_hot(token, log_p.shape[-1]).to(soft)
    return token, hard + (soft - soft.detach())  # exactly `hard` where soft is finite


class _Gate(torch.autograd.Function):
    """The identity; backward, rows that are not kept get no gradient, and long ones are cut."""

    @staticmethod
    def forward(ctx: Any, row: Tensor, keep: Tensor, max_norm: float | None) -> Tensor:
        ctx.keep, ctx.max_norm = keep, max_norm  # filled in after this ran: not saved as it is now
        return row.view_as(row)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        grad = grad * ctx.keep[:, None].to(grad)
        if ctx.max_norm is not None:
            norm = grad.norm(dim=-1, keepdim=True)
            grad = grad * (ctx.max_norm / norm.clamp(min=ctx.max_norm))
        return grad, None, None


def gate_gradient(row: Tensor, keep: Tensor, max_norm: float | None) -> Tensor:
    """`row` unchanged, (B, V); the gradient of each lane's token passes only where `keep`.

    Args:
        keep: (B,) bool. It is looked at when the gradient comes back, so it may be filled in later.
        max_norm: longest gradient of one token, in the Euclidean norm; a longer one is scaled.
    """
    gated: Tensor = _Gate.apply(row, keep, max_norm)  # type: ignore[no-untyped-call]
    return gated


def survival(rows: Tensor, end: int) -> Tensor:
    """How much each token of a review counts: prod over tokens so far of (1 - its share of end).

    Of hard rows: 1 before the end, 0 from it on; the gradient goes to where the review ends.

    Args:
        rows: (B, R, V).

    Returns:
        (B, R) in [0, 1].
    """
    return (1 - rows[..., end]).clamp(0, 1).cumprod(1)


class EmbeddingFeatures:
    """Implements `ReviewFeatures`: the weighted mean of the words' embeddings.

    A row between words has a shorter embedding than any word (a mean of vectors), at which no
    scorer was trained. It is given the length that its words have on average, by a factor through
    which no gradient goes; a word's own length stays.

    Args:
        table: (V, d), none of its rows 0.
        is_rescaled: whether rows between words are lengthened.

    Raises:
        ValueError: a word's embedding is 0 or not finite.
    """

    def __init__(self, table: Tensor, *, is_rescaled: bool = True) -> None:
        length = table.norm(dim=-1)
        if table.dim() != 2 or not bool((length.isfinite() & (length > 0)).all()):
            raise ValueError(
                f"table must be (V, d) finite embeddings, none of them 0, got {tuple(table.shape)}"
            )
        self.table, self.length, self.is_rescaled = table, length, is_rescaled

    def __call__(self, review: Tensor, weight: Tensor) -> Tensor:
        """(B, R) ids or (B, R, V) rows, weight (B, R) in [0, 1] -> (B, d).

        Raises:
            ValueError: a review without any weight, or a weight that is NaN.
        """
        total = weight.sum(1, keepdim=True)
        if not bool((total > 0).all()):
            lane = int((~(total[:, 0] > 0)).nonzero()[0])
            raise ValueError(f"review {lane} has no token of weight above 0: leave it out")
        words = self.table[review] if review.dim() == 2 else self._of_rows(review)
        return ((weight / total)[..., None] * words).sum(1)

    def _of_rows(self, rows: Tensor) -> Tensor:
        mean: Tensor = rows @ self.table  # (B, R, d)
        if not self.is_rescaled:
            return mean
        with torch.no_grad():  # a factor, exactly 1 for one-hot rows: their gradient is untouched
            length = (rows @ self.length)[..., None]
            factor: Tensor = length / mean.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        return mean * factor
