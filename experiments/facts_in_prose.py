"""Does a pretrained decoder learn to recall facts from prose that it read long ago?

Four people, twelve facts on them (colour of eyes, trade, home town) in sentences of fifteen forms
among filler, asked later. SmolLM2-135M-Instruct with a window of 32 tokens, 4 sinks and a memory in
every layer: 32 pairs, true distances clamped to 6,000. Trained are changes of rank 16 of the
attention's matrices, on texts of 600 words with twelve facts and thirty-six questions, all keys in
the graph; the loss is on the first token of an answer, and a fiftieth of it on all others.

Arms    memory               as above
        memory-off           the same weights, memory switched off when tested
        untrained            before training, memory on
        copy-last, copy-any  rules: the last value stated of the relation asked, or any of them
Counted is whether the right one of the relation's eight values has the largest logit, over
questions whose fact stands within a factor 1.5 of so many windows back.
Expect: at least .9 at 32 windows (1,024 tokens), against about .35 for copy-any. The results before
        (110 steps of six texts of 190 words, eight facts, sixteen questions) have .74.
Run:    OMP_NUM_THREADS=1 python experiments/facts_in_prose.py runs/facts_in_prose.json
Result: experiments/README.md
"""

import argparse
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from memformer.process import tune_process

tune_process()

import torch
from prose import VALUES, VOCABULARY, draw, written
from synthetic import Rows, without_memory
from torch import Tensor

from memformer.config import LowRankConfig, MemoryConfig, OptimiserConfig
from memformer.data import smollm2
from memformer.data.lanes import Segment
from memformer.data.sources import SMOLLM2_FILE
from memformer.data.tokenizer import Tokenizer
from memformer.interop.transformers import load_llama
from memformer.model.decoder import Decoder
from memformer.training.low_rank import add_low_rank, merged
from memformer.training.optimiser import build_optimiser, rate_share, set_rate
from memformer.training.step import train_step

WINDOW, N_SINK = 32, 4
MEMORY = MemoryConfig(layers="all", n_retrieved=32, positions="rotary", max_distance=6000)
LOW_RANK = LowRankConfig(rank=16)
OPTIMISER = OptimiserConfig(
    learning_rate=1e-3, schedule="trapezoid", warmup_steps=10, decay_share=0.3, weight_decay=0.0
)
N_STEP, CHECK_EVERY, N_LANE = 300, 50, 2
TRAINED_ON: dict[str, Any] = dict(n_token=600, n_name=4, n_fact=12, n_ask=3)  # in words
TESTED_ON: dict[str, Any] = dict(n_name=4, n_fact=12, n_ask=1)
OTHERS = 0.02  # weight of targets that are no answer
N_TEXT = {2: 16, 8: 16, 32: 16, 128: 8}  # by distance in windows
SEEDS = range(3)
TOKENS_A_WORD = 1.2  # of these texts, roughly


class Asked(NamedTuple):
    """A question of a text in tokens."""

    at: int
    """Token before the answer."""
    distance: int
    """Tokens from there back to the end of the last sentence that states the fact."""
    value: str
    copy_last: float
    copy_any: float


class Text(NamedTuple):
    """A text in tokens, with its questions."""

    ids: list[int]
    asked: list[Asked]


def texts(rng: random.Random, n: int, tokenizer: Tokenizer, **kind: Any) -> list[Text]:
    """Texts of `prose.draw`, written as prose."""
    found = []
    for _ in range(n):
        drawn = draw(rng, 1, **kind)
        words = [VOCABULARY[i] for i in drawn.batch.tokens[0].tolist()]
        text, spans = written(words)
        encoded = tokenizer.encode(text)
        # the token in which each word begins; a token may begin with the blank before the word
        first, token = [], 0
        for start, _ in spans:
            while encoded.spans[token][1] <= start:
                token += 1
            first.append(token)
        asked = []
        rows = zip(
            drawn.batch.is_asked[0].nonzero()[:, 0].tolist(),
            drawn.copy_last.tolist(), drawn.copy_any.tolist(), strict=True,
        )  # fmt: skip
        for at, last, any_ in rows:
            said = at - int(drawn.batch.distance[0, at])
            distance = first[at + 1] - 1 - first[said]
            asked.append(Asked(first[at + 1] - 1, distance, words[at + 1], last, any_))
        found.append(Text(encoded.ids, asked))
    return found


def padded(rows: list[Text]) -> tuple[Tensor, Tensor]:
    """Ids (B, n) and which of them are real."""
    n = max(len(text.ids) for text in rows)
    ids, mask = torch.zeros(len(rows), n, dtype=torch.int64), torch.zeros(len(rows), n).bool()
    for row, text in enumerate(rows):
        ids[row, : len(text.ids)], mask[row, : len(text.ids)] = torch.tensor(text.ids), True
    return ids, mask


