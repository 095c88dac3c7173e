"""Events as the cells that a rater model is fitted to: each criterion apart, then combined.

n cells, R raters, I items
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.data.feedback import ItemKind, RatingEvent


class RatedCells(NamedTuple):
    """Who gave which item how much on one criterion: observed cells only."""

    criterion: str
    rater: NDArray[np.int64]
    """(n,), an index into `raters`."""
    item: NDArray[np.int64]
    """(n,), an index into `items`."""
    wave: NDArray[np.int64]
    """(n,)"""
    value: NDArray[np.float64]
    """(n,), on `scale`."""
    propensity: NDArray[np.float64]
    """(n,) in (0, 1]; NaN: unknown."""
    raters: tuple[str, ...]
    items: tuple[str, ...]
    scale: tuple[float, float]

    @property
    def n_unknown_propensity(self) -> int:
        """Cells of which nobody knows how probable they were. Every report says it."""
        return int(np.isnan(self.propensity).sum())


class Selected(NamedTuple):
    """Cells, and the events that are none of them."""

    cells: RatedCells
    left_out: dict[str, int]
    """How many events were left out, by reason; the reasons are disjoint."""
    scales: tuple[tuple[float, float], ...]
    """The scales that the ratings were given on."""


class Norm(NamedTuple):
    """Mean and standard deviation of one criterion's ratings, to make criteria comparable."""

    mean: float
    sd: float


def cells_of(
    events: Iterable[RatingEvent],
    criterion: str,
    *,
    item_kind: ItemKind = "review",
    without_flags: Collection[str] = (),
    verified_only: bool = False,
    raw: bool = False,
    raters: Sequence[str] | None = None,
    items: Sequence[str] | None = None,
) -> Selected:
    """The cells of one criterion. Give it events as of a date: superseded ones would count.

    Args:
        events: of any criterion.
        criterion: the one that is taken.
        item_kind: likewise.
        without_flags: events with any of these flags are left out, and counted.
        verified_only: whether events that no panel vouches for are left out, and counted.
        raw: values as they were given, which need one scale; else each goes from 0, the least of
            its scale, to 1.
        raters: order of the raters; None: those who rated, sorted.
        items: order of the items; None: those rated, sorted. Give the order of the texts' features.

    Raises:
        ValueError: `raw` with several scales, a rater or item that is not in a given order, or no
            cell at all; says what was left out.
    """
    taken: list[RatingEvent] = []
    left_out: Counter[str] = Counter()
    for event in events:
        reason = _reason(event, criterion, item_kind, set(without_flags), verified_only)
        if reason is None:
            taken.append(event)
        else:
            left_out[reason] += 1
    if not taken:
        every = ", ".join(f"{n} {why}" for why, n in sorted(left_out.items())) or "no events"
        raise ValueError(f"criterion {criterion!r} has no rating of a {item_kind} ({every})")
    scales = tuple(sorted({event.scale for event in taken}))
    if raw and len(scales) > 1:
        raise ValueError(f"raw values need one scale, got {list(scales)}: take them normalised")
    raters = _order("rater", raters, [event.rater for event in taken])
    items = _order("item", items, [event.item for event in taken])
    place = [{name: i for i, name in enumerate(names)} for names in (raters, items)]
    cells = RatedCells(
        criterion=criterion,
        rater=np.array([place[0][event.rater] for event in taken], dtype=np.int64),
        item=np.array([place[1][event.item] for event in taken], dtype=np.int64),
        wave=np.array([event.wave for event in taken], dtype=np.int64),
        value=np.array([e.value if raw else e.normalised for e in taken], dtype=np.float64),
        propensity=np.array(
            [np.nan if e.propensity is None else e.propensity for e in taken], dtype=np.float64
        ),
        raters=tuple(raters),
        items=tuple(items),
        scale=scales[0] if raw else (0.0, 1.0),
    )
    return Selected(cells, dict(sorted(left_out.items())), scales)


def norm_of(cells: RatedCells) -> Norm:
    """Mean and standard deviation over the cells. Fit it on training cells, use it on all.

    Raises:
        ValueError: every rating is the same, so that there is no scale to bring it to.
    """
    mean, sd = float(cells.value.mean()), float(cells.value.std())
    if sd < 1e-12 * max(1.0, abs(mean)):
        raise ValueError(
            f"every rating of {cells.criterion!r} is {cells.value[0]:g}: it cannot be normalised "
            "and says nothing"
        )
    return Norm(mean, sd)


