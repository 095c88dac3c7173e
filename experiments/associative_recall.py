"""Does a small decoder learn to find in its memory what its window has lost, and what decides it?

Associative recall: pairs of a key and a value, filler, then keys whose values are asked. Two
layers of width 64, window 8, 16 retrieved pairs in layer 1; 64 sequences of 64 tokens a step, 8
pairs each. Only answers carry loss, and only answers whose key was last seen beyond the receptive
field of the window are counted (2 layers of 8 tokens and two convolutions: 21).

Arms    conv+grad   convolution of width 4, keys in the graph (one segment a sequence)
        conv        convolution, keys detached (segments of 8 tokens, one backward each)
        grad        no convolution, keys in the graph
        neither     no convolution, keys detached
Expect: conv+grad solves it in about 1.5 million tokens and reads 64 times longer; without the
        convolution nothing is learned (a prototype, one seed each).
Run:    python experiments/associative_recall.py --out runs/recall    (rows that exist are skipped)
Result: experiments/README.md, from experiments/results/associative_recall.json
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

from memformer.process import tune_process

tune_process()

import torch
from torch import Tensor

from memformer.config import DecoderConfig, MemoryConfig, OptimiserConfig
from memformer.data.lanes import Segment
from memformer.evaluation.machine import describe
from memformer.model.decoder import Decoder
from memformer.training.optimiser import build_optimiser, rate_share, set_rate
from memformer.training.step import train_step

N_KEY = N_VALUE = 128
N_FILLER = 16
VOCAB = N_KEY + N_VALUE + N_FILLER
WINDOW, FIELD = 8, 21
ARMS = {  # convolution's width, tokens of a segment
    "conv+grad": (4, 64),
    "conv": (4, 8),
    "grad": (0, 64),
    "neither": (0, 8),
}
N_STEP, N_LANE = 600, 64
OPTIMISER = OptimiserConfig(
    learning_rate=3e-3, gate_learning_rate=1e-2, warmup_steps=20, schedule="constant",
    weight_decay=0.0, beta2=0.98,
)  # fmt: skip


class Sequences(NamedTuple):
    """Some sequences, one a row."""

    tokens: Tensor
    """(B, L + 1) int64."""
    asked: Tensor
    """(B, L) bool: the next token is the answer to a key beyond the receptive field."""
    weight: Tensor
    """(B, L) float32: 1 where the next token is an answer."""


def draw(generator: torch.Generator, n_lane: int, length: int, n_pair: int) -> Sequences:
    """Pairs, filler of a random length, then questions to the end, filler here and there."""
    tokens = torch.empty(n_lane, length + 1, dtype=torch.int64)
    asked = torch.zeros(n_lane, length, dtype=torch.bool)
    weight = torch.zeros(n_lane, length)
    for row in range(n_lane):
        keys = torch.randperm(N_KEY, generator=generator)[:n_pair].tolist()
        values = torch.randint(N_VALUE, (n_pair,), generator=generator).add(N_KEY).tolist()
        text = [token for pair in zip(keys, values, strict=True) for token in pair]
        seen = {key: 2 * i for i, key in enumerate(keys)}
        n_question = min(n_pair, (length + 1 - 2 * n_pair) // 2)
        n_free = length + 1 - 2 * n_pair - 2 * n_question
        order = torch.randperm(n_pair, generator=generator)[:n_question].tolist()
        # training fills the sequence with questions; long readings put all filler before them
        n_filler = int(torch.randint(n_free + 1, (1,), generator=generator))
        n_filler = n_free if length > 64 else n_filler
        filler = torch.randint(N_FILLER, (n_free + 1,), generator=generator) + N_KEY + N_VALUE
        text += filler[:n_filler].tolist()
        while len(text) < length + 1:
            i = order.pop() if order else int(torch.randint(n_pair, (1,), generator=generator))
            at = len(text)
            text += [keys[i], values[i]]
            if at < length:
                weight[row, at] = 1.0
                asked[row, at] = at - seen[keys[i]] > FIELD
            seen[keys[i]] = at
        tokens[row] = torch.tensor(text[: length + 1])
    return Sequences(tokens, asked, weight)


def passages(sequences: Sequences, segment_len: int) -> list[list[Segment]]:
    """Each segment is a passage: gradients stay within it."""
    n_lane, n = sequences.weight.shape
    found = []
    for start in range(0, n, segment_len):
        part = slice(start, start + segment_len)
        targets = sequences.tokens[:, 1:][:, part]
        found.append([Segment(
            sequences.tokens[:, part], targets, torch.ones_like(targets, dtype=torch.bool),
            sequences.weight[:, part], torch.zeros_like(sequences.weight[:, part]),
            list(range(n_lane)) if start == 0 else [], [""] * n_lane,
        )])  # fmt: skip
    return found


def accuracy(model: Decoder, sequences: Sequences, layers: tuple[int, ...] | None = None) -> float:
    """Share of the counted answers that are the likeliest next token; `layers` with memory."""
    reader = model if layers is None else model.reconfigure({"memory.layers": layers})
    state = reader.new_state(len(sequences.tokens))
    right = []
    with torch.inference_mode():
        for start in range(0, sequences.asked.shape[1], 128):
            part = slice(start, min(start + 128, sequences.asked.shape[1]))
            out = reader(sequences.tokens[:, part], state)
            state.advance(out)
            is_right = out.logits.argmax(-1) == sequences.tokens[:, 1:][:, part]
            right.append(is_right[sequences.asked[:, part]])
    return float(torch.cat(right).float().mean())


def run(arm: str, seed: int) -> dict:
    """One row: train until solved or the budget ends, then read longer texts and more pairs."""
    conv_width, segment_len = ARMS[arm]
    torch.manual_seed(seed)
    model = Decoder(DecoderConfig(
        vocab_size=VOCAB, n_layer=2, n_head=2, n_kv_head=2, n_embd=64, head_dim=32, mlp_dim=128,
        window=WINDOW, segment_len=segment_len, conv_width=conv_width,
        memory=MemoryConfig(layers=(1,), n_retrieved=16),
    ))  # fmt: skip
    optimiser = build_optimiser(model, OPTIMISER)
    train_draw = torch.Generator().manual_seed(1000 + seed)
    held_out = draw(torch.Generator().manual_seed(7), 128, 64, 8)
    state, curve, started = model.new_state(N_LANE), [], time.perf_counter()
    for step in range(N_STEP):
        set_rate(optimiser, rate_share(step, N_STEP, OPTIMISER))
        parts = passages(draw(train_draw, N_LANE, 64, 8), segment_len)
        train_step(model, state, optimiser, parts, clip_norm=1.0)
        if (step + 1) % 25 == 0:
            curve.append([(step + 1) * N_LANE * 64, accuracy(model, held_out)])
            if curve[-1][1] >= 0.998:
                break
    model.eval()
    test = torch.Generator().manual_seed(8)
    readings = {
        f"{n_pair} pairs, {length} tokens": accuracy(model, draw(test, n, length, n_pair))
        for length, n_pair, n in (
            (64, 8, 256), (256, 8, 128), (1024, 8, 64), (4096, 8, 48), (256, 32, 64),
            (1024, 64, 48), (4096, 64, 16),
        )
    }  # fmt: skip
    solved = next((tokens for tokens, share in curve if share >= 0.99), None)
    return {
        "arm": arm, "seed": seed, "tokens": curve[-1][0], "solved_at_tokens": solved,
        "memory_off": accuracy(model, held_out, ()), "accuracy": readings, "curve": curve,
        "seconds": round(time.perf_counter() - started, 1), "made": describe(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arm", choices=ARMS, action="append")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        for arm in args.arm or ARMS:
            path = args.out / f"{arm}-{seed}.json"
            if path.is_file():
                continue
            row = run(arm, seed)
            path.with_suffix(".part").write_text(json.dumps(row))
            path.with_suffix(".part").replace(path)
            print(arm, seed, row["tokens"], row["accuracy"], f"{row['seconds']} s", flush=True)
    rows = [json.loads(path.read_text()) for path in sorted(args.out.glob("*-*.json"))]
    (args.out / "result.json").write_text(json.dumps(rows, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
