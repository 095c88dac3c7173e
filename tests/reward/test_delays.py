"""Ratings that arrive later: nothing of the future leaks, and what is true is found."""

import math

import pytest
import torch

from memformer.config.goodhart import DelayConfig, IdealPointConfig
from memformer.reward.delays import (
    DelayedRatings,
    censoring_weight,
    known,
    mean_by_item,
    mean_delay,
    settle,
)
from memformer.reward.worlds.ideal_point import make_world
from memformer.reward.worlds.ideal_point_delays import rate_with_delay
from memformer.reward.worlds.ideal_point_text import write


def simulated(n_item=80, per_item=6, tau=60.0, seed=0):
    """Ratings by the model itself: f_inf sd 1, g mean 1 sd 1, raters sd .4, noise .5."""
    g = torch.Generator().manual_seed(seed)

    def normal(n):
        return torch.randn(n, generator=g, dtype=torch.float64)

    settled, impression, bias = 4 + normal(n_item), 1 + normal(n_item), 0.4 * normal(40)
    item = torch.arange(n_item).repeat_interleave(per_item)
    rater = torch.randint(40, (len(item),), generator=g)
    delay = torch.empty(len(item), dtype=torch.float64).exponential_(1 / 80, generator=g)
    read = (500 * torch.rand(n_item, generator=g, dtype=torch.float64))[item]
    value = settled[item] + impression[item] * (-delay / tau).exp() + bias[rater]
    value = value + 0.5 * normal(len(item))
    ratings = DelayedRatings(rater, item, value, read, delay, read + delay, 40, n_item)
    return ratings, settled, impression


def test_later_ratings_change_no_bit_of_what_was_known_then():
    ratings, *_ = simulated(n_item=40, per_item=4)
    then = known(ratings, 400.0)
    assert 0 < len(then.value) < len(ratings.value)
    later = ratings.recorded_at > 400.0
    changed = ratings._replace(value=torch.where(later, 99.0, ratings.value))
    again = known(changed, 400.0)
    for one, other in zip(then, again, strict=True):
        assert one == other if isinstance(one, int) else torch.equal(one, other)
    before, after = settle(then), settle(again)
    assert torch.equal(before.value, after.value) and before.tau == after.tau
    assert torch.equal(mean_by_item(then).nan_to_num(), mean_by_item(again).nan_to_num())


def test_a_late_record_is_not_known_though_the_rating_was_early():
    ratings, *_ = simulated()
    late = ratings._replace(recorded_at=ratings.recorded_at + 1_000)
    assert len(known(late, 600.0).value) == 0


def test_impossible_times_are_refused():
    ratings, *_ = simulated()
    with pytest.raises(ValueError, match="rating 0: delay is negative"):
        known(ratings._replace(delay=ratings.delay - 1e4), 400.0)
    with pytest.raises(ValueError, match="rating 0: recorded_at lies before the rating"):
        known(ratings._replace(recorded_at=ratings.recorded_at - 5), 400.0)


def test_mean_delay_is_found_where_the_plain_mean_is_too_small():
    ratings, *_ = simulated(n_item=600)
    then = known(ratings, 500.0)
    found = mean_delay(then.delay, 500.0 - then.read_at)
    assert float(then.delay.mean()) < 72
    assert found == pytest.approx(80, rel=0.08)
    with pytest.raises(ValueError, match="delay must be at most its age"):
        mean_delay(torch.tensor([3.0]), torch.tensor([2.0]))
    with pytest.raises(ValueError, match="most have not arrived yet"):
        mean_delay(torch.tensor([0.9, 1.0]), torch.tensor([1.0, 1.0]))


def test_weights_make_young_texts_count_as_they_will():
    g = torch.Generator().manual_seed(0)
    age = 10 + 300 * torch.rand(4_000, generator=g, dtype=torch.float64)
    value = age / 100  # older texts are better
    delay = torch.empty(4_000, dtype=torch.float64).exponential_(1 / 100, generator=g)
    has = delay <= age
    weight = censoring_weight(age[has], 100.0)
    weighted = float((weight * value[has]).sum() / weight.sum())
    error = float(value.std()) / 4_000**0.5
    assert float(value[has].mean()) - float(value.mean()) > 5 * error
    assert abs(weighted - float(value.mean())) < 3 * 2 * error
    assert float(censoring_weight(torch.tensor([1e-9]), 100.0)) == pytest.approx(20)
    with pytest.raises(ValueError, match="mean must be above 0"):
        censoring_weight(age, 0.0)


