"""From rows of results to numbers: items, pairs, groups of four, and differences of differences.

The margin of a probe is log p(consistent) - log p(contradictory) in nats. Groups hold one margin a
cell, in the order of `CELLS`: (A, x), (A, y), (B, x), (B, y).

    G groups, S stories (world seeds)
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.plotbench.results import Result
from memformer.plotbench.rows import by_run
from memformer.plotbench.statistics import (
    Estimate,
    Floats,
    interval,
    intervals,
    mean,
    mean_interval,
    of_bounded,
    sign_flip_p,
    story_sums,
)
from memformer.plotbench.story import Span
from memformer.plotbench.validity import CELLS

CHANCE = {"item": 0.5, "pair": 0.25, "group": 0.0625}
EFFECTIVE = 0.85
"""Share of its own local accuracy down to which a distance still counts as reached."""
N_BIN = 10  # of confidences


def margin(row: Result) -> float:
    """log p(consistent) - log p(contradictory), nats."""
    return row.logprob[row.gold] - row.logprob[1 - row.gold]


def margin_per_byte(row: Result) -> float:
    """The same of log-probabilities per UTF-8 byte: to compare models of different tokenizers."""
    consistent, other = (row.logprob[i] / row.n_bytes[i] for i in (row.gold, 1 - row.gold))
    return consistent - other


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Complete groups of one run, by group_id, and the ids of those that lack a cell."""

    ids: tuple[str, ...]
    seeds: NDArray[np.int64]
    """(G,)"""
    margins: Floats
    """(G, 4), nats."""
    per_byte: Floats
    """(G, 4), nats per byte."""
    incomplete: tuple[str, ...]

    @property
    def did(self) -> Floats:
        """(G,) difference-in-differences log-odds, nats, averaged over X and Y.

        With fixed options a, b: DiD_X = 1/2 {[s_A(a) - s_A(b)] - [s_B(a) - s_B(b)]}. What a scorer
        prefers in both twins alike cancels; averaging X and Y cancels recency. As a is consistent
        in one twin and b in the other, this is the mean of the four margins.
        """
        return np.asarray(self.margins.mean(1))

    @property
    def is_right(self) -> Floats:
        """(G,) 1 where all four margins are positive; a tie is not."""
        return np.asarray((self.margins > 0).all(1), dtype=np.float64)

    @property
    def net(self) -> Floats:
        """(G,) 1 where all four margins are positive, -1 where all are negative, else 0.

        A scorer that reacts to the swap without understanding it (to a sentence's length, say) is
        right or wrong in all four cells together: half of its groups are right, and as many are
        wrong. Its net is 0, as is that of one who does not react.
        """
        return np.asarray(self.is_right - (self.margins < 0).all(1))

    @property
    def pairs_right(self) -> Floats:
        """(G,) share of X and Y that are right in both twins."""
        right = self.margins > 0
        x, y = right[:, 0] & right[:, 2], right[:, 1] & right[:, 3]
        return np.asarray(x / 2 + y / 2)


def groups_of(rows: Sequence[Result]) -> Groups:
    """Put the rows of one run into groups.

    Raises:
        ValueError: rows of several runs, or a cell twice.
    """
    runs = by_run(rows)
    if len(runs) > 1:
        labels = "; ".join(run.label for run in runs)
        raise ValueError(f"rows must be of one run, got {labels}: split them with by_run")
    held: dict[str, dict[tuple[str, str], Result]] = {}
    for row in rows:
        cells = held.setdefault(row.group_id, {})
        if row.cell in cells:
            raise ValueError(f"{row.probe_id}: group {row.group_id} has this cell twice")
        cells[row.cell] = row
    whole = {id: cells for id, cells in sorted(held.items()) if len(cells) == len(CELLS)}
    return Groups(
        ids=tuple(whole),
        seeds=np.array([cells[CELLS[0]].seed for cells in whole.values()], dtype=np.int64),
        margins=_margins(whole.values(), margin),
        per_byte=_margins(whole.values(), margin_per_byte),
        incomplete=tuple(sorted(held.keys() - whole.keys())),
    )


