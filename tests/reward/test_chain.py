"""The chain: every mode against what is exact, what cannot be scored, what is refused."""

from dataclasses import replace

import pytest
import torch

from memformer.config.chain import ChainConfig, DistilConfig
from memformer.config.oracle import OracleConfig
from memformer.reward.amortised import agreement, distil, sample_scores
from memformer.reward.chain import Chain, TooManyUnscorable
from memformer.reward.interfaces import Reading
from memformer.reward.worlds.oracle import OracleState, OracleWorld

SMALL = OracleConfig(n_token=3, n_symbol=5, n_word=4, max_len=3)


@pytest.fixture(scope="module")
def world():
    return OracleWorld(SMALL, seed=0)


@pytest.fixture(scope="module")
def head(world):
    ids, _ = world.draw(world.reference, 800, seeded(9))
    samples = sample_scores(chain_of(world), ids, world.reviewer.new_state(800), 8, seeded(8))
    return distil(samples, DistilConfig(), seed=0).head


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def chain_of(world, head=None, raters=None, **changes):
    return Chain(
        world.reviewer, world.features, raters or world.raters, head=head,
        config=ChainConfig(**changes),
    )  # fmt: skip


def rows_of(world, *which):
    return torch.nn.functional.one_hot(world.texts[list(which)], 5).double().requires_grad_()


def exact_gradient(world, rows):
    return torch.autograd.grad(world.value(rows).mean(), rows)[0]


class SometimesNaN:
    """NaN where the first feature is above a threshold; the gradient there is NaN too."""

    def __init__(self, inner, threshold):
        self.inner, self.threshold = inner, threshold

    def score(self, features, aggregate=None):
        bad = torch.where(features[:, 0] > self.threshold, torch.nan, 0.0)
        return self.inner.score(features, aggregate) + bad * features.sum(1)


@pytest.mark.parametrize("has_control", [False, True])
def test_score_function_on_rows_is_unbiased(world, head, has_control):
    K = 4000
    rows = rows_of(world, 3, 77)
    exact = exact_gradient(world, rows)
    leaf = rows.detach().repeat(K, 1, 1).requires_grad_()
    chain = chain_of(world, head, has_control=has_control)
    out = chain.score(leaf, world.reviewer.new_state(2 * K), "score_function", 4, seeded())
    (grad,) = torch.autograd.grad(out.surrogate * K, leaf)
    grad = grad.view(K, -1)
    z = (grad.mean(0) - exact.flatten()) / (grad.std(0) / K**0.5)
    assert float(z.abs().max()) < 4  # of 30 components
    assert float(exact.norm()) > 20 * float((grad.std(0) / K**0.5).mean())


def test_score_function_on_log_prob_is_unbiased_with_group_baselines(world):
    K, g = 4000, 4
    (exact,) = torch.autograd.grad(
        world.expectation(leaf := world.reference.clone().requires_grad_()), leaf
    )
    leaf = world.reference.expand(K, *world.reference.shape).clone().requires_grad_()
    lanes = leaf.repeat_interleave(g, 0)
    ids, _ = world.draw(lanes, K * g, seeded(1))
    out = chain_of(world).score(
        ids, world.reviewer.new_state(K * g), "score_function", 2, seeded(2),
        log_prob=world.log_prob(lanes, ids), n_sibling=g,
    )  # fmt: skip
    (grad,) = torch.autograd.grad(out.surrogate * K, leaf)
    along = grad.view(K, -1) @ exact.flatten() / exact.norm() ** 2
    assert abs(float(along.mean()) - 1) < 3 * float(along.std()) / K**0.5
    assert float(along.std()) / K**0.5 < 0.2


def test_hard_and_scored_draws_of_one_seed_are_the_same_reviews(world):
    state = world.reviewer.new_state(2)
    rows = rows_of(world, 3, 77)
    one = chain_of(world).score(rows, state, "st_gumbel", 4, seeded(5))
    two = chain_of(world).score(world.texts[[3, 77]], state, "score_function", 4, seeded(5))
    assert torch.equal(one.reviews.ids, two.reviews.ids)
    torch.testing.assert_close(one.value, two.value)
    torch.testing.assert_close(one.variance, two.variance)
    torch.testing.assert_close(one.surrogate.detach(), one.value.mean())


def test_gradient_reaches_every_token_of_a_novel_in_every_mode(world, head):
    for mode in ("amortised", "st_gumbel", "score_function"):
        rows = rows_of(world, 3, 77)
        out = chain_of(world, head).score(rows, world.reviewer.new_state(2), mode, 4, seeded())
        out.surrogate.backward()
        assert bool((rows.grad.abs().sum(-1) > 0).all()), mode


