"""Does a memory that was trained for it keep a plot past the window, and does its place matter?

SmolLM2-135M with a window of 64 tokens and 4 sinks learns from stories of PlotBench's train split
(`plotbench_trained.py`: 60 steps of a story in both twins, low-rank changes of the attention) and
is asked of other people, sentences and errands, 256 tokens from the facts as in training and four
times as far. The base has no memory. Units are worlds; both twins and all questions of one count as
one. The families are the two that one sentence answers: a floor, not the claim.

Expect: the window at 0; a memory in the upper half above it and below full attention, and nothing
        left of it when it is off or its values are shuffled; in every sixth layer little.
Run:    memformer ablate experiments/plot.py --out runs/plot
Result: not run yet; plotbench_trained.py has three of its arms
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from plotbench_trained import MEMORY, TESTED, asked, train

from memformer.ablation import Metric
from memformer.config import MemoryConfig
from memformer.plotbench.metrics import groups_of
from memformer.plotbench.results import Result


@dataclass(frozen=True, kw_only=True)
class Study:
    """One way to read, in training and afterwards."""

    window: int = 64
    n_sink: int = 4
    sink_distance: int | None = 6000
    memory: MemoryConfig = MemoryConfig(positions="rotary", max_distance=6000, n_retrieved=32)
    n_step: int = 60
    seed: int = 0


def make(config: Study, folder: Path) -> list[Result]:
    """Train a decoder and ask it; with a memory also without it and with shuffled values."""
    torch.set_num_threads(1)
    decoder = {
        "window": config.window, "n_sink": config.n_sink, "sink_distance": config.sink_distance,
        "memory": config.memory,
    }  # fmt: skip
    model, tokenizer, _, losses = train(decoder, config.seed, config.n_step)
    print("last losses", [round(x, 3) for x in losses[-10:]], flush=True)
    has_memory = bool(config.memory.layers)
    return asked(model, tokenizer, ("on", "off", "shuffled") if has_memory else ("off",))


def by_world(
    rows: list[Result], condition: str | None, bucket: int, number: Callable[[np.ndarray], float]
) -> Mapping[str, float]:
    """A number of the margins (G, 4) of each world; `None` is the way it was trained to read."""
    names = {row.condition for row in rows}
    own = condition or ("on" if "on" in names else "off")
    if condition and "on" not in names:
        return {}
    chosen = [row for row in rows if row.condition == own and row.bucket == bucket]
    groups = groups_of(chosen)
    return {
        f"world {seed}": float(number(groups.margins[groups.seeds == seed]))
        for seed in np.unique(groups.seeds)
    }


def share_right(margins: np.ndarray) -> float:
    """Groups right in all four cells, of (G, 4) margins."""
    return float((margins > 0).all(1).mean())


def metric(name: str, condition: str | None, bucket: int) -> Metric:
    """DiD or groups at a distance, read in one way."""
    is_did = name == "DiD"
    number = np.mean if is_did else share_right
    how = {None: "", "off": ", memory off", "shuffled": ", shuffled values"}[condition]
    return Metric(
        name=f"{name} at {bucket:,}{how}",
        of=lambda rows: by_world(rows, condition, bucket, number),
        better="higher",
        what="mean margin of a group, nats" if is_did else "share of groups right in all cells",
    )


BASE = Study()
ON = {"memory.layers": MEMORY.layers}
VARIANTS = {
    "window": {},
    "upper half": ON,
    "all layers": {"memory.layers": "all"},
    "every sixth": {"memory.layers": tuple(range(4, 30, 5))},
    "full": {"window": 4096, "n_sink": 0, "sink_distance": None},
}
SEEDS = range(3)
METRICS = (
    *(metric("DiD", None, bucket) for bucket in TESTED),
    *(metric("groups", None, bucket) for bucket in TESTED),
    *(metric("DiD", how, bucket) for how in ("off", "shuffled") for bucket in TESTED),
)
