"""How plots look: style, a value with its interval, panels set wide or narrow."""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, FAINT, GRID = "#22262b", "#7b838c", "#e4e7ea"
LAYER_GROUPS = ("#f0a202", "#d1495b", "#5b2a86")
"""From shallow to deep."""
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "memformer",  # the same numbers give the same file
}

_INCHES_A_LETTER = 0.068  # of a legend

Width = Literal["wide", "narrow"]

Draw = Callable[[Axes, str], None]
"""Draws the panel of one scope."""


def draw_panels(
    panels: Sequence[str],
    draw: Draw,
    width: Width,
    *,
    x_label: str,
    y_label: str | None,
    height: float,
    has_legend: bool,
    share_y: bool,
) -> bytes:
    """One panel a scope, side by side if wide, below each other if narrow: SVG.

    `height` is that of a panel, in inches; the same numbers give the same bytes.
    """
    is_wide = width == "wide"
    n_row, n_col = (1, len(panels)) if is_wide else (len(panels), 1)
    size = (9.2, height + 0.9) if is_wide else (4.3, (height + 0.62) * n_row + 0.55)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(n_row, n_col, squeeze=False, sharey=share_y and is_wide)
        for i, (axes, scope) in enumerate(zip(grid.flat, panels, strict=True)):
            axes.xaxis.set_major_locator(MaxNLocator(5))  # more would touch in a narrow panel
            draw(axes, scope)
            if is_wide or i == len(panels) - 1:
                axes.set_xlabel(x_label)
            if y_label and (i == 0 or not is_wide):
                axes.set_ylabel(y_label)
        if has_legend:
            handles, labels = grid.flat[0].get_legend_handles_labels()
            room = int(size[0] / (_INCHES_A_LETTER * (5 + max(map(len, labels)))))
            columns = max(1, min(len(labels), 5 if is_wide else 2, room))
            figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return buffer.getvalue()


def dot(
    axes: Axes,
    each: dict[str, float | None],
    y: float,
    colour: str,
    limits: tuple[float, float],
    size: float = 6.5,
) -> None:
    """A value with its interval, or an arrow with the value at the limit it lies beyond."""
    value, low, high = (or_nan(each[name]) for name in ("value", "low", "high"))
    if math.isnan(value):
        return
    if not limits[0] <= value <= limits[1]:
        _arrow(axes, value, y, colour, limits, size)
        return
    if not math.isnan(low):
        axes.plot([low, high], [y, y], color=colour, lw=2, alpha=0.55, solid_capstyle="round")
    filled: Any = {"mfc": colour, "mec": "white", "mew": 0.8}
    hollow: Any = {"mfc": "white", "mec": colour, "mew": 1.2}
    axes.plot([value], [y], "o", ms=size, zorder=4, **(hollow if math.isnan(low) else filled))


def _arrow(
    axes: Axes, value: float, y: float, colour: str, limits: tuple[float, float], size: float
) -> None:
    edge, sign, marker = (limits[0], 1, "<") if value < limits[0] else (limits[1], -1, ">")
    at = edge + sign * 0.02 * (limits[1] - limits[0])
    axes.plot([at], [y], marker, color=colour, ms=size, clip_on=False)
    axes.annotate(
        f"{value:+.2f}".replace("-", "−"),
        (at, y),
        xytext=(7 * sign, 0),
        textcoords="offset points",
        ha="left" if sign > 0 else "right",
        va="center",
        fontsize=8.5,
        color=colour,
    )


def or_nan(value: float | None) -> float:
    """JSON's null as a number that is not drawn."""
    return math.nan if value is None else value
