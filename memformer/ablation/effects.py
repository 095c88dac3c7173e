"""Differences to the base, paired by seed and unit, with intervals over both.

S seeds, U units (books, stories), R resamples
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.ablation.rows import Row
from memformer.plotbench.statistics import holm

N_DRAW = 10_000


class Interval(NamedTuple):
    """A number with its 95% interval; NaN bounds where there is none."""

    value: float
    low: float
    high: float


class Effect(NamedTuple):
    """One variant minus the base, in one metric."""

    variant: str
    metric: str
    level: float
    """Mean of the variant, over the seeds and units that both have."""
    base: float
    """Mean of the base over the same."""
    difference: Interval
    p: float
    """Two-sided, that the difference is 0."""
    p_holm: float
    """Adjusted over all variants; NaN but for the primary metric."""
    n_seed: int
    n_unit: int
    is_constant: bool = False
    """Whether all differences are equal but for rounding, so that there is no interval."""


def effects(
    rows: Sequence[Row],
    metrics: Sequence[str],
    base: str,
    *,
    min_seed: int = 1,
    n_variant: int | None = None,
) -> list[Effect]:
    """Every variant against the base in every metric; the first metric is the primary one.

    Its p are adjusted over `n_variant` variants (those that have rows, by default): also one that
    has no p yet counts, so that an unfinished experiment promises no more than the finished one.

    A variant that shares no seed and unit with the base in a metric is left out. With fewer than
    `min_seed` shared seeds a difference has no interval and no p: that of one seed over units says
    nothing about another training run.
    """
    held = {(row.variant, row.seed): row.metrics for row in rows}
    variants = [name for name in dict.fromkeys(row.variant for row in rows) if name != base]
    found = []
    for metric in metrics:
        here = [
            each
            for name in variants
            if (each := _effect(held, name, base, metric, min_seed)) is not None
        ]
        if metric == metrics[0]:
            tested = [each for each in here if not math.isnan(each.p)]
            n_other = max(0, (n_variant or len(variants)) - len(tested))
            adjusted = dict(
                zip(
                    (e.variant for e in tested),
                    holm([*(e.p for e in tested), *[1.0] * n_other]),
                    strict=False,
                )
            )
            here = [e._replace(p_holm=adjusted.get(e.variant, math.nan)) for e in here]
        found += here
    return found


def _effect(
    held: dict[tuple[str, int], dict[str, dict[str, float]]],
    variant: str,
    base: str,
    metric: str,
    min_seed: int,
) -> Effect | None:
    seeds = [s for name, s in held if name == variant and (base, s) in held]
    pairs = [(held[variant, s].get(metric, {}), held[base, s].get(metric, {})) for s in seeds]
    units = [
        unit
        for unit in (pairs[0][0] if pairs else {})
        if all(unit in a and unit in b for a, b in pairs)
    ]
    if not units:
        return None
    level, of_base = (
        np.array([[pair[i][unit] for unit in units] for pair in pairs]) for i in (0, 1)
    )
    difference = level - of_base  # (S, U)
    interval, p = crossed_interval(difference)
    is_constant = difference.size > 1 and len(seeds) >= min_seed and has_no_spread(difference)
    if len(seeds) < min_seed:
        interval, p = Interval(interval.value, math.nan, math.nan), math.nan
    return Effect(
        variant, metric, float(level.mean()), float(of_base.mean()), interval, p, math.nan,
        len(seeds), len(units), is_constant=is_constant,
    )  # fmt: skip


def crossed_interval(
    differences: NDArray[np.float64], *, n_draw: int = N_DRAW, seed: int = 0
) -> tuple[Interval, float]:
    """Mean of (S, U) differences, its 95% interval over seeds and units, and p of no difference.

    Seeds and units are drawn with replacement, each apart from the other (Owen 2007,
    arXiv:0712.1111, the pigeonhole bootstrap, which errs on the wide side). As both are few, the
    resamples' standard deviation is multiplied by sqrt(n / (n - 1)) and by Student's quantile of
    n - 1 degrees of freedom, n the smaller of those of S and U that exceed 1. With one seed and one
    unit there is no interval, nor where all differences are equal but for rounding: what has no
    spread (a share right of few questions, bytes) says nothing of how far another seed would lie.
    """
    S, U = differences.shape
    mean = float(differences.mean())
    several = [n for n in (S, U) if n > 1]
    if not several or has_no_spread(differences):
        return Interval(mean, math.nan, math.nan), math.nan
    rng = np.random.default_rng(seed)
    of_seeds = rng.multinomial(S, np.full(S, 1 / S), size=n_draw) / S  # (R, S)
    of_units = rng.multinomial(U, np.full(U, 1 / U), size=n_draw) / U  # (R, U)
    drawn = np.einsum("rs,su,ru->r", of_seeds, differences, of_units, optimize=True)
    n = min(several)
    spread = float(drawn.std()) * math.sqrt(n / (n - 1))
    reach = student_quantile(n - 1) * spread
    return Interval(mean, mean - reach, mean + reach), student_p(abs(mean) / spread, n - 1)


def has_no_spread(differences: NDArray[np.float64]) -> bool:
    """Whether all are equal but for rounding."""
    return bool(np.ptp(differences) <= 1e-12 * (1 + np.abs(differences).max()))


def student_p(t: float, df: int) -> float:
    """Two-sided p of Student's t, by integrating its density in the angle atan(t / sqrt(df))."""
    angle = math.atan2(t, math.sqrt(df))
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(df / 2) - math.lgamma((df + 1) / 2))
    if t < 1:
        return float(min(1.0, 1 - _integral(0, angle, df) / whole))
    # the tail itself, so that a small p keeps its digits; further out it falls below e^-20
    end = min(math.pi / 2, angle + 40 / (df * math.tan(angle)))
    return _integral(angle, end, df) / whole


def _integral(low: float, high: float, df: int) -> float:
    grid = np.linspace(low, high, 4001)
    return float(np.trapezoid(np.cos(grid) ** (df - 1), grid))


def student_quantile(df: int) -> float:
    """97.5% of Student's t, by bisection."""
    low, high = 0.0, 1000.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_p(middle, df) > 0.05 else (low, middle)
    return (low + high) / 2