def test_settled_judgement_and_fading_time_are_found():
    ratings, true, impression = simulated()
    found = settle(ratings)
    early = mean_by_item(ratings, up_to=30.0)
    has = ~early.isnan()

    def off(guess):
        return float((guess[has] - true[has]).square().mean().sqrt())

    assert off(found.value) < 0.7 * off(early)
    assert off(found.value) < off(settle(ratings, with_impression=False).value)
    assert 30 < found.tau < 120
    assert found.sd["settled"] == pytest.approx(1, abs=0.35)
    assert found.sd["noise"] == pytest.approx(0.5, abs=0.12)
    assert float(torch.corrcoef(torch.stack((found.impression, impression)))[0, 1]) > 0.5
    covered = (found.value - true).abs() <= 2 * found.error
    assert 0.8 < float(covered.double().mean()) <= 1


def test_likelihood_equals_that_of_the_normal_distribution_it_claims():
    ratings, *_ = simulated(n_item=12, per_item=3)
    found = settle(ratings)
    fade = (-ratings.delay / found.tau).exp()
    f, g, b, e = (found.sd[name] ** 2 for name in ("settled", "impression", "bias", "noise"))
    n = len(fade)
    cover = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            if ratings.item[i] == ratings.item[j]:
                cover[i, j] += f + g * fade[i] * fade[j]
            if ratings.rater[i] == ratings.rater[j]:
                cover[i, j] += b
        cover[i, i] += e
    design = torch.stack((torch.ones(n).double(), fade), dim=1)
    inverse = torch.linalg.inv(cover)
    means = torch.linalg.solve(design.T @ inverse @ design, design.T @ inverse @ ratings.value)
    normal = torch.distributions.MultivariateNormal(design @ means, cover)
    assert found.log_likelihood == pytest.approx(float(normal.log_prob(ratings.value)), rel=1e-9)
    member = torch.nn.functional.one_hot(ratings.item, 12).double()
    left = ratings.value - design @ means
    torch.testing.assert_close(found.value, means[0] + f * member.T @ inverse @ left)


def test_a_text_without_ratings_gets_the_mean_and_the_widest_error():
    ratings, *_ = simulated(n_item=20)
    found = settle(ratings._replace(n_item=21))
    assert float(found.error[20]) == pytest.approx(found.sd["settled"])
    assert bool((found.error[:20] < found.error[20]).all())
    assert math.isnan(float(mean_by_item(ratings._replace(n_item=21))[20]))


def test_too_few_too_many_and_equal_ratings_are_refused():
    ratings, *_ = simulated(n_item=20)
    with pytest.raises(ValueError, match="settle takes 10 to 4000 ratings, got 0"):
        settle(known(ratings, -1.0))
    with pytest.raises(ValueError, match="all ratings are equal"):
        settle(ratings._replace(value=torch.full_like(ratings.value, 4.0)))


def test_the_worlds_first_impression_fades():
    config = DelayConfig(n_item=60, n_rating_per_item=20, impression_mean=2.0)
    world = make_world(IdealPointConfig(n_token=20, n_rater=40, n_calibration=1_000), seed=0)
    g = torch.Generator().manual_seed(1)
    every = rate_with_delay(world, world.features(write(world.writer, 60, 20, g)), config, g)
    early = mean_by_item(every.ratings, up_to=20.0)
    late = every.ratings._replace(value=every.ratings.value)
    is_late = late.delay > 300
    last = float(late.value[is_late].mean())
    assert float(early.nanmean()) > last + 0.5
    with pytest.raises(ValueError, match="z must hold n_item=60 texts, got 1"):
        rate_with_delay(world, torch.zeros(1, 16).double(), config, g)
    with pytest.raises(ValueError, match="release_span must be at most as_of"):
        DelayConfig(as_of=10.0)
