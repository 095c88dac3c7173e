"""What came of an ablation, from its rows alone: Markdown, one HTML page, plots, two CSV files."""

import csv
import io
import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from memformer.ablation.effects import Effect, Interval, effects
from memformer.ablation.experiment import Experiment
from memformer.ablation.levels import Level, levels
from memformer.ablation.metric import Metric
from memformer.ablation.pictures import curves, forest
from memformer.ablation.rows import Cell, Row, cells_of
from memformer.evaluation.markdown import markdown_table
from memformer.evaluation.page_parts import figure, table, whole_page
from memformer.evaluation.plots import Plot
from memformer.evaluation.store import write_whole
from memformer.evaluation.tables import Cell as TableCell
from memformer.evaluation.tables import Table

LIMITS = (
    "Intervals are over the seeds and units of this experiment. They hold neither other data nor "
    "other sizes. Where seeds were asked for, one seed alone has no interval.",
    "A difference whose interval holds 0 is reported as none; that is not evidence of equality.",
    "p of the first metric are adjusted over all variants (Holm); those of the others are looked "
    "at, not tested.",
)

NAMES = ("report.html", "report.md", "tidy.csv", "effects.csv", "levels.csv")


class Paths(NamedTuple):
    """What was written."""

    html: Path
    markdown: Path
    tidy: Path
    """A row a variant, seed, metric and unit."""
    effects: Path
    """A row a variant and metric."""
    levels: Path
    """The same, of metrics that the base has not."""


def write_report(experiment: Experiment, rows: Sequence[Row], folder: Path) -> Paths:
    """Write report.html, report.md, plots, tidy.csv, effects.csv and levels.csv into a folder.

    Args:
        experiment: for the question, the order of variants and which metric is the primary one.
        rows: of finished cells; those that are missing are named.
        folder: made if missing.

    Raises:
        ValueError: no row.
    """
    if not rows:
        raise ValueError(f"{folder} has no finished cell yet: nothing to report")
    found = effects(
        rows, [metric.name for metric in experiment.metrics], experiment.base.name,
        min_seed=experiment.min_seed, n_variant=len(experiment.variants) - 1,
    )  # fmt: skip
    plots = [
        plot
        for plot in (
            *(forest(experiment, metric, found) for metric in experiment.metrics),
            curves(experiment, rows),
        )
        if plot is not None
    ]
    alone = _alone(experiment, found, rows)
    tables = [
        *_effect_tables(experiment, found, rows),
        *(_level_table(experiment, metric, own) for metric, own in alone),
        _cost_table(experiment, rows),
    ]
    headline = [
        *map(_sentence, _primary(experiment, found)),
        *(
            line
            for i, metric in enumerate(experiment.metrics)
            if i == 0
            or metric.name not in {each.metric for each in found}
            and metric not in [other for other, _ in alone]
            for line in _without(metric, experiment, found, rows)
        ),
        *_missing(experiment, rows),
        *_other_code(experiment, rows),
    ]
    paths = Paths(*(folder / n for n in NAMES))
    write_whole(paths.html, _html(experiment, rows, headline, plots, tables).encode())
    write_whole(paths.markdown, _markdown(experiment, rows, headline, plots, tables).encode())
    for plot in plots:
        write_whole(folder / "plots" / f"{plot.name}.svg", plot.wide)
    write_whole(paths.tidy, _tidy(rows).encode())
    write_whole(paths.effects, _effects_csv(found).encode())
    write_whole(paths.levels, _levels_csv([each for _, own in alone for each in own]).encode())
    return paths


def _primary(experiment: Experiment, found: Sequence[Effect]) -> list[Effect]:
    return [each for each in found if each.metric == experiment.metrics[0].name]


def _sentence(e: Effect) -> str:
    d = e.difference
    if e.is_constant:
        alike = f"in all {e.n_seed * e.n_unit} pairs alike, which gives no interval"
        return f"{e.variant}: {_signed(d.value)} in {e.metric}, {alike}."
    if math.isnan(d.low):
        return (
            f"{e.variant}: {_signed(d.value)} in {e.metric}, of {e.n_seed} seed alone: nothing "
            "can be said."
        )
    told = f"{_signed(d.value)} [{_signed(d.low)}, {_signed(d.high)}]"
    if d.low <= 0 <= d.high:
        return f"{e.variant}: no difference in {e.metric} can be told ({told})."
    return f"{e.variant}: {told} in {e.metric} (p after Holm {_p(e.p_holm)})."


