"""The plots of a report, drawn from `result.json` alone, each wide and narrow (for a phone)."""

import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from memformer.evaluation.drawing import (
    GRID,
    INK,
    LAYER_GROUPS,
    Draw,
    dot,
    draw_panels,
    or_nan,
)
from memformer.evaluation.outcome import Outcome
from memformer.evaluation.retrievals import layer_groups

_MEMORY = ("#0b5fa5", "#4f9bd9", "#9cc7ec")  # the largest n_retrieved first


class Plot(NamedTuple):
    """One plot in both widths."""

    name: str
    title: str
    caption: str
    wide: bytes
    """SVG."""
    narrow: bytes
    """SVG."""


class Chapter(NamedTuple):
    """A plot of something else that was done, with what it led to."""

    plot: Plot
    paragraphs: list[str]
    """Text to show below it, for example what a model wrote."""


def all_plots(outcome: Outcome) -> list[Plot]:
    """Every plot that the results allow, in the order of reading."""
    makers: list[Callable[[Outcome], Plot]] = [_gains, _distance, _classes]
    if outcome.lead is not None:
        makers.append(_retrieval)
    return [maker(outcome) for maker in makers if outcome.gaining]


def colour_of(outcome: Outcome, arm: str) -> str:
    """An arm has one colour in all plots."""
    attention, memory = outcome.arms[arm]["attention"], outcome.arms[arm]["memory"]
    match memory:
        case _ if (told := outcome.arms[arm].get("fraction", "true")) != "true":
            return {"shuffled": "#8c6d31", "unknown": "#c2a878"}[told]
        case "on":
            return _MEMORY[min(outcome.remembering.index(arm), len(_MEMORY) - 1)]
        case "shuffled":
            return "#d97706"
        case "other_book":
            return "#b5488f"
    match attention:
        case "full":
            return "#8a9099"
        case "full_clamped":
            return "#2f343a"
    return "#3f8f6b"


def _gains(outcome: Outcome) -> Plot:
    def draw(axes: Axes, scope: str) -> None:
        gains = outcome.metrics[scope]["gain"]
        rows = [arm for arm in outcome.gaining if arm in gains]
        values = [gains[arm]["nats_per_token"] for arm in rows]
        limits = _focus(outcome, scope)
        _band_of_gap(axes, outcome, scope)
        for y, (arm, each) in enumerate(zip(rows, values, strict=True)):
            dot(axes, each, len(rows) - 1 - y, colour_of(outcome, arm), limits)
        axes.axvline(0, color=INK, lw=1)
        axes.set_xlim(*limits)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_yticks(range(len(rows)), [outcome.label(arm) for arm in reversed(rows)])
        axes.grid(visible=False, axis="y")
        axes.set_title(outcome.scope_title(scope))

    return _plot(
        outcome,
        "gain",
        "What each way of reading gains",
        f"Nats per token better than {outcome.label(outcome.baseline)} (at 0; right is better), "
        "with paired 95% intervals over blocks of text. "
        + (f"Shaded: the gap to {outcome.label(outcome.rival)}. " if outcome.rival else "")
        + "An arrow stands for a value beyond the edge.",
        draw,
        x_label="gain, nats per token",
        height=0.42 + 0.3 * len(outcome.gaining),
        share_y=True,
    )


def _distance(outcome: Outcome) -> Plot:
    def draw(axes: Axes, scope: str) -> None:
        seen = [0.0]
        for arm in outcome.gaining:
            if outcome.arms[arm]["attention"] == "window":
                continue  # without sinks it is far below all others
            rows = outcome.metrics[scope]["gain"][arm]["cumulative"]
            _line(axes, rows, outcome, arm)
            settled = rows[len(rows) // 6 :]
            sides = ["value", "low", "high"] if arm == outcome.lead else ["value"]
            if arm not in outcome.controls:
                seen += [x for side in sides for row in settled if (x := row[side]) is not None]
        axes.axhline(0, color=INK, lw=1)
        pad = 0.08 * (max(seen) - min(seen)) or 1.0
        axes.set_ylim(min(seen) - pad, max(seen) + pad)
        axes.set_xlim(0)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")
        axes.set_title(outcome.scope_title(scope))

    return _plot(
        outcome,
        "distance",
        "Gain against distance into the book",
        "Mean gain over all tokens read so far, against how many those are: what still rises at "
        "the right edge is not exhausted. The band is the 95% interval of the main arm. Lines that "
        "leave the frame below are worse than what is shown.",
        draw,
        x_label="tokens into the book",
        y_label="gain so far, nats per token",
        height=2.7,
        has_legend=True,
    )


def _line(axes: Axes, rows: list[dict[str, Any]], outcome: Outcome, arm: str) -> None:
    x = [row["to"] for row in rows]
    y = [or_nan(row["value"]) for row in rows]
    colour, is_lead = colour_of(outcome, arm), arm == outcome.lead
    axes.plot(
        x,
        y,
        color=colour,
        lw=2.2 if is_lead else 1.4,
        ls=(0, (2, 1.5)) if arm in outcome.controls else "-",
        label=outcome.label(arm),
        zorder=3 if is_lead else 2,
    )
    if is_lead:
        low, high = ([or_nan(row[side]) for row in rows] for side in ("low", "high"))
        axes.fill_between(x, low, high, color=colour, alpha=0.16, lw=0)


def _classes(outcome: Outcome) -> Plot:
    arms = [arm for arm in (outcome.lead, outcome.rival, *outcome.controls) if arm is not None]
    arms = arms or outcome.gaining[:1]

    def draw(axes: Axes, scope: str) -> None:
        counts, gain = outcome.metrics[scope]["classes"], outcome.metrics[scope]["gain"]
        names = [name for name, n in counts.items() if n][::-1]
        limits = _class_limits([gain[arm]["by_class"] for arm in arms], names)
        step = 0.62 / len(arms)
        for i, arm in enumerate(arms):
            colour = colour_of(outcome, arm)
            for y, name in enumerate(names):
                at = y + ((len(arms) - 1) / 2 - i) * step
                dot(axes, gain[arm]["by_class"][name], at, colour, limits, size=5)
            axes.plot([], [], "o", ms=5, color=colour, label=outcome.label(arm))
        for y in range(len(names) - 1):
            axes.axhline(y + 0.5, color=GRID, lw=0.8)
        axes.axvline(0, color=INK, lw=1)
        axes.set_xlim(*limits)
        axes.set_ylim(-0.6, len(names) - 0.4)
        labels = [f"{_class_label(name)}\n{counts[name]:,} tokens" for name in names]
        axes.set_yticks(range(len(names)), labels)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(3))
        # the labels of the classes leave little room: a long title goes on two lines
        axes.set_title(textwrap.fill(outcome.scope_title(scope), 16))

    n_class = len(outcome.metrics[outcome.scope]["classes"])
    return _plot(
        outcome,
        "classes",
        "Which tokens gain",
        "Gain by token class with paired 95% intervals. Names are sorted by the tokens since they "
        "were last mentioned: beyond the window only a memory can have kept them. Hollow: too few "
        "tokens for an interval.",
        draw,
        x_label="gain, nats per token",
        height=0.5 + 0.52 * n_class,
        has_legend=True,
    )


