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


def test_differences_are_paired_by_seed_and_unit():
    rows = [
        row(v, s, nats={"a": 5 + s + d, "b": 1 + s + d})
        for v, d in (("base", 0.0), ("x", -0.1))
        for s in range(4)
    ]
    (e,) = effects(rows, ["nats"], "base")
    assert e.difference == pytest.approx((-0.1, -0.1, -0.1)) and e.p < 1e-6
    assert (e.n_seed, e.n_unit) == (4, 2) and e.level == pytest.approx(e.base - 0.1)


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