def _without(
    metric: Metric, experiment: Experiment, found: Sequence[Effect], rows: Sequence[Row]
) -> list[str]:
    """Variants that have rows, and no value of a metric that the base has too."""
    compared = {experiment.base.name, *(e.variant for e in found if e.metric == metric.name)}
    left = [name for name in dict.fromkeys(row.variant for row in rows) if name not in compared]
    return [f"No {metric.name} beside the base's: {', '.join(left)}."] if left else []


def _missing(experiment: Experiment, rows: Sequence[Row]) -> list[str]:
    made = {Cell(row.variant, row.seed) for row in rows}
    left = [cell for cell in cells_of(experiment) if cell not in made]
    if not left:
        return []
    shown = "; ".join(map(str, left[:5])) + (" …" if len(left) > 5 else "")
    return [f"Cells without a row, {len(left)}: {shown}."]


def _other_code(experiment: Experiment, rows: Sequence[Row]) -> list[str]:
    n = sum(bool(row.code) and row.code != experiment.code for row in rows)
    name = experiment.path.name
    return [f"Rows made by other code of {name} than it holds now: {n}."] if n else []


def _effect_tables(
    experiment: Experiment, found: Sequence[Effect], rows: Sequence[Row]
) -> list[Table]:
    tables = []
    for metric in experiment.metrics:
        own = [each for each in found if each.metric == metric.name]
        if own:
            left = " ".join(_without(metric, experiment, found, rows))
            tables.append(_effect_table(experiment, metric, own, left))
    return tables


def _effect_table(
    experiment: Experiment, metric: Metric, own: Sequence[Effect], left: str
) -> Table:
    shown = [
        [
            TableCell(e.variant), TableCell(f"{e.level:.4f}"), TableCell(f"{e.base:.4f}"),
            TableCell(_signed(e.difference.value), _bounds(e.difference)), TableCell(_p(e.p)),
            TableCell(_p(e.p_holm)), TableCell(str(e.n_seed)), TableCell(str(e.n_unit)),
        ]
        for e in own
    ]  # fmt: skip
    is_first = metric is experiment.metrics[0]
    return Table(
        f"{metric.name}: {'the declared metric' if is_first else 'looked at beside it'}",
        f"{metric.told}{metric.better.capitalize()} is better. Differences to "
        f"{experiment.base.name!r} on the seeds and units that both have, with 95% intervals over "
        f"both (pigeonhole bootstrap, widened for few). {left}".rstrip(),
        ["", "mean", "base", "difference", "p", "p, Holm", "seeds", "units"], shown,
        {j for j, e in enumerate(own) if e.difference.low > 0 or e.difference.high < 0},
    )  # fmt: skip


def _alone(
    experiment: Experiment, found: Sequence[Effect], rows: Sequence[Row]
) -> list[tuple[Metric, list[Level]]]:
    """Metrics other than the first in which no variant stands beside the base, and who has them."""
    compared = {each.metric for each in found}
    return [
        (metric, own)
        for metric in experiment.metrics[1:]
        if metric.name not in compared
        and (own := levels(rows, metric.name, min_seed=experiment.min_seed))
        and {each.variant for each in own} != {experiment.base.name}
    ]


def _level_table(experiment: Experiment, metric: Metric, own: Sequence[Level]) -> Table:
    return Table(
        f"{metric.name}: of variants alone",
        f"{metric.told}{metric.better.capitalize()} is better. {experiment.base.name!r} has none "
        "to stand beside. Means with 95% intervals over the seeds and units of each variant "
        "(pigeonhole bootstrap, widened for few).",
        ["", "mean", "seeds", "units"],
        [
            [
                TableCell(each.variant),
                TableCell(f"{each.level.value:.4f}".replace("-", "−"), _bounds(each.level)),
                TableCell(str(each.n_seed)),
                TableCell(str(each.n_unit)),
            ]
            for each in own
        ],
        set(),
    )  # fmt: skip