def normalised(cells: RatedCells, norm: Norm) -> RatedCells:
    """The cells in standard deviations from the mean; the scale moves with them."""
    low, high = ((end - norm.mean) / norm.sd for end in cells.scale)
    return cells._replace(value=(cells.value - norm.mean) / norm.sd, scale=(low, high))


class Combined(NamedTuple):
    """Several criteria as one."""

    cells: RatedCells
    n_incomplete: int
    """Judgements without every criterion: left out, never filled in."""
    n_other_propensity: int
    """Cells whose criteria were asked with different probabilities: that of both is unknown."""


def combine(
    parts: Sequence[RatedCells], norms: Mapping[str, Norm], weights: Mapping[str, float]
) -> Combined:
    """The weighted mean of criteria that have each been normalised first.

    Summed as they are given, the criterion that happens to spread most would decide.

    Args:
        parts: cells, a criterion each.
        norms: of each criterion, from `norm_of` of its training cells.
        weights: of each criterion, not 0; negative: less is better.

    Raises:
        ValueError: other criteria in norms or weights, one twice, a weight that is 0 or not
            finite, or no judgement with every criterion.
    """
    names = [part.criterion for part in parts]
    if not (len(set(names)) == len(names) and set(names) == set(norms) == set(weights)):
        raise ValueError(
            f"norms and weights must be of the criteria {names}, each once, got {list(norms)} and "
            f"{list(weights)}"
        )
    if not all(np.isfinite(w) and w for w in weights.values()):
        raise ValueError(f"weights must be finite and not 0, got {dict(weights)}")
    total = sum(abs(w) for w in weights.values())
    share = [weights[name] / total for name in names]
    parts = [normalised(part, norms[part.criterion]) for part in parts]
    rows = [_rows(part) for part in parts]
    whole = sorted(set(rows[0]).intersection(*rows[1:]))
    if not whole:
        raise ValueError(f"no judgement has every criterion of {names}")
    found = np.array([[part[key] for key in whole] for part in rows])  # (criteria, n, 2)
    values, propensity = found[..., 0], found[..., 1]
    differs = ~((propensity == propensity[0]) | np.isnan(propensity) & np.isnan(propensity[0]))
    ends = np.sort([[w * end for end in part.scale] for w, part in zip(share, parts, strict=True)])
    low, high = ends.sum(0)
    raters = tuple(sorted({rater for rater, _, _ in whole}))
    items = tuple(sorted({item for _, item, _ in whole}))
    at_rater = {name: i for i, name in enumerate(raters)}
    at_item = {name: i for i, name in enumerate(items)}
    cells = RatedCells(
        criterion="+".join(names),
        rater=np.array([at_rater[rater] for rater, _, _ in whole], dtype=np.int64),
        item=np.array([at_item[item] for _, item, _ in whole], dtype=np.int64),
        wave=np.array([wave for _, _, wave in whole], dtype=np.int64),
        value=np.asarray(share) @ values,
        propensity=np.where(differs.any(0), np.nan, propensity[0]),
        raters=raters,
        items=items,
        scale=(float(low), float(high)),
    )
    n_incomplete = len(set().union(*rows)) - len(whole)
    return Combined(cells, n_incomplete, int(differs.any(0).sum()))


def _rows(cells: RatedCells) -> dict[tuple[str, str, int], tuple[float, float]]:
    return {
        (cells.raters[r], cells.items[i], int(w)): (float(v), float(p))
        for r, i, w, v, p in zip(
            cells.rater, cells.item, cells.wave, cells.value, cells.propensity, strict=True
        )
    }


def _reason(
    event: RatingEvent, criterion: str, kind: ItemKind, flags: set[str], verified_only: bool
) -> str | None:
    """Why an event is no cell, None if it is one."""
    if event.criterion != criterion:
        return "of another criterion"
    if event.item_kind != kind:
        return f"of a {event.item_kind}"
    if event.value is None:
        return "without a value"
    if found := sorted(flags & set(event.flags)):
        return f"flagged {found[0]}"
    if verified_only and not event.verified:
        return "not verified"
    return None


def _order(name: str, given: Sequence[str] | None, found: Sequence[str]) -> Sequence[str]:
    if given is None:
        return sorted(set(found))
    if unknown := sorted(set(found) - set(given)):
        raise ValueError(f"{name} {unknown[0]!r} is none of the {len(given)} given "
                         f"({len(unknown)} such)")  # fmt: skip
    if len(set(given)) < len(given):
        raise ValueError(f"{name}s must be given once each")
    return given
