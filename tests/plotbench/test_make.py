import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from memformer.config import from_json, to_json
from memformer.config.plotbench import MakeConfig
from memformer.plotbench.make import bases, content_hash, joined, make, make_base

SMOKE = MakeConfig(seeds=(0, 8), buckets=(128,), lengths=(1024,), families=("core",), split="dev")
PRINT_HASH = """
from memformer.config.plotbench import MakeConfig
from memformer.plotbench.make import make
config = MakeConfig(seeds=(0, 3), buckets=(128, 512), lengths=(1024, 2048), families=("all",))
print(make(config).manifest["content_sha256"])
"""


def test_bench_is_the_same_in_another_process_with_another_hash_seed():
    told = {
        subprocess.run(
            [sys.executable, "-c", PRINT_HASH],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1 and len(told.pop().strip()) == 64


def test_make_gives_stories_in_twins_with_traces_and_probes():
    bench = make(SMOKE)
    assert len(bench.stories) == len(bench.traces) == 16
    ids = {story.story_id for story in bench.stories}
    assert len(ids) == 16 and {trace.story_id for trace in bench.traces} == ids
    assert {probe.story_id for probe in bench.probes} == ids
    assert len({probe.probe_id for probe in bench.probes}) == len(bench.probes)
    assert bench.stories[0].story_id == "s000000.d128.A"
    assert bench.manifest["families"][:2] == ["attr.static", "attr.update"]
    assert bench.manifest["content_sha256"] == content_hash(bench.stories, bench.probes)


def test_content_hash_sees_all_of_stories_and_probes():
    bench = make(SMOKE)
    told = bench.manifest["content_sha256"]
    assert content_hash(bench.stories[1:], bench.probes) != told
    assert content_hash(bench.stories, bench.probes[1:]) != told
    story, probe = bench.stories[0], bench.probes[0]
    for changes in (
        {"text": story.text + "."}, {"swaps": ()}, {"bucket": 512}, {"seed": 99}, {"twin_of": None},
    ):  # fmt: skip
        changed = (replace(story, **changes), *bench.stories[1:])
        assert content_hash(changed, bench.probes) != told, changes
    for changes in (
        {"gold": 1 - probe.gold}, {"licence": "No."}, {"family": "life"}, {"support": ()},
        {"cell": ("B", "y")}, {"group_id": "g"}, {"suffix": "!"}, {"hops": 9},
    ):  # fmt: skip
        changed = (replace(probe, **changes), *bench.probes[1:])
        assert content_hash(bench.stories, changed) != told, changes


def test_benches_are_joined_and_what_does_not_fit_is_refused():
    far = make(MakeConfig(seeds=(0, 2), buckets=(512,), lengths=(1024,), families=("core",)))
    both = joined([make(SMOKE), far])
    assert both.stories[-4:] == far.stories and both.probes[-len(far.probes) :] == far.probes
    assert both.manifest["content_sha256"] == content_hash(both.stories, both.probes)
    assert [part["buckets"] for part in both.manifest["parts"]] == [[128], [512]]
    with pytest.raises(ValueError, match="at least one, got none"):
        joined([])
    with pytest.raises(ValueError, match="story s000000.d512.A stands in two"):
        joined([far, far])
    train = make(MakeConfig(seeds=(9, 10), buckets=(512,), lengths=(1024,), split="train"))
    with pytest.raises(ValueError, match="must have one split, got .*dev.*train"):
        joined([far, train])


def test_one_seed_draws_its_length_apart_from_distance_and_families():
    wide = MakeConfig(seeds=(0, 30), buckets=(128, 512), lengths=(1024, 2048, 4096))
    lengths = {}
    for base in bases(wide):
        story = base.stories[0]
        lengths.setdefault(story.seed, []).append(round(len(story.text) / 3800))
    assert all(len(set(each)) == 1 for each in lengths.values())
    assert {each[0] for each in lengths.values()} == {1, 2, 4}
    static = MakeConfig(
        seeds=(0, 30), buckets=(512,), lengths=(1024, 2048, 4096), families=("life",)
    )
    for base in bases(static):
        assert round(len(base.stories[0].text) / 3800) == lengths[base.stories[0].seed][0]


def test_seeds_and_splits_give_different_stories():
    texts = {
        make_base(seed, bucket=128, length=1024, split=split).stories[0].text
        for seed in range(5)
        for split in ("train", "dev", "test")
    }
    assert len(texts) == 15


def test_a_story_of_4k_takes_a_fraction_of_a_second_and_64k_a_few():
    begin = time.process_time()
    make_base(0, bucket=2048, length=4096, families=("all",))
    assert time.process_time() - begin < 1
    begin = time.process_time()
    base = make_base(0, bucket=32_768, length=65_536, families=("all",))
    assert time.process_time() - begin < 5
    assert len(base.probes) == 40


def test_config_survives_json():
    assert from_json(MakeConfig, to_json(SMOKE)) == SMOKE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (3, 3)}, r"seeds must be \(first, end\) with 0 <= first < end, got \(3, 3\)"),
        ({"buckets": ()}, "buckets must be different and at least 128"),
        ({"buckets": (128, 128)}, "buckets must be different"),
        ({"buckets": (16,)}, "at least 128, got"),
        ({"families": ()}, "families must name at least one"),
        ({"split": "all"}, "split must be train, dev or test, got 'all'"),
        ({"buckets": (4096,), "lengths": (4096,)}, "one of at least 6963 for bucket 4096"),
    ],
    ids=str,
)
def test_config_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        MakeConfig(**changes)


def test_unknown_family_lists_the_known():
    with pytest.raises(ValueError, match="families must be among core, extended, all, attr.static"):
        make(MakeConfig(families=("attr.hat",)))
