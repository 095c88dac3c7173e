"""The plots of the goodhart lab. Each says in its panels that the raters are simulated."""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from memformer.evaluation.drawing import FAINT, INK, Width, dot, draw_panels
from memformer.evaluation.plots import Plot
from memformer.generation.best_of_n_curve import kl_upper_bound
from memformer.reward.goodhart_fits import fit_power
from memformer.reward.goodhart_measure import Row
from memformer.reward.goodhart_rules import Floats, Results, Verdict

_WIDTHS: tuple[Width, Width] = ("wide", "narrow")
_BY_NUMBER = ("#f0a202", "#e2683c", "#c23a5e", "#7d2f8a", "#2f2a7d")  # few ratings first
_BY_PROXY = {
    "linear": "#c2571a", "quadratic": "#0b5fa5", "uwo": "#3f8f6b", "wco": "#8c6d31",
    "mean": "#5b2a86", "gold": "#22262b",
}  # fmt: skip
_SIMULATED = "simulated raters"


def every_plot(results: Results, verdicts: Sequence[Verdict]) -> list[Plot]:
    """In the order of reading."""
    return [
        _curves(results), _against_proxy(results), _nearer(results), _shortfall(results),
        _training(results), _effects(verdicts, "f", "ablations", "What is left out costs",
        "Spearman with true gold, with minus without; means over seeds and numbers of ratings, "
        "lines 95% intervals over seeds. Right of 0 it helps."),
        _effects(verdicts, "delays", "delays", "Ratings that come later",
        "Spearman with the true settled judgement: the estimate that knows of the delay, minus "
        "each of three that do not, on the texts that have an early rating."),
    ]  # fmt: skip


def _curves(results: Results) -> Plot:
    n_best = results.config.n_best

    def draw(axes: Axes, proxy: str) -> None:
        for n, colour in _numbers(results):
            curves = _stack(results.cell("proxy", proxy=proxy, n_rating=n), "curve")
            _band(axes, n_best, curves, colour, f"{n:,} ratings")
            at = int(curves.mean(0).argmax())
            axes.plot([n_best[at]], [curves.mean(0)[at]], "o", ms=5, color=colour, mec="white")
        truth = _stack(results.cell("proxy", proxy="gold"), "curve").mean(0)
        axes.plot(n_best, truth, color=FAINT, lw=1.2, ls="--", label="chosen by gold itself")
        axes.axhline(0, color=INK, lw=0.8)
        axes.set_xscale("log")
        axes.set_xticks(n_best, [f"{n:,}\n{kl_upper_bound(n):.1f}" for n in n_best], fontsize=8)
        axes.minorticks_off()
        axes.set_ylim(-2.1, 2.1)
        _mark(axes, proxy)

    return _plot(
        "curves", "Best of n: gold by how hard one optimises, and by how much feedback there is",
        "Mean true gold of the best of n texts by a proxy, in standard deviations of ordinary "
        "texts, over seeds with the range from least to most; dots are peaks. Below n stands the "
        "upper bound of the KL, log n - (n-1)/n nats. The linear proxy cannot say \"enough\": its "
        "peak stays where it is. Curves are cut at -2.1.",
        ["linear", "quadratic", "uwo"], draw, x_label="n of best of n; upper bound of KL, nats",
        y_label="true gold, sd", height=3.2, has_legend=True, share_y=True,
    )  # fmt: skip


def _against_proxy(results: Results) -> Plot:
    def draw(axes: Axes, proxy: str) -> None:
        for n, colour in _numbers(results):
            rows = results.cell("proxy", proxy=proxy, n_rating=n)
            x, y = _stack(rows, "proxy_curve").mean(0), _stack(rows, "curve").mean(0)
            axes.plot(x, y, "-o", ms=3, color=colour, lw=1.5, label=f"{n:,} ratings")
        axes.plot([0, 4], [0, 4], color=FAINT, lw=1, ls=":", label="as good as it says")
        axes.set_ylim(-2.1, 2.5)
        _mark(axes, proxy)

    return _plot(
        "against-proxy", "Gold against proxy",
        "The same curves: what the proxy says of the best of n, and what is true. Points are n = "
        "1, 4, 16, ...; proxy in its own standard deviations over ordinary texts, mean over seeds.",
        ["linear", "quadratic"], draw, x_label="proxy, sd", y_label="true gold, sd",
        height=3.0, has_legend=True, share_y=True,
    )  # fmt: skip


def _nearer(results: Results) -> Plot:
    numbers = results.config.n_rating

    def draw(axes: Axes, _: str) -> None:
        for proxy in ("linear", "quadratic", "uwo", "wco"):
            values = results.table(lambda row: row["spearman"], "proxy", proxy=proxy)
            _band(axes, numbers, values, _BY_PROXY[proxy], proxy)
        _log_numbers(axes, numbers)
        _mark(axes)

    return _plot(
        "nearer", "More feedback, nearer to the truth",
        "Rank correlation of proxies with true gold over ordinary texts; mean over seeds, bands "
        "from least to most.",
        [""], draw, x_label="ratings trained on", y_label="Spearman with true gold", height=2.9,
        has_legend=True,
    )  # fmt: skip


