"""Intervals and tests whose unit is the story: probes of one story are not independent.

A number is a function of sums over stories (a mean is one sum by another). A resample draws stories
with replacement, all probes of a story together; a difference of two models is resampled paired.

    S stories, R resamples, M sums that a number is made of, B numbers at once
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""(..., M) sums to (...) numbers."""

MIN_STORIES = 10
"""Stories below which no interval is given."""
N_DRAW = 10_000
_AT_ONCE = 64  # numbers resampled at once: bounds memory


class Estimate(NamedTuple):
    """A number with its 95% interval over stories; NaN bounds where there is none."""

    value: float
    low: float
    high: float
    n_stories: int

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval, and 0 lies outside it."""
        return self.low > 0 or self.high < 0


def story_sums(columns: Sequence[ArrayLike], stories: ArrayLike) -> Floats:
    """Sums of each column over the rows of each story, (S, M), stories in ascending order.

    Args:
        columns: M columns of n numbers.
        stories: the story of each row, (n,) of anything that sorts.
    """
    names, index = np.unique(np.asarray(stories), return_inverse=True)
    every = [np.asarray(column, dtype=np.float64) for column in columns]
    return np.stack([np.bincount(index, column, len(names)) for column in every], axis=-1)


def mean(sums: Floats) -> Floats:
    """The first sum by the second; NaN where the second is 0."""
    return _divided(sums[..., 0], sums[..., 1])


def slope(sums: Floats) -> Floats:
    """The least-squares slope of y on x from sums of (1, x, x², y, xy); NaN without spread of x."""
    n, x, xx, y, xy = np.moveaxis(sums, -1, 0)
    spread = n * xx - x * x
    return _divided(n * xy - x * y, np.where(spread < 1e-9 * (n * xx), 0, spread))


def mean_interval(
    values: ArrayLike, stories: ArrayLike, *, is_share: bool = False, seed: int = 0
) -> Estimate:
    """The mean of values, each story resampled whole.

    With `is_share` the values lie in [0, 1]: see `of_bounded`.
    """
    values = np.asarray(values, dtype=np.float64)
    found = interval(story_sums([values, np.ones_like(values)], stories), mean, seed=seed)
    return of_bounded(found) if is_share else found


def of_bounded(found: Estimate, least: float = 0.0, most: float = 1.0) -> Estimate:
    """A mean of values in [least, most]; where all stories agree, with a bound of their number.

    Resamples of stories that agree are all alike, but other stories need not agree: at most a share
    of 1 - .025^(1/n) of them differ (Clopper and Pearson 1934, 97.5%, n stories), by no more than
    the values can. So there is never an interval of no width.
    """
    if not found.high - found.low <= 1e-12:  # also without an interval
        return found
    share = 1 - 0.025 ** (1 / found.n_stories)
    value = found.value
    return found._replace(low=value - share * (value - least), high=value + share * (most - value))


def interval(
    sums: Floats, statistic: Statistic, *, n_draw: int = N_DRAW, seed: int = 0
) -> Estimate:
    """The number that `statistic` makes of all stories' sums (S, M), with its interval."""
    ((value, low, high),) = intervals(sums[:, None], statistic, n_draw=n_draw, seed=seed)
    return Estimate(float(value), float(low), float(high), len(sums))


def intervals(sums: Floats, statistic: Statistic, *, n_draw: int = N_DRAW, seed: int = 0) -> Floats:
    """Cluster bootstrap with bias correction and acceleration: BCa, 95% (Efron 1987).

    The tails are widened for few stories as percentiles are in Hesterberg 2015 (arXiv:1411.5279,
    "expanded percentile"); at 200 stories by one part in a hundred.

    Args:
        sums: (S, B, M): B numbers, each made of M sums.
        statistic: (..., B, M) to (..., B).
        n_draw: resamples, R.
        seed: of the resamples; equal seeds give equal ones.

    Returns:
        (B, 3): value, lower and upper bound. Bounds are NaN under `MIN_STORIES` stories, and where
        over 5% of the resamples have no value.
    """
    n = len(sums)
    value = statistic(sums.sum(0)) if n else np.full(sums.shape[1], np.nan)
    out = np.stack([value, np.full_like(value, np.nan), np.full_like(value, np.nan)], axis=-1)
    if n < MIN_STORIES:
        return out
    weights = _weights(n, n_draw, seed)
    for start in range(0, sums.shape[1], _AT_ONCE):
        part = sums[:, start : start + _AT_ONCE]
        drawn = statistic(np.einsum("rs,sbm->rbm", weights, part, optimize=True))  # (R, B)
        left_out = statistic(part.sum(0) - part)  # (S, B)
        out[start : start + _AT_ONCE, 1:] = _bca(value[start : start + _AT_ONCE], drawn, left_out)
    return out


