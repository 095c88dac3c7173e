"""Where ratings differ: raters, items, and what is between them; how reliable a mean is.

    y_rij = mu + a_r + b_i + (ab)_ri + e_rij,   variances of a, b, ab and e

Half the squared difference of two ratings is, on average, a sum of these variances: of which ones
depends on what the two ratings share. With everything rated by everybody this is the analysis of
variance; it does not need that. Resampled, no rater and no item is ever paired with himself,
which would pass a copy of his noise for agreement.

n ratings, R raters, I items
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.data.feedback_cells import RatedCells

Floats = NDArray[np.float64]


class VarianceSplit(NamedTuple):
    """Variances of single ratings. Estimates can be negative; reliabilities count those as 0."""

    item: float
    """Of items' means: what there is to find."""
    within: float
    """Of ratings of one item: raters, interaction and noise together."""
    rater: float | None
    """Of raters' means: how strict they are. None: nobody rated two items."""
    interaction: float | None
    """Of rater with item: taste. Without repeats it contains the noise."""
    noise: float | None
    """Of a rater about the same item again. None: nobody rated anything twice."""

    def icc(self, k: int) -> float:
        """ICC(2,k) of Shrout and Fleiss 1979: reliability of the mean of k raters, each item rated
        by others of the same population. NaN where nothing varies."""
        return _share(self.item, self.within, k)

    def consistency(self, k: int) -> float:
        """ICC(3,k): the same, if the raters' strictness is known or the same k rate all items.
        NaN where that is not known."""
        if self.rater is None:
            return math.nan
        return _share(self.item, self.within - max(self.rater, 0.0), k)


class Tally(NamedTuple):
    """Ratings ready to be split, again and again with other weights."""

    criterion: str
    rater: NDArray[np.int64]
    item: NDArray[np.int64]
    cell: NDArray[np.int64]
    """(n,) number of the pair of rater and item."""
    value: Floats
    """(n,) centred: what is far from 0 would be lost in rounding."""
    n_rater: int
    n_item: int
    n_cell: int


def tally(cells: RatedCells) -> Tally:
    """Number the pairs of rater and item."""
    I = len(cells.items)
    found, cell = np.unique(cells.rater * I + cells.item, return_inverse=True)
    value = cells.value - cells.value.mean()
    return Tally(cells.criterion, cells.rater, cells.item, cell.reshape(-1), value,
                 len(cells.raters), I, len(found))  # fmt: skip


def variance_split(
    ratings: Tally, item_weight: Floats | None = None, rater_weight: Floats | None = None
) -> VarianceSplit:
    """Variance components of ratings where not everybody rates everything.

    Each item's raters, and each rater's items, are pooled as a variance is: by degrees of freedom.

    Args:
        ratings: of one criterion; a pair of rater and item may stand there several times.
        item_weight: (I,) how often each item was drawn; None: once.
        rater_weight: (R,) likewise.

    Raises:
        ValueError: no item has two raters, or there is one item: nothing can be told.
    """
    t = ratings
    u = np.ones(t.n_item) if item_weight is None else item_weight
    w = np.ones(t.n_rater) if rater_weight is None else rater_weight
    ui, wr = u[t.item], w[t.rater]
    both = ui * wr
    same_item = _pairs(t, t.item, t.n_item, wr) - _by(t, wr, t.item, t.n_item)
    same_rater = _pairs(t, t.rater, t.n_rater, ui) - _by(t, ui, t.rater, t.n_rater)
    nothing = np.zeros(len(t.value), dtype=np.int64)
    neither = (
        _pairs(t, nothing, 1, both)[:, 0]
        - _pairs(t, t.item, t.n_item, both).sum(1)
        - _pairs(t, t.rater, t.n_rater, both).sum(1)
        + _pairs(t, t.cell, t.n_cell, both).sum(1)
    )
    within = _pooled(same_item, np.bincount(t.item, wr, t.n_item).astype(np.float64), u)
    apart = _ratio(neither[0], neither[1])
    if math.isnan(within) or math.isnan(apart):
        raise ValueError(
            f"variances of {t.criterion!r} cannot be told apart: it needs an item with two raters, "
            f"and another item and rater, got {t.n_rater} raters, {t.n_item} items and "
            f"{len(t.value)} ratings"
        )
    between = _pooled(same_rater, np.bincount(t.rater, ui, t.n_rater).astype(np.float64), w)
    if math.isnan(between):
        return VarianceSplit(apart - within, within, None, None, None)
    noise = _noise(t, both)
    rest = within + between - apart
    return VarianceSplit(
        item=apart - within,
        within=within,
        rater=apart - between,
        interaction=rest - (noise or 0.0),
        noise=noise,
    )


def _pairs(t: Tally, group: NDArray[np.int64], n: int, weight: Floats) -> Floats:
    """Sums over ordered pairs within each of n groups: half squared differences, and weights, both
    by the product of the two weights, (2, n). A rating paired with itself adds to the weights."""
    s0 = np.bincount(group, weight, n)
    s1 = np.bincount(group, weight * t.value, n)
    s2 = np.bincount(group, weight * t.value**2, n)
    return np.stack([s0 * s2 - s1**2, s0**2])


def _by(t: Tally, weight: Floats, group: NDArray[np.int64], n: int) -> Floats:
    """Sums over pairs of the same rater and item, gathered by group, (2, n)."""
    of = np.zeros(t.n_cell, dtype=np.int64)
    of[t.cell] = group
    each = _pairs(t, t.cell, t.n_cell, weight)
    return np.stack([np.bincount(of, each[0], n), np.bincount(of, each[1], n)])


def _pooled(sums: Floats, size: Floats, drawn: Floats) -> float:
    """Variance within groups, each by its degrees of freedom and by how often it was drawn."""
    by = np.divide(drawn, size, out=np.zeros_like(size), where=sums[1] > 0.5)
    return _ratio(float((by * sums[0]).sum()), float((by * sums[1]).sum()))


def _noise(t: Tally, both: Floats) -> float | None:
    """Variance of ratings by the same rater of the same item; None if there are none."""
    n = np.bincount(t.cell, minlength=t.n_cell).astype(np.float64)
    s1 = np.bincount(t.cell, t.value, t.n_cell)
    squares = np.bincount(t.cell, t.value**2, t.n_cell) - s1**2 / n
    weight = np.zeros(t.n_cell)
    weight[t.cell] = both
    found = _ratio(float((weight * squares).sum()), float((weight * (n - 1)).sum()))
    return None if math.isnan(found) else found


def _ratio(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom > 1e-9 else math.nan


def _share(item: float, other: float, k: int) -> float:
    item, other = max(item, 0.0), max(other, 0.0) / k
    return item / (item + other) if item + other > 0 else math.nan