def _margins(groups: Iterable[dict[tuple[str, str], Result]], of: Any) -> Floats:
    rows = [[of(cells[cell]) for cell in CELLS] for cells in groups]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(CELLS))


class Scores(NamedTuple):
    """The numbers of one cell of a table, with intervals over stories."""

    item: Estimate
    """Share of probes with a positive margin; a tie counts half."""
    pair: Estimate
    group: Estimate
    net: Estimate
    """Share of groups right in all four cells minus share wrong in all four."""
    did: Estimate
    """Nats."""
    did_per_byte: Estimate
    n_groups: int
    n_probes: int
    incomplete: tuple[str, ...]


def scores(rows: Sequence[Result]) -> Scores:
    """All numbers of one run, or of a part of it.

    Raises:
        ValueError: no rows, or as `groups_of`.
    """
    if not rows:
        raise ValueError("rows must hold at least one, got none")
    groups = groups_of(rows)
    m = np.array([margin(row) for row in rows])
    items = (m > 0) + (m == 0) / 2
    item = mean_interval(items, [row.seed for row in rows], is_share=True)
    if not groups.ids:
        nothing = Estimate(math.nan, math.nan, math.nan, 0)
        pair = group = net = did = per_byte = nothing
    else:  # over the stories that have a complete group
        columns = (
            groups.pairs_right, groups.is_right, groups.net, groups.did, groups.per_byte.mean(1),
        )  # fmt: skip
        sums = np.stack(
            [story_sums([each, np.ones(len(each))], groups.seeds) for each in columns], axis=1
        )  # (S, 5, 2)
        found = [
            Estimate(float(value), float(low), float(high), len(sums))
            for value, low, high in intervals(sums, mean)
        ]
        pair, group, (net, did, per_byte) = of_bounded(found[0]), of_bounded(found[1]), found[2:]
        net = of_bounded(net, -1.0)
    return Scores(
        item, pair, group, net, did, per_byte, len(groups.ids), len(rows), groups.incomplete
    )


class Difference(NamedTuple):
    """One run minus another, on the groups that both have: intervals and p over stories."""

    group: Estimate
    did: Estimate
    p_group: float
    p_did: float
    n_groups: int


def difference(a: Sequence[Result], b: Sequence[Result]) -> Difference:
    """Paired: a memory's effect is `difference(rows with it on, rows with it off)`.

    Raises:
        ValueError: no group is complete in both.
    """
    one, other, seeds = _shared(groups_of(a), groups_of(b))
    right = (one > 0).all(1).astype(np.float64) - (other > 0).all(1)
    did = one.mean(1) - other.mean(1)
    return Difference(
        of_bounded(mean_interval(right, seeds), -1.0), mean_interval(did, seeds),
        sign_flip_p(right, seeds), sign_flip_p(did, seeds), len(seeds),
    )  # fmt: skip


def utilisation(rows: Sequence[Result], local: Sequence[Result]) -> Estimate:
    """DiD at a distance by DiD with the licence right before the probe, on shared groups.

    Tells *cannot reach* from *cannot understand*. NaN where the local DiD's interval holds 0.
    """
    far, near, seeds = _shared(groups_of(rows), groups_of(local))
    own = mean_interval(near.mean(1), seeds)
    if not own.excludes_zero:
        return Estimate(math.nan, math.nan, math.nan, own.n_stories)
    return interval(story_sums([far.mean(1), near.mean(1)], seeds), mean)


def _shared(a: Groups, b: Groups) -> tuple[Floats, Floats, NDArray[np.int64]]:
    at = {id: i for i, id in enumerate(b.ids)}
    pairs = [(i, at[id]) for i, id in enumerate(a.ids) if id in at]
    if not pairs:
        raise ValueError("the two runs share no complete group: score them on the same data")
    first, second = (list(each) for each in zip(*pairs, strict=True))
    return a.margins[first], b.margins[second], a.seeds[first]


