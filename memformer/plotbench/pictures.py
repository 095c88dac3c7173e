"""The plots of a report: curves against distance, families by distance, what was retrieved."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from memformer.evaluation.drawing import INK, draw_panels
from memformer.evaluation.plots import Plot
from memformer.plotbench.findings import Findings
from memformer.plotbench.metrics import CHANCE, Scores, retrieval
from memformer.plotbench.rows import Run
from memformer.plotbench.statistics import Estimate
from memformer.plotbench.story import CLAIM

_COLOURS = ("#0b5fa5", "#d97706", "#3f8f6b", "#b5488f", "#8c6d31", "#5b2a86", "#d1495b")
_MAX_RUNS = len(_COLOURS)
_LEAST_NATS = 0.1
_KS = (1, 2, 4, 8, 16, 32, 64)


def every_plot(found: Findings) -> list[Plot]:
    """All that the results allow, in the order of reading."""
    plots = [curves(found), heat(found)]
    recalled = recall(found)
    return plots if recalled is None else [*plots, recalled]


def shown(found: Findings) -> list[Run]:
    """Runs that plots show: the lead and those first named, as many as there are colours."""
    rest = [run for run in found.models if run != found.lead]
    return [found.lead, *rest][:_MAX_RUNS]


def curves(found: Findings) -> Plot:
    """Group accuracy and DiD against distance, with bands."""
    measures: dict[str, Callable[[Scores], Estimate]] = {
        "groups right": lambda s: s.group,
        "difference in differences, nats": lambda s: s.did,
    }

    def draw(axes: Axes, panel: str) -> None:
        is_share = panel == "groups right"
        if is_share:
            for i, run in enumerate(found.rivals):
                x, y, _, _ = _line(found, run, measures[panel])
                label = "shortcuts" if i == 0 else None
                axes.plot(x, y, color="#c5cbd1", lw=1, zorder=1, label=label)
        for i, run in enumerate(shown(found)):
            x, y, low, high = _line(found, run, measures[panel])
            axes.plot(x, y, "o-", ms=4.5, lw=1.8, color=_COLOURS[i], label=run.label, zorder=3)
            axes.fill_between(x, low, high, color=_COLOURS[i], alpha=0.14, lw=0)
        chance = CHANCE["group"] if is_share else 0.0
        axes.axhline(chance, color=INK, lw=1, ls=(0, (3, 2)), label="chance")
        axes.set_xscale("log", base=2)
        axes.set_xticks(found.buckets, [_short(bucket) for bucket in found.buckets])
        axes.minorticks_off()
        if is_share:
            axes.set_ylim(-0.02, 1.02)
        else:  # what is next to nothing is not to look like something
            bottom, top = axes.get_ylim()
            axes.set_ylim(min(bottom, -_LEAST_NATS), max(top, _LEAST_NATS))
        axes.set_title(panel)

    left_out = len(found.models) - len(shown(found))
    return _plot(
        [*measures],
        "distance",
        "Right at what distance?",
        f"Families that carry the claim ({', '.join(CLAIM)}), by tokens between the facts and the "
        "question. A group is right if all four of its cells are. Bands: 95% intervals over "
        "stories, where there are at least ten."
        + (f" {left_out} more runs stand in the tables alone." if left_out else ""),
        draw,
        x_label="distance, tokens",
        height=2.9,
        has_legend=True,
    )


def _line(
    found: Findings, run: Run, measure: Callable[[Scores], Estimate]
) -> tuple[list[int], list[float], list[float], list[float]]:
    held = [(b, s) for b in found.buckets if (s := found.scores(run, bucket=b)) is not None]
    each = [measure(s) for _, s in held]
    return (
        [b for b, _ in held],
        [e.value for e in each],
        [e.low for e in each],
        [e.high for e in each],
    )


def heat(found: Findings) -> Plot:
    """Group accuracy of families by distance: a panel for each of up to three runs."""
    runs = {run.label: run for run in shown(found)[:3]}

    def draw(axes: Axes, panel: str) -> None:
        grid = np.array(
            [
                [_share(found.scores(runs[panel], family, bucket)) for bucket in found.buckets]
                for family in found.families
            ]
        )
        axes.imshow(grid, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
        for (row, column), value in np.ndenumerate(grid):
            if not math.isnan(value):
                colour = "white" if value > 0.66 else INK
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8.5,
                          color=colour)  # fmt: skip
        axes.set_xticks(range(len(found.buckets)), [_short(b) for b in found.buckets])
        axes.set_yticks(range(len(found.families)), found.families)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_title(panel)

    return _plot(
        [*runs],
        "families",
        "Which families, at what distance",
        "Share of groups right; chance is .06. Empty: no group. Not every cell has enough stories "
        "for an interval.",
        draw,
        x_label="distance, tokens",
        height=0.6 + 0.3 * len(found.families),
        share_y=True,
    )


def recall(found: Findings) -> Plot | None:
    """Recall of supporting spans against k, gold beside the other person's; None without any."""
    runs = {
        run.label: r for run in shown(found) if (r := retrieval(found.rows(run), _KS)) is not None
    }
    if not runs:
        return None
    panels = list(runs)[:3]

    def draw(axes: Axes, panel: str) -> None:
        r = runs[panel]
        for i, (label, colour) in enumerate((("gold", _COLOURS[0]), ("the other's", _COLOURS[1]))):
            each = [r.recall[k][i] for k in _KS]
            axes.plot(_KS, [e.value for e in each], "o-", ms=4.5, color=colour, label=label)
            low, high = [e.low for e in each], [e.high for e in each]
            axes.fill_between(_KS, low, high, color=colour, alpha=0.14, lw=0)
        axes.set_xscale("log", base=2)
        axes.set_xticks(_KS, [str(k) for k in _KS])
        axes.minorticks_off()
        axes.set_ylim(-0.02, 1.02)
        axes.set_title(panel)

    return _plot(
        panels,
        "retrieval",
        "Does the memory find the facts?",
        "Share of the spans that license the answer which the first k retrieved pairs touch, "
        "beside the same for the other person of the group: equal lines mean that it finds the "
        "kind of sentence, not the person.",
        draw,
        x_label="k, retrieved pairs",
        y_label="recall",
        height=2.4,
        has_legend=True,
        share_y=True,
    )


def _share(s: Scores | None) -> float:
    return math.nan if s is None else s.group.value


def _short(tokens: int) -> str:
    return f"{tokens // 1024}K" if tokens >= 1024 else str(tokens)


def _plot(
    panels: list[str],
    name: str,
    title: str,
    caption: str,
    draw: Callable[[Axes, str], None],
    *,
    x_label: str,
    height: float,
    y_label: str | None = None,
    has_legend: bool = False,
    share_y: bool = False,
) -> Plot:
    layout: dict[str, Any] = dict(
        x_label=x_label, y_label=y_label, height=height, has_legend=has_legend, share_y=share_y
    )
    wide = draw_panels(panels, draw, "wide", **layout)
    return Plot(name, title, caption, wide, draw_panels(panels, draw, "narrow", **layout))
