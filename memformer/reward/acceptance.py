"""Is this rater model good enough to be a reward? Held-out ratings say, and what they cannot say.

n held-out cells, I items
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memformer.config.reward import Aggregate
from memformer.reward.agreement_ceiling import (
    Floats,
    Interval,
    correlations,
    interval,
    item_draws,
    partial,
    split_half,
)
from memformer.reward.rater_checks import RaterCheck
from memformer.reward.raters import RaterModel
from memformer.reward.ratings import Ratings, cell_weights, check_ratings

LEAST_ITEMS = 20
"""Items with two ratings or more below which no report is given."""
N_LENGTH = 4
"""Groups of items by length."""


class Group(NamedTuple):
    """Mean residual (observed minus expected) of some cells, with a 95 % interval over items."""

    name: str
    n: int
    """Cells."""
    mean: float
    low: float
    high: float


class Coverage(NamedTuple):
    """How often an interval around the expectation holds what was observed."""

    target: str
    """"item mean" or "single rating"."""
    level: float
    covered: float
    """Share of items, over random halves: one half sets the width, the other is covered."""
    half_width: float
    """In units of the ratings' scale."""


@dataclass(frozen=True)
class Acceptance:
    """The report. Numbers are of held-out ratings; intervals resample items, 95 %."""

    n: int
    n_item: int
    n_item_single: int
    """Items with one rating: in the residuals, not in the correlations."""
    n_rater: int
    mean_count: float
    """Ratings an item, of those with two or more."""
    propensities_known: bool
    exchangeable: bool
    bias_removed: bool
    """Whether each rater's fitted bias was taken off before ratings were averaged."""
    aggregate: str
    reliability: Interval
    """Of an item's mean rating, the human ceiling: split-half, Spearman-Brown."""
    correlation: Interval
    """Of the score and the mean rating."""
    corrected: Interval
    """The correlation divided by the root of the reliability."""
    length_partial: Interval | None
    """Correlation of score and mean rating, log length held constant; None: no lengths given."""
    rmse: float
    """Of single ratings."""
    residuals: dict[str, tuple[Group, ...]]
    """By rater, source and length, as far as they are known."""
    coverage: tuple[Coverage, ...]
    bad_raters: tuple[RaterCheck, ...]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """What `json` can write; numbers that are not defined are null."""
        found = asdict(self)
        for name in ("reliability", "correlation", "corrected", "length_partial"):
            value = getattr(self, name)
            found[name] = value if value is None else value._asdict()
        found["residuals"] = {k: [g._asdict() for g in v] for k, v in self.residuals.items()}
        found["coverage"] = [c._asdict() for c in self.coverage]
        found["bad_raters"] = [c._asdict() for c in self.bad_raters]
        return {name: _finite(value) for name, value in found.items()}

    def text(self) -> str:
        """The report to be read, one statement a line."""
        lines = [
            f"{self.n} held-out ratings of {self.n_item} items by {self.n_rater} raters, "
            f"{self.mean_count:.1f} an item; {self.n_item_single} items have one rating and are "
            "not in the correlations",
            f"human ceiling: reliability of an item's mean {_shown(self.reliability)}",
            f"score ({self.aggregate}) against mean rating: r {_shown(self.correlation)}; "
            f"r / sqrt(reliability) {_shown(self.corrected)}",
        ]
        if self.length_partial is None:
            lines.append("length: not given, so that nothing says whether the score is length")
        else:
            lines.append(f"the same with length held constant: r {_shown(self.length_partial)}")
        lines.append(f"single ratings: root mean square error {self.rmse:.3f}")
        for each in self.coverage:
            lines.append(
                f"{each.level:.0%} intervals of a {each.target}: {each.covered:.1%} covered, "
                f"half width {each.half_width:.2f}"
            )
        for name, groups in self.residuals.items():
            lines += _residual_lines(name, groups)
        for check in self.bad_raters:
            lines.append(
                f"rater {check.rater}: weight {check.weight:g} in the population: "
                f"{'; '.join(check.reasons)} ({check.n} ratings, scale {check.scale:.2f}, "
                f"noise {check.noise:.2f})"
            )
        if not self.propensities_known:
            lines.append(
                "propensities are unknown: all of this holds for items and raters as they came, "
                "and for the population only if ratings are missing at random"
            )
        if self.exchangeable:
            lines.append(
                "raters are exchangeable: a column is no person, so bias, scale and tastes of "
                "raters mean nothing here and rank can bring nothing"
            )
        return "\n".join(lines)


