"""A decoder as generator: its draws, the reach of its gradient, KL with each model's own state."""

import pytest
import torch

from memformer.reward.estimators import kl_estimates
from memformer.reward.policy import draw_relaxed, log_prob
from tests.reward.small_reviewer import small_decoder

V = 4


def decoder(seed):
    model = small_decoder(seed, vocab_size=V)
    with torch.no_grad():
        model.embedding.weight.mul_(3 + 2 * seed)  # distributions that differ
    return model


def prefixed(model, prefix, **how):
    state = model.new_state(len(prefix), **how)
    for part in prefix.split(model.config.segment_len, 1):
        state.advance(model(part, state))
    return state


PREFIX = torch.randint(0, V, (1, 20), generator=torch.Generator().manual_seed(0))
TEXTS = torch.cartesian_prod(*[torch.arange(V)] * 3)  # every continuation of 3 tokens
LAST = torch.tensor([1])


def all_log_prob(model, state):
    with torch.no_grad():
        return log_prob(model, LAST.expand(64), TEXTS, state.fork(64)).sum(1).double()


def test_probabilities_of_all_continuations_sum_to_one():
    model = decoder(0)
    told = all_log_prob(model, prefixed(model, PREFIX))
    assert float(told.exp().sum()) == pytest.approx(1, abs=1e-5)


def test_kl_of_drawn_texts_meets_the_exact_one_with_each_models_own_state():
    policy, reference = decoder(0), decoder(1)
    mine, theirs = prefixed(policy, PREFIX), prefixed(reference, PREFIX)
    p, q = all_log_prob(policy, mine), all_log_prob(reference, theirs)
    exact = float((p.exp() * (p - q)).sum())
    with torch.no_grad():
        n = 300
        lanes = mine.fork(n)
        drawn = draw_relaxed(policy, LAST.expand(n), lanes, 3, torch.Generator().manual_seed(0))
        told = [
            log_prob(m, LAST.expand(n), drawn.ids, s.fork(n)).sum(1)
            for m, s in ((policy, mine), (reference, theirs))
        ]
    found = kl_estimates(*told)
    error = float((told[0] - told[1]).std()) / n**0.5
    assert exact > 5 * error and abs(float(found.k1) - exact) < 4 * error
    assert float(found.k3) == pytest.approx(exact, rel=0.4)
    # a reference that reads the policy's state is another model, and the KL another number
    borrowed = all_log_prob(reference, mine)
    assert abs(float((p.exp() * (p - borrowed)).sum()) - exact) > 1e-3


def test_kl_of_a_model_with_itself_is_zero():
    model = decoder(0)
    told = [all_log_prob(model, prefixed(model, PREFIX)) for _ in range(2)]
    assert float(kl_estimates(*told).k3) == 0


def test_gradient_through_drawn_rows_agrees_with_finite_differences():
    model = decoder(0).double()
    weight = torch.randn(1, 4, V, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def value():
        state = prefixed(model, PREFIX[:, :3], grad_segments=8)
        state.detach()
        g = torch.Generator().manual_seed(2)
        return (draw_relaxed(model, LAST, state, 4, g, is_hard=False).rows * weight).sum()

    parameter = model.norm.weight
    (grad,) = torch.autograd.grad(value(), parameter)
    for i in (0, 5):
        told = []
        for h in (1e-5, -1e-5):
            with torch.no_grad():
                parameter[i] += h
                told.append(float(value()))
                parameter[i] -= h
        # the prefix is read with the shifted weight too, but the norm does not enter its pairs
        assert float(grad[i]) == pytest.approx((told[0] - told[1]) / 2e-5, rel=1e-4, abs=1e-9)


def test_a_gradient_that_would_have_to_reach_further_is_refused():
    model = decoder(0)
    state = prefixed(model, PREFIX, grad_segments=2)
    with pytest.raises(ValueError, match="needs grad_segments=4, the state has 2"):
        draw_relaxed(model, LAST, state, 4, None)
    n_read = list(state.n_read)
    part = draw_relaxed(model, LAST, state, 4, None, n_grad=2)
    assert part.rows.shape == part.logits.shape == (1, 4, V) and state.n_read == n_read
    for t in range(4):
        (found,) = torch.autograd.grad(
            part.rows[:, t, 1].sum(), model.embedding.weight, retain_graph=True, allow_unused=True
        )
        assert (found is not None and bool(found.abs().sum() > 0)) == (t >= 2)
    with pytest.raises(ValueError, match=r"n_grad in \[1, n_token\]"):
        draw_relaxed(model, LAST, state, 4, None, n_grad=5)
    with torch.no_grad():
        draw_relaxed(model, LAST, state, 4, None)  # nothing to reach


def test_clipping_shortens_the_gradient_of_a_token_that_exceeds_it():
    model = decoder(0)
    norms = []
    for limit in (None, 1e6, 1e-4):
        state = model.new_state(1, grad_segments=4)
        g = torch.Generator().manual_seed(0)
        rows = draw_relaxed(model, LAST, state, 4, g, max_token_norm=limit).rows
        weight = torch.arange(float(V)).expand(1, 4, V)
        (grad,) = torch.autograd.grad((rows * weight).sum(), model.embedding.weight)
        norms.append(float(grad.norm()))
    assert norms[0] == pytest.approx(norms[1]) and 0 < norms[2] < 0.01 * norms[0]


def test_hard_rows_are_the_ids():
    model = decoder(0)
    drawn = draw_relaxed(model, LAST, model.new_state(1, grad_segments=4), 4, None)
    assert torch.equal(drawn.rows.argmax(-1), drawn.ids)
    assert drawn.rows.requires_grad
