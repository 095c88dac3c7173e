"""A benchmark from seeds: the same on every machine."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from memformer.config.plotbench import MakeConfig
from memformer.data.records import to_record
from memformer.plotbench.names import (
    CHARS_PER_TOKEN,
    CHARS_PER_TOKEN_OF_LENGTH,
    REFERENCE_TOKENIZERS,
)
from memformer.plotbench.planner import families_named
from memformer.plotbench.probes import probes_of
from memformer.plotbench.story import Bench, Probe, Split, Story, Trace
from memformer.plotbench.twins import build

BENCH_VERSION = "0.3.0"
CANARY = "plotbench-canary-5f0c6e0a-8d0b-4c55-9f43-1f6b3a7c2e19"
"""Stands in every file, so that texts which were trained on can be found again."""


class Base(NamedTuple):
    """One story in both twins, with its traces and probes."""

    stories: tuple[Story, Story]
    traces: tuple[Trace, Trace]
    probes: tuple[Probe, ...]


def make_base(
    seed: int,
    *,
    bucket: int,
    length: int,
    families: tuple[str, ...] = ("core",),
    split: Split = "dev",
) -> Base:
    """Both twins of one story. Arguments and errors as in `MakeConfig` and `twins.build`."""
    draft = build(
        seed, bucket=bucket, length=length, families=families_named(families), split=split
    )
    return Base(draft.stories, draft.traces, tuple(probes_of(draft)))


def bases(config: MakeConfig) -> Iterator[Base]:
    """One story a seed and distance, in this order.

    A seed draws one place among the lengths, before and apart from everything else; at each
    distance this picks from those that are long enough.
    """
    families = families_named(config.families)
    for seed in range(*config.seeds):
        place = random.Random(f"{seed}.{config.split}.length").random()
        for bucket in config.buckets:
            fitting = config.lengths_for(bucket)
            yield make_base(
                seed, bucket=bucket, length=fitting[int(place * len(fitting))],
                families=families, split=config.split,
            )  # fmt: skip


def make(config: MakeConfig) -> Bench:
    """All stories of a config, in memory.

    Raises:
        ValueError: an unknown family.
    """
    made = list(bases(config))
    stories = tuple(story for base in made for story in base.stories)
    probes = tuple(probe for base in made for probe in base.probes)
    return Bench(
        stories=stories,
        traces=tuple(trace for base in made for trace in base.traces),
        probes=probes,
        manifest={
            "bench_version": BENCH_VERSION,
            "track": "sim",
            "seeds": list(config.seeds),
            "buckets": list(config.buckets),
            "lengths": list(config.lengths),
            "families": list(families_named(config.families)),
            "split": config.split,
            "chars_per_token": [CHARS_PER_TOKEN, CHARS_PER_TOKEN_OF_LENGTH],
            "ref_tokenizers": dict(REFERENCE_TOKENIZERS),
            "canary": CANARY,
            "content_sha256": content_hash(stories, probes),
        },
    )


def joined(benches: Sequence[Bench]) -> Bench:
    """Several benchmarks as one, for distances that want other lengths or numbers of seeds.

    Raises:
        ValueError: none, a story that stands in two, or other versions or splits.
    """
    if not benches:
        raise ValueError("benches must be at least one, got none")
    stories = tuple(story for each in benches for story in each.stories)
    probes = tuple(probe for each in benches for probe in each.probes)
    ids = Counter(story.story_id for story in stories)
    twice = [id for id, n in ids.items() if n > 1]
    if twice:
        raise ValueError(f"benches: story {twice[0]} stands in two of them")
    first = benches[0].manifest
    for name in ("bench_version", "track", "split", "families"):
        found = [each.manifest.get(name) for each in benches]
        if any(each != found[0] for each in found):
            raise ValueError(f"benches must have one {name}, got {found}")
    parts = [
        {name: each.manifest.get(name) for name in ("seeds", "buckets", "lengths")}
        for each in benches
    ]
    kept = {name: v for name, v in first.items() if name not in ("seeds", "buckets", "lengths")}
    return Bench(
        stories=stories,
        traces=tuple(trace for each in benches for trace in each.traces),
        probes=probes,
        manifest={**kept, "parts": parts, "content_sha256": content_hash(stories, probes)},
    )


def content_hash(stories: tuple[Story, ...], probes: tuple[Probe, ...]) -> str:
    """SHA-256 over all that is in stories and probes, in order."""
    digest = hashlib.sha256()
    for story in stories:
        told = to_record(replace(story, text=story.sha256))
        digest.update(json.dumps(told, sort_keys=True).encode() + b"\n")
    for probe in probes:
        digest.update(json.dumps(to_record(probe), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
