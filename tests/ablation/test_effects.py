"""Differences are paired, and their intervals hold what they say."""

import math

import numpy as np
import pytest

from memformer.ablation.effects import (
    crossed_interval,
    effects,
    student_p,
    student_quantile,
)
from memformer.ablation.rows import Row


def row(variant, seed, **metrics):
    return Row(
        variant=variant, seed=seed, config={}, metrics=metrics, curve=(),
        n_token=0, n_parameter=0, wall_s=0.0, machine={},
    )  # fmt: skip


def test_students_t_is_that_of_the_tables():
    for df, t in ((1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (30, 2.04227)):
        assert student_quantile(df) == pytest.approx(t, abs=2e-4)
        assert student_p(t, df) == pytest.approx(0.05, abs=1e-5)
    assert student_p(0, 3) == 1


def test_students_t_holds_for_hundreds_of_units_and_for_small_p():
    assert student_p(2.0, 399) == pytest.approx(0.046179, abs=2e-6)
    assert student_p(2.0, 10**6) == pytest.approx(math.erfc(2.0 / math.sqrt(2)), rel=1e-4)
    # closed forms: df = 2, and df = 4
    for t in (0.3, 1.0, 3.0, 100.0, 1e5):
        two = 2 / (2 + t * t + t * math.sqrt(2 + t * t))
        assert student_p(t, 2) == pytest.approx(two, rel=1e-4)
    assert student_p(10.0, 10) == pytest.approx(1.5896e-6, rel=1e-3)
    stories = np.random.default_rng(0).normal(size=(1, 400))
    interval, p = crossed_interval(stories, n_draw=500)
    assert interval.low < interval.value < interval.high and 0 < p < 1


@pytest.mark.parametrize(("S", "U"), [(1, 7), (5, 1)])
def test_over_seeds_or_units_alone_the_interval_is_that_of_the_t_test(S, U):
    x = np.random.default_rng(2).normal(size=(S, U)) + 0.5
    interval, p = crossed_interval(x, n_draw=40_000)
    n, error = x.size, x.std(ddof=1) / math.sqrt(x.size)
    assert interval.high - interval.value == pytest.approx(
        student_quantile(n - 1) * error, rel=0.02
    )
    assert p == pytest.approx(student_p(abs(x.mean()) / error, n - 1), rel=0.05)


def test_over_both_the_interval_is_that_of_a_resampling_by_loops():
    x = np.random.default_rng(3).normal(size=(3, 4)) + 0.5
    rng, means = np.random.default_rng(4), []
    for _ in range(10_000):
        seeds, units = rng.integers(0, 3, 3), rng.integers(0, 4, 4)
        means.append(sum(x[s, u] for s in seeds for u in units) / 12)
    reach = student_quantile(2) * math.sqrt(3 / 2) * float(np.std(means))
    interval, _ = crossed_interval(x)
    assert interval.high - interval.value == pytest.approx(reach, rel=0.04)


def test_differences_without_spread_have_no_interval_and_no_p():
    for x in (np.full((3, 4), 0.25), np.full((3, 1), 0.1) + 1e-16 * np.arange(3)[:, None]):
        interval, p = crossed_interval(x)
        assert interval.value == pytest.approx(x.mean()) and math.isnan(interval.low)
        assert math.isnan(p)
    rows = [row(v, s, share=dict.fromkeys("ab", d)) for v, d in (("base", 0.5), ("x", 0.75))
            for s in range(3)]  # fmt: skip
    (e,) = effects(rows, ["share"], "base")
    assert e.is_constant and math.isnan(e.p_holm)


def test_differences_are_paired_by_seed_and_unit():
    rows = [
        row(v, s, nats={"a": 5 + s + d, "b": 1 + s + d * (1 + 0.001 * s)})
        for v, d in (("base", 0.0), ("x", -0.1))
        for s in range(4)
    ]
    (e,) = effects(rows, ["nats"], "base")
    assert e.difference == pytest.approx((-0.1, -0.1, -0.1), abs=2e-3) and 0 < e.p < 1e-3
    assert (e.n_seed, e.n_unit) == (4, 2) and e.level == pytest.approx(e.base - 0.1, abs=1e-3)


def test_only_what_both_have_counts_and_a_metric_without_it_is_left_out():
    rows = [
        row("base", 0, nats={"a": 1.0, "b": 2.0}, gain={"a": 1.0}),
        row("base", 1, nats={"a": 1.0, "b": 2.0}, gain={"a": 1.0}),
        row("x", 1, nats={"a": 2.0, "c": 9.0}, gain={}),
    ]
    (e,) = effects(rows, ["nats", "gain"], "base")
    assert e.metric == "nats" and (e.n_seed, e.n_unit) == (1, 1)
    assert e.difference.value == 1 and math.isnan(e.difference.low) and math.isnan(e.p)


def test_holm_is_over_the_variants_of_the_first_metric_alone():
    rng = np.random.default_rng(0)
    rows = [
        row(v, s, one={u: d + 0.3 * rng.normal() for u in "abcd"}, two=dict.fromkeys("ab", 1.0))
        for v, d in (("base", 0.0), ("x", 1.0), ("y", 0.1))
        for s in range(4)
    ]
    found = effects(rows, ["one", "two"], "base")
    one = {e.variant: e for e in found if e.metric == "one"}
    assert one["x"].p_holm == pytest.approx(min(1, 2 * one["x"].p))
    assert one["y"].p_holm == pytest.approx(one["y"].p)
    assert all(math.isnan(e.p_holm) for e in found if e.metric == "two")
    more = effects(rows, ["one"], "base", n_variant=5)  # three have no row yet
    x, y = more
    assert x.p_holm == pytest.approx(min(1, 5 * x.p)) and y.p_holm == pytest.approx(min(1, 4 * y.p))


def test_intervals_cover_the_truth_with_few_seeds_and_books():
    rng = np.random.default_rng(1)
    hits = n = 0
    for _ in range(400):
        seeds, books = 0.5 * rng.normal(size=(3, 1)), 0.5 * rng.normal(size=(1, 4))
        interval, _ = crossed_interval(
            1.0 + seeds + books + 0.3 * rng.normal(size=(3, 4)), n_draw=500
        )
        hits += interval.low <= 1.0 <= interval.high
        n += 1
    assert hits / n > 0.95  # on the wide side


def test_one_seed_and_one_unit_have_no_interval():
    interval, p = crossed_interval(np.array([[2.0]]))
    assert interval.value == 2 and math.isnan(interval.low) and math.isnan(p)
    over_units, _ = crossed_interval(np.array([[1.0, 2.0, 3.0]]))
    assert over_units.low < 1.5 < over_units.high


def test_one_seed_of_several_has_no_interval():
    rows = [
        row(v, 0, nats={"a": 5 + d, "b": 1 + d + d / 7}) for v, d in (("base", 0.0), ("x", -0.1))
    ]
    (alone,) = effects(rows, ["nats"], "base", min_seed=2)
    assert alone.difference.value == pytest.approx(-0.1 - 0.05 / 7)
    assert math.isnan(alone.difference.low) and math.isnan(alone.p) and math.isnan(alone.p_holm)
    (units,) = effects(rows, ["nats"], "base")
    assert units.difference.low < units.difference.value < units.difference.high
