"""Does an untrained memory help a pretrained decoder to keep a plot, and from how far?

SmolLM2-135M-Instruct (trained on 8,192 tokens; 4-bit weights, unpacked; all in float32) reads
PlotBench's stories in a window of 256 tokens and 4 sinks, with and without a memory of K = 32 pairs
in every layer. Distances to sinks and retrieved pairs are clamped to 6,000.

Conditions  off         window and sinks        shuffled    retrieved keys give others' values
            on          and the memory          other_book  another story's memory
            full        full attention, by transformers; past 8,192 tokens beyond its training
            truncated   the last 96 tokens alone: no twin can be told from the other
            local       the same, with a plain sentence that decides right before the question

Families are the core ones; stories are as short as their distance and ten groups allow. `summary`
writes the numbers and a report from the rows of all folders; `cost` reads stories of 4K tokens with
20 probes each in one pass, scores single probes with a context of their own, and gives the ratio.

Expect: with memory group accuracy lies above window and sinks on attr.static and attr.update; on
        the families that carry the claim no difference shows.
Run:    python experiments/plotbench_imported.py score runs/pb on --buckets 128 512 2048
        python experiments/plotbench_imported.py summary runs/pb results/plotbench_imported.json
        python experiments/plotbench_imported.py cost results/plotbench_cost.json --seeds 0:100
Result: experiments/README.md
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import torch

from memformer.config import MemoryConfig
from memformer.config.plotbench import MakeConfig, ScoreConfig
from memformer.data import smollm2
from memformer.data.sources import SMOLLM2_FILE
from memformer.evaluation.machine import describe
from memformer.interop.gguf_file import open_gguf
from memformer.interop.hf_scorer import HFScorer
from memformer.interop.tokenizer import HFTokenizer
from memformer.interop.transformers import load_llama
from memformer.plotbench.make import joined, make
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.metrics import difference, groups_of, retrieval, scores
from memformer.plotbench.progress import story_lines
from memformer.plotbench.report import write_report
from memformer.plotbench.results import Result
from memformer.plotbench.rows import load_results
from memformer.plotbench.run import run
from memformer.plotbench.scorers import Scorer
from memformer.plotbench.session import Question
from memformer.plotbench.statistics import Estimate
from memformer.plotbench.story import CLAIM, CORE, RETRIEVAL_FLOOR, Bench

PARTS = {128: (30, 640), 512: (14, 2304), 2048: (10, 5120), 8192: (10, 12_288)}
"""By distance: how many seeds, and the length of their stories in tokens."""
CONDITIONS = ("off", "on", "shuffled", "other_book", "full", "truncated", "local")
LAST = 96  # tokens of the truncated model
COST_LENGTH, COST_BUCKET = 4096, 1024


def data() -> Bench:
    """The dev split at all distances."""
    return joined(
        [
            make(MakeConfig(seeds=(0, n), buckets=(bucket,), lengths=(length,)))
            for bucket, (n, length) in PARTS.items()
        ]
    )


def ours(**config: Any) -> MemformerScorer:
    """The imported decoder with its memory."""
    memory = MemoryConfig(layers="all", n_retrieved=32, positions="rotary", max_distance=6000)
    model, tokenizer = load_llama(
        smollm2() / SMOLLM2_FILE, window=256, n_sink=4, sink_distance=6000, memory=memory
    )
    return MemformerScorer(model, tokenizer, name="smollm2-135m", config=ScoreConfig(**config))


def theirs() -> HFScorer:
    """The same weights in `transformers`: full attention."""
    from transformers import LlamaForCausalLM

    source = open_gguf(smollm2() / SMOLLM2_FILE)
    model = LlamaForCausalLM(source.config)
    model.load_state_dict(source.read(torch.float32), strict=False)  # the head is the embedding
    model.tie_weights()
    return HFScorer(
        model.eval(), HFTokenizer(source.tokenizer), name="smollm2-135m full", max_context=16_384
    )


def score(folder: Path, condition: str, buckets: Sequence[int]) -> None:
    """Rows of one condition, in a folder of its own, so that several can run side by side."""
    scorer: Scorer
    match condition:
        case "full":
            scorer, asked = theirs(), "plain"
        case "truncated" | "local":
            scorer, asked = ours(last=LAST), condition
            scorer.name += f"-last{LAST}"
        case _:
            scorer, asked = ours(), condition
    run(
        data(), scorer, out=folder / condition, conditions=[asked], buckets=buckets,
        resume=(folder / condition).exists(), progress=story_lines(print),
    )  # fmt: skip


def summary(folder: Path, out: Path) -> None:
    """Numbers by condition, distance and kind of family, and the report."""
    bench = data()
    rows = {
        condition: load_results(folder / condition / "results.jsonl", bench)
        for condition in CONDITIONS
        if (folder / condition).exists()
    }
    kinds = {
        "claim": CLAIM, "floor": RETRIEVAL_FLOOR, "core": None, **{name: (name,) for name in CORE},
    }  # fmt: skip
    table = [
        {"condition": condition, "bucket": bucket, "families": kind, **_numbers(chosen)}
        for condition, every in rows.items()
        for bucket in PARTS
        for kind, families in kinds.items()
        if (chosen := _chosen(every, bucket, families))
    ]
    effects = [
        {"first": a, "second": b, "bucket": bucket, "families": kind, **_effect(one, other)}
        for a, b in (
            ("on", "off"),
            ("on", "shuffled"),
            ("on", "other_book"),
            ("full", "on"),
            ("local", "on"),
            ("local", "full"),
        )
        if a in rows and b in rows
        for bucket in PARTS
        for kind, families in kinds.items()
        if (one := _chosen(rows[a], bucket, families))
        and (other := _chosen(rows[b], bucket, families))
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    about = {
        **describe(), "content_sha256": bench.manifest["content_sha256"], "parts": PARTS,
        "stories_scored": {c: len({row.story_id for row in every}) for c, every in rows.items()},
    }  # fmt: skip
    out.write_text(json.dumps({**about, "scores": table, "effects": effects}, indent=1) + "\n")
    merged = [
        replace(row, model="smollm2-135m") if condition == "local" else row
        for condition, every in rows.items()
        for row in every
    ]  # so that the report takes it for the ceiling of the others
    print(write_report(folder / "report", bench, merged).html)


def _chosen(rows: Sequence[Result], bucket: int, families: Sequence[str] | None) -> list[Result]:
    return [r for r in rows if r.bucket == bucket and (families is None or r.family in families)]


def _numbers(rows: Sequence[Result]) -> dict[str, Any]:
    s, found = scores(rows), retrieval(rows, (32,))
    distances = [row.d_near_tokens for row in rows]
    return {
        "item": _rounded(s.item), "pair": _rounded(s.pair), "group": _rounded(s.group),
        "did": _rounded(s.did), "n_groups": s.n_groups, "n_stories": s.group.n_stories,
        "d_near_tokens": [min(distances), statistics.median(distances), max(distances)],
        "largest_did": max((abs(x) for x in _dids(rows)), default=None),
        "recall_32": None if found is None else [_rounded(x) for x in found.recall[32]],
    }  # fmt: skip


def _dids(rows: Sequence[Result]) -> list[float]:
    return [float(x) for x in groups_of(rows).did]


def _effect(one: Sequence[Result], other: Sequence[Result]) -> dict[str, Any]:
    d = difference(one, other)
    return {
        "group": _rounded(d.group), "did": _rounded(d.did), "p_group": round(d.p_group, 4),
        "p_did": round(d.p_did, 4), "n_groups": d.n_groups,
    }  # fmt: skip


def _rounded(x: Estimate) -> list[float | None]:
    return [None if v != v else round(v, 4) for v in (x.value, x.low, x.high)]


def cost(out: Path, seeds: tuple[int, int], n_alone: int) -> None:
    """Seconds of the processor for one pass a story, beside probes scored with their own full
    context; goes on where the file ends.

    Of every tenth story `n_alone` probes are scored alone, both options side by side: at their
    cheapest. Processor time, of all threads, does not count what else the machine does.
    """
    bench = make(
        MakeConfig(seeds=seeds, buckets=(COST_BUCKET,), lengths=(COST_LENGTH,), families=("all",))
    )
    scorer, done = ours(), json.loads(out.read_text())["by_story"] if out.exists() else {}
    for i, story in enumerate(bench.stories):
        if story.story_id in done:
            continue
        probes = [p for p in bench.probes if p.story_id == story.story_id]
        probes.sort(key=lambda p: p.insert_at_char)
        started = time.process_time()
        session = scorer.open(story.text)
        for place, group in itertools.groupby(probes, key=lambda p: p.insert_at_char):
            session.advance(place)
            session.score_all([Question(p.stem, p.options, p.suffix) for p in group])
        row = {
            "one_pass_s": round(time.process_time() - started, 3),
            "n_probe": len(probes), "n_token": len(session.story), "alone_s": [],
        }  # fmt: skip
        if i % 10 == 0:
            for p in probes[:: max(1, len(probes) // n_alone)][:n_alone]:
                started = time.process_time()
                other = scorer.open(story.text)
                other.advance(p.insert_at_char)
                other.score(p.stem, p.options, p.suffix)
                row["alone_s"].append(round(time.process_time() - started, 3))
        done[story.story_id] = row
        _write_cost(out, bench, done)
        print(i, row, flush=True)


def _write_cost(out: Path, bench: Bench, done: dict[str, Any]) -> None:
    rows = list(done.values())
    held, alone = sum(r["one_pass_s"] for r in rows), [x for r in rows for x in r["alone_s"]]
    n_probe, a_probe = sum(r["n_probe"] for r in rows), statistics.mean(alone)
    found = {
        **describe(), "bench_version": bench.manifest["bench_version"],
        "n_story": len(rows), "n_story_planned": len(bench.stories), "n_probe": n_probe,
        "n_token": sum(r["n_token"] for r in rows), "one_pass_s": round(held, 1),
        "a_story_s": statistics.median(r["one_pass_s"] for r in rows),
        "a_probe_alone_s": round(a_probe, 2), "n_alone": len(alone),
        "ratio": round(a_probe * n_probe / held, 2), "by_story": done,
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_text(json.dumps(found) + "\n")
    part.replace(out)


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("score")
    one.add_argument("folder", type=Path)
    one.add_argument("condition", choices=CONDITIONS)
    one.add_argument("--buckets", type=int, nargs="+", default=list(PARTS), choices=list(PARTS))
    two = verbs.add_parser("summary")
    two.add_argument("folder", type=Path)
    two.add_argument("out", type=Path)
    three = verbs.add_parser("cost")
    three.add_argument("out", type=Path)
    three.add_argument("--seeds", default="0:100")
    three.add_argument("--alone", type=int, default=2)
    args = parser.parse_args()
    match args.verb:
        case "score":
            score(args.folder, args.condition, args.buckets)
        case "summary":
            summary(args.folder, args.out)
        case _:
            first, end = map(int, args.seeds.split(":"))
            cost(args.out, (first, end), args.alone)


if __name__ == "__main__":
    main()
