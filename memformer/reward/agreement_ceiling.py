"""How well anything could agree with these people: the reliability of their mean rating.

n cells, I items with two ratings or more, D draws
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A number and its 95 % interval over items; NaN where it is not defined."""

    value: float
    low: float
    high: float


def item_draws(n_item: int, n_draw: int, seed: int) -> Floats:
    """(1 + D, I): how often each resample holds each item; the first row is the data."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_item, np.full(n_item, 1 / n_item), size=n_draw)
    return np.concatenate((np.ones((1, n_item)), drawn))


def correlations(draws: Floats, x: Floats, y: Floats) -> Floats:
    """(1 + D,) Pearson correlations of x and y (I,) in each draw; NaN without spread."""
    x, y = x - x.mean(), y - y.mean()
    n = draws.sum(1)
    mx, my = draws @ x / n, draws @ y / n
    top = draws @ (x * y) / n - mx * my
    square = (draws @ x**2 / n - mx**2) * (draws @ y**2 / n - my**2)
    tiny = 1e-20 * (1 + (x**2).mean() * (y**2).mean())
    return np.where(square > tiny, top / np.sqrt(np.maximum(square, tiny)), np.nan)


def partial(xy: Floats, xz: Floats, yz: Floats) -> Floats:
    """Correlation of x and y with z held constant, from the three correlations."""
    rest = (1 - xz**2) * (1 - yz**2)
    return np.where(rest > 1e-12, (xy - xz * yz) / np.sqrt(np.maximum(rest, 1e-12)), np.nan)


def split_half(
    item: NDArray[np.int64], value: Floats, draws: Floats, *, n_split: int, seed: int
) -> Floats:
    """(1 + D,) reliability of an item's mean rating: the correlation of the means of two random
    halves of its ratings, averaged over splits, stepped up by Spearman and Brown (1910).

    Args:
        item: (n,) numbers 0 ... I - 1, each at least twice.
        value: (n,) ratings, without what is known of their raters' bias.
        draws: from `item_draws`.
        n_split: random splits.
        seed: of the splits.
    """
    rng = np.random.default_rng(seed)
    n_item = draws.shape[1]
    total = np.zeros(len(draws))
    for _ in range(n_split):
        order = np.lexsort((rng.random(len(item)), item))
        start = np.searchsorted(item[order], np.arange(n_item))
        rank = np.arange(len(item)) - np.repeat(start, np.bincount(item, minlength=n_item))
        is_first = np.empty(len(item), dtype=bool)
        is_first[order] = rank % 2 == 0
        total += correlations(draws, *(_means(item, value, half, n_item) for half in (
            is_first, ~is_first
        )))  # fmt: skip
    r = total / n_split
    return np.where(r > -1, 2 * r / (1 + r), np.nan)


def interval(values: Floats) -> Interval:
    """The first value with the percentiles of the others; NaN bounds if over 5 % are undefined."""
    drawn = values[1:][np.isfinite(values[1:])]
    if len(drawn) < 0.95 * (len(values) - 1) or not len(drawn):
        return Interval(float(values[0]), float("nan"), float("nan"))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(float(values[0]), float(low), float(high))


def _means(item: NDArray[np.int64], value: Floats, which: NDArray[np.bool_], n_item: int) -> Floats:
    total = np.bincount(item[which], value[which], n_item)
    return np.asarray(total / np.bincount(item[which], minlength=n_item))
