"""Raters who do not rate as others do: found, weighted down, reported, never deleted.

R raters
"""

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config.reward import RaterConfig
from memformer.reward.ratings import Ratings

_LEAST = 5
"""Ratings below which nobody is judged."""


class RaterCheck(NamedTuple):
    """What the fit found of one rater."""

    rater: int
    n: int
    """Ratings."""
    bias: float
    """How much higher than the average rater, on the ratings' scale (logits with ordinal)."""
    scale: float
    """How strongly the rater reacts to what all raters share; 1: as the average, negative:
    inverted."""
    noise: float
    """Standard deviation of the ratings around what is expected, relative to the average."""
    weight: float
    """In the population."""
    reasons: tuple[str, ...]
    """Why the weight is below 1; empty for most."""


def check_raters(
    ratings: Ratings,
    *,
    bias: Tensor,
    agreement: Tensor,
    noise: Tensor,
    config: RaterConfig,
    failed: Tensor | None = None,
) -> tuple[RaterCheck, ...]:
    """A check of each rater, in order.

    Args:
        ratings: what was fitted.
        bias: (R,) on the ratings' scale.
        agreement: (R,) slope of the rater's expected ratings on what all raters share.
        noise: (R,) variance relative to the average.
        config: thresholds and the weight of who fails.
        failed: (R,) bool: raters who failed checks elsewhere, such as items with a known answer.

    Raises:
        ValueError: `failed` of another shape or type.
    """
    if failed is not None and (failed.shape != bias.shape or failed.dtype != torch.bool):
        raise ValueError(
            f"failed must be bool of shape {tuple(bias.shape)}, got {failed.dtype} "
            f"of {tuple(failed.shape)}"
        )
    count = torch.bincount(ratings.rater, minlength=ratings.n_rater)
    judged = count >= _LEAST
    deviation = noise.sqrt()
    usual = deviation[judged].median() if judged.any() else deviation.new_tensor(1.0)
    is_constant = _is_constant(ratings)
    all_agree = bool(ratings.value.min() == ratings.value.max())
    found = []
    for r in range(ratings.n_rater):
        reasons = []
        if judged[r]:
            if agreement[r] <= 0:
                reasons.append("inverted: rates high what others rate low")
            elif agreement[r] < config.min_scale:
                reasons.append(f"flat: scale below {config.min_scale:g}")
            if deviation[r] > config.max_noise * usual:
                reasons.append(f"noisy: over {config.max_noise:g} times the median")
            if is_constant[r] and not all_agree:
                reasons.append("one rating for everything")
        if failed is not None and failed[r]:
            reasons.append("failed checks elsewhere")
        found.append(
            RaterCheck(
                rater=r,
                n=int(count[r]),
                bias=float(bias[r]),
                scale=float(agreement[r]),
                noise=float(deviation[r]),
                weight=config.bad_rater_weight if reasons else 1.0,
                reasons=tuple(reasons),
            )
        )
    return tuple(found)


def _is_constant(ratings: Ratings) -> Tensor:
    """(R,) whether all ratings of a rater are the same."""
    first = ratings.value.new_full((ratings.n_rater,), torch.inf)
    least = first.scatter_reduce(0, ratings.rater, ratings.value, "amin")
    most = (-first).scatter_reduce(0, ratings.rater, ratings.value, "amax")
    return least == most
