"""Reading far into a novel: this version against another checkout of the repository.

SmolLM2-135M, memory in every layer, holds the pairs of N tokens (bfloat16 pages; keys lie around
those it wrote for its first tokens, with noise) and reads a segment of 256 tokens, window 256, 4
sinks, distances of 6,000 tokens at most. Each version runs in a process of its own; they take
turns, segment by segment. Neither remembers the segment, so every round is the same work. First:
both give the same mean of the largest logits, to 1e-2.

    git worktree add ../first cb52038         # before the compiled search
    python benchmarks/versions.py benchmarks/results/versions.json ../first
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import torch
from filled import fill
from measuring import milliseconds, put_row, ratio

WINDOW, N_SINK, MAX_DISTANCE, K = 256, 4, 6000, 32
DEPTHS = (4096, 16_384, 65_536, 131_072)


class Version:
    """A process that reads with one version of the package."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, command: str) -> list[float]:
        """Numbers that the process answers."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(command, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("answer "):
                return [float(x) for x in line.split()[1:]]
        raise RuntimeError(f"the process ended at {command!r}: see its error above")


def work() -> None:
    """Answer commands on standard input: `fill N`, `read`."""
    from memformer.config import MemoryConfig
    from memformer.data import classics, smollm2
    from memformer.data.sources import SMOLLM2_FILE
    from memformer.interop.transformers import load_llama

    memory = MemoryConfig(
        layers="all", n_retrieved=K, positions="rotary", max_distance=MAX_DISTANCE, dtype="bfloat16"
    )
    model, tokenizer = load_llama(
        smollm2() / SMOLLM2_FILE, window=WINDOW, n_sink=N_SINK, sink_distance=MAX_DISTANCE,
        memory=memory,
    )  # fmt: skip
    text = next(book.text for book in classics() if book.id == "austen-pride")
    ids = torch.tensor(tokenizer.encode(text[:20_000]).ids[: 8 * WINDOW])[None]
    state = model.new_state(1)
    for line in sys.stdin:
        command, *arguments = line.split()
        with torch.inference_mode():
            if command == "fill":
                state = model.new_state(1)
                go_on(model, state, ids, int(arguments[0]))
                answer = [0.0]
            else:
                started = time.perf_counter()
                out = model(ids[:, -WINDOW:], state)
                answer = [time.perf_counter() - started, float(out.logits.max(-1).values.mean())]
        print("answer", *answer, flush=True)


def go_on(model: Any, state: Any, ids: torch.Tensor, n_token: int) -> None:
    """Read some tokens, then give every layer the pairs of n_token of them."""
    for part in ids[:, : 4 * WINDOW].split(WINDOW, dim=1):
        state.advance(model(part, state))
    for layer in state.layers:
        n_more = n_token - layer.n_read[0]
        first = layer.n_read[0] - WINDOW + 1  # the token that left the window last, and one
        fill(layer.memory, [layer.memory.pairs(0)], n_more, seed=0, first=first)
        layer.n_read = [n_token]


def measure(ours: Version, theirs: Version, depth: int, n_round: int) -> dict[str, Any]:
    """Times of both at one depth, in turn."""
    logits = []
    for version in (ours, theirs):
        version.ask(f"fill {depth}")
        logits.append(version.ask("read")[1])  # packs keys, warms caches
    if abs(logits[0] - logits[1]) > 1e-2:
        raise AssertionError(f"mean largest logits differ at {depth}: {logits}")
    times = [(ours.ask("read")[0], theirs.ask("read")[0]) for _ in range(n_round)]
    mine, other = zip(*times, strict=True)
    return {
        "depth": depth,
        "milliseconds": milliseconds(mine),
        "before": milliseconds(other),
        "before_times_ours": ratio(other, mine),
        "tokens": WINDOW,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("other", type=Path, help="a checkout of another version")
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    from memformer.evaluation.machine import describe

    commit = subprocess.run(
        ["git", "-C", args.other, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    ours, theirs = Version(Path(__file__).parents[1]), Version(args.other.resolve())
    for depth in args.depths:
        row = measure(ours, theirs, depth, args.rounds)
        row |= {"commit_before": commit, "rounds": args.rounds}
        print(row, flush=True)
        put_row(args.out, {**row, "machine": describe()}, ["depth", "commit_before"])


if __name__ == "__main__":
    work() if "--worker" in sys.argv else main()