def curve(rows: Sequence[Result]) -> dict[int, Scores]:
    """Numbers by distance bucket, ascending."""
    found: dict[int, list[Result]] = {}
    for row in rows:
        found.setdefault(row.bucket, []).append(row)
    return {bucket: scores(found[bucket]) for bucket in sorted(found)}


def effective_length(by_distance: dict[int, Scores], local: Estimate) -> int | None:
    """The largest distance up to which group accuracy keeps at lower bound 85% of the local one.

    Relative to the model itself. None: not even the nearest, or no intervals.
    """
    reached = None
    for bucket in sorted(by_distance):
        if not by_distance[bucket].group.low >= EFFECTIVE * local.value:
            break
        reached = bucket
    return reached


def area(by_distance: dict[int, Scores]) -> float:
    """Mean group accuracy over the logarithm of distance, by trapezia; NaN for one distance."""
    x = np.log2(sorted(by_distance))
    y = np.array([by_distance[bucket].group.value for bucket in sorted(by_distance)])
    if len(x) < 2:
        return math.nan
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))


class Retrieval(NamedTuple):
    """What the memory found of the spans that license the answer, beside the other person's."""

    recall: dict[int, tuple[Estimate, Estimate]]
    """By k: share of supporting spans touched by the first k retrieved, gold and other."""
    mrr: tuple[Estimate, Estimate]
    """Mean reciprocal rank of the first that touches one; 0 where none does."""
    n_probes: int


def retrieval(rows: Sequence[Result], ks: Sequence[int] = (1, 4, 16, 64)) -> Retrieval | None:
    """Of the rows that say what was retrieved; None if none does.

    A row without spans of one kind counts for the other alone.
    """
    told = [row for row in rows if row.retrieved is not None]
    if not told:
        return None

    def estimate(of: str, number: Any) -> Estimate:
        seeds, values = [], []
        for row in told:
            spans = [(start, stop) for start, stop, kind in row.support if kind == of]
            if spans and row.retrieved is not None:
                seeds.append(row.seed)
                values.append(number(spans, row.retrieved))
        return mean_interval(values, seeds, is_share=True)

    def both(number: Any) -> tuple[Estimate, Estimate]:
        return estimate("gold", number), estimate("other", number)

    recall = {k: both(lambda spans, found, k=k: _recall(spans, found[:k])) for k in ks}
    return Retrieval(recall, both(_reciprocal_rank), len(told))


def _touches(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _recall(spans: Sequence[Span], found: Sequence[Span]) -> float:
    return sum(any(_touches(span, each) for each in found) for span in spans) / len(spans)


def _reciprocal_rank(spans: Sequence[Span], found: Sequence[Span]) -> float:
    ranks = (i for i, each in enumerate(found, 1) if any(_touches(each, s) for s in spans))
    return 1 / next(ranks, math.inf)


class Calibration(NamedTuple):
    """Of sigmoid(margin) as the probability of the consistent option."""

    brier: Estimate
    """Mean squared error; .25 for one who always says one half."""
    ece: float
    """Expected calibration error: |accuracy - confidence|, weighted over bins of confidence."""


def calibration(rows: Sequence[Result]) -> Calibration:
    """Brier score and expected calibration error in ten bins of [.5, 1]."""
    m = np.array([margin(row) for row in rows])
    sure = 1 / (1 + np.exp(-np.abs(m)))  # probability of what is preferred
    p = np.where(m >= 0, sure, 1 - sure)
    right = (m > 0) + (m == 0) / 2
    bins = np.minimum(((sure - 0.5) * 2 * N_BIN).astype(int), N_BIN - 1)
    gaps = np.bincount(bins, right - sure, N_BIN)
    seeds = [row.seed for row in rows]
    return Calibration(mean_interval((1 - p) ** 2, seeds), float(np.abs(gaps).sum() / len(rows)))
