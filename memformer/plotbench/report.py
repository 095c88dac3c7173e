"""A report of results: one HTML page that needs no other file, one Markdown page, the plots."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from memformer.evaluation.store import write_whole
from memformer.evaluation.tables import Cell
from memformer.plotbench.findings import Findings
from memformer.plotbench.pictures import every_plot
from memformer.plotbench.position import PositionRows
from memformer.plotbench.position_tables import position_tables
from memformer.plotbench.report_page import Page, html_page, markdown_page
from memformer.plotbench.report_tables import cell, every_table
from memformer.plotbench.results import Result
from memformer.plotbench.rows import Run
from memformer.plotbench.story import Bench
from memformer.plotbench.trend import trend_tables
from memformer.plotbench.worked import examples

LIMITS = (
    "A high score is necessary, not sufficient: it shows that a model can tell which continuation "
    "fits, not that it would write it.",
    "The stories are made by rules, in one voice, in English. A model of novels reads them as "
    "something foreign; scores of a model trained on the simulator's own train split are another "
    "kind of number and belong in a table of their own.",
    "attr.static and attr.update are solved by looking up the latest sentence with a name and a "
    "value: they measure retrieval.",
    "Groups right are .06 for guesses, but a half for a scorer that reacts to what differs between "
    "the twins without understanding it: it gets all four cells right or all four wrong. Net and "
    "DiD are 0 for both: read those.",
    "arc.position is decided by one sentence out of few: nothing may be claimed with it.",
    "Intervals are over stories. They hold neither another training seed nor another benchmark.",
    "Cells that were not declared beforehand are looked at, not tested: their p-values are "
    "adjusted among themselves.",
)


class ReportPaths(NamedTuple):
    """What was written."""

    html: Path
    markdown: Path
    plots: list[Path]


def write_report(
    folder: Path | str,
    bench: Bench,
    rows: Sequence[Result],
    *,
    compared: tuple[str, str] | None = None,
    markdown: Path | str | None = None,
    position: PositionRows | None = None,
) -> ReportPaths:
    """Write `report.html`, `report.md` and `plots/` into a folder.

    Args:
        folder: where to; made if need be.
        bench: the data that the results are of.
        rows: of all runs.
        compared: labels of two runs (`Run.label`) to take the difference of.
        markdown: where the Markdown goes instead of `report.md`.
        position: what `position.run_position` found, for tables of its own.

    Raises:
        ValueError: no results, results of other data, or a label that no run has.
    """
    folder = Path(folder)
    found = Findings(bench, rows)
    pair = None if compared is None else _pair(found, compared)
    page = Page(
        title=f"PlotBench: {found.lead.model}",
        subtitle=f"Data {bench.manifest.get('bench_version')}, "
        f"{str(bench.manifest.get('content_sha256'))[:12]}: "
        f"{_told(bench)}; {_answered(found)}.",
        headline=headline(found),
        plots=every_plot(found),
        tables=[
            *every_table(found, pair),
            *([] if pair is None else trend_tables(found, *pair)),
            *([] if position is None else position_tables(position)),
        ],
        examples=examples(found),
        limits=LIMITS,
    )
    paths = ReportPaths(
        folder / "report.html",
        folder / "report.md" if markdown is None else Path(markdown),
        [folder / "plots" / f"{plot.name}.svg" for plot in page.plots],
    )
    write_whole(paths.html, html_page(page).encode())
    plots = Path(os.path.relpath(folder / "plots", paths.markdown.parent)).as_posix()
    write_whole(paths.markdown, markdown_page(page, plots).encode())
    for path, plot in zip(paths.plots, page.plots, strict=True):
        write_whole(path, plot.wide)
    return paths


def _told(bench: Bench) -> str:
    """What the data are: for whoever cites the numbers."""
    splits = sorted({story.split for story in bench.stories})
    seeds = sorted({story.seed for story in bench.stories})
    return (
        f"{', '.join(splits)} split, {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}), "
        f"{len(bench.stories)} texts, {len(bench.probes):,} probes"
    )


def _answered(found: Findings) -> str:
    """Of the lead's rows, all that the data ask for."""
    n, of = len(found.every_row(found.lead)), len(found.bench.probes)
    if n < of:
        return f"{found.lead.label} answered {n:,} of them: the run is not finished"
    return f"all answered by {found.lead.label}"


def _with(c: Cell) -> str:
    """A number with its interval, where there is one."""
    return " ".join(part for part in (c.main, c.small) if part)


def headline(found: Findings) -> list[str]:
    """What came out, in a few sentences; what lies within the noise is not called a finding."""
    s = found.scores(found.lead)
    if s is None:
        return [f"{found.lead.label} was asked no question of the families that carry the claim."]
    shown, net = cell(s.group), cell(s.net, sign=True)
    if math.isnan(s.net.low):
        against = "of too few stories for an interval"
    elif s.net.low > 0:
        against = "more than it gets wrong in all four cells"
    elif s.net.high < 0:
        against = "fewer than it gets wrong in all four cells"
    else:
        against = "not told apart from what it gets wrong in all four cells"
    sentences = [
        f"{found.lead.label} gets {_with(shown)} of the groups right in the families "
        f"that carry the claim, {against} (net {_with(net)})."
    ]
    best = [
        (other.net.value, run.model)
        for run in found.rivals
        if (other := found.scores(run)) is not None
    ]
    if best:  # where only shortcuts were asked, none is left to stand beside
        value, name = max(best)
        sentences.append(f"The best shortcut there ({name}) has a net of {value:+.2f}.")
    if found.incomplete:
        sentences.append(
            f"{len(found.incomplete)} groups lack a cell and count in no number of groups: "
            f"{', '.join(found.incomplete[:3])}{' …' if len(found.incomplete) > 3 else ''}."
        )
    return sentences


def _pair(found: Findings, labels: tuple[str, str]) -> tuple[Run, Run]:
    known = {run.label: run for run in found.models}
    for label in labels:
        if label not in known:
            raise ValueError(f"no run is called {label!r}; there are: {', '.join(known)}")
    return known[labels[0]], known[labels[1]]
