"""Does a small decoder learn to recall facts from prose read long ago?

Four people, twelve facts on them (colour of eyes, trade, home town) in sentences of fifteen forms
among filler; each is asked later. Three layers of width 64 with a window of 16 tokens; the last two
also read the memory, which has no position. In training a text is one segment, so all keys have
gradient, and every older pair is attended to; in tests the 16 best are. The loss is on answers
alone. Texts grow from 96 tokens, three people and six facts, to 256 and 512 tokens with twelve.

Arms    memory               as above
        memory-off           the same weights, memory switched off when tested
        copy-last, copy-any  rules: the last value stated of the relation asked, or any of them
Expect: at least .9 of the answers right 32 windows (512 tokens) after the fact, against about
        .35 for copy-any. Prototypes (4 layers, 4.9 M tokens) stayed at copy-any beyond the window.
Run:    OMP_NUM_THREADS=1 python experiments/facts_in_prose.py runs/facts_in_prose.json
Result: experiments/README.md
"""

import argparse
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import torch
from prose import VOCABULARY, Questions, draw
from synthetic import Rows, are_hits, segments_of, training, without_memory

from memformer.config import DecoderConfig, MemoryConfig, OptimiserConfig
from memformer.model.decoder import Decoder

WINDOW, N_NAME, N_FACT, N_TEST_LANE = 16, 4, 12, 32
STAGES = (  # steps, and the kinds of text read in turn, each with its lanes
    (1000, (dict(n_lane=16, n_token=96, n_name=3, n_fact=6, n_ask=1),)),
    (600, (dict(n_lane=32, n_token=96, n_name=3, n_fact=6, n_ask=1),)),
    (
        600,
        (
            *(dict(n_lane=16, n_token=256, n_name=4, n_fact=12, n_ask=1),) * 3,
            dict(n_lane=8, n_token=512, n_name=4, n_fact=12, n_ask=1, gap=300),
        ),
    ),
)
N_STEP, CHECK_EVERY = sum(n for n, _ in STAGES), 200
SEEDS = range(3)
DISTANCES = (2, 8, 32, 128)  # windows
N_RETRIEVED = 16  # in tests
CONFIG = DecoderConfig(
    vocab_size=len(VOCABULARY), n_layer=3, n_head=4, n_kv_head=4, n_embd=64, head_dim=32,
    mlp_dim=128, window=WINDOW, segment_len=64,
    memory=MemoryConfig(layers=(1, 2), n_retrieved=1024),
)  # fmt: skip
OPTIMISER = OptimiserConfig(
    learning_rate=3e-3, schedule="trapezoid", warmup_steps=50, decay_share=0.3
)


def asked_at(distance: int, seed: int) -> Questions:
    """Texts whose questions stand about so many windows after the fact."""
    rng = random.Random(f"test {distance} {seed}")
    if distance == 2:  # nearer than twelve statements are long: scattered
        return draw(rng, N_TEST_LANE, 256, n_name=N_NAME, n_fact=N_FACT, n_ask=1)
    gap = max(distance * WINDOW - 100, 28)  # half of the statements and of the questions: 100
    return draw(rng, N_TEST_LANE, gap + 320, n_name=N_NAME, n_fact=N_FACT, n_ask=1, gap=gap)


def shares(model: Decoder, distance: int, seed: int) -> dict[str, float]:
    """Share of right answers of each arm, over questions within a factor 1.5 of a distance."""
    questions = asked_at(distance, seed)
    windows = questions.batch.distance[questions.batch.is_asked] / WINDOW
    near = (windows >= distance / 1.5) & (windows < distance * 1.5)
    arms = {"memory": model, "memory-off": without_memory(model)}
    hits = {n: are_hits(m, questions.batch, CONFIG.segment_len) for n, m in arms.items()}
    rules = {"copy-last": questions.copy_last, "copy-any": questions.copy_any}
    found = {name: float(each[near].float().mean()) for name, each in {**hits, **rules}.items()}
    return {**found, "n_question": int(near.sum()), "median_windows": float(windows[near].median())}


def text_of(step: int) -> dict[str, int]:
    """The kind of text of a step, and how many lanes of it."""
    for n_step, kinds in STAGES:
        if step < n_step:
            return kinds[step % len(kinds)]
        step -= n_step
    raise ValueError("step must be below N_STEP")


def run(seed: int) -> dict[str, Any]:
    """Train one model and test it at all distances."""
    torch.manual_seed(seed)
    model, rng = Decoder(CONFIG), random.Random(seed)
    as_tested = {"memory.n_retrieved": N_RETRIEVED}

    def texts(step: int) -> tuple[list[Any], int]:
        text = text_of(step)
        batch = draw(rng, **text).batch
        return segments_of(batch, batch.is_asked.float(), text["n_token"]), 1

    curve: list[tuple[int, float]] = []
    for at in training(model, texts, OPTIMISER, N_STEP):
        if at.step % CHECK_EVERY == 0:
            share = shares(model.reconfigure(as_tested), 8, 1_000 + seed)
            curve.append((at.n_token, share["memory"]))
            print(seed, at.n_token, f"loss {at.loss:.3f}", share, flush=True)
    tested = model.reconfigure(as_tested)
    return {
        "seed": seed,
        "config": asdict(CONFIG),
        "optimiser": asdict(OPTIMISER),
        "stages": STAGES,
        "n_retrieved_tested": N_RETRIEVED,
        "n_token": at.n_token,
        "curve_8_windows": curve,
        "share": {str(d): shares(tested, d, seed) for d in DISTANCES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    rows = Rows(parser.parse_args().out)
    torch.set_num_threads(1)
    for seed in SEEDS:
        if not rows.has(seed=seed):
            started = time.time()
            rows.add(run(seed), started)
            print(seed, rows.rows[-1]["share"], flush=True)


if __name__ == "__main__":
    main()
