"""Estimators: unbiased where they say so, with what is missing left out and not counted as zero."""

import pytest
import torch

from memformer.reward.estimators import (
    entropy_term,
    generator_loss,
    kl_estimates,
    kl_term,
    leave_one_out,
    score_function,
)

D = torch.float64


def test_baseline_is_the_mean_of_the_others():
    score = torch.tensor([[1.0, 2.0, 6.0]])
    found = leave_one_out(score, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(found.advantage, torch.tensor([[-3.0, -1.5, 4.5]]))
    torch.testing.assert_close(found.share, torch.full((1, 3), 1 / 3))


def test_missing_scores_are_no_zeros():
    score = torch.tensor([[1.0, torch.nan, 5.0], [2.0, torch.nan, torch.nan]])
    found = leave_one_out(score, score.isfinite())
    torch.testing.assert_close(found.advantage, torch.tensor([[-4.0, 0, 4], [0, 0, 0]]))
    torch.testing.assert_close(found.share, torch.tensor([[0.5, 0, 0.5], [0, 0, 0]]))


def test_gradient_given_missing_scores_is_that_of_the_conditional_mean():
    """Of three tokens one cannot be scored; d/dtheta of E[score | scored], enumerated."""
    theta = torch.tensor([0.3, -0.2, 0.5], dtype=D)
    score = torch.tensor([1.0, 3.0, torch.nan], dtype=D)
    leaf = theta.clone().requires_grad_()
    p = leaf.softmax(0)
    ((p[:2] @ score[:2]) / p[:2].sum()).backward()
    exact = leaf.grad
    K = 40_000
    lanes = theta.expand(K, 3).clone().requires_grad_()
    g = torch.Generator().manual_seed(0)
    ids = torch.multinomial(theta.softmax(0), K * 4, True, generator=g).view(K, 4)
    said = lanes.log_softmax(-1).gather(1, ids)
    told = score[ids]
    value = score_function(told, said, told.isfinite())
    n_used = int((told.isfinite().sum(1) > 1).sum())
    (grad,) = torch.autograd.grad(value * n_used, lanes)
    grad = grad[told.isfinite().sum(1) > 1]
    error = grad.std(0) / n_used**0.5
    assert bool(((grad.mean(0) - exact).abs() < 4 * error + 1e-12).all())
    naive = torch.tensor([1.0, 3.0, 0.0], dtype=D)  # zeros would be far off
    leaf.grad = None
    (leaf.softmax(0) @ naive).backward()
    assert float(((leaf.grad - exact).abs() - 10 * error).max()) > 0


def test_a_baseline_pulls_towards_being_scored_where_scores_are_missing():
    logits = torch.tensor([0.3, -0.2, 0.5, 0.0], dtype=torch.float64, requires_grad=True)
    score = torch.tensor([1.0, 2.0, 4.0, torch.nan], dtype=torch.float64)
    p = logits.softmax(0)
    conditional = (p[:3] * score[:3]).sum() / p[:3].sum()
    exact, to_scored = (
        torch.autograd.grad(of, logits, retain_graph=True)[0]
        for of in (conditional, p[:3].sum().log())
    )
    for baseline in (0.0, 5.0):
        mean = torch.zeros(4, dtype=torch.float64)
        for i in range(3):  # one draw, given that it is scored
            one = score_function(
                score[i].view(1, 1), logits.log_softmax(0)[i].view(1, 1),
                baseline=torch.tensor([[baseline]], dtype=torch.float64),
            )  # fmt: skip
            (grad,) = torch.autograd.grad(one, logits, retain_graph=True)
            mean += (p[i] / p[:3].sum()).detach() * grad
        torch.testing.assert_close(mean, exact + (conditional - baseline).detach() * to_scored)


def test_value_is_the_mean_of_what_was_scored_and_nan_does_not_spread():
    score = torch.tensor([[1.0, 3.0, torch.nan]])
    log_prob = torch.tensor([[-1.0, -2.0, -torch.inf]], requires_grad=True)
    value = score_function(score, log_prob, score.isfinite())
    value.backward()
    assert float(value.detach()) == 2
    torch.testing.assert_close(log_prob.grad, torch.tensor([[-1.0, 1.0, 0.0]]))


def test_terms_have_their_estimates_as_values():
    log_p = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    log_q = torch.tensor([[-2.0, -2.5]])
    assert float(kl_term(log_p, log_q).detach()) == pytest.approx(0.75)
    assert float(entropy_term(log_p).detach()) == pytest.approx(1.5)
    total = generator_loss(
        torch.tensor(2.0), kl_term(log_p, log_q), entropy_term(log_p), beta=2.0, bonus=3.0
    )
    assert float(total.detach()) == pytest.approx(-2 + 1.5 - 4.5)


def test_both_kl_estimates_meet_the_exact_one():
    p = torch.tensor([0.5, 0.3, 0.2], dtype=D)
    q = torch.tensor([0.2, 0.3, 0.5], dtype=D)
    ids = torch.multinomial(p, 100_000, True, generator=torch.Generator().manual_seed(0))
    found = kl_estimates(p.log()[ids], q.log()[ids])
    exact = float((p * (p / q).log()).sum())
    assert float(found.k1) == pytest.approx(exact, abs=0.01)
    assert float(found.k3) == pytest.approx(exact, abs=0.01)
    assert found.n_clamped == 0
    assert float(kl_estimates(p.log(), p.log()).k3) == 0


def test_a_long_texts_ratio_is_cut_and_counted():
    found = kl_estimates(torch.tensor([-900.0]), torch.tensor([0.0]))
    assert found.n_clamped == 1 and bool(found.k3.isfinite())


def test_bad_input_is_named():
    one = torch.zeros(2, 1)
    with pytest.raises(ValueError, match="2 siblings"):
        score_function(one, one)
    with pytest.raises(ValueError, match="alike"):
        score_function(torch.zeros(2, 2), torch.zeros(4))
    with pytest.raises(FloatingPointError, match="1 of 2 texts"):
        kl_term(torch.tensor([[0.0, -torch.inf]]), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="needs kl"):
        generator_loss(torch.tensor(0.0), beta=1.0)
    with pytest.raises(ValueError, match="at least 0"):
        generator_loss(torch.tensor(0.0), beta=-1.0)
