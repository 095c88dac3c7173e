"""A step of training, and reading alone, against memorizing-transformers-pytorch 0.4.1.

Both models have 30 million weights (width 512, 8 layers, 8 heads, one key/value head of 64, one
memory layer, 32 pairs a query; `../filled.py`), read 2 lanes of 512 tokens, and hold the same
pairs. The peer's queries see 1 to 512 tokens, those before them in the segment, 256 on average;
ours see a window of 512, so that their local attention is twice the work, or of `--window`. The
peer lives in an environment of its own (`install.py`) and in a process of its own, which takes
turns with ours, command by command; it has the same threads and the same switches of the process
(`memformer.process`). It fails under bfloat16 autocast, so it runs in float32; ours runs in both,
as it is and with its blocks by `torch.compile`.
What it adds to its memory in a step is taken out again before the next, as is what ours adds.

First: losses are finite, ours finds what `exact` finds (recall at least .999), and the share of the
32 best pairs that the peer finds is measured with the same queries, through its own memory.

    python benchmarks/peers/install.py
    python benchmarks/peers/memorizing.py benchmarks/results/memorizing.json
    python benchmarks/peers/memorizing.py tiny.json --tiny --pairs 256 --rounds 2
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import numpy as np
import torch
from install import PEER, python
from torch import Tensor

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the scripts above are no package

from filled import TINY, filled_state, peer_shaped, segment_of, with_noise
from measuring import Way, has_bfloat16, milliseconds, put_row, ratio, take_turns
from train_step import LEAST_RECALL, N_LANE, RATE, evaluating, training

from memformer.config import DecoderConfig
from memformer.evaluation.machine import describe
from memformer.memory.pages import PagedMemory
from memformer.memory.recall import recall_at_k
from memformer.model.decoder import Decoder
from memformer.training.optimiser import build_optimiser
from memformer.training.step import Precision

PAIRS = (8192, 65_536, 262_144)
N_QUERY = 16
"""Queries a head with which recall is measured."""
SWITCHES = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
}
"""What `tune_process` does, for a process that cannot call it."""


class Peer:
    """The other process; `ask` sends a command and waits for the answer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, command: str) -> dict[str, Any]:
        """The answer to one command of `memorizing_worker.py`.

        Raises:
            RuntimeError: the process ended.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended at {command!r}: its error stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def way(self, command: str) -> Way:
        """The seconds it says a command took."""

        def way() -> float:
            answer = self.ask(command)
            if not math.isfinite(answer["nats"]):
                raise AssertionError(f"the peer's loss must be finite, got {answer['nats']}")
            return float(answer["seconds"])

        return way


@contextmanager
def peer_of(config: DecoderConfig, folder: Path) -> Iterator[Peer]:
    """The peer with our shape and the pairs that lie in a folder."""
    shape = {
        "num_tokens": config.vocab_size,
        "dim": config.n_embd,
        "depth": config.n_layer,
        "dim_head": config.head_dim,
        "heads": config.n_head,
        "memorizing_layers": config.memory_layers[0] + 1,  # counted from 1
    }
    n_retrieved = config.memory.n_retrieved
    settings = {"model": shape, "n_retrieved": n_retrieved, "folder": str(folder)}
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [str(python()), str(HERE / "memorizing_worker.py"), json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=outside | SWITCHES,
    )
    try:
        yield Peer(process)
    finally:
        process.terminate()
        process.communicate()


def write_pairs(memory: PagedMemory, config: DecoderConfig, tokens: Tensor, folder: Path) -> Tensor:
    """What the peer reads; returns the queries, (B, H, N_QUERY, D), which lie near some keys."""
    lanes = [memory.pairs(lane) for lane in range(memory.n_lane)]
    keys = torch.stack([run.keys[0] for run in lanes]).float()
    values = torch.stack([run.values[0] for run in lanes]).float()
    draw = torch.Generator().manual_seed(11)
    near = torch.randint(keys.shape[1], (config.n_head, N_QUERY), generator=draw)
    queries = with_noise(keys[:, near], draw)
    np.savez(folder / "pairs.npz", keys=keys.numpy(), values=values.numpy())
    np.save(folder / "queries.npy", queries.numpy())
    np.save(folder / "tokens.npy", tokens.numpy())
    return queries


def recall_of_keys(memory: PagedMemory, queries: Tensor, found: Tensor, k: int) -> float:
    """Share of the k best pairs among the keys found, (B, H, L, k, D), NaN where none was.

    A pair counts if its score reaches the k-th best.
    """
    best = memory.search(queries, k)
    worst = best.scores[..., -1:]
    scores = (found @ queries[..., None])[..., 0]
    return float((scores >= worst - 1e-5 * (1 + worst.abs())).float().mean())


def measure(
    config: DecoderConfig, n_pair: int, n_round: int, *, has_compiled: bool = False
) -> dict[str, Any]:
    """Recalls and losses, then the peer and ours, in one or two precisions, as it is and by
    `torch.compile` if asked for, in turn."""
    torch.manual_seed(0)
    model = Decoder(config)
    optimiser = build_optimiser(model, RATE)
    segment = segment_of(config, N_LANE, seed=7)
    state = filled_state(model, n_pair, N_LANE)
    memory = state.layers[config.memory_layers[0]].memory
    assert memory is not None
    with tempfile.TemporaryDirectory() as name, peer_of(config, Path(name)) as peer:
        ids = torch.cat((segment.tokens, segment.targets[:, -1:]), dim=1)
        queries = write_pairs(memory, config, ids, Path(name))
        k = config.memory.n_retrieved
        if (recall := recall_at_k(memory, queries, k)) < LEAST_RECALL:
            raise AssertionError(f"the search must find what exact finds, recall {recall}")
        about = peer.ask("hello")
        filling = peer.ask("fill")["seconds"]
        peer.ask("search")
        found = torch.from_numpy(np.load(Path(name) / "found.npy"))
        theirs = recall_of_keys(memory, queries, found, k)
        precisions: list[Precision] = ["float32", *(["bfloat16"] if has_bfloat16() else [])]
        ours = {each: (model, each) for each in precisions}
        if has_compiled:  # the same weights
            compiled = model.reconfigure({}).compile_blocks()
            ours |= {f"{each}_compiled": (compiled, each) for each in precisions}
        ways = {"evaluate peer": peer.way("evaluate")}
        for name, (which, each) in ours.items():
            ways[f"evaluate {name}"] = evaluating(which, state, segment, each)[0]
        ways["train peer"] = peer.way("train")
        for name, (which, each) in ours.items():
            ways[f"train {name}"] = training(which, state, optimiser, segment, each)
        seconds = take_turns(ways, n_round)
    row: dict[str, Any] = {
        "peer": PEER,
        "pairs": n_pair,
        "lanes": N_LANE,
        "segment": config.segment_len,
        "window": config.window,
        "rounds": n_round,
        "recall": round(recall, 5),
        "peer_recall": round(theirs, 4),
        "weights": sum(weight.numel() for weight in model.parameters()),
        "peer_process": about,
        "peer_seconds_to_fill": round(filling, 1),
    }
    for kind in ("train", "evaluate"):
        row[kind] = {"peer": milliseconds(seconds[f"{kind} peer"])}
        for each in ours:
            row[kind][each] = milliseconds(seconds[f"{kind} {each}"])
            row[kind][f"peer_times_{each}"] = ratio(
                seconds[f"{kind} peer"], seconds[f"{kind} {each}"]
            )
    return row | {"machine": describe()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, nargs="+", default=PAIRS)
    parser.add_argument("--window", type=int, help="of our model, in tokens; 512 by default")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tiny", action="store_true", help="models of a few thousand weights")
    args = parser.parse_args()
    if not python().exists():
        parser.error(f"the peer is not installed: python {HERE / 'install.py'}")
    window = {"window": args.window} if args.window else {}
    config = peer_shaped(**(TINY if args.tiny else {}) | window)
    for n_pair in args.pairs:
        row = measure(config, n_pair, args.rounds, has_compiled=not args.tiny)
        print(n_pair, row["peer_recall"], row["train"], row["evaluate"], flush=True)
        put_row(args.out, row, ("peer", "pairs", "window"))


if __name__ == "__main__":
    main()