def test_straight_through_points_where_the_exact_gradient_points(world):
    K = 2000
    rows = rows_of(world, 3)
    exact = exact_gradient(world, rows).flatten()
    leaf = rows.detach().repeat(K, 1, 1).requires_grad_()
    out = chain_of(world).score(leaf, world.reviewer.new_state(K), "st_gumbel", 4, seeded())
    (grad,) = torch.autograd.grad(out.surrogate, leaf)
    mean = grad.sum(0).flatten()
    assert float(mean @ exact / mean.norm() / exact.norm()) > 0.9
    assert not torch.allclose(mean, exact, rtol=0.05)  # biased, and said to be


def test_soft_weights_make_the_end_differentiable(world):
    """What is before the end counts by prod(1 - p_eor); with the survival cut, another gradient."""
    rows = rows_of(world, 3, 77)
    chain = chain_of(world, is_hard=False, temperature=0.5)
    out = chain.score(rows, world.reviewer.new_state(2), "st_gumbel", 4, seeded())
    assert bool((out.reviews.weight[..., 0] == 1).all())  # no review is empty
    inner = out.reviews.weight[..., 1]
    assert bool(((inner > 0) & (inner < 1)).any())
    assert out.n_unscorable == 0


def test_fixed_length_reviews_never_end():
    world = OracleWorld(replace(SMALL, ending="fixed"), seed=0)
    x = world.texts[[3, 77]]
    chain = chain_of(world, ending="fixed")
    out = chain.score(x, world.reviewer.new_state(2), "score_function", 20_000, seeded())
    assert bool((out.reviews.ids != world.reviewer.end).all())
    assert bool((out.reviews.weight == 1).all())
    error = (out.variance / 20_000).sqrt()
    assert bool(((out.value - world.gold[[3, 77]]).abs() < 4 * error).all())


def test_backward_through_the_last_tokens_only(world):
    grads = {}
    for n in (None, 3, 1):
        rows = rows_of(world, 3, 77)
        chain = chain_of(world, n_grad_token=n)
        chain.score(
            rows, world.reviewer.new_state(2), "st_gumbel", 4, seeded()
        ).surrogate.backward()
        grads[n] = rows.grad
    torch.testing.assert_close(grads[None], grads[3])
    assert not torch.allclose(grads[3], grads[1])


def test_clipping_binds_only_where_a_token_exceeds_it(world):
    grads = {}
    for limit in (None, 1e6, 1e-3):
        rows = rows_of(world, 3, 77)
        chain = chain_of(world, max_token_norm=limit)
        chain.score(
            rows, world.reviewer.new_state(2), "st_gumbel", 4, seeded()
        ).surrogate.backward()
        grads[limit] = rows.grad
    assert torch.equal(grads[None], grads[1e6])
    assert 0 < float(grads[1e-3].norm()) < 0.5 * float(grads[None].norm())


@pytest.mark.parametrize("mode", ["st_gumbel", "score_function"])
def test_nan_scores_are_left_out_of_value_and_gradient(world, mode):
    state = world.reviewer.new_state(2)
    rows = rows_of(world, 3, 77)
    whole = chain_of(world).score(rows, state, mode, 16, seeded())
    features = world.features(whole.reviews.ids.view(32, -1), whole.reviews.weight.view(32, -1))
    threshold = float(features[:, 0].sort(descending=True).values[:6].mean())
    raters = SometimesNaN(world.raters, threshold)
    out = chain_of(world, raters=raters, max_unscorable=0.5).score(rows, state, mode, 16, seeded())
    n = int((features[:, 0] > threshold).sum())
    assert out.n_unscorable == n > 0 and torch.equal(out.reviews.ids, whole.reviews.ids)
    ok = (features[:, 0] <= threshold).view(2, 16)
    assert torch.equal(out.reviews.is_scored, ok)
    kept = whole.reviews.score.where(ok, 0.0)
    torch.testing.assert_close(out.value, kept.sum(1) / ok.sum(1))
    out.surrogate.backward()
    assert bool(rows.grad.isfinite().all()) and float(rows.grad.norm()) > 0


def test_too_many_unscorable_stop(world):
    raters = SometimesNaN(world.raters, -1e9)
    with pytest.raises(TooManyUnscorable, match="8 of 8 could not be scored"):
        chain_of(world, raters=raters).score(
            world.texts[:2], world.reviewer.new_state(2), "score_function", 4, seeded()
        )


class EndsEarlyOrNever:
    """A reviewer whose lanes are: empty, without end, whole."""

    vocab_size, end, max_len = 3, 2, 3
    plan = torch.tensor([[2, 2, 2], [0, 0, 0], [1, 2, 2]])

    def read(self, x, state, mask=None):
        return Reading(
            self._logits(0, torch.arange(3)), torch.zeros(3, 1), Lanes(torch.arange(3), 0)
        )

    def write(self, token, state):
        return self._logits(state.n + 1, state.lane), Lanes(state.lane, state.n + 1)

    def _logits(self, n, lane):
        return torch.full((len(lane), 3), -50.0).scatter(1, self.plan[lane, n][:, None], 50.0)


