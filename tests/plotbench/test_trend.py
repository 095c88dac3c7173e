"""Slopes on log2 of distance, within families, and their paired difference."""

import numpy as np
import pytest

from memformer.plotbench.trend import trend
from memformer.plotbench.validity import CELLS
from tests.plotbench.made_rows import made_row

BUCKETS = (128, 256, 512, 1024)


def rows_of(share, n_story=30, seed=0, families=("attr.alias",), **fields):
    """Groups right with probability share(family, log2 of distance)."""
    rng = np.random.default_rng(seed)
    return [
        made_row(
            probe_id=f"{s}.{b}.{f}.{cell}", group_id=f"{s}.{b}.{f}", story_id=f"{s}.{b}",
            seed=s, family=f, bucket=b, cell=cell, gold=0, logprob=(m, 0.0), **fields,
        )
        for s in range(n_story)
        for b in BUCKETS
        for f in families
        for m in [1.0 if rng.random() < share(f, np.log2(b)) else -1.0]
        for cell in CELLS
    ]  # fmt: skip


def test_slopes_are_those_of_least_squares():
    a = rows_of(lambda _, x: 1.7 - x / 7)
    b = rows_of(lambda _, x: 0.4, seed=1, condition="off")
    found = trend(a, b)
    for rows, estimate in ((a, found.a), (b, found.b)):
        first = [row for row in rows if row.cell == CELLS[0]]
        x, y = np.log2([r.bucket for r in first]), [r.logprob[0] > 0 for r in first]
        assert estimate.value == pytest.approx(np.polyfit(x, np.array(y, float), 1)[0])
        assert estimate.low < estimate.value < estimate.high
    assert found.difference.value == pytest.approx(found.a.value - found.b.value)
    assert found.difference.high < 0 and found.n_groups == 30 * len(BUCKETS)


def test_families_at_other_distances_are_no_trend():
    # alias always right and near alone, secrets never and far alone: within each nothing falls
    near = rows_of(lambda *_: 1.0)
    far = rows_of(lambda *_: 0.0, families=("know.secret",))
    both = [r for r in near if r.bucket <= 256] + [r for r in far if r.bucket >= 512]
    assert trend(both, both).a.value == 0
    pooled = [(np.log2(r.bucket), r.logprob[0] > 0) for r in both]
    assert np.polyfit(*np.array(pooled, dtype=float).T, 1)[0] < -0.3


def test_pairing_takes_out_what_both_runs_share():
    a = rows_of(lambda _, x: 1.7 - x / 7)
    found = trend(a, a)
    assert found.difference[:3] == (0, 0, 0)
    assert found.a.high - found.a.low > 0.05


def test_one_distance_has_no_slope_and_other_groups_no_difference():
    a = [row for row in rows_of(lambda *_: 0.5) if row.bucket == 128]
    assert np.isnan(trend(a, a).difference.value)
    b = [row for row in rows_of(lambda *_: 0.5) if row.bucket == 256]
    with pytest.raises(ValueError, match="share no complete group"):
        trend(a, b)