def _shortfall(results: Results) -> Plot:
    numbers = results.config.n_rating
    grid = np.geomspace(numbers[0], 10 * numbers[-1], 60)

    def draw(axes: Axes, _: str) -> None:
        for proxy in ("linear", "quadratic"):
            values = results.table(lambda row: row["shortfall"], "proxy", proxy=proxy)
            fit = fit_power(numbers, values.mean(0))
            colour = _BY_PROXY[proxy]
            label = f"{proxy}: {fit.c:.2f} + {fit.a:.2f} n^-{fit.b:.2f}"
            axes.plot(grid, fit.c + fit.a * grid**-fit.b, color=colour, lw=1.5, label=label)
            axes.axhline(fit.c, color=colour, lw=0.9, ls=":")
            for row in values:
                axes.plot(numbers, row, "o", ms=3, color=colour, alpha=0.6)
        _log_numbers(axes, (*numbers, 10 * numbers[-1]))
        axes.set_ylim(0, 1.05)
        _mark(axes)

    return _plot(
        "shortfall", "What more ratings cannot mend",
        "1 - r^2 / reliability, r the correlation with the mean of held-out raters over held-out "
        "texts: measurable without knowing the truth. Dots are seeds, lines the fit c + a n^-b to "
        "their means, drawn on to ten times the ratings; dotted: c.",
        [""], draw, x_label="ratings trained on", y_label="1 − r² / reliability", height=2.9,
        has_legend=True,
    )  # fmt: skip


def _training(results: Results) -> Plot:
    numbers = results.config.policy_n_rating
    panels: dict[str, tuple[str, str]] = {
        f"{method}, {proxy}": (method, proxy)
        for method in ("rloo", "direct")
        for proxy in ("linear", "quadratic")
    }

    def draw(axes: Axes, panel: str) -> None:
        method, proxy = panels[panel]
        for n, colour in _numbers(results):
            if n not in numbers:
                continue
            for i, row in enumerate(results.cell("policy", method=method, proxy=proxy, n_rating=n)):
                x, y = np.sqrt(row["kl"]), np.array(row["curve"])
                label = f"{n:,} ratings" if i == 0 else None
                axes.plot(x, y, color=colour, lw=1.2, alpha=0.8, label=label)
                stop = row["kl"].index(row["stop_kl"])
                axes.plot(x[stop : stop + 1], y[stop : stop + 1], "o", ms=4.5, color=colour,
                          mec="white", zorder=4)  # fmt: skip
        axes.axhline(0, color=INK, lw=0.8)
        axes.set_xlim(-0.1, 5)
        axes.set_ylim(-2, 1.5)
        _mark(axes, panel)

    return _plot(
        "training", "Training a writer on the proxy",
        "Mean true gold of a small writer's texts against the root of its exact KL from the "
        "ordinary writer; a line a seed. Dots: where held-out gold stopped it. Axes are cut.",
        list(panels), draw, x_label="sqrt(KL), nats", y_label="true gold, sd", height=2.9,
        has_legend=True, share_y=True,
    )  # fmt: skip


def _effects(verdicts: Sequence[Verdict], rule: str, name: str, title: str, caption: str) -> Plot:
    own = [each for each in verdicts if each.rule == rule]
    bounds = [x for v in own for x in (v.value, v.low, v.high) if not math.isnan(x)]
    left, right = min(0.0, *bounds), max(0.0, *bounds)
    margin = 0.08 * (right - left) or 1e-3
    limits = left - margin, right + margin

    def draw(axes: Axes, _: str) -> None:
        for y, each in enumerate(reversed(own)):
            told: dict[str, float | None] = {
                "value": each.value,
                "low": each.low,
                "high": each.high,
            }
            dot(axes, told, y, "#0b5fa5" if each.passed else "#7b838c", limits)
        axes.axvline(0, color=INK, lw=1)
        axes.set_xlim(*limits)
        axes.set_ylim(-0.6, len(own) - 0.4)
        axes.set_yticks(
            range(len(own)), [textwrap.fill(each.claim, 24) for each in reversed(own)], fontsize=8
        )
        axes.grid(visible=False, axis="y")
        _mark(axes)

    return _plot(
        name, title, f"{caption} Blue: the interval lies above 0.", [""], draw,
        x_label="difference in Spearman", y_label=None, height=0.7 + 0.42 * len(own),
    )  # fmt: skip


def _numbers(results: Results) -> list[tuple[int, str]]:
    numbers = results.config.n_rating
    at = np.linspace(0, len(_BY_NUMBER) - 1, len(numbers)).round().astype(int)
    return [(n, _BY_NUMBER[i]) for n, i in zip(numbers, at, strict=True)]


def _stack(rows: Sequence[Row], name: str) -> Floats:
    return np.array([row[name] for row in rows], dtype=np.float64)


def _band(axes: Axes, x: Sequence[int], values: Floats, colour: str, label: str) -> None:
    axes.plot(x, values.mean(0), color=colour, lw=1.7, label=label)
    axes.fill_between(x, values.min(0), values.max(0), color=colour, alpha=0.12, lw=0)


def _log_numbers(axes: Axes, numbers: ArrayLike) -> None:
    held = np.asarray(numbers)
    axes.set_xscale("log")
    axes.set_xticks(held, [f"{n:,}" for n in held])
    axes.minorticks_off()


def _mark(axes: Axes, title: str = "") -> None:
    if title:
        axes.set_title(title)
    plain = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}
    axes.text(0.99, 0.02, _SIMULATED, transform=axes.transAxes, ha="right", va="bottom",
              fontsize=8, color=FAINT, style="italic", bbox=plain, zorder=5)  # fmt: skip


def _plot(
    name: str, title: str, caption: str, panels: Sequence[str],
    draw: Callable[[Axes, str], None], **options: Any,
) -> Plot:  # fmt: skip
    held: dict[str, Any] = {"has_legend": False, "share_y": False, **options}
    wide, narrow = (draw_panels(panels, draw, width, **held) for width in _WIDTHS)
    return Plot(name, f"{title} ({_SIMULATED})", caption, wide, narrow)
