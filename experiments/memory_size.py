"""How many pairs must a memory hold, in training and afterwards?

Small decoders (`small_novels.py`) on 360,000 tokens of novels, three seeds. Trained without a
memory, with a window of 128 instead of 32 (`XL`), with memories of 256, 2,048 or all pairs, and
with both. Each model with a memory is then read with every size, 0 included. Memorizing
Transformers (arXiv:2203.08913, Table 4) has none < XL < memory < memory + XL.

Expect: that order, but for XL and memory, which may be level at this size (a window of 128 has all
        of the last 128 tokens, 16 pairs are few); a memory trained with 256 pairs gains from 2,048.
Run:    memformer ablate experiments/memory_size.py --out runs/memory_size
Result: not run yet
"""

from collections.abc import Mapping
from dataclasses import replace

from small_novels import BASE as SMALL
from small_novels import NATS, nats

from memformer.ablation import Metric, Trained

BASE = replace(SMALL, model=replace(SMALL.model, memory=replace(SMALL.model.memory, layers=())))
ON, XL = {"model.memory.layers": (1,)}, {"model.window": 128}
VARIANTS = {
    "none": {},
    "XL": XL,
    "memory of 256": ON | {"model.memory.capacity": 256},
    "memory of 2,048": ON | {"model.memory.capacity": 2048},
    "memory of all": ON,
    "memory of all + XL": ON | XL,
}
SEEDS = range(3)


def read_with(capacity: int | None) -> Metric:
    """Nats with a memory of another size; none for models without a memory."""

    def found(run: Trained) -> Mapping[str, float]:
        if not run.config.model.has_memory and capacity != 0:
            return {}
        if capacity == 0:
            return nats(run, memory=False)
        return nats(run, changes={"memory.capacity": capacity})

    size = "all" if capacity is None else f"{capacity:,}"
    return Metric(name=f"nats, read with {size} pairs", of=found, what="nats a token")


METRICS = (NATS, *map(read_with, (0, 256, 2048, None)))
