"""Lines and curves through results, with intervals over seeds and over resampled raters.

S seeds, B resamples of raters, R resamples of both, K numbers of ratings
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memformer.evaluation.metrics import Estimate, estimate

Floats = NDArray[np.float64]
N_DRAW = 2_000


def over_seeds(values: ArrayLike) -> Estimate:
    """Mean of (S,) values and its 95% interval over seeds (percentiles, widened for few)."""
    held = np.asarray(values, dtype=np.float64)
    return of_resamples(held[:, None], None, lambda y: y.mean(1)[:, 0])


def of_resamples(
    values: Floats, draws: Floats | None, statistic: Callable[[Floats], Floats], *, seed: int = 0
) -> Estimate:
    """A statistic of values by seed, its interval over seeds and over raters within each.

    A resample draws seeds with replacement, and for each the deviation of one resample of its
    raters from their mean.

    Args:
        values: (S, K).
        draws: (S, B, K), the same values with raters resampled; None if raters are not.
        statistic: from (R, S, K) to (R,).
    """
    S = len(values)
    rng = np.random.default_rng(seed)
    seeds = rng.integers(S, size=(N_DRAW, S))
    drawn = values[seeds]  # (R, S, K)
    if draws is not None and draws.shape[1] > 1:
        off = draws - draws.mean(1, keepdims=True)
        drawn = drawn + off[seeds, rng.integers(draws.shape[1], size=seeds.shape)]
    return estimate(np.concatenate((statistic(values[None]), statistic(drawn))), S)


def slope_of(x: ArrayLike) -> Callable[[Floats], Floats]:
    """A statistic for `of_resamples`: mean over seeds of the slope of K values on x."""
    held = np.asarray(x, dtype=np.float64)
    centred = held - held.mean()
    direction = centred / (centred**2).sum()
    return lambda y: np.asarray((y @ direction).mean(1))


class Power(NamedTuple):
    """y = c + a n^-b, c and a at least 0."""

    c: float
    a: float
    b: float
    r2: float
    """Share of the variance of y over n that the fit explains."""


_EXPONENTS = np.arange(0.05, 2.0001, 0.025)


def fit_power(n: ArrayLike, y: ArrayLike) -> Power:
    """The power law with an asymptote that lies nearest to (K,) values, by least squares.

    b is sought on a grid from .05 to 2; a curve that still falls like a straight line in log n gets
    the smallest b, and its c then says little.
    """
    values = np.asarray(y, dtype=np.float64)
    c, a, b, error = _powers(np.asarray(n, dtype=np.float64), values[None])
    spread = float(((values - values.mean()) ** 2).sum())
    r2 = 1 - float(error[0]) / spread if spread > 0 else 1.0
    return Power(float(c[0]), float(a[0]), float(b[0]), r2)


def asymptote_of(n: ArrayLike) -> Callable[[Floats], Floats]:
    """A statistic for `of_resamples`: c of the fit to the mean over seeds."""
    sizes = np.asarray(n, dtype=np.float64)
    return lambda y: _powers(sizes, y.mean(1))[0]


def _powers(n: Floats, y: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """c, a, b and squared error of (R, K) curves."""
    best = np.full((4, len(y)), np.inf)
    for b in _EXPONENTS:
        x = n**-b
        centred = x - x.mean()
        a = np.maximum((y @ centred) / (centred**2).sum(), 0)
        c = y.mean(1) - a * x.mean()
        at_zero = np.maximum((y @ x) / (x**2).sum(), 0)  # a where c would be below 0
        a, c = np.where(c < 0, at_zero, a), np.maximum(c, 0)
        error = ((y - c[:, None] - a[:, None] * x) ** 2).sum(1)
        found = np.stack((c, a, np.full(len(y), b), error))
        best = np.where(error < best[3], found, best)
    return best[0], best[1], best[2], best[3]


class Overoptimised(NamedTuple):
    """Gold against d = sqrt(KL): d (a - b d) for best-of-n, d (a - b log d) for training (Gao,
    Schulman & Hilton 2022, arXiv:2210.10760, §3)."""

    a: float
    b: float
    r2: float


def fit_overoptimisation(kl: ArrayLike, gold: ArrayLike, *, log: bool) -> Overoptimised:
    """Least squares of gold's gain over the first point on d and d^2, or d and d log d.

    Args:
        kl: (K,) nats, 0 at the first point.
        gold: (K,).
        log: False for best-of-n, True for training.

    Raises:
        ValueError: fewer than three points with KL above 0.
    """
    d = np.sqrt(np.asarray(kl, dtype=np.float64))
    y = np.asarray(gold, dtype=np.float64) - np.asarray(gold, dtype=np.float64)[0]
    d, y = d[d > 0], y[d > 0]
    if len(d) < 3:
        raise ValueError(f"a fit of two numbers needs three points with KL above 0, got {len(d)}")
    columns = np.stack((d, -d * (np.log(d) if log else d)), axis=1)
    (a, b), *_ = np.linalg.lstsq(columns, y, rcond=None)
    left = y - columns @ np.array([a, b])
    spread = float(((y - y.mean()) ** 2).sum())
    return Overoptimised(float(a), float(b), 1 - float((left**2).sum()) / spread if spread else 1.0)