def _p(p: float) -> str:
    return "–" if math.isnan(p) else f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def _bounds(interval: Interval) -> str:
    _, low, high = interval
    return "no interval" if math.isnan(low) else f"[{_signed(low)}, {_signed(high)}]"


def _signed(x: float) -> str:
    return f"{x:+.4f}".replace("-", "−")


def _cost_table(experiment: Experiment, rows: Sequence[Row]) -> Table:
    shown = []
    for variant in experiment.variants:
        own = [row for row in rows if row.variant == variant.name]
        if not own:
            continue
        seconds = sum(row.wall_s for row in own) / len(own)
        speed = f"{own[0].n_token / seconds:,.0f}" if own[0].n_token and seconds else "–"
        shown.append(
            [
                TableCell(variant.name), TableCell(f"{own[0].n_parameter:,}"),
                TableCell(f"{own[0].n_token:,}"), TableCell(f"{seconds:,.1f}"), TableCell(speed),
            ]
        )  # fmt: skip
    return Table(
        "What it cost",
        "Means over seeds; seconds hold making and measuring, on machines that may have been busy.",
        ["", "parameters", "tokens trained on", "seconds a cell", "tokens/s"], shown, set(),
    )  # fmt: skip


def _html(
    experiment: Experiment, rows: Sequence[Row], headline: Sequence[str],
    plots: Sequence[Plot], tables: Sequence[Table],
) -> str:  # fmt: skip
    limits = "".join(f"<li>{escape(line)}</li>" for line in LIMITS)
    return whole_page(
        kicker="memformer · ablation",
        title=experiment.question,
        lead=" ".join(headline),
        by=_by(experiment, rows),
        main=f"""{"".join(map(figure, plots))}
<h2>The numbers</h2>
{"".join(map(table, tables))}
<h2>What this does not say</h2>
<ul class="limits">{limits}</ul>""",
    )


def _by(experiment: Experiment, rows: Sequence[Row]) -> str:
    machines = sorted({str(row.machine.get("processor")) for row in rows})
    return (
        f"{experiment.path.name}: {len(experiment.variants)} variants, {len(experiment.seeds)} "
        f"seeds, {len(rows)} cells; {', '.join(machines)}"
    )


def _markdown(
    experiment: Experiment, rows: Sequence[Row], headline: Sequence[str], plots: Sequence[Plot],
    tables: Sequence[Table],
) -> str:  # fmt: skip
    parts = [f"# {experiment.question}", " ".join(headline), _by(experiment, rows)]
    parts += [
        f"## {plot.title}\n\n![{plot.title}](plots/{plot.name}.svg)\n\n{plot.caption}"
        for plot in plots
    ]
    parts += ["## The numbers", *map(markdown_table, tables)]
    parts += ["## What this does not say", "\n".join(f"- {line}" for line in LIMITS)]
    return "\n\n".join(parts) + "\n"


def _tidy(rows: Sequence[Row]) -> str:
    head = ["variant", "seed", "metric", "unit", "value"]
    lines = [
        [row.variant, row.seed, metric, unit, value]
        for row in rows
        for metric, units in row.metrics.items()
        for unit, value in units.items()
    ]
    return _csv(head, lines)


def _effects_csv(found: Sequence[Effect]) -> str:
    head = ["variant", "metric", "level", "base", "difference", "low", "high", "p", "p_holm",
            "n_seed", "n_unit"]  # fmt: skip
    lines = [
        [e.variant, e.metric, e.level, e.base, *e.difference, e.p, e.p_holm, e.n_seed, e.n_unit]
        for e in found
    ]
    return _csv(head, lines)


def _levels_csv(alone: Sequence[Level]) -> str:
    head = ["variant", "metric", "level", "low", "high", "p", "n_seed", "n_unit"]
    return _csv(head, [[e.variant, e.metric, *e.level, e.p, e.n_seed, e.n_unit] for e in alone])


def _csv(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator=os.linesep)
    writer.writerow(head)
    writer.writerows(lines)
    return buffer.getvalue()
