"""Does a small decoder learn to retrieve from its memory, and what decides it?

Sequences of 64 tokens: 8 key-value pairs, then each key asked twice among noise; the loss is on
answers alone. Two layers of width 64 with a window of 8; the second also attends to the K = 16 best
older pairs, which have no position.

Arms    conv, no-conv        the convolution before attention: width 4, or none
        grad, detached       keys and values keep their gradient within the sequence (read as one
                             segment), or what was read stays outside the graph (segments of 8)
Expect: conv-grad solves it (.99 of the questions whose answer stands beyond the window) in about
        1.7 M tokens, conv-detached comes near, no-conv stays near a guess among the values seen
        (1/8). Prototypes, one seed each. A solved model reads 64 times its trained length
        (4,096 tokens) and 8 times the pairs at .95 or better.
Run:    OMP_NUM_THREADS=1 python experiments/associative_recall.py runs/associative_recall.json
Result: experiments/README.md
"""

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import torch
from synthetic import Recall, Rows, are_hits, segments_of, training, without_memory

from memformer.config import DecoderConfig, MemoryConfig, OptimiserConfig
from memformer.model.decoder import Decoder

TASK = Recall()
WINDOW, N_LANE, N_TOKEN, N_PAIR = 8, 64, 64, 8
N_STEP, CHECK_EVERY, SOLVED = 375, 25, 0.99  # 375 steps are 1.5 M tokens
SEEDS = range(3)
BASE = DecoderConfig(
    vocab_size=TASK.vocab_size, n_layer=2, n_head=2, n_kv_head=2, n_embd=64, head_dim=32,
    mlp_dim=128, window=WINDOW, segment_len=64, memory=MemoryConfig(layers=(1,), n_retrieved=16),
)  # fmt: skip
OPTIMISER = OptimiserConfig(learning_rate=3e-3, schedule="constant", warmup_steps=50)
ARMS = {
    f"{conv}-{grad}": (width, segment_len)
    for grad, segment_len in (("grad", N_TOKEN), ("detached", WINDOW))
    for conv, width in (("conv", 4), ("no-conv", 0))
}
"""Width of the convolution and length of a segment: with one segment a sequence, all keys are in
the graph; with segments no longer than the window and grad_segments = 1, no retrieved key is."""
TESTS = {  # tokens, pairs, lanes: every pair is asked once, at the end
    "64 tokens": (64, 8, 256),
    "256 tokens": (256, 8, 64),
    "1,024 tokens": (1024, 8, 64),
    "4,096 tokens": (4096, 8, 64),
    "256 tokens, 32 pairs": (256, 32, 32),
    "1,024 tokens, 64 pairs": (1024, 64, 16),
}


def share_beyond(model: Decoder, seed: int) -> float:
    """Share of right answers among questions as in training whose answer the window lacks."""
    rng = torch.Generator().manual_seed(10_000 + seed)
    batch = TASK.draw(64, N_TOKEN, n_pair=N_PAIR, n_ask=2, rng=rng)
    hits = are_hits(model, batch, BASE.segment_len)
    return float(hits[batch.distance[batch.is_asked] >= WINDOW].float().mean())


def shares_at_end(model: Decoder, seed: int) -> dict[str, float]:
    """The same share for each of `TESTS`."""
    shares = {}
    for name, (n_token, n_pair, n_lane) in TESTS.items():
        rng = torch.Generator().manual_seed(20_000 + seed)
        batch = TASK.draw(n_lane, n_token, n_pair=n_pair, n_ask=1, rng=rng)
        shares[name] = float(are_hits(model, batch, BASE.segment_len).float().mean())
    return shares


def run(arm: str, seed: int) -> dict[str, Any]:
    """Train one model until it has solved the task twice in a row, or the tokens are spent."""
    width, segment_len = ARMS[arm]
    torch.manual_seed(seed)
    config = replace(BASE, conv_width=width)
    model, rng = Decoder(config), torch.Generator().manual_seed(seed)

    def draw(step: int) -> tuple[list[Any], int]:
        batch = TASK.draw(N_LANE, N_TOKEN, n_pair=N_PAIR, n_ask=2, rng=rng)
        return segments_of(batch, batch.is_asked.float(), segment_len), 1

    curve: list[tuple[int, float]] = []
    for at in training(model, draw, OPTIMISER, N_STEP):
        if at.step % CHECK_EVERY == 0:
            curve.append((at.n_token, share_beyond(model, seed)))
            print(
                arm, seed, at.n_token, f"loss {at.loss:.3f}, beyond {curve[-1][1]:.3f}", flush=True
            )
            if len(curve) > 1 and min(share for _, share in curve[-2:]) >= SOLVED:
                break
    solved = [n_token for n_token, share in curve if share >= SOLVED]
    return {
        "arm": arm,
        "seed": seed,
        "config": asdict(config),
        "optimiser": asdict(OPTIMISER),
        "segment_len_trained": segment_len,
        "n_token": at.n_token,
        "n_token_to_solved": solved[0] if solved else None,
        "curve": curve,
        "share": shares_at_end(model, seed),
        "share_without_memory": shares_at_end(without_memory(model), seed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    rows = Rows(parser.parse_args().out)
    torch.set_num_threads(1)
    for seed in SEEDS:
        for arm in ARMS:
            if not rows.has(arm=arm, seed=seed):
                started = time.time()
                rows.add(run(arm, seed), started)
                print(arm, seed, rows.rows[-1]["share"], flush=True)


if __name__ == "__main__":
    main()