class Lanes:
    def __init__(self, lane, n):
        self.lane, self.n = lane, n

    def fork(self, m):
        return Lanes(self.lane.repeat_interleave(m, 0), self.n)


@pytest.mark.parametrize("mode", ["score_function", "st_gumbel"])
def test_empty_and_unfinished_reviews_are_unscorable_and_counted(mode):
    class Lengths:
        def __call__(self, review, weight):
            assert bool((weight.sum(1) > 0).all())
            return weight.sum(1, keepdim=True)

    class First:
        def score(self, features, aggregate=None):
            return features[:, 0]

    chain = Chain(EndsEarlyOrNever(), Lengths(), First(), config=ChainConfig(max_unscorable=0.7))
    out = chain.score(torch.zeros(3, 1, dtype=torch.long), None, mode, 2, seeded())
    assert out.reviews.is_scored.tolist() == [[False, False], [False, False], [True, True]]
    assert out.n_unscorable == 4 and out.value.isnan().tolist() == [True, True, False]
    assert float(out.value[2]) == 1 == float(out.surrogate)


def test_head_foresees_value_and_variance(world):
    ids, _ = world.draw(world.reference, 1200, seeded(9))
    samples = sample_scores(chain_of(world), ids, world.reviewer.new_state(1200), 16, seeded(8))
    found = distil(samples, DistilConfig(), seed=0)
    assert found.held_out.corrected > 0.9 and found.held_out.n == 240
    state = world.reviewer.new_state(125)
    out = chain_of(world, found.head).score(world.texts, state, "amortised")
    p = world.log_prob(world.reference, world.texts).exp().detach()
    assert correlation(out.value, world.gold, p) > 0.9
    second = world.review_log_prob(world.reviewer.read(world.texts, state)).exp()
    variance = second @ world.review_score.square() - world.gold.square()
    assert correlation(out.variance, variance, p) > 0.8
    assert float(p @ out.variance) == pytest.approx(float(p @ variance), rel=0.2)


def test_agreement_falls_when_the_policy_leaves_what_the_head_learned(world, head):
    chain, moved = chain_of(world), -1.5 * world.reference
    told = []
    for logits in (world.reference, moved):
        ids, _ = world.draw(logits, 1000, seeded(3))
        state = world.reviewer.new_state(1000)
        told.append(agreement(head, sample_scores(chain, ids, state, 16, seeded(4))).corrected)
    assert told[0] > told[1] + 0.02


def correlation(a, b, p):
    a, b = a - p @ a, b - p @ b
    return float((p * a * b).sum() / ((p * a * a).sum() * (p * b * b).sum()).sqrt())


def test_control_variate_lowers_the_variance(world, head):
    K = 1000
    spread = []
    for has_control in (False, True):
        leaf = rows_of(world, 3).detach().repeat(K, 1, 1).requires_grad_()
        chain = chain_of(world, head, has_control=has_control)
        out = chain.score(leaf, world.reviewer.new_state(K), "score_function", 4, seeded())
        (grad,) = torch.autograd.grad(out.surrogate * K, leaf)
        spread.append(float(grad.view(K, -1).var(0).sum()))
    assert spread[1] < 0.95 * spread[0]


def test_bad_input_is_named(world, head):
    chain, state, ids = chain_of(world), world.reviewer.new_state(2), world.texts[:2]
    lp = torch.zeros(2, requires_grad=True)
    with pytest.raises(ValueError, match="mode must be"):
        chain.score(ids, state, "reinforce")
    with pytest.raises(ValueError, match="needs a head"):
        chain.score(ids, state)
    with pytest.raises(ValueError, match="2 n_reviews"):
        chain.score(rows_of(world, 0, 1), state, "score_function", 1)
    with pytest.raises(ValueError, match="rows or log_prob, not both"):
        chain.score(rows_of(world, 0, 1), state, "score_function", log_prob=lp)
    with pytest.raises(ValueError, match="st_gumbel"):
        chain.score(ids, state, "st_gumbel", log_prob=lp)
    with pytest.raises(ValueError, match="n_sibling must divide the 2"):
        chain.score(ids, state, "score_function", log_prob=lp, n_sibling=3)
    with pytest.raises(ValueError, match="log_prob must be"):
        chain.score(ids, state, "score_function", log_prob=lp[:1])
    with pytest.raises(ValueError, match="has_control needs a head"):
        chain_of(world, has_control=True)
    with pytest.raises(FloatingPointError, match="not finite at token 0"):
        nan = OracleState(torch.full((2, 12), torch.nan, dtype=torch.float64))
        chain.score(ids, nan, "score_function")
    with pytest.raises(ValueError, match="temperature must be above 0"):
        ChainConfig(temperature=0)
    with pytest.raises(ValueError, match="n_review must be at least 2"):
        sample_scores(chain, ids, state, 1, None)
    with pytest.raises(ValueError, match="at least 6 novels"):
        distil(sample_scores(chain, ids, state, 4, None), DistilConfig(), seed=0)
