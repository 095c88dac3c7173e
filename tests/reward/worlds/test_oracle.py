"""The oracle world: its sums are right, its optimum is the optimum."""

import pytest
import torch

from memformer.config.oracle import OracleConfig
from memformer.reward.chain import Chain
from memformer.reward.estimators import generator_loss, kl_term
from memformer.reward.worlds.oracle import OracleWorld

SMALL = OracleConfig(n_token=3, n_symbol=5, n_word=4, max_len=3)


@pytest.fixture(scope="module")
def world():
    return OracleWorld(SMALL, seed=0)


@pytest.mark.parametrize("ending", ["drawn", "fixed"])
def test_probabilities_of_all_reviews_and_texts_sum_to_one(ending):
    world = OracleWorld(
        OracleConfig(n_token=3, n_symbol=5, n_word=4, max_len=3, ending=ending), seed=1
    )
    reading = world.reviewer.read(world.texts, world.reviewer.new_state(125))
    p = world.review_log_prob(reading).exp()
    assert p.shape == (125, 27 if ending == "fixed" else 3 + 9)
    torch.testing.assert_close(p.sum(1), torch.ones(125, dtype=torch.float64))
    total = world.log_prob(world.reference, world.texts).exp().sum()
    assert float(total.detach()) == pytest.approx(1)


def test_gold_is_the_mean_score_of_drawn_reviews(world):
    x = world.texts[[3, 77]]
    chain = Chain(world.reviewer, world.features, world.raters)
    g = torch.Generator().manual_seed(0)
    out = chain.score(x, world.reviewer.new_state(2), "score_function", 20_000, g)
    error = (out.variance / 20_000).sqrt()
    assert bool(((out.value - world.gold[[3, 77]]).abs() < 4 * error).all())
    assert out.n_unscorable == 0


def test_drawn_texts_have_their_probabilities_and_one_hot_rows(world):
    g = torch.Generator().manual_seed(0)
    ids, rows = world.draw(world.reference, 20_000, g)
    assert torch.equal(rows.argmax(-1), ids) and bool((rows.sum(-1) == 1).all())
    place = (ids * torch.tensor([25, 5, 1])).sum(1)
    seen = torch.bincount(place, minlength=125) / 20_000
    p = world.log_prob(world.reference, world.texts).exp()
    assert bool(((seen - p).abs() < 5 * (p / 20_000).sqrt() + 1e-4).all())


def test_words_of_a_review_depend_on_one_another(world):
    """Else a linear head would be exact and the amortised estimator flattered."""
    reading = world.reviewer.read(world.texts[:1], world.reviewer.new_state(1))
    told = [world.reviewer.write(torch.tensor([w]), reading.state)[0].softmax(-1) for w in (0, 1)]
    assert float((told[0] - told[1]).abs().max()) > 0.1
    H = world.reviewer.read(world.texts, world.reviewer.new_state(125)).hidden
    H = torch.cat((H, torch.ones(125, 1, dtype=torch.float64)), 1)
    fit = H @ torch.linalg.lstsq(H, world.gold[:, None]).solution
    assert float((fit[:, 0] - world.gold).std() / world.gold.std()) > 0.05


def test_optimum_beats_every_other_policy_at_its_beta(world):
    best = world.optimum(0.05)
    value = best.gold - 0.05 * best.kl
    logits = world.reference.clone().requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        reached = world.expectation(logits) - 0.05 * world.kl(logits)
        (-reached).backward()
        optimiser.step()
    assert float(reached.detach()) <= value + 1e-9
    assert float(reached.detach()) > float(world.expectation(world.reference)) + 0.01
    assert value - float(reached.detach()) < 0.01  # a generator of pairs comes close


def test_beta_to_infinity_recovers_the_reference(world):
    p0 = world.log_prob(world.reference, world.texts).exp()
    gaps = [float((world.optimum(beta).prob - p0).abs().sum()) for beta in (0.1, 1, 10, 1e6)]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 1e-6 < gaps[0]
    assert world.optimum(1e6).kl == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
def test_training_with_a_great_beta_returns_to_the_reference(world, sign):
    """And with the sign of KL flipped it runs away: the test can fail."""
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(world.reference.shape, dtype=torch.float64, generator=g)
    logits = (world.reference + 0.5 * noise).requires_grad_()
    before = float(world.kl(logits.detach()))
    optimiser = torch.optim.Adam([logits], lr=0.03)
    for _ in range(60):
        ids, _ = world.draw(logits.detach(), 256, g)
        log_p = world.log_prob(logits, ids).view(64, 4)
        log_q = world.log_prob(world.reference, ids).view(64, 4)
        optimiser.zero_grad()
        loss = generator_loss(log_p.sum() * 0, sign * kl_term(log_p, log_q), beta=100.0)
        loss.backward()
        optimiser.step()
    after = float(world.kl(logits.detach()))
    assert after < 0.3 * before if sign == 1 else after > 2 * before


def test_most_gold_is_the_frontier(world):
    best = world.optimum(0.1)
    assert world.most_gold(best.kl) == pytest.approx(best.gold, abs=1e-6)
    assert world.most_gold(0.0) == pytest.approx(
        float(world.expectation(world.reference)), abs=1e-4
    )
    assert world.most_gold(100.0) == float(world.gold.max())


def test_bad_input_is_named(world):
    with pytest.raises(ValueError, match="at most 65536 texts, got 100000"):
        OracleConfig(n_token=5, n_symbol=10)
    with pytest.raises(ValueError, match="at most 4096 reviews"):
        OracleConfig(n_word=9, max_len=5)
    with pytest.raises(ValueError, match="beta must be above 0"):
        world.optimum(0)
    with pytest.raises(ValueError, match="texts must be"):
        world.reviewer.read(torch.zeros(1, 4, dtype=torch.long), world.reviewer.new_state(1))
