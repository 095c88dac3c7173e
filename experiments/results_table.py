"""Write README.md's results tables from committed files: `python experiments/results_table.py`.

Only what stands between the two markers is replaced.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memformer.ablation.effects import student_quantile

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "experiments" / "results", ROOT / "README.md"
BEGIN = "<!-- from here on written by experiments/results_table.py -->"
END = "<!-- to here -->"
Json = dict[str, Any]

READINGS = (
    ("passages.json", "nine passages of three novels, 4,096 tokens"),
    ("beyond.json", "three novels, 12,288 tokens, distances clamped to 6,000"),
    ("novel.json", "one novel, 32,768 tokens, distances clamped to 6,000"),
)


def tables(folder: Path) -> list[str]:
    """Lines of all tables."""
    return [
        "A memory it was never trained with:",
        "",
        *_head("read", "window + sinks", "+ memory", "full attention", "gap closed", "from"),
        *(reading(folder / name, what) for name, what in READINGS),
        "",
        "And after training, nats a token that the memory gains on held-out novels:",
        "",
        *_head("trained", "memory off", "gain of memory", "of another book's", "from"),
        fine_tuned(folder / "fine_tune_before.json", "SmolLM2-135M, memory in 7 layers, before"),
        fine_tuned(folder / "fine_tune.json", "the same after 300 steps on novels, one seed"),
        from_scratch(folder),
    ]


def reading(path: Path, what: str) -> str:
    """One evaluation of the pretrained decoder."""
    all_books = _metrics(path)
    arms = {name: _nats(arm) for name, arm in all_books["arms"].items()}
    full = "; ".join(
        [f"{x:.3f}" for name, x in arms.items() if name == "full"]
        + [f"{x:.3f} clamped" for name, x in arms.items() if name.startswith("full-clamped")]
    )
    gaps = [g for g in all_books["gap_closed"] if g["arm"] == "memory-32"]
    closed = "–"
    if gaps:
        gap = max(gaps, key=lambda g: str(g["rival"]))  # the clamped rival is the fair one
        share = gap["whole"]
        closed = f"{share['value']:.0%} [{share['low']:.0%}, {share['high']:.0%}]"
        closed += " of the gap to clamped" if gap["rival"] != "full" else ""
    return _line(what, f"{arms['window-sinks']:.3f}", f"{arms['memory-32']:.3f}", full or "–",
                 closed, f"`{path.name}`")  # fmt: skip


def fine_tuned(path: Path, what: str) -> str:
    """The pretrained decoder with and without its memory; intervals over blocks of text."""
    found = _metrics(path)
    gains = {name: _with_interval(g["nats_per_token"]) for name, g in found["gain"].items()}
    return _line(what, f"{_nats(found['arms']['memory-off']):.3f}", gains["memory"],
                 gains["memory-other-book"], f"`{path.name}`")  # fmt: skip


def from_scratch(folder: Path) -> str:
    """A small decoder, three seeds; intervals over seeds."""
    found = [_metrics(folder / f"novels-{seed}.json") for seed in range(3)]
    off = statistics.mean(_nats(f["arms"]["memory-off"]) for f in found)
    gains = [
        _over_seeds([f["gain"][arm]["nats_per_token"]["value"] for f in found])
        for arm in ("memory", "memory-other-book")
    ]
    what = "2 million weights from scratch on 2 million tokens, three seeds"
    return _line(what, f"{off:.3f}", *gains, "`novels-0.json`, `-1`, `-2`")


def _metrics(path: Path) -> Json:
    found: Json = json.loads(path.read_text())["metrics"]
    return found["all"] if "all" in found else next(iter(found.values()))


def _nats(arm: Json) -> float:
    return float(arm["nats_per_token"]["value"])


def _with_interval(x: Json) -> str:
    return f"{x['value']:.3f} [{x['low']:.3f}, {x['high']:.3f}]".replace("-", "−")


def _over_seeds(values: Sequence[float]) -> str:
    n, mean = len(values), statistics.mean(values)
    reach = student_quantile(n - 1) * statistics.stdev(values) / n**0.5
    return f"{mean:.3f} [{mean - reach:.3f}, {mean + reach:.3f}]".replace("-", "−")


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _head(*names: str) -> list[str]:
    return [_line(*names), "|" + "---|" * len(names)]


def written(page: str, lines: Sequence[str]) -> str:
    """The page with its tables. Raises ValueError if a marker is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must hold {BEGIN!r} and then {END!r}")
    return f"{before}{begin}\n" + "\n".join(lines) + f"\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(), tables(RESULTS)))
