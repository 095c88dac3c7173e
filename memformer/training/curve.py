"""The loss curve of a run, as a chapter of a report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from memformer.evaluation.drawing import INK, Width, draw_panels
from memformer.evaluation.plots import Chapter, Plot
from memformer.training.table import Table

_COLOURS = {"on": "#0b5fa5", "off": "#d97706"}


def training_chapter(folder: Path, paragraphs: Sequence[str]) -> Chapter:
    """Training loss and held-out nats of a run against tokens, with text that it led to.

    Raises:
        ValueError: the folder has no rows of a run.
    """
    rows = Table(folder / "metrics.csv", ()).rows()
    if not rows:
        raise ValueError(f"{folder} must hold the metrics.csv of a run, got none")
    tokens = np.array([float(row["tokens"]) for row in rows])
    loss = np.array([float(row["loss"]) for row in rows])
    held = Table(folder / "validation.csv", ()).rows()

    def draw(axes: Axes, _: str) -> None:
        axes.plot(tokens / 1e6, loss, color=INK, lw=0.6, alpha=0.25)
        axes.plot(tokens / 1e6, _smooth(loss), color=INK, lw=1.4, label="training")
        for memory, colour in _COLOURS.items():
            steps, nats = _means(held, memory)
            if steps:
                at = tokens[np.array(steps) - 1] / 1e6
                is_on = memory == "on"
                axes.plot(at, nats, "o-" if is_on else "x--", color=colour, ms=5 if is_on else 7,
                          label=f"held out, memory {memory}")  # fmt: skip

    def svg(width: Width) -> bytes:
        return draw_panels(
            [""], draw, width, x_label="million tokens read", y_label="nats a token", height=3.2,
            has_legend=True, share_y=False,
        )  # fmt: skip

    minutes = float(rows[-1]["seconds"]) / 60
    caption = (
        f"Training loss by step (thin) and smoothed over 20 steps, and nats on held-out novels: "
        f"{tokens[-1] / 1e6:.2f} million tokens in {minutes:.1f} minutes, validation included."
    )
    plot = Plot("training", "A decoder of our own, from scratch", caption, svg("wide"),
                svg("narrow"))  # fmt: skip
    return Chapter(plot, list(paragraphs))


def _smooth(values: np.ndarray, n: int = 20) -> np.ndarray:
    """Mean over the last n values, fewer at the start."""
    total = np.cumsum(values)
    before = np.concatenate((np.zeros(n), total))[: len(values)]
    mean: np.ndarray = (total - before) / np.minimum(np.arange(1, len(values) + 1), n)
    return mean


def _means(held: list[dict[str, str]], memory: str) -> tuple[list[int], list[float]]:
    """Mean nats over all tokens of all books, by step."""
    steps = sorted({int(row["step"]) for row in held if row["memory"] == memory})
    found = []
    for step in steps:
        rows = [r for r in held if r["memory"] == memory and int(r["step"]) == step]
        n = [int(row["n_token"]) for row in rows]
        found.append(float(np.average([float(row["nats"]) for row in rows], weights=n)))
    return steps, found