def accept(
    model: RaterModel,
    ratings: Ratings,
    features: Tensor | None,
    *,
    exchangeable: bool,
    length: Tensor | None = None,
    source: Sequence[str] | None = None,
    aggregate: Aggregate | Tensor | None = None,
    n_draw: int = 1000,
    n_split: int = 30,
    seed: int = 0,
) -> Acceptance:
    """Judge a model by ratings that it was not fitted to.

    Args:
        model: fitted elsewhere, with the same raters.
        ratings: held-out cells. Hold out whole items if the score is meant for new texts.
        features: (n_item, d) as in `fit_raters`, or None.
        exchangeable: whether a rater's number is no person (an anonymous panel's column). Then
            no rater's bias is removed and no residuals by rater are given.
        length: (n_item,) of each text, in tokens or words, above 0.
        source: of each cell, n names.
        aggregate: see `RaterModel.score`.
        n_draw, n_split, seed: resamples of items, random halves, and their seed.

    Raises:
        ValueError: ratings as in `check_ratings`, or of raters, items or a scale that the model
            does not know; fewer than `LEAST_ITEMS` items with two ratings;
            lengths that are not positive; sources of another number than cells.
    """
    check_ratings(ratings)
    _check(ratings, length, source)
    _check_known(model, ratings)
    item, value = ratings.item.numpy(), ratings.value.double().numpy()
    with torch.no_grad():
        of_cell = ratings.item if features is None else features[ratings.item]
        expected = model.expected(ratings.rater, of_cell).double().numpy()
        every = torch.arange(ratings.n_item) if features is None else features
        score = model.score(every, aggregate).double().numpy()
    remove = not exchangeable and model.config.head != "ordinal"
    bias = np.array([check.bias for check in model.checks])
    fair = value - bias[ratings.rater.numpy()] if remove else value
    weight = cell_weights(ratings, model.config.min_propensity).weight.double().numpy()

    count = np.bincount(item, minlength=ratings.n_item)
    several = np.flatnonzero(count >= 2)
    if len(several) < LEAST_ITEMS:
        raise ValueError(
            f"held-out ratings must hold at least {LEAST_ITEMS} items with two ratings, "
            f"got {len(several)}"
        )
    place = np.full(ratings.n_item, -1)
    place[several] = np.arange(len(several))
    inside = place[item] >= 0
    draws = item_draws(len(several), n_draw, seed)
    reliability = split_half(place[item[inside]], fair[inside], draws, n_split=n_split, seed=seed)
    total = np.bincount(place[item[inside]], (weight * fair)[inside])
    mean = total / np.bincount(place[item[inside]], weight[inside])
    r = correlations(draws, score[several], mean)
    ceiling = np.sqrt(np.where(reliability > 0, reliability, np.nan))
    held = None
    if length is not None:
        z = np.log(length.double().numpy())[several]
        held = interval(
            partial(r, correlations(draws, score[several], z), correlations(draws, mean, z))
        )
    off = value - expected
    rule = model.config.aggregate if aggregate is None else aggregate
    return Acceptance(
        n=len(value),
        n_item=int((count > 0).sum()),
        n_item_single=int((count == 1).sum()),
        n_rater=len(np.unique(ratings.rater.numpy())),
        mean_count=float(count[several].mean()),
        propensities_known=ratings.propensity is not None,
        exchangeable=exchangeable,
        bias_removed=remove,
        aggregate=rule if isinstance(rule, str) else "own weights",
        reliability=interval(reliability),
        correlation=interval(r),
        corrected=interval(r / ceiling),
        length_partial=held,
        rmse=float(np.sqrt((off**2).mean())),
        residuals=_residuals(ratings, off, exchangeable, length, source),
        coverage=(
            *_coverage("item mean", mean - score[several], seed),
            *_coverage("single rating", _one_each(item, off, seed), seed),
        ),
        bad_raters=tuple(check for check in model.checks if check.reasons),
        seed=seed,
    )


def _check(ratings: Ratings, length: Tensor | None, source: Sequence[str] | None) -> None:
    if length is not None and (length.shape != (ratings.n_item,) or not (length > 0).all()):
        raise ValueError(
            f"length must be positive, one for each of {ratings.n_item} items, got shape "
            f"{tuple(length.shape)}"
        )
    if source is not None and len(source) != len(ratings.value):
        raise ValueError(
            f"source must name each of {len(ratings.value)} cells, got {len(source)} names"
        )