def segment(rows: list[Text]) -> Segment:
    """For `train_step`, in one segment, so that all keys have gradient: the answers weigh 1, all
    else `OTHERS`."""
    ids, mask = padded(rows)
    weight = torch.full(ids.shape, OTHERS)
    for row, text in enumerate(rows):
        weight[row, [each.at for each in text.asked]] = 1.0
    weight = (weight * mask)[:, :-1] * mask[:, 1:]
    unknown = torch.full(weight.shape, torch.nan)
    return Segment(ids[:, :-1], ids[:, 1:], mask[:, :-1], weight, unknown, [], [])


def first_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """The token by which each value's answer begins; they differ within a relation."""
    return {
        v: tokenizer.encode(f" {v.capitalize()}").ids[0] for each in VALUES.values() for v in each
    }


@torch.no_grad()
def are_hits(model: Decoder, rows: list[Text], first: dict[str, int]) -> list[bool]:
    """Whether each question's answer has the largest logit of its relation's values; reads in
    bfloat16."""
    rivals = {value: each for each in VALUES.values() for value in each}
    ids, mask = padded(rows)
    state, hits = model.new_state(len(rows)), {}
    for i in range(0, ids.shape[1], WINDOW):
        part = slice(i, i + WINDOW)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(ids[:, part], state, mask=mask[:, part])
        state.advance(out)
        for row, text in enumerate(rows):
            for each in text.asked:
                if i <= each.at < i + WINDOW:
                    values = rivals[each.value]
                    logits = out.logits[row, each.at - i, [first[v] for v in values]]
                    hits[row, each.at] = values[int(logits.argmax())] == each.value
    return [hits[row, each.at] for row, text in enumerate(rows) for each in text.asked]


def shares(
    models: dict[str, Decoder], tokenizer: Tokenizer, distance: int, seed: int, n_text: int
) -> dict[str, float]:
    """Share of right answers of each arm, over questions within a factor 1.5 of a distance."""
    rng = random.Random(f"test {distance} {seed}")
    gap = max(int(distance * WINDOW / TOKENS_A_WORD) - 90, 0)
    kind = {**TESTED_ON, "gap": gap, "n_token": gap + 230}
    rows = texts(rng, n_text, tokenizer, **kind)
    first, eights = first_tokens(tokenizer), [rows[i : i + 8] for i in range(0, n_text, 8)]
    asked = [each for text in rows for each in text.asked]
    near = [distance / 1.5 <= each.distance / WINDOW < distance * 1.5 for each in asked]
    found = {
        name: [float(hit) for each in eights for hit in are_hits(model, each, first)]
        for name, model in models.items()
    }
    found["copy-last"] = [each.copy_last for each in asked]
    found["copy-any"] = [each.copy_any for each in asked]
    n = sum(near)
    means = {k: sum(x for x, ok in zip(v, near, strict=True) if ok) / n for k, v in found.items()}
    return {**means, "n_question": n}


def run(seed: int) -> dict[str, Any]:
    """Train the changes and test at all distances."""
    torch.manual_seed(seed)
    settings = dict(window=WINDOW, n_sink=N_SINK, sink_distance=6000, memory=MEMORY)
    untrained, _ = load_llama(smollm2() / SMOLLM2_FILE, **settings)
    model, tokenizer = load_llama(smollm2() / SMOLLM2_FILE, **settings)
    add_low_rank(model.train(), LOW_RANK)
    optimiser, rng = build_optimiser(model, OPTIMISER), random.Random(seed)
    n_token, losses, curve = 0, [], []
    for step in range(N_STEP):
        set_rate(optimiser, rate_share(step, N_STEP, OPTIMISER))
        part = segment(texts(rng, N_LANE, tokenizer, **TRAINED_ON))
        out = train_step(
            model, model.new_state(N_LANE), optimiser, [[part]],
            clip_norm=OPTIMISER.clip_norm, precision="bfloat16",
        )  # fmt: skip
        n_token += out.n_token
        losses.append(out.loss)
        if (step + 1) % 10 == 0:
            print(seed, step + 1, n_token, f"loss {sum(losses[-10:]) / 10:.3f}", flush=True)
        if (step + 1) % CHECK_EVERY == 0 and step + 1 < N_STEP:
            share = shares({"memory": merged(model).eval()}, tokenizer, 32, 1_000 + seed, 16)
            curve.append((n_token, share["memory"], share["n_question"]))
            print(seed, n_token, share, flush=True)
    tested = merged(model).eval()
    arms = {"memory": tested, "memory-off": without_memory(tested)}
    first_arms = {**arms, "untrained": untrained}
    return {
        "seed": seed,
        "memory": asdict(MEMORY),
        "low_rank": asdict(LOW_RANK),
        "optimiser": asdict(OPTIMISER),
        "trained_on": TRAINED_ON,
        "n_lane": N_LANE,
        "n_step": N_STEP,
        "n_token": n_token,
        "losses": [round(loss, 4) for loss in losses],
        "curve_32_windows": curve,
        "share": {
            str(d): shares(first_arms if seed == 0 and d < 128 else arms, tokenizer, d, seed, n)
            for d, n in N_TEXT.items()
        },
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
