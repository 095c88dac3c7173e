"""What a rater's latent opinion says of a rating: loss and expectation of each head.

n cells, K whole-numbered ratings; eta: latent opinion
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, logsigmoid

Head = Literal["mse", "ordinal", "huber"]


def head_loss(
    head: Head, eta: Tensor, target: Tensor, noise: Tensor, cuts: Tensor, delta: float
) -> Tensor:
    """Loss of each cell (n,), scaled so that a ridge means the same with every head.

    Args:
        head: `mse`: (target - eta)² / noise; `huber`: the same near 0 and linear from `delta`
            standard deviations on (Huber 1964); `ordinal`: -2 log p(target).
        eta: (n,).
        target: (n,), standardised ratings; with `ordinal` the number of the level, from 0.
        noise: (n,) variance, relative to the average rater's; unused with `ordinal`.
        cuts: (K - 1,) ascending thresholds; only with `ordinal`.
        delta: see `huber`.
    """
    match head:
        case "mse":
            return (target - eta) ** 2 / noise
        case "huber":
            off = (target - eta) / noise.sqrt()
            return 2 * huber_loss(off, torch.zeros_like(off), reduction="none", delta=delta)
        case "ordinal":
            return -2 * level_log_probability(eta, cuts).gather(-1, target.long()[:, None])[:, 0]


def level_log_probability(eta: Tensor, cuts: Tensor) -> Tensor:
    """Cumulative logits: p(y > k) = sigmoid(eta - cuts_k) (McCullagh 1980); (..., K) log p(y = k).

    The log of a difference of sigmoids is taken without the difference: log p = log σ(upper) +
    log σ(-lower) + log(1 - exp(lower - upper)), which is finite for any eta.
    """
    gap = cuts[1:] - cuts[:-1]  # (K - 2,)
    below = logsigmoid(cuts - eta[..., None])  # (..., K - 1) log p(y <= k)
    above = logsigmoid(eta[..., None] - cuts)  # (..., K - 1) log p(y > k)
    between = below[..., 1:] + above[..., :-1] + torch.log(-torch.expm1(-gap))
    return torch.cat((below[..., :1], between, above[..., -1:]), dim=-1)


def ascending(raw: Tensor) -> Tensor:
    """(K - 1,) thresholds from free numbers: the first, then logarithms of the gaps."""
    return torch.cat((raw[:1], raw[:1] + raw[1:].exp().cumsum(0)))


def first_cuts(level: Tensor, weight: Tensor, n_level: int) -> Tensor:
    """Free numbers (K - 1,) for `ascending` at which every rater gives the ratings' own shares.

    A level that nobody used counts as half a rating, so that its thresholds are finite.
    """
    count = torch.zeros(n_level, dtype=weight.dtype).index_add(0, level.long(), weight) + 0.5
    upto = (count.cumsum(0) / count.sum())[:-1]
    cuts = torch.logit(upto)
    return torch.cat((cuts[:1], (cuts[1:] - cuts[:-1]).log()))


def expected_rating(
    head: Head, eta: Tensor, cuts: Tensor, *, centre: Tensor, spread: Tensor, low: float
) -> Tensor:
    """Expected rating on the ratings' own scale, of eta's shape.

    With `ordinal` the mean of the levels, always on the scale; else centre + spread · eta, which
    may leave it (clip it where that matters: a clipped score has no gradient).
    """
    if head != "ordinal":
        return centre + spread * eta
    levels = torch.arange(len(cuts) + 1, dtype=eta.dtype, device=eta.device)
    return low + level_log_probability(eta, cuts).exp() @ levels