def _retrieval(outcome: Outcome) -> Plot:
    def draw(axes: Axes, scope: str) -> None:
        layers, attention, available = outcome.retrieval(scope)
        edges = np.asarray(outcome.result["distance_edges"], dtype=float)
        used = np.flatnonzero(available > 0)
        part, x = slice(used[0], used[-1] + 1), edges[used[0] : used[-1] + 2]
        x[0] = max(x[0], outcome.config(outcome.lead)["window"])  # nothing is nearer
        width = np.diff(np.log2(x))
        chance = available[part] / available.sum() / width
        axes.stairs(chance, x, color="#d3d8dd", fill=True, label="chance")
        for colour, group in zip(LAYER_GROUPS, layer_groups(len(layers)), strict=False):
            weight = attention[group].sum(0)
            share = weight[part] / max(weight.sum(), 1e-12) / width
            label = f"layers {layers[group[0]]}–{layers[group[-1]]}"
            axes.stairs(share, x, color=colour, lw=2, label=label)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda v, _: f"{v / 1024:g}k" if v >= 1024 else f"{v:g}")
        axes.set_xlim(x[0], x[-1])
        axes.set_ylim(0)
        axes.set_title(outcome.scope_title(scope))

    return _plot(
        outcome,
        "retrieval",
        "How far back it reaches",
        f"Where the attention of {outcome.label(outcome.lead or outcome.baseline)} on retrieved "
        "pairs goes, by distance in tokens and depth of the layer; each area is 1. Grey: any pair "
        "of the memory picked at random, which favours far ones since there are more of them.",
        draw,
        x_label="distance, tokens",
        y_label="share per doubling",
        height=2.4,
        has_legend=True,
    )


def _plot(
    outcome: Outcome,
    name: str,
    title: str,
    caption: str,
    draw: Draw,
    *,
    x_label: str,
    height: float,
    y_label: str | None = None,
    has_legend: bool = False,
    share_y: bool = False,
) -> Plot:
    layout: dict[str, Any] = {
        "x_label": x_label,
        "y_label": y_label,
        "height": height,
        "has_legend": has_legend,
        "share_y": share_y,
    }
    wide = draw_panels(outcome.panels, draw, "wide", **layout)
    narrow = draw_panels(outcome.panels, draw, "narrow", **layout)
    return Plot(name, title, caption, wide, narrow)


def _band_of_gap(axes: Axes, outcome: Outcome, scope: str) -> None:
    if outcome.rival is None:
        return
    gap = outcome.metrics[scope]["gain"][outcome.rival]["nats_per_token"]["value"]
    if gap is not None and gap > 0:
        axes.axvspan(0, gap, color="#e6eef5", lw=0, zorder=0)


def _focus(outcome: Outcome, scope: str) -> tuple[float, float]:
    """Limits that show memory and rivals well; a window without sinks may lie far outside."""
    gains = outcome.metrics[scope]["gain"]
    arms = [*outcome.remembering, *outcome.rivals] or outcome.gaining
    left, right = _reach([gains[arm]["nats_per_token"] for arm in arms])
    return left - 0.35 * (right - left), right


def _reach(estimates: list[dict[str, float | None]]) -> tuple[float, float]:
    """Limits that hold 0, the values and their intervals."""
    sides = ("value", "low", "high")
    held = [0.0, *(x for row in estimates for side in sides if (x := row[side]) is not None)]
    pad = 0.06 * (max(held) - min(held)) or 1.0
    return min(held) - pad, max(held) + pad


def _class_limits(
    arms: list[dict[str, dict[str, float | None]]], names: list[str]
) -> tuple[float, float]:
    """Limits for the first two arms, room at the left where a control is beyond them."""
    main = [arm[name] for arm in arms[:2] for name in names]
    left, right = _reach(main)
    controls = [value for arm in arms[2:] for name in names if (value := arm[name]["value"])]
    return left - (0.3 * (right - left) if min(controls, default=0) < left else 0), right


def _class_label(name: str) -> str:
    match name.split(" "):
        case ["other"]:
            return "no name"
        case ["first_name"]:
            return "name, first mention"
        case [_, distance]:
            bounds = distance.replace("-", "–").replace(">=", "≥ ").replace("<", "< ")
            return f"name, again {bounds}"
    return name
