"""The tables of a report, with every shortcut and chance in each."""

import math
import statistics
from collections.abc import Iterator, Sequence

from memformer.evaluation.tables import Cell, Table
from memformer.plotbench.comparison import compare
from memformer.plotbench.findings import Findings
from memformer.plotbench.metrics import (
    CHANCE,
    Scores,
    calibration,
    curve,
    effective_length,
    utilisation,
)
from memformer.plotbench.metrics import retrieval as retrieved
from memformer.plotbench.rows import Run
from memformer.plotbench.statistics import MIN_STORIES, Estimate
from memformer.plotbench.story import CLAIM, RETRIEVAL_FLOOR

NONE = Cell("–")
_FEW = f"A value without brackets has under {MIN_STORIES} stories, and no interval."
_INTERVALS = f"In brackets: 95% intervals over stories (BCa bootstrap). {_FEW}"


def every_table(found: Findings, pair: tuple[Run, Run] | None = None) -> list[Table]:
    """All tables, in the order of reading; `pair` is compared family by family."""
    tables = [main_table(found), distance_table(found), family_table(found)]
    tables += [*_utilisation_tables(found), *_retrieval_tables(found)]
    if pair is not None:
        tables.append(comparison_table(found, *pair))
    return tables


def main_table(found: Findings) -> Table:
    """Every run over the families that carry the claim."""
    return Table(
        title="The families that carry the claim, all distances",
        caption=f"{', '.join(CLAIM)}. {_INTERVALS} Net: groups right in all four cells minus "
        "groups wrong in all four. Difference in differences (DiD), Brier score and calibration "
        "error (ECE) are not given for shortcuts, whose ranks have no size.",
        head=["", "items", "pairs", "groups", "net", "DiD, nats", "nats per byte", "Brier",
              "ECE", "groups, n", "stories"],
        rows=[_chance_row(10), *(_main_row(found, run) for run in _runs(found))],
        strong=_strong(found),
    )  # fmt: skip


def _main_row(found: Findings, run: Run) -> list[Cell]:
    s = found.scores(run)
    if s is None:
        return [_named(found, run), *[NONE] * 10]
    sized = [NONE] * 4
    if not found.is_shortcut(run):
        c = calibration(found.rows(run))
        sized = [
            cell(s.did, 2), cell(s.did_per_byte, 3), cell(c.brier, 3), Cell(f"{c.ece:.3f}")
        ]  # fmt: skip
    return [
        _named(found, run), cell(s.item), cell(s.pair), cell(s.group), cell(s.net, sign=True),
        *sized, Cell(str(s.n_groups)), Cell(str(s.group.n_stories)),
    ]  # fmt: skip


def distance_table(found: Findings) -> Table:
    """Group accuracy by distance, and how far it reaches."""
    rows = []
    for run in _runs(found):
        each = [found.scores(run, bucket=bucket) for bucket in found.buckets]
        rows.append([_named(found, run), *map(_group_cell, each), _reach(found, run)])
    return Table(
        title="Groups right by distance",
        caption="Tokens between the facts and the question as stories were built; "
        f"{_measured(found)}. {_INTERVALS} "
        "Reach: the largest distance up to which the lower bound keeps 85% of the same run's "
        "accuracy with the licence right before the question; given where that was run.",
        head=["", *(f"{bucket:,}" for bucket in found.buckets), "reach"],
        rows=[_chance_row(len(found.buckets) + 1, len(found.buckets)), *rows],
        strong=_strong(found),
    )


def _measured(found: Findings) -> str:
    """How far the facts are in the lead's own tokens."""
    told = []
    for bucket in found.buckets:
        distances = [row.d_near_tokens for row in found.rows(found.lead, bucket=bucket)]
        if distances:
            told.append(f"{statistics.median(distances):,.0f} for {bucket:,}")
    return f"in tokens of {found.lead.model} the nearest deciding fact is, in the median, " + (
        ", ".join(told) or "not known"
    )


def _reach(found: Findings, run: Run) -> Cell:
    local = Run(run.model, "local", run.fraction)
    own = found.scores(local) if local in found.models and run != local else None
    rows = found.rows(run)
    if own is None or not rows:
        return NONE
    reached = effective_length(curve(rows), own.group)
    return Cell("none" if reached is None else f"{reached:,}")


