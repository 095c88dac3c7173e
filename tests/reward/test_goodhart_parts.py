"""The parts of the goodhart lab, each against what it must find."""

import numpy as np
import pytest
import torch

from memformer.config.goodhart import IdealPointConfig, PolicyConfig
from memformer.generation.best_of_n_curve import best_of_n_curve
from memformer.reward.correlations import reliability, spearman
from memformer.reward.goodhart_fits import (
    asymptote_of,
    fit_overoptimisation,
    fit_power,
    of_resamples,
    over_seeds,
    slope_of,
)
from memformer.reward.goodhart_policy import direct_loss, rloo_loss, train_policy
from memformer.reward.goodhart_proxies import (
    build_ensemble,
    choose_ridge,
    fit_score,
    resampled_weight,
    terms,
)
from memformer.reward.goodhart_reader import count_reader, fit_reviewer, principal_reader
from memformer.reward.goodhart_stop import gold_stop, rated_best_of_n
from memformer.reward.ratings import Ratings
from memformer.reward.worlds.ideal_point import make_world
from memformer.reward.worlds.ideal_point_ratings import expected_rating
from memformer.reward.worlds.ideal_point_text import START, V, Writer, allowed, counts, write


def normal(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def made_ratings(n=600, n_item=100, n_rater=20, d=4, seed=0):
    """Ratings by 2 x_0 - x_1^2 + b_r + noise."""
    g = torch.Generator().manual_seed(seed)
    x, bias = normal(n_item, d, seed=seed), normal(n_rater, seed=seed + 1)
    item, rater = (torch.randint(k, (n,), generator=g) for k in (n_item, n_rater))
    true = 2 * x[:, 0] - x[:, 1].square()
    value = true[item] + bias[rater] + 0.3 * normal(n, seed=seed + 2)
    ratings = Ratings(rater, item, value, None, n_rater, n_item, (-99.0, 99.0))
    return ratings, x, true, bias


def test_fit_equals_least_squares_with_rows_for_the_penalty():
    ratings, x, *_ = made_ratings()
    weight = 0.5 + torch.rand(600, generator=torch.Generator().manual_seed(3)).double()
    score = fit_score(ratings, x, "linear", 5.0, weight=weight, with_bias=False)
    w = (weight / weight.mean()).sqrt()[:, None]
    rows = torch.cat((torch.ones(600, 1).double(), x[ratings.item]), 1) * w
    penalty = 5.0**0.5 * torch.eye(5).double()
    penalty[0, 0] = 0  # the mean is free
    twin = torch.linalg.lstsq(
        torch.cat((rows, penalty)),
        torch.cat((ratings.value[:, None] * w, torch.zeros(5, 1).double())),
    ).solution[:, 0]
    torch.testing.assert_close(score.weight, twin[1:])
    assert score.mu == pytest.approx(float(twin[0]))


def test_quadratic_form_says_enough_and_linear_cannot():
    ratings, x, true, bias = made_ratings()
    found = {form: fit_score(ratings, x, form, 1.0) for form in ("linear", "quadratic")}
    held = normal(500, 4, seed=9)
    gold = 2 * held[:, 0] - held[:, 1].square()
    r = {k: float(torch.corrcoef(torch.stack((s(held), gold)))[0, 1]) for k, s in found.items()}
    assert r["quadratic"] > 0.99 > 0.9 > r["linear"]
    assert float(torch.corrcoef(torch.stack((found["quadratic"].bias, bias)))[0, 1]) > 0.98
    assert terms(held, "quadratic").shape == (500, 4 + 10 + 1)


def test_ridge_is_strong_for_noise_and_weak_for_signal():
    ratings, x, *_ = made_ratings()
    mixed = ratings._replace(value=ratings.value[torch.randperm(600)])
    ridges = (1.0, 100.0, 10_000.0)
    assert choose_ridge(ratings, x, "quadratic", ridges) == 1.0
    assert choose_ridge(mixed, x, "quadratic", ridges) > 1.0


def test_weights_of_zero_and_no_ratings_are_refused():
    ratings, x, *_ = made_ratings()
    with pytest.raises(ValueError, match="weight must be above 0 for each rating"):
        fit_score(ratings, x, "linear", 1.0, weight=torch.zeros(600))


def test_resampling_weighs_all_ratings_of_a_rater_alike():
    ratings, *_ = made_ratings()
    weight = resampled_weight(ratings, torch.Generator().manual_seed(0), items=False)
    for r in range(20):
        assert len(weight[ratings.rater == r].unique()) == 1
    assert len(weight.unique()) == 20


def test_ensembles_are_mean_less_variance_and_worst_case():
    ratings, x, *_ = made_ratings()
    g = torch.Generator().manual_seed(0)
    members = [
        fit_score(ratings, x, "linear", 1.0, weight=resampled_weight(ratings, g, items=True))
        for _ in range(4)
    ]
    each = torch.stack([m(x) for m in members])
    unit = (each - each.mean(1, keepdim=True)) / each.std(1, keepdim=True)
    found = {how: build_ensemble(members, x, how, 0.5)(x) for how in ("mean", "uwo", "wco")}
    torch.testing.assert_close(found["mean"], unit.mean(0))
    torch.testing.assert_close(found["uwo"], unit.mean(0) - 0.5 * unit.var(0))
    torch.testing.assert_close(found["wco"], unit.min(0).values)
    with pytest.raises(ValueError, match="members must be at least 2, got 1"):
        build_ensemble(members[:1], x, "mean", 0.5)


def test_reviewer_finds_what_reviews_speak_of_and_shuffled_reviews_hold_nothing():
    x = normal(3_000, 30)
    hidden = x @ normal(30, 3, seed=1)
    told = hidden @ normal(3, 12, seed=2) + 3 * normal(3_000, 12, seed=3)
    order = torch.randperm(3_000, generator=torch.Generator().manual_seed(4))
    found = {}
    for name, y in (("own", told), ("shuffled", told[order])):
        h = fit_reviewer(x, y, 3)(x)
        left = hidden - h @ torch.linalg.lstsq(h, hidden).solution
        found[name] = 1 - float(left.square().sum() / hidden.square().sum())
        torch.testing.assert_close(torch.cov(h.T), torch.eye(3).double(), atol=1e-6, rtol=0)
    assert found["own"] > 0.9 and found["shuffled"] < 0.5
    with pytest.raises(ValueError, match=r"width must be in \[1, 12\], got 13"):
        fit_reviewer(x, told, 13)
    with pytest.raises(ValueError, match="each text needs a review"):
        fit_reviewer(x, told[:5], 3)


def test_readers_standardise_and_leave_constant_counts_at_zero():
    x = torch.cat((3 + 2 * normal(400, 5), torch.ones(400, 1).double()), 1)
    h = count_reader(x)(x)
    torch.testing.assert_close(h.std(0), torch.tensor([1.0] * 5 + [0.0]).double())
    torch.testing.assert_close(
        torch.cov(principal_reader(x, 3)(x).T), torch.eye(3).double(), atol=1e-6, rtol=0
    )


def test_gold_stop_keeps_the_step_before_the_fall_and_looks_no_further():
    stop = gold_stop([0.0, 1.0, 2.0, 1.0, 9.0], [0.1] * 5)
    assert (stop.best, stop.looked_at) == (2, 4)
    assert "lower bound 0.900 at step 3 is below 1.900 at step 2" in stop.reason
    assert gold_stop([0.0, 1.0, 2.0], [0.1] * 3).best == 2
    assert gold_stop([0.0, 1.0, 0.9, 2.0], [0.1] * 4, patience=2).best == 3
    assert gold_stop([0.0, 1.0, 0.9, 0.8, 2.0], [0.1] * 5, patience=2).looked_at == 4
    # a step that cannot be told apart but is measured badly does not count as better
    assert gold_stop([1.0, 1.1], [0.1, 0.5]).best == 0
    with pytest.raises(ValueError, match="gold is NaN at step 1"):
        gold_stop([0.0, float("nan")], [0.1, 0.1])
    with pytest.raises(ValueError, match="at least 1, got 0, 0"):
        gold_stop([], [])


def test_rated_best_of_n_is_best_of_n_of_what_raters_say():
    config = IdealPointConfig(
        n_token=20, n_rater=30, n_calibration=1_000, spammers=0, inverted=0, bias=0, slope=0.4
    )
    world = make_world(config, seed=0)
    g = torch.Generator().manual_seed(0)
    texts = write(world.writer, 2_000, 20, g)
    z, gold = world.features(texts), world.gold(texts)
    sizes = (1, 8, 64)
    seen = rated_best_of_n(
        world, z, gold, sizes, torch.arange(30), n_text=3_000, per_text=8, generator=g
    )
    true = best_of_n_curve(gold, expected_rating(world, z).mean(1), sizes)
    off = (seen.mean - seen.mean[0]) - (true - true[0])
    assert float(off.abs().max()) < 3 * float((seen.error.square().sum()).sqrt())
    assert bool((seen.mean.diff() > 0).all())


def test_reliability_is_that_of_the_mean_and_spearman_takes_ties():
    true = normal(2_000)
    panel = true[:, None] + 2 * normal(2_000, 12, seed=1)
    assert reliability(panel) == pytest.approx(1 / (1 + 4 / 12), abs=0.03)
    with pytest.raises(ValueError, match="it has no reliability to divide by"):
        reliability(torch.cat((panel, -panel), 1))
    assert spearman(torch.tensor([1.0, 2, 2, 9]), torch.tensor([0.0, 5, 5, 6])) == pytest.approx(1)
    assert spearman(torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 4, 4])) == 0


