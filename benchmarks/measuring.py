"""Times of several ways that take turns, and the file that their rows go to.

Times on a shared machine drift by more than the differences that matter. So the ways take turns in
each round, and what is quoted is the median over rounds of the ratio within a round.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

Way = Callable[[], float]
"""Does its work once and returns the seconds that count."""


def timed(work: Callable[[], object]) -> Way:
    """A way all of whose time counts."""

    def way() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return way


def take_turns(ways: Mapping[str, Way], n_round: int, n_warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each way in each round, the first `n_warm_up` rounds left out."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(n_warm_up + n_round):
        for name, way in ways.items():
            taken = way()
            if i >= n_warm_up:
                seconds[name].append(taken)
    return seconds


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    each = {"median": statistics.median(seconds), "from": min(seconds), "to": max(seconds)}
    return {name: round(1e3 * value, 2) for name, value in each.items()}


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of the rounds' ratios."""
    rounds = [a / b for a, b in zip(above, below, strict=True)]
    each = {"median": statistics.median(rounds), "from": min(rounds), "to": max(rounds)}
    return {name: round(value, 2) for name, value in each.items()}


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16 itself; without, autocast only adds work."""
    known = torch.cpu.get_capabilities()
    return any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def put_row(path: Path, row: dict[str, Any], keys: Sequence[str]) -> None:
    """Write a row to a file of rows, in place of the one that agrees with it in `keys`."""
    rows = json.loads(path.read_text()) if path.exists() else []
    others = [r for r in rows if any(r.get(key) != row[key] for key in keys)]
    path.parent.mkdir(parents=True, exist_ok=True)
    arriving = path.with_suffix(".unfinished")
    arriving.write_text(json.dumps([*others, row], indent=1) + "\n")
    arriving.replace(path)