def _utilisation_tables(found: Findings) -> Iterator[Table]:
    rows = []
    for run in found.models:
        local = Run(run.model, "local", run.fraction)
        if local not in found.models or run == local:
            continue
        cells = []
        for bucket in found.buckets:
            far, near = found.rows(run, bucket=bucket), found.rows(local, bucket=bucket)
            cells.append(cell(utilisation(far, near)) if far and near else NONE)
        rows.append([Cell(run.label), *cells])
    if rows:
        yield Table(
            title="Contextual utilisation by distance",
            caption="DiD by the same run's DiD with the licence right before the question: 1 means "
            "that distance costs nothing, 0 that the fact is not reached. Given where the interval "
            f"of the local DiD excludes 0. {_INTERVALS} The ranks of shortcuts have no DiD.",
            head=["", *(f"{bucket:,}" for bucket in found.buckets)],
            rows=[[Cell("chance"), *[Cell("0.00")] * len(found.buckets)], *rows],
            strong=set(),
        )


def family_table(found: Findings) -> Table:
    """Group accuracy by family."""
    rows = [
        [_named(found, run), *(_group_cell(found.scores(run, each)) for each in found.families)]
        for run in _runs(found)
    ]
    floors = [each for each in found.families if each in RETRIEVAL_FLOOR]
    return Table(
        title="Groups right by family, all distances",
        caption=f"{_INTERVALS}"
        + (
            f" Retrieval floors, solved by looking a name up: {', '.join(floors)}."
            if floors
            else ""
        ),
        head=["", *found.families],
        rows=[_chance_row(len(found.families), len(found.families)), *rows],
        strong=_strong(found),
    )


def _retrieval_tables(found: Findings) -> Iterator[Table]:
    rows, ks = [], (1, 4, 16, 64)
    for run in found.models:
        r = retrieved(found.rows(run), ks)
        if r is None:
            continue
        for i, whose in enumerate(("gold", "the other person's")):
            cells = [cell(r.recall[k][i]) for k in ks]
            rows.append([Cell(run.label), Cell(whose), *cells, cell(r.mrr[i])])
    if rows:
        yield Table(
            title="What the memory found",
            caption="Share of the spans that license the answer which the first k retrieved pairs "
            f"touch, beside the same share of the other person's spans. {_INTERVALS} Shortcuts "
            "retrieve nothing.",
            head=["", "spans", *(f"k={k}" for k in ks), "MRR"],
            rows=rows,
            strong=set(),
            n_text=2,
        )


def comparison_table(found: Findings, a: Run, b: Run) -> Table:
    """Run a minus run b, family by family and distance by distance."""
    rows, strong = [], set()
    for i, each in enumerate(compare(found.every_row(a), found.every_row(b))):
        d = each.difference
        if each.is_primary:
            strong.add(i)
        rows.append(
            [
                Cell(each.family, "declared" if each.is_primary else "looked at"),
                Cell(f"{each.bucket:,}"),
                cell(d.group, sign=True),
                cell(d.did, 2, sign=True),
                Cell(f"{each.p:.3f}"),
                Cell(str(d.n_groups)),
            ]
        )
    return Table(
        title=f"{a.label} minus {b.label}",
        caption="Paired by group; p of the groups right by tossing the signs of whole stories, "
        "adjusted by Holm within the cells declared beforehand, by Benjamini and Hochberg among "
        f"all others. {_INTERVALS}",
        head=["", "distance", "groups", "DiD, nats", "p", "groups, n"],
        rows=rows,
        strong=strong,
    )


def cell(estimate: Estimate, digits: int = 2, *, sign: bool = False) -> Cell:
    """A number and its interval."""
    form = f"{'+' if sign else ''}.{digits}f"

    def written(x: float) -> str:
        return format(x, form).replace("-", "−")

    if math.isnan(estimate.value):
        return NONE
    if math.isnan(estimate.low):
        return Cell(written(estimate.value))
    return Cell(written(estimate.value), f"[{written(estimate.low)}, {written(estimate.high)}]")


def _group_cell(s: Scores | None) -> Cell:
    return NONE if s is None else cell(s.group)


def _runs(found: Findings) -> Sequence[Run]:
    return [*found.models, *found.shortcuts]


def _named(found: Findings, run: Run) -> Cell:
    return Cell(run.model, "shortcut") if found.is_shortcut(run) else Cell(run.label)


def _chance_row(n: int, n_group: int | None = None) -> list[Cell]:
    """Chance under n columns, of which, if told, the first `n_group` are of groups."""
    if n_group is not None:
        group = Cell(f"{CHANCE['group']:.2f}")
        return [Cell("chance"), *[group] * n_group, *[NONE] * (n - n_group)]
    shares = [Cell(f"{chance:.2f}") for chance in CHANCE.values()]
    rest = [Cell(each) for each in ("0.00", "0.00", "0.000", "0.250")]
    return [Cell("chance"), *shares, *rest, *[NONE] * (n - len(shares) - len(rest))]


def _strong(found: Findings) -> set[int]:
    return {1 + found.models.index(found.lead)}