def test_power_law_and_its_asymptote_are_found():
    n = np.array([100, 300, 1_000, 3_000, 10_000])
    fit = fit_power(n, 0.2 + 3 * n**-0.5)
    assert (fit.c, fit.a, fit.b) == pytest.approx((0.2, 3, 0.5), abs=1e-6)
    assert fit.r2 == pytest.approx(1)
    assert fit_power(n, 2 * n**-0.4).c == pytest.approx(0, abs=1e-6)
    rng = np.random.default_rng(0)
    values = 0.2 + 3 * n**-0.5 + 0.01 * rng.normal(size=(5, 5))
    found = of_resamples(values, None, asymptote_of(n))
    assert found.low < 0.2 < found.high and found.low > 0.1


def test_intervals_hold_seeds_and_raters():
    x = np.log10([100, 1_000, 10_000])
    rng = np.random.default_rng(0)
    values = 0.3 * x + 0.02 * rng.normal(size=(5, 3))
    alone = of_resamples(values, None, slope_of(x))
    noise = values[:, None] + 0.2 * rng.normal(size=(5, 20, 3))
    both = of_resamples(values, noise, slope_of(x))
    assert alone.low < 0.3 < alone.high
    assert both.value == pytest.approx(alone.value)
    assert both.high - both.low > 2 * (alone.high - alone.low)
    assert over_seeds([1.0] * 5)[:3] == pytest.approx((1, 1, 1))


