"""How many pairs must a memory hold, in training and afterwards?

Small decoders (`small_novels.py`) on 360,000 tokens of novels, three seeds. Trained without a
memory, with a window of 128 instead of 32 (`XL`), with memories of 256, 2,048 or all pairs, and
with both. Each model with a memory is then read with every size, 0 included. Memorizing
Transformers (arXiv:2203.08913, Table 4) has none < XL < memory < memory + XL.

Expect: that order, but for XL and memory, which may be level at this size (a window of 128 has all
        of the last 128 tokens, 16 pairs are few); a memory trained with 256 pairs gains from 2,048.
Run:    memformer ablate experiments/memory_size.py --out runs/memory_size
        python experiments/memory_size.py runs/memory_size experiments/results/memory_size.json
Result: experiments/README.md (no order can be told, nor any use of the memory)
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from small_novels import BASE as SMALL
from small_novels import NATS, nats

from memformer.ablation import Metric, Trained
from memformer.ablation.effects import crossed_interval, effects
from memformer.ablation.rows import Row, read_rows

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


def differences(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Of each variant with a memory: nats when read with another size less those as trained."""
    found = []
    for name in dict.fromkeys(row.variant for row in rows):
        own = [row.metrics for row in rows if row.variant == name]
        for metric in METRICS[1:]:
            if not all(metric.name in each for each in own) or name in ("none", "XL"):
                continue
            each = np.array([
                [values[metric.name][unit] - values["nats"][unit] for unit in values["nats"]]
                for values in own
            ])  # fmt: skip
            if not np.abs(each).max():
                continue  # read as it was trained
            interval, p = crossed_interval(each)
            found.append({
                "variant": name, "metric": metric.name, "p": round(p, 4),
                "less_as_trained": [round(x, 4) for x in interval],
            })  # fmt: skip
    return found


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    rows = list(read_rows(args.runs / "rows.jsonl"))
    found = [e._asdict() for e in effects(rows, ["nats"], "none", min_seed=3)]
    xl = [e._asdict() for e in effects(rows, ["nats"], "XL", min_seed=3)]
    told = {"to_none": found, "to_XL": xl, "read_with": differences(rows)}
    args.out.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told["read_with"], indent=1))


if __name__ == "__main__":
    main()
