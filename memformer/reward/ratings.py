"""Ratings as observed cells: who gave which item how much. Never a dense matrix.

n cells, R raters, I items
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Ratings(NamedTuple):
    """Observed cells only. A rater may rate an item again: each time is a row."""

    rater: Tensor
    """(n,) int64 in [0, n_rater)."""
    item: Tensor
    """(n,) int64 in [0, n_item)."""
    value: Tensor
    """(n,) float, on `scale`."""
    propensity: Tensor | None
    """(n,) in (0, 1]: how probable it was that this cell would be rated; None: unknown."""
    n_rater: int
    n_item: int
    scale: tuple[float, float]
    """The least and the greatest rating there is."""


class Weights(NamedTuple):
    """What each cell counts in a fit."""

    weight: Tensor
    """(n,), the mean is 1."""
    n_clipped: int
    """Cells whose propensity was below the least one."""
    effective_n: float
    """Cells of equal weight that would be worth as much: (Σw)² / Σw² (Kish 1965)."""


def check_ratings(ratings: Ratings) -> None:
    """Refuse what would spoil a fit silently, naming the first row and how many there are.

    Raises:
        ValueError: no cells, columns of other lengths, a rating that is NaN or off the scale, a
            rater or item outside its range, or a propensity outside (0, 1].
    """
    n = len(ratings.value)
    low, high = ratings.scale
    if not low < high:
        raise ValueError(f"scale must run from a lesser to a greater rating, got {ratings.scale}")
    if n == 0:
        raise ValueError("ratings must hold at least one cell, got none")
    columns = {"rater": ratings.rater, "item": ratings.item, "value": ratings.value}
    if ratings.propensity is not None:
        columns["propensity"] = ratings.propensity
    for name, column in columns.items():
        if column.shape != (n,):
            raise ValueError(f"{name} must have shape ({n},) as value, got {tuple(column.shape)}")
    for name, column, size in (
        ("rater", ratings.rater, ratings.n_rater),
        ("item", ratings.item, ratings.n_item),
    ):
        if column.dtype != torch.int64:
            raise ValueError(f"{name} must be int64, got {column.dtype}")
        _refuse(name, column, (column < 0) | (column >= size), f"in [0, {size})")
    value = ratings.value
    _refuse("value", value, ~torch.isfinite(value), "a finite number: leave the row out")
    outside = (value < low) | (value > high)
    _refuse("value", value, outside, f"on the scale [{low:g}, {high:g}]")
    if (p := ratings.propensity) is not None:
        _refuse("propensity", p, ~((p > 0) & (p <= 1)), "in (0, 1], or None where it is unknown")


def _refuse(name: str, column: Tensor, is_bad: Tensor, rule: str) -> None:
    if is_bad.any():
        row = int(is_bad.nonzero()[0])
        raise ValueError(
            f"{name} must be {rule}, got {column[row].item():g} at row {row} "
            f"({int(is_bad.sum())} such rows)"
        )


def select(ratings: Ratings, keep: Tensor) -> Ratings:
    """The cells of a mask (n,) bool or of row numbers; raters and items keep their numbers."""
    return ratings._replace(
        rater=ratings.rater[keep],
        item=ratings.item[keep],
        value=ratings.value[keep],
        propensity=None if ratings.propensity is None else ratings.propensity[keep],
    )


def folds(ratings: Ratings, n_fold: int, *, by: str = "cell", seed: int) -> Tensor:
    """The fold of each cell, (n,) int64 in [0, n_fold), drawn at random.

    Args:
        ratings: the cells.
        n_fold: folds of equal size within one cell (or item).
        by: "cell": for a new rating of known raters and items; "item": all ratings of an item
            stand in one fold, for texts that nobody has rated.
        seed: of the draw.

    Raises:
        ValueError: another `by`, or fewer cells or items than folds.
    """
    match by:
        case "cell":
            unit, n = torch.arange(len(ratings.value)), len(ratings.value)
        case "item":
            rated, unit = torch.unique(ratings.item, return_inverse=True)
            n = len(rated)
        case _:
            raise ValueError(f"by must be 'cell' or 'item', got {by!r}")
    if not 2 <= n_fold <= n:
        raise ValueError(f"n_fold must be in [2, {n}] for {n} {by}s, got {n_fold}")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return (order % n_fold)[unit]


def held_out(ratings: Ratings, fold: Tensor) -> Iterator[tuple[Ratings, Ratings]]:
    """For each fold, the ratings outside it and those in it."""
    for number in range(int(fold.max()) + 1):
        yield select(ratings, fold != number), select(ratings, fold == number)


def cell_weights(ratings: Ratings, min_propensity: float, weight: Tensor | None = None) -> Weights:
    """Inverse propensities, self-normalised (Hájek): 1 / max(p, p_min), divided by their mean.

    Unknown propensities leave every cell with weight 1: right only if ratings are missing at
    random.

    Args:
        ratings: the cells.
        min_propensity: p_min, which bounds the weights at the price of some bias.
        weight: (n,), positive: how often each row counts besides; a weight of 2 is a row given
            twice. The sum of the result is that of `weight`.

    Raises:
        ValueError: a weight that is not positive and finite.
    """
    base = torch.ones_like(ratings.value) if weight is None else weight
    _refuse("weight", base, ~(torch.isfinite(base) & (base > 0)), "positive and finite")
    n_clipped, found = 0, base
    if (p := ratings.propensity) is not None:
        n_clipped = int((p < min_propensity).sum())
        found = base / p.clamp(min=min_propensity)
        found = found * (base.sum() / found.sum())
    return Weights(found, n_clipped, float(found.sum() ** 2 / (found**2).sum()))


def distinct(column: Tensor) -> Tensor:
    """The numbers that occur in a column, ascending."""
    found: Tensor = torch.unique(column)
    return found


def item_means(ratings: Ratings) -> tuple[Tensor, Tensor]:
    """Raw mean rating (I,) of each item, NaN where nobody rated it, and the counts (I,)."""
    count = torch.bincount(ratings.item, minlength=ratings.n_item)
    total = torch.zeros(ratings.n_item, dtype=ratings.value.dtype)
    return total.index_add(0, ratings.item, ratings.value) / count, count