def test_overoptimisation_curves_are_found():
    d = np.linspace(0, 3, 9)
    best = fit_overoptimisation(d**2, d * (1.5 - 0.4 * d), log=False)
    assert (best.a, best.b, best.r2) == pytest.approx((1.5, 0.4, 1))
    y = np.concatenate(([0], d[1:] * (1.5 - 0.4 * np.log(d[1:]))))
    trained = fit_overoptimisation(d**2, y, log=True)
    assert (trained.a, trained.b, trained.r2) == pytest.approx((1.5, 0.4, 1))
    with pytest.raises(ValueError, match="three points with KL above 0, got 1"):
        fit_overoptimisation([0, 1], [0, 1], log=False)


@pytest.fixture(scope="module")
def small_world():
    return make_world(IdealPointConfig(n_token=8, n_rater=20, n_calibration=1_000), seed=0)


def exact_gradient(world, value, beta):
    """Of E[sum of a word's value] - beta KL, by how often each word comes."""
    logits = world.writer.logits.clone().requires_grad_()
    ours, theirs = Writer(logits).log_probs(), world.writer.log_probs()
    at = torch.zeros(V).double()
    at[START] = 1
    total = torch.zeros(()).double()
    for _ in range(world.config.n_token):
        each = ours.exp() * (ours - theirs).masked_fill(~allowed(), 0.0)
        total = total - beta * (at @ each.sum(-1))
        at = at @ ours.exp()
        total = total + at @ value
    total.backward()
    return logits.grad


@pytest.mark.parametrize(("loss", "beta"), [(rloo_loss, 0.0), (rloo_loss, 0.5), (direct_loss, 0.0)])
def test_gradient_points_where_the_exact_one_does(small_world, loss, beta):
    value = normal(V, seed=3)
    exact = exact_gradient(small_world, value, beta)
    config = PolicyConfig(batch=200, beta=beta)
    g = torch.Generator().manual_seed(0)

    def score(texts):
        return counts(texts)[:, 0] @ value

    drawn = []
    for _ in range(12):
        logits = small_world.writer.logits.clone().requires_grad_()
        loss(small_world, Writer(logits), score, config, g).backward()
        drawn.append(-logits.grad)
    drawn = torch.stack(drawn)
    if loss is rloo_loss:  # unbiased: along the exact gradient, within 3 standard errors
        along = (drawn * exact).sum((1, 2)) / exact.square().sum()
        assert abs(float(along.mean()) - 1) <= 3 * float(along.std()) / len(along) ** 0.5
    else:
        mean = drawn.mean(0).flatten()
        assert float(torch.cosine_similarity(mean, exact.flatten(), dim=0)) > 0.9


@pytest.mark.parametrize("method", ["rloo", "direct"])
def test_training_raises_the_proxy_and_keeps_near_with_beta(small_world, method):
    value = normal(V, seed=3)

    def score(texts):
        return (counts(texts)[:, 0] @ value) / 3

    ends = {}
    for beta in (0.0, 2.0):
        config = PolicyConfig(
            looks=(8, 16, 24), batch=32, n_gold=100, n_rated=10, learning_rate=0.1, beta=beta
        )
        start, *_, end = train_policy(small_world, score, config, method, seed=1)
        assert start.kl == 0 and end.proxy > start.proxy
        ends[beta] = end.kl
    assert ends[2.0] < 0.5 * ends[0.0]


def test_a_proxy_that_is_nan_stops_training(small_world):
    def score(texts):
        return torch.full((len(texts),), float("nan"), dtype=torch.float64)

    with pytest.raises(ValueError, match="score is NaN for 128 of 128 texts"):
        train_policy(small_world, score, PolicyConfig(n_gold=128, n_rated=8), "rloo", seed=0)
