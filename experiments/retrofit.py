"""What does a memory give a pretrained decoder that was never trained with one, by its shape?

SmolLM2-135M reads the first 4,096 tokens of eight novels, inside its trained length, at true
distances. The base is a window of 256 with 4 sinks; a variant adds a memory or changes one thing of
the memory of K = 32 pairs in every layer. Each book is a unit: intervals are over books. `share`
writes how much of the gap to full attention each closes.

Expect: K = 32 closes about 72 % (measured before on nine passages of three books), 8 pairs nearly
        as much; half of the layers less than half of it; without positions it does harm.
Run:    memformer ablate experiments/retrofit.py --out runs/retrofit
        python experiments/retrofit.py runs/retrofit experiments/results/retrofit.json
Result: experiments/README.md (the upper half alone closes as much as all layers; a window of 1,024
        with 32 pairs closes 96 %)
"""

import argparse
import json
from pathlib import Path

import numpy as np
from reading import NATS, SECOND_HALF, Reading, read

from memformer.ablation.effects import crossed_interval
from memformer.ablation.rows import Row, read_rows
from memformer.evaluation.machine import describe

ON = {"memory": "on"}
BASE = Reading()
VARIANTS = {
    "window and sinks": {},
    "full attention": {"attention": "full", "n_sink": 0},
    "K = 4": ON | {"n_retrieved": 4},
    "K = 8": ON | {"n_retrieved": 8},
    "K = 32": ON,
    "K = 64": ON | {"n_retrieved": 64},
    "K = 128": ON | {"n_retrieved": 128},
    "even layers": ON | {"layers": tuple(range(0, 30, 2))},
    "odd layers": ON | {"layers": tuple(range(1, 30, 2))},
    "lower half": ON | {"layers": tuple(range(15))},
    "upper half": ON | {"layers": tuple(range(15, 30))},
    "every third": ON | {"layers": tuple(range(2, 30, 3))},
    "at the window's edge": ON | {"max_distance": 256},
    "no position": ON | {"positions": "none"},
    "window 64": {"window": 64},
    "window 64, K = 32": ON | {"window": 64},
    "window 1024": {"window": 1024},
    "window 1024, K = 32": ON | {"window": 1024},
    # added after the upper half alone had come out above all layers
    "upper third": ON | {"layers": tuple(range(20, 30))},
    "upper two thirds": ON | {"layers": tuple(range(10, 30))},
    "upper half, K = 64": ON | {"layers": tuple(range(15, 30)), "n_retrieved": 64},
    "upper two thirds, K = 64": ON | {"layers": tuple(range(10, 30)), "n_retrieved": 64},
}
SEEDS = (0,)
METRICS = (NATS, SECOND_HALF)
make = read


def shares(rows: list[Row]) -> list[dict[str, object]]:
    """Of each variant: gain over the base, of the whole and of the second half, and share of the
    gap to full attention.

    The share is that of the means; its interval is of a jackknife over books (each left out once),
    with Student's t: the gap stands below the line, where a bootstrap of eight is unsteady.
    """
    held = {row.variant: row.metrics for row in rows}
    books = list(held["window and sinks"]["nats"])
    nats, late = (
        {name: np.array([each[metric][b] for b in books]) for name, each in held.items()}
        for metric in ("nats", "nats, second half")
    )
    base, full = nats["window and sinks"], nats["full attention"]
    found = []
    for name, each in nats.items():
        gain, p = crossed_interval((base - each)[None])
        n = len(books)
        whole = (base - each).sum() / (base - full).sum()
        left = np.array([
            np.delete(base - each, i).sum() / np.delete(base - full, i).sum() for i in range(n)
        ])  # fmt: skip
        spread = float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))
        reach = 2.365 * spread if n == 8 else float("nan")  # Student's t, 7 degrees of freedom
        half, _ = crossed_interval((late["window and sinks"] - late[name])[None])
        found.append({
            "variant": name, "nats": round(float(each.mean()), 4),
            "gain": [round(x, 4) for x in gain], "p": round(p, 4),
            "gain_second_half": [round(x, 4) for x in half],
            "share": [round(float(x), 3) for x in (whole, whole - reach, whole + reach)],
            "by_book": dict(zip(books, each.round(4).tolist(), strict=True)),
        })  # fmt: skip
    return found


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    rows = list(read_rows(args.runs / "rows.jsonl"))
    told = {**describe(), "n_token": BASE.n_token, "variants": shares(rows)}
    args.out.write_text(json.dumps(told, indent=1) + "\n")
    for each in told["variants"]:
        print(each["variant"], each["nats"], each["gain"], each["share"])


if __name__ == "__main__":
    main()
