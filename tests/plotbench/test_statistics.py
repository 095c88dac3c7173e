"""Intervals cover what they say, tests hold their level, and the story is the unit of both."""

import math

import numpy as np
import pytest

from memformer.plotbench.statistics import (
    MIN_STORIES,
    benjamini_hochberg,
    holm,
    interval,
    intervals,
    mean,
    mean_interval,
    of_bounded,
    sign_flip_p,
    slope,
    story_sums,
)


def clustered_trials(n_trial, n_story, n_probe, seed):
    """Answers (trials, stories, probes), stories of mean 0.6 that vary, and uneven numbers held."""
    rng = np.random.default_rng(seed)
    ability = rng.beta(3, 2, size=(n_trial, n_story, 1))
    right = rng.random((n_trial, n_story, n_probe)) < ability
    held = rng.integers(n_probe // 2, n_probe + 1, size=(n_story,))
    return right, np.arange(n_probe) < held[:, None]


def covered(low, high):
    return float(((low <= 0.6) & (high >= 0.6)).mean())


@pytest.mark.parametrize(("n_story", "n_probe"), [(20, 12), (100, 20)])
def test_interval_over_stories_covers_and_interval_over_probes_does_not(n_story, n_probe):
    right, held = clustered_trials(1500, n_story, n_probe, seed=n_story)
    hits = (right & held).sum(-1).T.astype(float)  # (S, trials)
    counts = np.broadcast_to(held.sum(-1)[:, None], hits.shape).astype(float)
    found = intervals(np.stack([hits, counts], axis=-1), mean, n_draw=2000)
    assert 0.93 <= covered(found[:, 1], found[:, 2]) <= 0.97

    p, n = hits.sum(0) / counts.sum(0), counts.sum(0)
    naive = 1.96 * np.sqrt(p * (1 - p) / n)
    assert covered(p - naive, p + naive) < 0.8


def test_ten_thousand_draws_move_the_bounds_less_than_a_point():
    right, held = clustered_trials(1, 200, 20, seed=0)
    sums = np.stack([(right[0] & held).sum(-1), held.sum(-1)], axis=-1).astype(float)
    one, other = (interval(sums, mean, seed=seed) for seed in (0, 1))
    assert one == interval(sums, mean, seed=0)
    assert abs(one.low - other.low) < 0.002 and abs(one.high - other.high) < 0.002


def test_under_ten_stories_there_is_no_interval():
    few = mean_interval(np.arange(9.0), np.arange(9))
    enough = mean_interval(np.arange(10.0), np.arange(10))
    assert few.value == 4 and np.isnan(few.low) and few.n_stories == MIN_STORIES - 1
    assert enough.low < 4.5 < enough.high


def test_a_share_of_nothing_has_the_bound_of_its_stories():
    none = mean_interval(np.zeros(400), np.arange(400) // 2, is_share=True)
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 200))
    every = mean_interval(np.ones(400), np.arange(400) // 2, is_share=True)
    assert every.high == 1 and every.low == pytest.approx(1 - none.high)


@pytest.mark.parametrize(
    ("value", "low", "high"), [(0.0, -0.168, 0.168), (1.0, 0.663, 1.0), (-1.0, -1.0, -0.663)]
)
def test_stories_that_all_agree_leave_room_for_those_that_do_not(value, low, high):
    # 1 - .025 ** (1 / 20) = .1684 of stories may differ, by the width of the values at most
    same = mean_interval(np.full(40, value), np.arange(40) // 2)
    assert same.low == same.high == value
    found = of_bounded(same, -1.0)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
    few = mean_interval(np.full(18, value), np.arange(18) // 2)
    assert math.isnan(of_bounded(few, -1.0).low)


def test_probes_repeated_within_a_story_do_not_narrow_the_interval():
    values = np.random.default_rng(0).normal(size=50)
    once = mean_interval(values, np.arange(50))
    often = mean_interval(np.repeat(values, 30), np.repeat(np.arange(50), 30))
    np.testing.assert_allclose(once, often)


def test_sign_flip_holds_its_level_under_clustering_and_finds_an_effect():
    rng = np.random.default_rng(0)
    stories = np.repeat(np.arange(25), 8)
    shared = rng.normal(size=(300, 25)).repeat(8, axis=1) + rng.normal(size=(300, 200))
    p = np.array([sign_flip_p(row, stories, n_draw=400, seed=i) for i, row in enumerate(shared)])
    assert 0.02 <= (p <= 0.05).mean() <= 0.085
    assert sign_flip_p(shared[0] + 2, stories) < 0.001
    assert sign_flip_p(np.zeros(200), stories) == 1


def test_adjusted_p_values_are_those_of_the_definitions():
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == benjamini_hochberg([]) == []


def test_slope_of_sums_is_the_least_squares_slope():
    rng = np.random.default_rng(0)
    x, stories = rng.integers(7, 13, 60).astype(float), np.arange(60) // 4
    y = 3 - 0.25 * x + rng.normal(size=60)
    sums = story_sums([np.ones(60), x, x * x, y, x * y], stories)
    found = interval(sums, slope)
    assert found.value == pytest.approx(np.polyfit(x, y, 1)[0])
    assert found.low < -0.25 < found.high and found.n_stories == 15
    assert np.isnan(slope(np.array([4.0, 8, 16, 4, 8])))
