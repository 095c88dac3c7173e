"""The trace answers every probe."""

from dataclasses import replace

import pytest

from memformer.config.plotbench import MakeConfig
from memformer.plotbench.make import make
from memformer.plotbench.oracle import by_trace
from tests.plotbench.examples import example_bench


@pytest.mark.parametrize("bench", [
    example_bench(),
    make(MakeConfig(seeds=(0, 3), buckets=(128,), lengths=(1024,), families=("all",))),
], ids=["by hand", "made"])  # fmt: skip
def test_oracle_is_always_right(bench):
    found = by_trace(bench)
    assert len(found) == len(bench.probes) > 0
    for probe in bench.probes:
        assert found[probe.probe_id] == ((1, 0) if probe.gold == 0 else (0, 1))


def test_it_reads_the_trace_and_not_gold():
    bench = example_bench()
    turned = replace(bench, probes=tuple(replace(p, gold=1 - p.gold) for p in bench.probes))
    assert by_trace(turned) == by_trace(bench)


def test_without_a_trace_there_is_no_oracle():
    with pytest.raises(ValueError, match="has no trace"):
        by_trace(replace(example_bench(), traces=()))
