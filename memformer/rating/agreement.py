"""How far raters agree: Krippendorff's alpha, reliabilities, and intervals for both.

Low agreement about novels is expected. It says how many raters a mean needs, not which items to
drop: dropping them to raise it would measure something else.

n cells, R raters, I items, V values, K numbers of raters
"""

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.data.feedback_cells import RatedCells
from memformer.data.feedback_files import EXTRA
from memformer.rating.variance import VarianceSplit, tally, variance_split

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval"]
MIN_UNITS = 10
"""Items, or raters, below which no interval over them is given."""


class Spread(NamedTuple):
    """A number with its 95% intervals; NaN bounds where there is none."""

    value: float
    over_items: tuple[float, float]
    over_raters: tuple[float, float]


class Agreement(NamedTuple):
    """How far raters of one criterion agree."""

    criterion: str
    level: Level
    n_rating: int
    n_rater: int
    n_item: int
    n_pairable: int
    """Ratings of items that at least two raters rated. The others say nothing of agreement."""
    n_repeat: int
    """Ratings of an item by somebody who had rated it before: not in alpha."""
    alpha: Spread
    split: VarianceSplit | None
    icc: dict[int, Spread]
    """Reliability of the mean of k raters, by k: ICC(2,k)."""
    consistency: dict[int, Spread]
    """The same with the raters' strictness known: ICC(3,k)."""
    notes: tuple[str, ...]
    """What could not be computed, and why."""

    def lines(self) -> list[str]:
        """The report for people."""
        found = [
            f"{self.criterion}: {self.n_rating} ratings, {self.n_rater} raters, {self.n_item} "
            f"items; {self.n_pairable} ratings of items with two raters or more; "
            f"{self.n_repeat} repeats",
            f"Krippendorff's alpha ({self.level}): {_shown(self.alpha)}",
        ]
        if self.split is not None:
            s = self.split
            parts = {"item": s.item, "rater": s.rater, "interaction": s.interaction,
                     "noise": s.noise}  # fmt: skip
            told = [f"{name} {x:.4g}" for name, x in parts.items() if x is not None]
            if s.rater is None:
                told.append(f"raters and all else {s.within:.4g}")
            elif s.noise is None:
                told[-1] += " (with noise: nobody rated anything twice)"
            found.append(f"variance: {', '.join(told)}")
        for k, spread in self.icc.items():
            found.append(f"mean of {k} raters: ICC(2,{k}) {_shown(spread)}; "
                         f"strictness known {_shown(self.consistency[k])}")  # fmt: skip
        return [*found, *self.notes]


