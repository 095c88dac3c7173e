"""Where ratings differ: raters, items, and what is between them; how reliable a mean is.

    y_rij = mu + a_r + b_i + (ab)_ri + e_rij,   variances of a, b, ab and e

The ratings need not be balanced: Henderson's first method (Henderson 1953, Biometrics 9:226) sets
sums of squares equal to what they are expected to be. Balanced, that is the analysis of variance.

n cells, R raters, I items
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.data.feedback_cells import RatedCells

Floats = NDArray[np.float64]


class VarianceSplit(NamedTuple):
    """Variances of single ratings. Estimates can be negative; reliabilities count those as 0."""

    rater: float
    """Of raters' means: how strict they are."""
    item: float
    """Of items' means: what there is to find."""
    interaction: float
    """Of rater with item: taste. Without repeats it contains the noise."""
    noise: float | None
    """Of a rater about the same item again; None: nobody rated anything twice."""

    @property
    def residual(self) -> float:
        """Interaction and noise together."""
        return self.interaction + (self.noise or 0.0)

    def icc(self, k: int) -> float:
        """ICC(2,k) of Shrout and Fleiss 1979: reliability of the mean of k raters, each item rated
        by others of the same population. NaN where no variance is above 0."""
        return self._share(k, self.rater)

    def consistency(self, k: int) -> float:
        """ICC(3,k): the same, if the raters' strictness is known or the same k rate all items."""
        return self._share(k, 0.0)

    def _share(self, k: int, rater: float) -> float:
        item = max(self.item, 0.0)
        other = (max(rater, 0.0) + max(self.interaction, 0.0) + max(self.noise or 0.0, 0.0)) / k
        return item / (item + other) if item + other > 0 else math.nan


def variance_split(
    cells: RatedCells, item_weight: Floats | None = None, rater_weight: Floats | None = None
) -> VarianceSplit:
    """Variance components of ratings where not everybody rates everything.

    Args:
        cells: of one criterion; repeats are the waves of one rater and item.
        item_weight: (I,) how often each item is there; None: once. For resampling.
        rater_weight: (R,) likewise.

    Raises:
        ValueError: raters, items and the rest cannot be told apart: one rater, one item, raters
            who each rated one item, or items with one rater each.
    """
    u = np.ones(len(cells.items)) if item_weight is None else item_weight
    w = np.ones(len(cells.raters)) if rater_weight is None else rater_weight
    there = (u[cells.item] > 0) & (w[cells.rater] > 0)
    value = cells.value[there]
    value = value - value.mean() if len(value) else value
    pair, where = np.unique(
        np.stack([cells.rater[there], cells.item[there]]), axis=1, return_inverse=True
    )
    n = np.bincount(where.reshape(-1), minlength=pair.shape[1]).astype(np.float64)
    total = np.asarray(np.bincount(where.reshape(-1), value, pair.shape[1]), dtype=np.float64)
    squares = np.asarray(np.bincount(where.reshape(-1), value**2, pair.shape[1]), dtype=np.float64)
    system, sums = _equations(pair, n, total, squares, u, w)
    if (n == 1).all():  # interaction and noise are one: neither its sum nor its variance is new
        system, sums = system[np.ix_([0, 1, 2, 4], [0, 1, 2, 4])], sums[[0, 1, 2, 4]]
    scale = np.abs(system).max(axis=0, initial=1e-300)
    if not len(n) or np.linalg.matrix_rank(system / scale, tol=1e-9) < len(system):
        raise ValueError(
            f"variances of {cells.criterion!r} cannot be told apart: it needs several raters who "
            f"each rated several of the same items, got {len(set(pair[0]))} raters, "
            f"{len(set(pair[1]))} items and {int(n.sum())} ratings"
        )
    found = [float(x) for x in np.linalg.solve(system / scale, sums) / scale]
    if len(found) == 4:
        _, rater, item, rest = found
        return VarianceSplit(rater, item, rest, None)
    _, rater, item, interaction, noise = found
    return VarianceSplit(rater, item, interaction, noise)


def _equations(
    pair: NDArray[np.int64], n: Floats, total: Floats, squares: Floats, u: Floats, w: Floats
) -> tuple[Floats, Floats]:
    """Expected sums of squares as combinations of mu², the variances of raters, items, interaction
    and noise, (5, 5), and the sums themselves, (5,)."""
    rater, item = pair
    R, I = len(w), len(u)
    ui, wr = u[item], w[rater]
    N = float((ui * wr * n).sum())
    n_r, n_i = np.bincount(rater, ui * n, R), np.bincount(item, wr * n, I)
    per_r, per_i = np.maximum(n_r, 1e-300), np.maximum(n_i, 1e-300)
    A = float((wr * ui * n**2 / per_r[rater]).sum())  # items within raters
    B = float((ui * wr * n**2 / per_i[item]).sum())  # raters within items
    system = np.array([
        [N, N, N, N, N],
        [N, N, A, A, w[n_r > 0].sum()],
        [N, B, N, B, u[n_i > 0].sum()],
        [N, N, N, N, (ui * wr).sum()],
        [N, (w * n_r**2).sum() / N if N else 0.0, (u * n_i**2).sum() / N if N else 0.0,
         (ui * wr * n**2).sum() / N if N else 0.0, 1.0],
    ])  # fmt: skip
    sum_r, sum_i = np.bincount(rater, ui * total, R), np.bincount(item, wr * total, I)
    sums = np.array([
        (ui * wr * squares).sum(),
        (w * sum_r**2 / per_r).sum(),
        (u * sum_i**2 / per_i).sum(),
        (ui * wr * total**2 / n).sum(),
        (ui * wr * total).sum() ** 2 / N if N else 0.0,
    ])  # fmt: skip
    return system, sums
