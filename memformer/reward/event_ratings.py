"""Rating events as what a rater model is fitted to."""

from typing import Literal

import numpy as np
import torch

from memformer.data.feedback_cells import RatedCells
from memformer.reward.ratings import Ratings, check_ratings


def ratings_of(
    cells: RatedCells, *, mixed_propensity: Literal["refuse", "ignore"] = "refuse"
) -> Ratings:
    """The cells of `cells_of` or `combine` as tensors, in float64.

    Args:
        cells: raters and items keep their numbers.
        mixed_propensity: what to do where some propensities are known and others are not: refuse,
            or ignore them all.

    Raises:
        ValueError: mixed propensities that were not to be ignored, or what `check_ratings` refuses.
    """
    n, n_unknown = len(cells.value), cells.n_unknown_propensity
    propensity = torch.from_numpy(cells.propensity) if n_unknown == 0 else None
    match mixed_propensity:
        case "ignore":
            pass
        case "refuse":
            if 0 < n_unknown < n:
                raise ValueError(
                    f"propensities must be known for all cells or for none, got {n_unknown} of {n} "
                    "unknown: leave some out, or mixed_propensity='ignore'"
                )
        case other:
            raise ValueError(f"mixed_propensity must be 'refuse' or 'ignore', got {other!r}")
    value = np.clip(cells.value, *cells.scale)  # the last bit of a combined scale
    ratings = Ratings(
        rater=torch.from_numpy(cells.rater),
        item=torch.from_numpy(cells.item),
        value=torch.from_numpy(value),
        propensity=propensity,
        n_rater=len(cells.raters),
        n_item=len(cells.items),
        scale=cells.scale,
    )
    check_ratings(ratings)
    return ratings
