"""Ratings, features and nuisances made ready to be fitted: standardised, in float64.

n cells, R raters, I items, d features, Q nuisances
"""

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config.reward import RaterConfig
from memformer.reward.ratings import Ratings, distinct


class Cells(NamedTuple):
    """Observed cells ready to be fitted, in float64."""

    rater: Tensor
    item: Tensor
    target: Tensor
    """(n,) standardised ratings, or numbers of levels."""
    weight: Tensor
    """(n,), with the mean of the caller's weights."""
    x: Tensor | None
    """(I, d) features, scaled; None: items are known by their number alone."""
    nuisance: Tensor
    """(I, Q), of mean 0 over cells; Q may be 0."""
    n_rater: int
    n_item: int
    n_level: int

    n_by_rater: Tensor
    """(R,) weight of each rater's ratings."""
    n_rating: Tensor
    """(R,) each rater's ratings, whatever their propensities; a weight of 2 counts as two."""


def check_items(name: str, values: Tensor | None, n_item: int) -> None:
    """Refuse values that are not (I, d), float and finite; None passes. A ValueError names them."""
    if values is None:
        return
    if values.dim() != 2 or len(values) != n_item or not values.is_floating_point():
        raise ValueError(
            f"{name} must be float ({n_item}, d), a row for each item, got {values.dtype} of "
            f"{tuple(values.shape)}"
        )
    if not torch.isfinite(values).all():
        row = int((~torch.isfinite(values)).any(1).nonzero()[0])
        raise ValueError(f"{name} must be finite, got {values[row].tolist()[:8]} at item {row}")


def check_rank(cells: Cells, config: RaterConfig) -> None:
    """Refuse a rank that raters, rated items or features cannot carry, by a ValueError."""
    n_item = len(distinct(cells.item))
    width = n_item if cells.x is None else config.hidden or cells.x.shape[1]
    most = min(cells.n_rater, n_item, width) - 1
    if config.rank > max(most, 0):
        raise ValueError(
            f"rank must be below {cells.n_rater} raters, {n_item} rated items and {width} "
            f"features, got {config.rank}"
        )


def target(
    value: Tensor, config: RaterConfig, scale: tuple[float, float], centre: Tensor, spread: Tensor
) -> Tensor:
    """(n,) standardised ratings, or with the ordinal head levels from 0: a ValueError if they are
    no whole numbers."""
    if config.head != "ordinal":
        return (value - centre) / spread
    if (value != value.round()).any() or scale[0] != round(scale[0]) or scale[1] != round(scale[1]):
        raise ValueError(
            f"head='ordinal' needs ratings in whole numbers on a scale of such, got "
            f"{value[value != value.round()][:1].tolist()} on {scale}: use 'mse' or 'huber'"
        )
    return value - scale[0]


def standardised(
    ratings: Ratings,
    features: Tensor | None,
    config: RaterConfig,
    weight: Tensor,
    nuisance: Tensor | None,
    given: Tensor | None = None,
) -> tuple[Cells, Tensor, Tensor, Tensor, Tensor]:
    """Cells, then centre and spread of the ratings, mean and length of the features.

    `weight` is what cells count, `given` the caller's part of it without propensities (None: 1).
    """
    value, weight = ratings.value.double(), weight.double()
    centre = (weight * value).sum() / weight.sum()
    spread = ((weight * (value - centre) ** 2).sum() / weight.sum()).sqrt()
    if spread < 1e-9:  # all raters agree on everything
        spread = torch.ones_like(spread)
    rated = distinct(ratings.item)
    mean, length, x = torch.zeros(0).double(), torch.ones(()).double(), None
    if features is not None:
        mean = features[rated].double().mean(0)
        x = features.double() - mean
        length = (x[rated] ** 2).sum(1).mean().sqrt().clamp(min=1e-12)
        x = x / length
    u = torch.zeros(ratings.n_item, 0).double() if nuisance is None else nuisance.double()
    share = torch.zeros(ratings.n_item).double().index_add(0, ratings.item, weight)
    u = u - (share @ u) / share.sum()
    u = u / ((share @ u**2) / share.sum()).sqrt().clamp(min=1e-12)
    aim = target(value, config, ratings.scale, centre, spread)
    n_level = round(ratings.scale[1] - ratings.scale[0]) + 1
    by_rater, n_rating = (
        torch.zeros(ratings.n_rater).double().index_add(0, ratings.rater, each)
        for each in (weight, torch.ones_like(weight) if given is None else given.double())
    )
    cells = Cells(
        ratings.rater, ratings.item, aim, weight, x, u, ratings.n_rater, ratings.n_item, n_level,
        by_rater, n_rating,
    )  # fmt: skip
    return cells, centre, spread, mean, length
