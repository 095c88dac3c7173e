"""Metrics against their definitions, on small sets of rows whose numbers are known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from memformer.plotbench.comparison import compare
from memformer.plotbench.metrics import (
    CHANCE,
    area,
    calibration,
    curve,
    difference,
    effective_length,
    groups_of,
    retrieval,
    scores,
    utilisation,
)
from memformer.plotbench.statistics import Estimate
from memformer.plotbench.validity import CELLS
from tests.plotbench.made_rows import made_row


def group(id, seed, scores_of_cells, first_gold=0, **fields):
    """Four rows from [log p(option 0), log p(option 1)] a cell; golds are a Latin square."""
    golds = (first_gold, 1 - first_gold, 1 - first_gold, first_gold)
    return [
        made_row(group_id=id, cell=cell, seed=seed, gold=gold, logprob=tuple(pair), **fields)
        for cell, gold, pair in zip(CELLS, golds, scores_of_cells, strict=True)
    ]


def by_margins(id, seed, margins, **fields):
    rows = group(id, seed, [(0.0, 0.0)] * 4, **fields)
    return [
        replace(row, logprob=(m, 0.0) if row.gold == 0 else (0.0, m))
        for row, m in zip(rows, margins, strict=True)
    ]


def noisy(effect, n_story=30, n_group=5, seed=0, **fields):
    """Margins of groups: an effect, and noise that the runs of equal seed share."""
    rng = np.random.default_rng(seed)
    return [
        row
        for story in range(n_story)
        for g in range(n_group)
        for row in by_margins(f"{story}.{g}", story, effect + rng.normal(size=4), **fields)
    ]


def test_did_by_its_definition_is_the_mean_of_the_four_margins():
    rng = np.random.default_rng(0)
    for first_gold in (0, 1):
        s = rng.normal(size=(4, 2))
        a, b = first_gold, 1 - first_gold
        x = ((s[0, a] - s[0, b]) - (s[2, a] - s[2, b])) / 2
        y = ((s[3, a] - s[3, b]) - (s[1, a] - s[1, b])) / 2  # for Y, a is right in B
        found = groups_of(group("g", 0, s, first_gold=first_gold))
        assert found.did[0] == pytest.approx((x + y) / 2)
        assert found.margins.shape == (1, 4)


def test_what_a_scorer_prefers_without_the_story_cancels():
    prior = groups_of(group("g", 0, [(2.0, -1.0)] * 4))
    assert prior.did[0] == 0 and prior.pairs_right[0] == 0 and prior.is_right[0] == 0


def test_a_scorer_that_takes_the_last_option_gets_half_of_pairs_and_no_group():
    last = scores(by_margins("g", 0, (1, -1, 1, -1)))
    assert (last.item.value, last.pair.value, last.group.value) == (0.5, 0.5, 0)
    assert last.did.value == 0


def test_a_tie_counts_half_for_items_and_nothing_for_pairs_and_groups():
    found = scores(by_margins("g", 0, (0.0, 1, 1, 1)))
    assert (found.item.value, found.pair.value, found.group.value) == (0.875, 0.5, 0)


def test_a_random_scorer_meets_chance():
    rows = noisy(0.0, n_story=400, n_group=10)
    found = scores(rows)
    for name, chance in CHANCE.items():
        estimate = getattr(found, name)
        assert estimate.low <= chance <= estimate.high, name
    assert found.n_groups == 4000 and found.n_probes == 16_000
    assert found.did.low <= 0 <= found.did.high


def test_an_oracle_is_right_in_all():
    found = scores(noisy(50.0))
    assert (found.item.value, found.pair.value, found.group.value) == (1, 1, 1)
    assert found.group.high == 1 and found.group.low == pytest.approx(0.025 ** (1 / 30))


def test_an_incomplete_group_counts_for_items_alone_and_is_named():
    rows = by_margins("whole", 0, (1, 1, 1, 1)) + by_margins("cut", 1, (-1, 1, 1, 1))[:3]
    found = scores(rows)
    assert found.incomplete == ("cut",) and found.n_groups == 1 and found.n_probes == 7
    assert found.group.value == 1 and found.item.value == pytest.approx(6 / 7)


def test_stories_without_a_whole_group_carry_no_interval_of_groups():
    rows = [row for seed in range(30) for row in by_margins(f"{seed}", seed, (1.0,) * 4)]
    few = [row for row in rows if row.seed < 4 or row.cell != CELLS[0]]
    s = scores(few)
    assert s.item.n_stories == 30 and s.group.n_stories == 4 and s.n_groups == 4
    assert s.group.value == 1 and np.isnan(s.group.low) and np.isnan(s.did.low)
    none = scores([row for row in rows if row.cell != CELLS[0]])
    assert none.item.value == 1 and np.isnan(none.group.value) and none.group.n_stories == 0


def test_margins_per_byte_divide_each_option_by_its_own_bytes():
    (row, *_), m = by_margins("g", 0, (2, 2, 2, 2)), 0
    found = groups_of([replace(row, cell=cell, gold=0, logprob=(-2.0, -8.0)) for cell in CELLS])
    assert found.per_byte[0, m] == pytest.approx(-2 / 4 + 8 / 8)


def test_rows_of_two_runs_or_a_cell_twice_are_refused():
    rows = by_margins("g", 0, (1, 1, 1, 1))
    with pytest.raises(ValueError, match="of one run, got m on; m off: split them with by_run"):
        groups_of([*rows[:2], *(replace(row, condition="off") for row in rows[2:])])
    with pytest.raises(ValueError, match="has this cell twice"):
        groups_of([*rows, rows[0]])
    with pytest.raises(ValueError, match="at least one, got none"):
        scores([])


def test_under_ten_stories_a_cell_has_no_interval():
    few, enough = scores(noisy(0.5, n_story=9)), scores(noisy(0.5, n_story=10))
    assert math.isnan(few.group.low) and few.group.n_stories == 9
    assert enough.group.low < enough.group.value < enough.group.high


def test_a_paired_difference_is_narrower_than_the_numbers_it_is_of():
    on, off = noisy(0.8, condition="on"), noisy(0.5, condition="off")
    found = difference(on, off)
    assert found.did.value == pytest.approx(0.3) and found.p_did < 0.001
    assert found.did.high - found.did.low < 1e-6  # the noise is shared
    assert found.group.value > 0 and found.n_groups == 150
    nothing = difference(on, [replace(row, condition="K=0") for row in on])
    assert nothing.did.value == 0 and nothing.p_did == 1
    with pytest.raises(ValueError, match="share no complete group"):
        difference(on, [replace(row, group_id=f"o{row.group_id}") for row in on])


def test_pairing_is_by_group_and_not_by_order():
    on, off = noisy(0.8), noisy(0.5, condition="off")
    assert difference(on, off[::-1]) == difference(on, off)
    fewer = difference(on, off[40:])  # ten groups less
    assert fewer.n_groups == 140 and fewer.did.value == pytest.approx(0.3)


def test_utilisation_is_the_share_of_the_local_effect():
    local = noisy(4.0, condition="local")
    found = utilisation(noisy(1.0, seed=1), local)
    assert found.value == pytest.approx(0.25, abs=0.05) and found.low < 0.25 < found.high
    without = utilisation(noisy(1.0), noisy(0.0, condition="local"))
    assert math.isnan(without.value)


def test_curve_effective_length_and_area():
    rows = [
        row
        for bucket, effect in ((128, 9.0), (512, 9.0), (2048, 0.0), (8192, 9.0))
        for row in noisy(effect, bucket=bucket, seed=bucket)
    ]
    # ids of groups differ by distance, as those of stories do
    rows = [replace(row, group_id=f"d{row.bucket}.{row.group_id}") for row in rows]
    found = curve(rows)
    assert [*found] == [128, 512, 2048, 8192]
    assert effective_length(found, Estimate(1.0, 1.0, 1.0, 30)) == 512
    assert effective_length({2048: found[2048]}, Estimate(1.0, 1.0, 1.0, 30)) is None
    middle = found[2048].group.value
    assert area(found) == pytest.approx((1 + (1 + middle) / 2 + (middle + 1) / 2) / 3)
    assert math.isnan(area({512: found[512]}))


def test_retrieval_is_measured_on_gold_and_on_the_other_persons_spans():
    support = ((10, 20, "gold"), (50, 60, "gold"), (30, 40, "other"))
    first = made_row(
        group_id="g", cell=("A", "x"), seed=0, gold=0, logprob=(1, 0), support=support,
        retrieved=((0, 10), (35, 36), (19, 25), (55, 58)),
    )  # fmt: skip
    second = replace(first, seed=1, retrieved=())
    found = retrieval([first, second], ks=(1, 3, 4))
    assert {k: (gold.value, other.value) for k, (gold, other) in found.recall.items()} == {
        1: (0, 0), 3: (0.25, 0.5), 4: (0.5, 0.5),
    }  # fmt: skip
    assert (found.mrr[0].value, found.mrr[1].value) == (pytest.approx(1 / 6), 0.25)
    assert found.n_probes == 2
    assert retrieval([replace(first, retrieved=None)]) is None


def test_calibration_of_one_who_knows_its_chances():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, size=40_000)
    m = np.where(rng.random(40_000) < p, 1, -1) * np.log(p / (1 - p))
    rows = [
        made_row(group_id="g", cell=("A", "x"), seed=i % 50, gold=0, logprob=(each, 0.0))
        for i, each in enumerate(m)
    ]
    sure = calibration(rows)
    assert sure.ece < 0.01
    assert sure.brier.value == pytest.approx((p * (1 - p)).mean(), abs=0.003)
    boasting = calibration([replace(r, logprob=(r.logprob[0] * 8, 0.0)) for r in rows])
    assert boasting.ece > 0.1 and boasting.brier.value > sure.brier.value
    asleep = calibration([replace(r, logprob=(0.0, 0.0)) for r in rows])
    assert (asleep.brier.value, asleep.ece) == (0.25, 0)


def test_declared_cells_are_adjusted_apart_from_all_others():
    kinds = [("attr.alias", 8192), ("know.secret", 32_768), ("attr.alias", 512), ("life", 8192)]
    on, off = (
        [
            replace(row, group_id=f"{family}.{bucket}.{row.group_id}")
            for i, (family, bucket) in enumerate(kinds)
            for row in noisy(effect * (i < 3), seed=i, family=family, bucket=bucket, condition=name)
        ]
        for effect, name in ((1.0, "on"), (0.0, "off"))
    )
    found = {(each.family, each.bucket): each for each in compare(on, off)}
    assert {key for key, each in found.items() if each.is_primary} == set(kinds[:2])
    least = found["attr.alias", 8192].difference.p_group
    assert least < 0.001
    assert found["attr.alias", 8192].p == pytest.approx(2 * least)  # of two declared
    assert found["attr.alias", 512].p == pytest.approx(2 * least)  # the smaller of two others
    assert found["life", 8192].p == 1


def test_net_is_zero_for_one_who_reacts_to_the_swap_without_meaning():
    rows = [
        row
        for i in range(40)
        for row in by_margins(f"g{i}", i, (1, 1, 1, 1) if i % 2 else (-1, -1, -1, -1))
    ]
    s = scores(rows)
    assert s.group.value == 0.5 and s.net.value == 0 and s.did.value == 0
    assert s.net.low < 0 < s.net.high
    one = scores(rows[4:8]), scores(rows[:4]), scores(by_margins("g", 0, (1, 1, 1, -1)))
    assert [each.net.value for each in one] == [1, -1, 0]
    nothing = scores([r for i in range(40) for r in by_margins(f"g{i}", i, (1, 1, 1, -1))]).net
    assert nothing.low < nothing.value == 0 < nothing.high
