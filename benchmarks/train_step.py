"""What memory costs: a step of training, and reading alone, with N pairs held at a layer.

The model has the nearest peer's shape (`filled.py`): 30 million weights, 8 layers of width 512, one
with memory, 2 lanes of 512 tokens. With 8,192, 65,536 and 262,144 pairs held and without memory it
takes turns in each round; the weights are the same, only the memory is taken away. A training step
reads a segment, goes backward, moves the weights and remembers; every step begins with the same
number of pairs. Evaluation reads a segment and its loss. The memory is filled by appending keys
around those the model writes, not by reading. Before anything is timed, the model's queries must
find what `exact` finds (recall at least .999) and the losses must be finite.

    python benchmarks/train_step.py benchmarks/results/train_step.json
    python benchmarks/train_step.py benchmarks/results/train_step.json --precision float32
    python benchmarks/train_step.py tiny.json --tiny --pairs 256 --rounds 2
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import torch
from filled import TINY, filled_state, peer_shaped, recall_of, segment_of
from measuring import Way, has_bfloat16, milliseconds, put_row, ratio, take_turns, timed

from memformer.config import DecoderConfig, OptimiserConfig
from memformer.data.lanes import Segment
from memformer.evaluation.machine import describe
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState
from memformer.training.optimiser import build_optimiser
from memformer.training.step import Precision, token_loss, train_step

N_LANE = 2
LEAST_RECALL = 0.999
AIM = {8192: 1.1, 65_536: 1.35, 262_144: 2.2}
"""Cost of a training step with so many pairs, without memory = 1."""
RATE = OptimiserConfig(learning_rate=1e-4, gate_learning_rate=1e-4)


def training(
    model: Decoder,
    state: DecoderState,
    optimiser: torch.optim.Optimizer,
    segment: Segment,
    precision: Precision,
) -> Way:
    """A step of training that always begins in this state; forking it does not count."""

    def way() -> float:
        at = state.fork(1)
        started = time.perf_counter()
        out = train_step(
            model, at, optimiser, [[segment]], clip_norm=RATE.clip_norm, precision=precision
        )
        seconds = time.perf_counter() - started
        if not math.isfinite(out.loss):
            raise AssertionError(f"the loss must be finite, got {out.loss}")
        return seconds

    return way


def evaluating(
    model: Decoder, state: DecoderState, segment: Segment, precision: Precision
) -> tuple[Way, float]:
    """Reading a segment and its loss; the state is not changed. And the nats a token."""

    def read() -> float:
        is_narrow = precision == "bfloat16"
        narrow = torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_narrow)
        with torch.inference_mode(), narrow:
            out = model(segment.tokens, state)
            return float(token_loss(out.logits, segment)) / segment.tokens.numel()

    nats = read()
    if not math.isfinite(nats):
        raise AssertionError(f"the loss must be finite, got {nats}")
    return timed(read), nats


def measure(
    config: DecoderConfig, pairs: Sequence[int], precision: Precision, n_round: int
) -> list[dict[str, Any]]:
    """Recall and losses, then times of all sizes and of none in turn: a row a size."""
    torch.manual_seed(0)
    model = Decoder(config)
    without = model.reconfigure({"memory.layers": ()})
    optimiser = build_optimiser(model, RATE)
    segment = segment_of(config, N_LANE, seed=7)
    models = {0: without} | dict.fromkeys(pairs, model)
    states = {n: filled_state(models[n], n, N_LANE) for n in models}
    recalls, losses, ways = {}, {}, {}
    for n in pairs:
        recalls[n] = recall_of(model, states[n], segment.tokens)
        if recalls[n] < LEAST_RECALL:
            raise AssertionError(f"the search must find what exact finds, recall {recalls[n]}")
    for n in models:  # before training moves the weights
        ways[f"evaluate {n}"], losses[n] = evaluating(models[n], states[n], segment, precision)
    for n in models:
        ways[f"train {n}"] = training(models[n], states[n], optimiser, segment, precision)
    seconds = take_turns(ways, n_round)
    return [
        {
            "pairs": n,
            "precision": precision,
            "weights": sum(weight.numel() for weight in model.parameters()),
            "lanes": N_LANE,
            "segment": config.segment_len,
            "window": config.window,
            "rounds": n_round,
            "recall": round(recalls[n], 5),
            "nats": round(losses[n], 4),
            "nats_without": round(losses[0], 4),
            "aim": AIM.get(n),
        }
        | {
            kind: {
                "milliseconds": milliseconds(seconds[f"{kind} {n}"]),
                "without": milliseconds(seconds[f"{kind} 0"]),
                "ratio": ratio(seconds[f"{kind} {n}"], seconds[f"{kind} 0"]),
            }
            for kind in ("train", "evaluate")
        }
        | {"machine": describe()}
        for n in pairs
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, nargs="+", default=list(AIM))
    parser.add_argument("--precision", choices=("float32", "bfloat16"))
    parser.add_argument("--window", type=int, help="tokens; 512 by default")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tiny", action="store_true", help="a model of a few thousand weights")
    args = parser.parse_args()
    precision = args.precision or ("bfloat16" if has_bfloat16() else "float32")
    window = {"window": args.window} if args.window else {}
    config = peer_shaped(**(TINY if args.tiny else {}) | window)
    for row in measure(config, args.pairs, precision, args.rounds):
        print(row["pairs"], precision, row["train"], row["evaluate"], flush=True)
        put_row(args.out, row, ("pairs", "precision", "window"))


if __name__ == "__main__":
    main()
