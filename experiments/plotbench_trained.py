"""Does a decoder learn from the simulator's train split to find a fact beyond its window?

SmolLM2-135M-Instruct (4-bit weights, unpacked) with a window of 64 tokens and 4 sinks. Trained are
changes of rank 16 of the attention's matrices, on stories of 1,024 tokens of the train split (other
names, sentences and errands than the dev split, on which it is asked), facts 256 tokens and more
from their questions. Every story is read in both twins, with its probes and their consistent
options written into it; the loss is on the options alone. Families: the two floors, which one
sentence answers.

Arms    memory   32 pairs in the upper half of the layers at true distances, all keys in the graph
        window   no memory
        full     a window of 4,096: full attention at these lengths
Each is asked as it was trained, and `memory` also with its memory off and with shuffled values, at
the distance of training and at four times that. A first trial with memory in every fifth layer of
all found nothing in 100 steps (results/plotbench_trained_sixth.json); without training, memory in
the upper half closes as much of the gap to full attention as memory everywhere (retrofit.py).
Expect: beyond the window `memory` lies above `window`, which is at 0; `full` above both.
Run:    python experiments/plotbench_trained.py runs/plotbench_trained.json --arms memory --seeds 0
Result: experiments/README.md
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from memformer.process import tune_process

tune_process()

from pathlib import Path

import torch
from synthetic import Rows
from torch import Tensor

from memformer.config import LowRankConfig, MemoryConfig, OptimiserConfig
from memformer.config.plotbench import MakeConfig, ScoreConfig
from memformer.data import smollm2
from memformer.data.lanes import Segment
from memformer.data.sources import SMOLLM2_FILE
from memformer.data.tokenizer import Tokenizer
from memformer.interop.transformers import load_llama
from memformer.model.decoder import Decoder
from memformer.plotbench.make import BENCH_VERSION, Base, make, make_base
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.metrics import scores
from memformer.plotbench.results import Result
from memformer.plotbench.run import run as score
from memformer.plotbench.statistics import Estimate
from memformer.plotbench.story import RETRIEVAL_FLOOR, Bench, Probe
from memformer.training.low_rank import add_low_rank, merged
from memformer.training.optimiser import build_optimiser, rate_share, set_rate
from memformer.training.step import train_step

MEMORY = MemoryConfig(
    layers=tuple(range(15, 30)), n_retrieved=32, positions="rotary", max_distance=6000
)
ARMS: dict[str, dict[str, Any]] = {
    "memory": dict(window=64, n_sink=4, sink_distance=6000, memory=MEMORY),
    "window": dict(window=64, n_sink=4, sink_distance=6000),
    "full": dict(window=4096, n_sink=0),
}
ASKED = {"memory": ("on", "off", "shuffled"), "window": ("off",), "full": ("off",)}
"""Conditions; without a memory in its config a model reads as it is under `off`."""
LOW_RANK = LowRankConfig(rank=16)
OPTIMISER = OptimiserConfig(
    learning_rate=1e-3, schedule="trapezoid", warmup_steps=10, decay_share=0.3, weight_decay=0.0
)
BUCKET, LENGTH = 256, 1024  # of training
N_STORY = 1  # a step, in both twins
ROUND = 128  # tokens
FAMILIES = RETRIEVAL_FLOOR
TESTED = {256: (16, 1024), 1024: (5, 2048)}
"""Stories of the dev split by distance: how many seeds, and their length in tokens."""


class Text(NamedTuple):
    """A story of the train split with answers."""

    ids: list[int]
    is_answer: list[bool]


def texts(rng: random.Random, tokenizer: Tokenizer) -> Iterator[Text]:
    """Stories without end, both twins of each."""
    while True:
        base: Base = make_base(
            rng.randrange(1 << 40), bucket=BUCKET, length=LENGTH, families=FAMILIES, split="train"
        )
        for story in base.stories:
            probes = [p for p in base.probes if p.story_id == story.story_id]
            yield written(story.text, probes, tokenizer)


def written(text: str, probes: Sequence[Probe], tokenizer: Tokenizer) -> Text:
    """The story up to its last probe, with every probe at its place."""
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    at = n = 0
    for p in sorted(probes, key=lambda p: p.insert_at_char):
        option = p.options[p.gold]
        before = text[at : p.insert_at_char] + p.stem
        spans.append((n + len(before), n + len(before) + len(option)))
        parts.append(before + option + p.suffix)
        n, at = n + len(parts[-1]), p.insert_at_char
    ids, places = tokenizer.encode("".join(parts))
    is_answer = [any(a < stop and start < b for a, b in spans) for start, stop in places]
    return Text(list(ids), is_answer)


def segment(rows: Sequence[Text]) -> Segment:
    """All lanes in one segment, so that all keys have gradient.

    Padded to a multiple of `ROUND`: rows of ever new lengths leave holes that the process keeps.
    """
    n = -(-(max(len(row.ids) for row in rows) - 1) // ROUND) * ROUND + 1
    ids, mask = torch.zeros(len(rows), n, dtype=torch.int64), torch.zeros(len(rows), n).bool()
    weight = torch.zeros(ids.shape)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)], mask[i, : len(row.ids)] = torch.tensor(row.ids), True
        weight[i, : len(row.ids)][torch.tensor(row.is_answer)] = 1.0
    weight = weight[:, 1:] * mask[:, 1:]
    unknown: Tensor = torch.full(weight.shape, torch.nan)
    return Segment(ids[:, :-1], ids[:, 1:], mask[:, :-1], weight, unknown, [], [])


def train(
    decoder: Mapping[str, Any], seed: int, n_step: int
) -> tuple[Decoder, Tokenizer, int, list[float]]:
    """The merged model, its tokenizer, tokens seen, losses.

    `decoder` holds arguments of `load_llama`. With a memory some 14 GB are needed.
    """
    torch.manual_seed(seed)
    model, tokenizer = load_llama(smollm2() / SMOLLM2_FILE, **decoder)
    add_low_rank(model.train(), LOW_RANK)
    optimiser = build_optimiser(model, OPTIMISER)
    source = texts(random.Random(seed), tokenizer)  # the same texts for every arm
    n_token, losses = 0, []
    for step in range(n_step):
        set_rate(optimiser, rate_share(step, n_step, OPTIMISER))
        part = segment([next(source) for _ in range(2 * N_STORY)])
        out = train_step(
            model, model.new_state(2 * N_STORY), optimiser, [[part]],
            clip_norm=OPTIMISER.clip_norm, precision="bfloat16",
        )  # fmt: skip
        n_token += out.n_token
        losses.append(out.loss)
        if (step + 1) % 10 == 0:
            print(
                "seed", seed, "step", step + 1, n_token, f"{sum(losses[-10:]) / 10:.3f}", flush=True
            )
    return merged(model).eval(), tokenizer, n_token, losses


def asked(model: Decoder, tokenizer: Tokenizer, conditions: Sequence[str]) -> list[Result]:
    """Rows of all conditions on the dev split."""
    rows: list[Result] = []
    scorer = MemformerScorer(
        model, tokenizer, name="trained", config=ScoreConfig(precision="bfloat16"),
        condition=conditions[0],
    )  # fmt: skip
    for bucket, (n_seed, length) in TESTED.items():
        bench: Bench = make(
            MakeConfig(seeds=(0, n_seed), buckets=(bucket,), lengths=(length,), families=FAMILIES)
        )
        with tempfile.TemporaryDirectory() as folder:
            rows += score(bench, scorer, out=folder, conditions=conditions)
    return rows


def table(rows: Sequence[Result]) -> dict[str, Any]:
    """Items, groups and DiD with intervals over stories, by condition, distance and family."""
    found: dict[str, Any] = {}
    for condition in dict.fromkeys(row.condition for row in rows):
        for bucket in TESTED:
            here = [r for r in rows if (r.condition, r.bucket) == (condition, bucket)]
            by_name = {
                "all": here,
                **{name: [r for r in here if r.family == name]
                   for name in dict.fromkeys(r.family for r in here)},
            }  # fmt: skip
            for name, chosen in by_name.items():
                s = scores(chosen)
                found.setdefault(condition, {}).setdefault(str(bucket), {})[name] = {
                    "item": _rounded(s.item), "group": _rounded(s.group), "did": _rounded(s.did),
                    "n_groups": s.n_groups,
                }  # fmt: skip
    return found


def _rounded(x: Estimate) -> list[float | None]:
    return [None if v != v else round(v, 4) for v in (x.value, x.low, x.high)]


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    rows = Rows(args.out)
    for seed in args.seeds:
        for arm in args.arms:
            if rows.has(arm=arm, seed=seed, n_step=args.steps):
                continue
            print(arm, flush=True)
            started = time.time()
            model, tokenizer, n_token, losses = train(ARMS[arm], seed, args.steps)
            trained_for = time.time() - started
            found = table(asked(model, tokenizer, ASKED[arm]))
            row = {
                "arm": arm, "seed": seed, "n_step": args.steps, "n_token": n_token,
                "seconds_of_training": round(trained_for), "n_lane": 2 * N_STORY,
                "bench_version": BENCH_VERSION, "tested_on": TESTED,
                "memory_layers": MEMORY.layers if arm == "memory" else (),
                "trained_on": {"bucket": BUCKET, "length": LENGTH, "families": FAMILIES},
                "low_rank": asdict(LOW_RANK), "optimiser": asdict(OPTIMISER),
                "losses": [round(x, 4) for x in losses], "scores": found,
            }  # fmt: skip
            rows.add(row, started)
            for condition, each in found.items():
                for bucket, names in each.items():
                    print(arm, seed, condition, bucket, names["all"], flush=True)


if __name__ == "__main__":
    main()
