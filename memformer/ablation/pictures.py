"""The plots of an ablation: effects with intervals, and curves with bands over seeds."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from memformer.ablation.effects import Effect, Interval
from memformer.ablation.experiment import Experiment
from memformer.ablation.metric import Metric
from memformer.ablation.rows import Row
from memformer.evaluation.drawing import INK, Draw, Width, dot, draw_panels
from memformer.evaluation.plots import Plot

_WIDTHS: tuple[Width, Width] = ("wide", "narrow")
_BETTER, _WORSE, _NONE = "#0b5fa5", "#c2571a", "#7b838c"
_LINES = ("-", "--", ":")
_COLOURS = ("#22262b", "#0b5fa5", "#d1495b", "#f0a202", "#3f8f6b", "#5b2a86", "#8c6d31", "#4f9bd9")


def forest(experiment: Experiment, metric: Metric, found: Sequence[Effect]) -> Plot | None:
    """Differences to the base of every variant, with their intervals; None if there is none."""
    own = [each for each in found if each.metric == metric.name]
    if not own:
        return None
    limits, is_cut = _limits([each.difference for each in own])

    def draw(axes: Axes, panel: str) -> None:
        for y, each in enumerate(reversed(own)):
            dot(axes, each.difference._asdict(), y, _colour(each, metric), limits)
        axes.axvline(0, color=INK, lw=1)
        axes.set_xlim(*limits)
        axes.set_ylim(-0.6, len(own) - 0.4)
        axes.set_yticks(range(len(own)), [each.variant for each in reversed(own)])
        axes.grid(visible=False, axis="y")

    better = "left" if metric.better == "lower" else "right"
    return _plot(
        f"effect-{_slug(metric.name)}",
        f"{metric.name}: difference to {experiment.base.name}",
        f"{metric.told}{better.capitalize()} is better. Dots are "
        "means over seeds and units, lines 95% intervals over both; blue is better than the base, "
        "orange worse, grey not told apart or without an interval."
        + (" Arrows: beyond the axis, with the value beside them." if is_cut else ""),
        draw,
        x_label=f"difference in {metric.name}",
        height=0.5 + 0.3 * len(own),
    )


def _limits(differences: Sequence[Interval]) -> tuple[tuple[float, float], bool]:
    """What the axis shows, and whether it leaves some out.

    Up to a quarter of the effects stand beyond it, as arrows, if they are over five times as large
    as the largest of the others, on whose scale nothing else could be seen.
    """
    ends = [[x for x in each if not math.isnan(x)] for each in differences]
    ends = sorted((each for each in ends if each), key=lambda each: max(map(abs, each)))
    n = len(ends)
    for i in range(len(ends) - len(ends) // 4, len(ends)):
        if max(map(abs, ends[i])) > 5 * max(map(abs, ends[i - 1])):
            n = i
            break
    bounds = [x for each in ends[:n] for x in each]
    left, right = min([0.0, *bounds]), max([0.0, *bounds])
    margin = 0.08 * (right - left) or 1e-3
    return (left - margin, right + margin), n < len(ends)


def _colour(each: Effect, metric: Metric) -> str:
    d = each.difference
    if math.isnan(d.low) or d.low <= 0 <= d.high:
        return _NONE
    return _BETTER if (d.value < 0) == (metric.better == "lower") else _WORSE


def curves(experiment: Experiment, rows: Sequence[Row]) -> Plot | None:
    """Held-out nats while training, a line a variant with a band from the least to the most of its
    seeds; None where no cell was validated twice."""
    by_variant = {
        variant.name: [row.curve for row in rows if row.variant == variant.name and row.curve]
        for variant in experiment.variants
    }
    by_variant = {name: held for name, held in by_variant.items() if held}
    if not any(len(curve) > 1 for held in by_variant.values() for curve in held):
        return None

    def draw(axes: Axes, panel: str) -> None:
        for i, (name, held) in enumerate(by_variant.items()):
            colour = _COLOURS[i % len(_COLOURS)]
            line = _LINES[i // len(_COLOURS) % len(_LINES)]
            n = min(map(len, held))
            steps = [step for step, _ in held[0][:n]]
            nats = np.array([[value for _, value in each[:n]] for each in held])  # (S, n)
            dots = "o" if n == 1 else None  # a line through one point shows nothing
            axes.plot(steps, nats.mean(0), line, color=colour, lw=1.6, label=name, marker=dots)
            if n == 1:
                axes.vlines(steps, nats.min(0), nats.max(0), color=colour, alpha=0.4)
            axes.fill_between(steps, nats.min(0), nats.max(0), color=colour, alpha=0.15, lw=0)

    return _plot(
        "curves",
        "While training",
        "Held-out nats a token, mean over books, with the memory on where there is one. Bands "
        "reach from the best seed to the worst.",
        draw,
        x_label="steps",
        height=2.6,
        y_label="nats a token",
        has_legend=True,
    )


def _plot(
    name: str, title: str, caption: str, draw: Draw, *, x_label: str, height: float,
    y_label: str | None = None, has_legend: bool = False,
) -> Plot:  # fmt: skip
    wide, narrow = (
        draw_panels(
            [""], draw, width, x_label=x_label, y_label=y_label, height=height,
            has_legend=has_legend, share_y=False,
        )
        for width in _WIDTHS
    )  # fmt: skip
    return Plot(name, title, caption, wide, narrow)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())
