"""The trained decoders of `plotbench_trained.py` over seeds: means, and differences between arms.

Intervals are over seeds (Student's t): every seed is asked the same questions, so what other
stories would give is in the intervals of the single rows, over stories.

Run:    python experiments/plotbench_trained_table.py results/plotbench_trained.json runs/a.json ...
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from memformer.ablation.effects import crossed_interval

KEYS = ("group", "did", "item")
WAYS = (
    ("full", "off"), ("memory", "on"), ("memory", "off"), ("memory", "shuffled"), ("window", "off"),
)  # fmt: skip
"""Arm, and the condition under which it was asked."""
BETWEEN = (
    (("memory", "on"), ("memory", "off")),
    (("memory", "on"), ("memory", "shuffled")),
    (("memory", "on"), ("window", "off")),
    (("full", "off"), ("memory", "on")),
)


def by_seed(rows: list[dict[str, Any]], arm: str, condition: str) -> dict[str, Any]:
    """Numbers of a way to read: by bucket, family and name, a number a seed."""
    own = sorted((row for row in rows if row["arm"] == arm), key=lambda row: row["seed"])
    scores = [row["scores"][condition] for row in own]
    return {
        bucket: {
            family: {key: [each[bucket][family][key][0] for each in scores] for key in KEYS}
            for family in scores[0][bucket]
        }
        for bucket in scores[0]
    }


def interval(values: list[float]) -> list[float | None]:
    """Mean and its interval over seeds; without one where all are alike or there is one seed."""
    found, _ = crossed_interval(np.array(values)[:, None])
    return [None if x != x else round(x, 4) for x in found]


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("rows", type=Path, nargs="+")
    args = parser.parse_args()
    rows = [row for path in args.rows for row in json.loads(path.read_text())]
    rows.sort(key=lambda row: (row["seed"], row["arm"]))
    numbers = {way: by_seed(rows, *way) for way in WAYS}
    seeds = {arm: [row["seed"] for row in rows if row["arm"] == arm] for arm, _ in WAYS}
    if len(set(map(tuple, seeds.values()))) > 1:
        raise SystemExit(f"arms must have the same seeds, each once, got {seeds}")
    levels = [
        {"arm": arm, "condition": condition, "bucket": int(bucket), "family": family, "key": key,
         "mean": interval(values), "by_seed": values}
        for (arm, condition), found in numbers.items()
        for bucket, families in found.items()
        for family, keys in families.items()
        for key, values in keys.items()
    ]  # fmt: skip
    between = [
        {"first": " ".join(one), "second": " ".join(other), "bucket": int(bucket), "key": key,
         "difference": interval([a - b for a, b in zip(
             numbers[one][bucket]["all"][key], numbers[other][bucket]["all"][key], strict=True)])}
        for one, other in BETWEEN
        for bucket in numbers[one]
        for key in KEYS
    ]  # fmt: skip
    told = {"levels": levels, "between": between, "rows": rows}
    args.out.write_text(json.dumps(told, indent=1) + "\n")
    for each in levels:
        if each["family"] == "all":
            print(*(each[k] for k in ("arm", "condition", "bucket", "key", "mean", "by_seed")))
    for each in between:
        print(*each.values())


if __name__ == "__main__":
    main()