def _check_known(model: RaterModel, ratings: Ratings) -> None:
    sizes = {"rater": (ratings.n_rater, model.n_rater)}
    if model.d is None:
        sizes["item"] = (ratings.n_item, model.n_item)
    for name, (n, known) in sizes.items():
        if n != known:
            raise ValueError(
                f"held-out ratings must number {name}s as the model does, which knows {known} "
                f"{name}s, got {n}: place new raters with new_rater.with_rater"
            )
    if tuple(ratings.scale) != tuple(model.scale):
        raise ValueError(
            f"held-out ratings must be on the model's scale {model.scale}, got {ratings.scale}"
        )


def _residuals(
    ratings: Ratings,
    off: Floats,
    exchangeable: bool,
    length: Tensor | None,
    source: Sequence[str] | None,
) -> dict[str, tuple[Group, ...]]:
    item = ratings.item.numpy()
    found = {}
    if not exchangeable:
        found["rater"] = _groups([str(r) for r in ratings.rater.tolist()], item, off)
    if source is not None:
        found["source"] = _groups(list(source), item, off)
    if length is not None:
        every = length.double().numpy()
        edges = np.quantile(every[np.unique(item)], np.linspace(0, 1, N_LENGTH + 1)[1:-1])
        which = np.searchsorted(edges, every[item], side="left")
        bounds = ["0", *(f"{edge:.0f}" for edge in edges), "longest"]
        names = [f"{bounds[g]} to {bounds[g + 1]}" for g in which]
        found["length"] = _groups(names, item, off)
    return found


def _groups(names: list[str], item: NDArray[np.int64], off: Floats) -> tuple[Group, ...]:
    """Mean residuals; cells of one item are not independent, so the interval's unit is the item."""
    labels, which = np.unique(np.array(names), return_inverse=True)
    out = []
    for g, label in enumerate(labels):
        mine = which == g
        mean = float(off[mine].mean())
        items, at = np.unique(item[mine], return_inverse=True)
        spread = np.bincount(at, off[mine] - mean)  # (items,): sums of each item
        n = len(items)
        error = math.sqrt((spread**2).sum() * n / max(n - 1, 1)) / mine.sum()
        reach = 1.96 * error if n > 1 else math.nan
        out.append(Group(str(label), int(mine.sum()), mean, mean - reach, mean + reach))
    return tuple(out)


def _one_each(item: NDArray[np.int64], off: Floats, seed: int) -> Floats:
    """One residual drawn from each item: items are exchangeable, cells of one item are not."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(item))
    _, first = np.unique(item[order], return_index=True)
    return off[order[first]]


def _coverage(target: str, off: Floats, seed: int, n_half: int = 50) -> list[Coverage]:
    """Split-conformal intervals (Vovk et al. 2005; Lei et al. 2018): half the items set the width,
    the smallest that holds ceil((n + 1) level) of their n residuals; the other half is covered."""
    rng = np.random.default_rng(seed)
    size, n = np.abs(off), len(off) // 2
    found = []
    for level in (0.5, 0.9):
        rank = min(math.ceil((n + 1) * level), n)
        covered, width = [], []
        for _ in range(n_half):
            order = rng.permutation(len(off))
            reach = np.sort(size[order[:n]])[rank - 1]
            covered.append((size[order[n:]] <= reach).mean())
            width.append(reach)
        found.append(Coverage(target, level, float(np.mean(covered)), float(np.mean(width))))
    return found


def _residual_lines(name: str, groups: tuple[Group, ...]) -> list[str]:
    """All groups if they are few, else those farthest from 0 in their own errors, and how many."""
    shown = [g for g in groups if math.isfinite(g.low)]
    apart = [g for g in shown if g.low > 0 or g.high < 0]
    head = (
        f"residuals by {name}: {len(groups)} groups, {len(apart)} apart from 0 "
        f"(by chance about {0.05 * len(shown):.1f})"
    )
    if len(shown) > 6:
        shown = sorted(shown, key=lambda g: -abs(g.mean) / max(g.high - g.mean, 1e-12))[:5]
    return [head, *(
        f"  {g.name}: {g.mean:+.3f} [{g.low:+.3f}, {g.high:+.3f}], {g.n} ratings" for g in shown
    )]  # fmt: skip


def _shown(value: Interval) -> str:
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
