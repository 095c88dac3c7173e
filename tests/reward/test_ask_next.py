"""What to ask next: against inverses written out, and against asking at random."""

import pytest
import torch

from memformer.config.reward import RaterConfig
from memformer.reward.ask_next import ask_next, expected_reductions
from memformer.reward.raters import RaterModel, fit_raters
from memformer.reward.ratings import Ratings, cell_weights

CONFIG = RaterConfig(learn_scale=False, learn_noise=False)


class Readers:
    """Readers with a bias who share a linear opinion of texts."""

    def __init__(self, seed, n_rater=6, n_item=40, d=5):
        self.g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n_item, d, generator=self.g)
        self.opinion = self.x @ torch.randn(d, generator=self.g)
        self.bias = torch.randn(n_rater, generator=self.g)
        self.n_rater, self.n_item = n_rater, n_item

    def rate(self, item, rater, propensity=None):
        noise = 1.5 * torch.randn(len(item), generator=self.g)
        value = self.opinion[item] + self.bias[rater] + noise
        return Ratings(rater, item, value, propensity, self.n_rater, self.n_item, (-60.0, 60.0))

    def some(self, n, most=None):
        """n pairs, of the first `most` items only."""
        cells = torch.randperm((most or self.n_item) * self.n_rater, generator=self.g)[:n]
        return cells // self.n_rater, cells % self.n_rater

    def error(self, ratings):
        """Mean squared error of the scores, what is equal for all items apart."""
        off = fit_raters(ratings, self.x, CONFIG, seed=0).score(self.x) - self.opinion
        return float(off.var(correction=0))


def naive_variance(model, ratings, features, extra=()):
    """Mean variance of the scores, everything written out."""
    R, I = ratings.n_rater, ratings.n_item
    x = ((features - model.feature_mean) / model.feature_scale).double()
    share = (model.population / model.population.sum()).double()
    weights = cell_weights(ratings, model.config.min_propensity).weight.double()
    pairs = [*zip(ratings.item.tolist(), ratings.rater.tolist(), weights.tolist(), strict=True)]
    pairs += [(i, r, 1.0) for i, r in extra]
    p = 1 + R + x.shape[1]
    A = torch.zeros(p, p, dtype=torch.float64)
    for k in range(1, p):
        A[k, k] = model.config.ridge_bias if k <= R else model.config.ridge
    for i, r, w in pairs:
        phi = torch.zeros(p, dtype=torch.float64)
        phi[0], phi[1 + r], phi[1 + R :] = 1, 1, model.stretch[r].double() * x[i]
        A += w / float(model.noise[r]) * phi[:, None] * phi[None]
    inverse = torch.linalg.inv(A)
    total = 0.0
    for i in range(I):
        seen = torch.cat((torch.ones(1).double(), share, (share @ model.stretch.double()) * x[i]))
        total += float(seen @ inverse @ seen)
    return total / I * float((model.deviation * model.spread) ** 2)


@pytest.mark.parametrize("learn_scale", [False, True])
@pytest.mark.parametrize("rank", [0, 1])
def test_reduction_is_the_difference_of_two_inverses(learn_scale, rank):
    world = Readers(0, n_item=12, d=3)
    item, rater = world.some(50)
    propensity = 0.2 + 0.6 * torch.rand(50, generator=world.g)
    ratings = world.rate(item, rater, propensity)
    config = RaterConfig(rank=rank, learn_scale=learn_scale)
    model = fit_raters(ratings, world.x, config, seed=0)
    found = expected_reductions(model, ratings, world.x)
    before = naive_variance(model, ratings, world.x)
    for i, r in ((0, 0), (7, 3), (11, 5)):
        wanted = before - naive_variance(model, ratings, world.x, [(i, r)])
        assert float(found[i, r]) == pytest.approx(wanted, rel=1e-6) and wanted > 0


def test_each_pair_is_the_best_once_those_before_it_are_rated():
    world = Readers(1, n_rater=3, n_item=8, d=3)
    ratings = world.rate(*world.some(14))
    model = fit_raters(ratings, world.x, CONFIG, seed=0)
    asked = ask_next(model, ratings, world.x, 3)
    rated = set(zip(ratings.item.tolist(), ratings.rater.tolist(), strict=True))
    taken = []
    for each in asked:
        left = [(i, r) for i in range(8) for r in range(3) if (i, r) not in rated | set(taken)]
        told = {pair: naive_variance(model, ratings, world.x, [*taken, pair]) for pair in left}
        assert (each.item, each.rater) == min(told, key=told.__getitem__)
        assert each.variance == pytest.approx(min(told.values()), rel=1e-6)
        taken.append((each.item, each.rater))
    assert len(ask_next(model, ratings, world.x, 99)) == 24 - 14


def test_of_two_equal_texts_the_second_tells_less():
    world = Readers(2)
    world.x[1] = world.x[0]
    ratings = world.rate(*world.some(60))
    model = fit_raters(ratings, world.x, CONFIG, seed=0)
    found = expected_reductions(model, ratings, world.x)
    torch.testing.assert_close(found[0], found[1])
    asked = ask_next(model, ratings, world.x, 2)
    assert asked[1].reduction < asked[0].reduction


def test_it_beats_asking_at_random():
    """Ratings so far are of few texts; 12 more. Scores come closer to what readers think."""
    gains = []
    for seed in range(12):
        world = Readers(seed, n_item=60, d=8)
        first = world.some(24, most=6)
        ratings = world.rate(*first)
        model = fit_raters(ratings, world.x, CONFIG, seed=0)
        asked = ask_next(model, ratings, world.x, 12)
        chosen = torch.tensor([[a.item, a.rater] for a in asked]).T
        at_random = torch.stack(world.some(12))
        error = []
        for pairs in (chosen, at_random):
            item, rater = torch.cat((torch.stack(first), pairs), 1)
            error.append(world.error(world.rate(item, rater)))
        gains.append(error[1] - error[0])
    mean = torch.tensor(gains).mean()
    assert float(mean) > 2 * float(torch.tensor(gains).std()) / len(gains) ** 0.5


def test_other_models_are_refused():
    world = Readers(3)
    ratings = world.rate(*world.some(60))
    for config in (RaterConfig(head="huber"), RaterConfig(hidden=3), RaterConfig(aggregate="cvar")):
        model = RaterModel(config, (-60.0, 60.0), n_rater=6, n_item=40, d=5)
        with pytest.raises(ValueError, match="what to ask next is known for raters with features"):
            ask_next(model, ratings, world.x, 3)
    with pytest.raises(ValueError, match="n must be at least 1"):
        ask_next(model, ratings, world.x, 0)