def _bca(value: Floats, drawn: Floats, left_out: Floats) -> Floats:
    """(B, 2) bounds from resamples (R, B) and from leaving each story out (S, B)."""
    n = len(left_out)
    defined = np.isfinite(drawn).mean(0) >= 0.95
    filled = np.where(np.isfinite(drawn), drawn, value)
    scale = 1e-12 * (1 + np.abs(value))  # sums of other order differ in the last bits
    below = (filled < value - scale).mean(0)
    tied = (np.abs(filled - value) <= scale).mean(0)
    edge = 0.5 / len(drawn)
    bias = _normal_quantile(np.clip(below + tied / 2, edge, 1 - edge))  # (B,)
    gap = np.nanmean(left_out, 0) - left_out
    spread = np.nansum(gap**2, 0)
    skew = np.nansum(gap**3, 0) / np.maximum(6 * spread**1.5, 1e-300)
    reach = math.sqrt(n / (n - 1)) * _student_quantile(n - 1)
    ranked = np.sort(filled, axis=0)
    bounds = []
    for z in (-reach, reach):
        moved = bias + z
        tail = _normal_share(bias + moved / np.maximum(1 - skew * moved, 1e-3))  # (B,)
        bounds.append(_at_quantile(ranked, tail))
    return np.where(defined[:, None], np.stack(bounds, axis=-1), np.nan)


@lru_cache(maxsize=4)
def _weights(n: int, n_draw: int, seed: int) -> NDArray[np.float64]:
    """(R, S): how often each resample holds each story."""
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=n_draw).astype(np.float64)
    weights.flags.writeable = False
    return weights


def sign_flip_p(
    differences: ArrayLike, stories: ArrayLike, *, n_draw: int = N_DRAW, seed: int = 0
) -> float:
    """Two-sided permutation test that paired differences have mean 0: each story's sign is tossed.

    Args:
        differences: of two models on the same groups, (n,).
        stories: the story of each.
        n_draw: tosses of all stories.
        seed: of the tosses.

    Returns:
        p in (0, 1]; the observed signs count as one toss (Phipson and Smyth 2010).
    """
    totals = story_sums([differences], stories)[:, 0]
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, size=(n_draw, len(totals)), dtype=np.int8) * 2.0 - 1
    observed = abs(totals.sum())
    # what differs in the last bits is no less extreme
    extreme = np.abs(signs @ totals) >= observed - 1e-9 * (1 + np.abs(totals).sum())
    return float((1 + extreme.sum()) / (1 + n_draw))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: family-wise error (Holm 1979)."""
    order = np.argsort(p)
    n = len(p)
    adjusted = np.maximum.accumulate([(n - i) * p[j] for i, j in enumerate(order)] or [0.0])
    return _unsorted(adjusted, order)


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: false discovery rate (Benjamini and Hochberg 1995)."""
    order = np.argsort(p)[::-1]
    n = len(p)
    adjusted = np.minimum.accumulate([n / (n - i) * p[j] for i, j in enumerate(order)] or [1.0])
    return _unsorted(adjusted, order)


def _unsorted(adjusted: NDArray[Any], order: NDArray[Any]) -> list[float]:
    out = [0.0] * len(order)
    for value, i in zip(adjusted, order, strict=False):
        out[i] = float(min(1.0, value))
    return out


def _at_quantile(ranked: Floats, share: Floats) -> Floats:
    """Quantiles of each column (R, B), one share each (B,), linear between ranks."""
    at = np.clip(share, 0, 1) * (len(ranked) - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(ranked) - 1)
    columns = np.arange(ranked.shape[1])
    below, above = ranked[low, columns], ranked[high, columns]
    return np.asarray(below + (at - low) * (above - below))


def _student_quantile(df: int) -> float:
    """97.5% of Student's t, expanded around the normal; error under 0.002 from 9 df on."""
    z = 1.959963984540054
    first = (z**3 + z) / (4 * df)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    return z + first + second


def _normal_share(z: Floats) -> Floats:
    return np.asarray(torch.special.ndtr(torch.from_numpy(np.asarray(z))).numpy())


def _normal_quantile(share: Floats) -> Floats:
    return np.asarray(torch.special.ndtri(torch.from_numpy(np.asarray(share))).numpy())


def _divided(top: Floats, bottom: Floats) -> Floats:
    out = np.full_like(top, np.nan)
    np.divide(top, bottom, out=out, where=bottom != 0)
    return out