def agreement(
    cells: RatedCells,
    *,
    level: Level = "interval",
    ks: Sequence[int] = (1, 3, 5, 10),
    n_draw: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Alpha, variances and reliabilities of one criterion, with bootstrap intervals.

    Items and raters are resampled apart (percentiles): the first says what other texts would give,
    the second what other people would. A rater who is drawn twice is never paired with himself.

    Args:
        cells: raw, or normalised if scales were several.
        level: what differences between answers mean.
        ks: numbers of raters to give the reliability of a mean for.
        n_draw: resamples.
        seed: of the resamples.

    Returns:
        Numbers that cannot be computed are NaN or missing; `notes` say why.

    Raises:
        ImportError: the library `krippendorff` is not installed.
        ValueError: a level or k that is none.
    """
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must be numbers of raters, at least 1, got {list(ks)}")
    _refuse_level(level)
    notes: list[str] = []
    first = _first_wave(cells)
    counts, domain = value_counts(first)
    coded = code(first)
    ratings = tally(cells)
    try:
        alpha = krippendorff_alpha(counts, domain, level, first.criterion)
    except ValueError as error:
        alpha = math.nan
        notes.append(str(error))
    split = None
    try:
        split = variance_split(ratings)
    except ValueError as error:
        notes.append(str(error))

    def statistics(u: Floats, w: Floats) -> list[float]:
        found = [weighted_alpha(coded, level, u, w) if not math.isnan(alpha) else math.nan]
        try:
            again = variance_split(ratings, u, w) if split is not None else None
        except ValueError:
            again = None
        for k in ks:
            found += [math.nan, math.nan] if again is None else [again.icc(k), again.consistency(k)]
        return found

    R, I = len(cells.raters), len(cells.items)
    rng = np.random.default_rng(seed)
    over_items = _bounds(lambda u: statistics(u, np.ones(R)), I, n_draw, rng, "items", notes)
    over_raters = _bounds(lambda w: statistics(np.ones(I), w), R, n_draw, rng, "raters", notes)
    spread = [Spread(math.nan, a, b) for a, b in zip(over_items, over_raters, strict=True)]
    icc, consistency = {}, {}
    for i, k in enumerate(ks if split is not None else ()):
        assert split is not None
        icc[k] = spread[1 + 2 * i]._replace(value=split.icc(k))
        consistency[k] = spread[2 + 2 * i]._replace(value=split.consistency(k))
    if split is not None and any(x is not None and x < 0 for x in split):
        notes.append("a variance below 0 is an estimate of none: reliabilities count it as 0")
    n_item = counts.sum(1)
    return Agreement(
        criterion=cells.criterion,
        level=level,
        n_rating=len(cells.value),
        n_rater=len(np.unique(cells.rater)),
        n_item=len(np.unique(cells.item)),
        n_pairable=int(n_item[n_item > 1].sum()),
        n_repeat=len(cells.value) - len(first.value),
        alpha=spread[0]._replace(value=alpha),
        split=split,
        icc=icc,
        consistency=consistency,
        notes=tuple(notes),
    )


def value_counts(cells: RatedCells) -> tuple[NDArray[np.int64], Floats]:
    """How often each item got each value, (I, V), and the values in order, (V,): all that alpha
    needs, and no matrix of raters."""
    coded = code(cells)
    shape = coded.n_item, len(coded.domain)
    return np.bincount(coded.at, minlength=math.prod(shape)).reshape(shape), coded.domain


def krippendorff_alpha(
    counts: NDArray[np.int64], domain: Floats, level: Level, criterion: str
) -> float:
    """Krippendorff's alpha by the library `krippendorff` (Krippendorff 2011, "Computing
    Krippendorff's Alpha-Reliability").

    Args:
        counts: of each value, (I, V).
        domain: the values, (V,), rising.
        level: what differences mean.
        criterion: named in messages.

    Raises:
        ImportError: the library is not installed.
        ValueError: no item has two ratings, or all those ratings are the same: alpha compares
            disagreement with what chance would give, and there is none to compare.
    """
    try:
        library: Any = importlib.import_module("krippendorff")
    except ModuleNotFoundError:
        raise ImportError(f"agreement needs krippendorff: {EXTRA}") from None
    pairable = counts[counts.sum(1) > 1]
    if not len(pairable):
        raise ValueError(
            f"alpha of {criterion!r} cannot be computed: no item has ratings of two raters"
        )
    used = (pairable.sum(0) > 0).nonzero()[0]
    if len(used) == 1:
        raise ValueError(
            f"alpha of {criterion!r} cannot be computed: every rating of an item with two raters "
            f"is {domain[used[0]]:g}, and where nothing varies there is nothing to agree on"
        )
    found = library.alpha(value_counts=counts, value_domain=domain, level_of_measurement=level)
    return float(found)


class Coded(NamedTuple):
    """Ratings ready for alpha, again and again with other weights."""

    at: NDArray[np.int64]
    """(n,) place in a flat (I, V)."""
    rater: NDArray[np.int64]
    domain: Floats
    """(V,)"""
    n_item: int


def code(cells: RatedCells) -> Coded:
    """Number the values; each rater must have rated an item once."""
    domain, number = np.unique(cells.value, return_inverse=True)
    at = cells.item * len(domain) + number.reshape(-1)
    return Coded(at, cells.rater, domain, len(cells.items))


def weighted_alpha(coded: Coded, level: Level, u: Floats, w: Floats) -> float:
    """Alpha of resampled items and raters; with weights of 1 what `krippendorff_alpha` gives.

    Args:
        coded: the ratings.
        level: what differences mean.
        u: (I,) how often each item was drawn.
        w: (R,) how often each rater was drawn; pairs of a rater with himself do not count.

    Returns:
        alpha, NaN where there are no pairs or no differences.
    """
    V, I = len(coded.domain), coded.n_item
    weight = w[coded.rater]
    counts = np.bincount(coded.at, weight, I * V).reshape(I, V)
    selves = np.bincount(coded.at, weight**2, I * V).reshape(I, V)
    m = counts.sum(1)
    pairs = m**2 - selves.sum(1)  # ordered pairs of two raters
    scale = u * np.divide(m, pairs, out=np.zeros(I), where=pairs > 0.5)
    observed = (counts * scale[:, None]).T @ counts - np.diag((selves * scale[:, None]).sum(0))
    n = observed.sum(0)
    total = n.sum()
    if total < 1.5:
        return math.nan
    expected = (np.outer(n, n) - np.diag(n)) / (total - 1)
    distance = _distances(coded.domain, n, level)
    chance = float((expected * distance).sum())
    return 1 - float((observed * distance).sum()) / chance if chance > 1e-12 else math.nan


def _distances(domain: Floats, n: Floats, level: Level) -> Floats:
    """Squared differences of values, (V, V)."""
    match level:
        case "nominal":
            return 1 - np.eye(len(domain))
        case "interval":
            place = domain
        case "ordinal":
            place = np.cumsum(n) - n / 2  # ranks, ties in the middle
    return np.asarray((place[:, None] - place[None, :]) ** 2)


def _refuse_level(level: str) -> None:
    if level not in ("nominal", "ordinal", "interval"):
        raise ValueError(f"level must be nominal, ordinal or interval, got {level!r}")


def _first_wave(cells: RatedCells) -> RatedCells:
    """The first rating of each rater and item: a repeat is no second rater."""
    order = np.lexsort((cells.wave, cells.item, cells.rater))
    rater, item = cells.rater[order], cells.item[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (rater[1:] != rater[:-1]) | (item[1:] != item[:-1])
    keep = np.sort(order[is_new])
    return cells._replace(
        rater=cells.rater[keep], item=cells.item[keep], wave=cells.wave[keep],
        value=cells.value[keep], propensity=cells.propensity[keep],
    )  # fmt: skip


def _bounds(
    statistics: Callable[[Floats], list[float]], n: int, n_draw: int, rng: np.random.Generator,
    unit: str, notes: list[str],
) -> list[tuple[float, float]]:  # fmt: skip
    """Percentile bounds of each statistic, by drawing units with replacement."""
    none = (math.nan, math.nan)
    if n < MIN_UNITS:
        notes.append(f"no interval over {unit}: it needs {MIN_UNITS}, got {n}")
        return [none] * len(statistics(np.ones(n)))
    drawn = np.array([statistics(rng.multinomial(n, np.full(n, 1 / n)).astype(np.float64))
                      for _ in range(n_draw)])  # fmt: skip
    found = []
    for column in drawn.T:
        defined = column[np.isfinite(column)]
        if len(defined) < 0.95 * n_draw:
            found.append(none)
        else:
            low, high = np.quantile(defined, [0.025, 0.975])
            found.append((float(low), float(high)))
    if any(math.isnan(low) for low, _ in found) and np.isfinite(drawn).any():
        notes.append(f"some intervals over {unit} are missing: over 5% of the resamples have none")
    return found


def _shown(spread: Spread) -> str:
    if math.isnan(spread.value):
        return "none"
    parts = [f"{spread.value:.3f}"]
    for name, (low, high) in (("items", spread.over_items), ("raters", spread.over_raters)):
        if not math.isnan(low):
            parts.append(f"[{low:.3f}, {high:.3f}] over {name}")
    return " ".join(parts)
