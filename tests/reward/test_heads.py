import pytest
import torch

from memformer.reward.heads import (
    ascending,
    expected_rating,
    first_cuts,
    head_loss,
    level_log_probability,
)

ETA = torch.tensor([-30.0, -1.0, 0.3, 40.0], dtype=torch.float64)
CUTS = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)


def test_levels_share_out_all_probability():
    p = level_log_probability(ETA, CUTS).exp()
    assert torch.allclose(p.sum(-1), torch.ones(4).double())
    upto = torch.sigmoid(CUTS - ETA[1:3, None])
    naive = torch.diff(upto, dim=-1, prepend=torch.zeros(2, 1), append=torch.ones(2, 1))
    assert torch.allclose(p[1:3], naive)


def test_levels_far_away_stay_finite_where_a_difference_of_sigmoids_is_zero():
    far = level_log_probability(torch.tensor([800.0], dtype=torch.float64), CUTS)
    assert torch.isfinite(far).all() and far[0, 1] < -700


def test_first_cuts_give_the_shares_of_the_ratings():
    level = torch.tensor([0, 0, 0, 1, 3] * 200)
    cuts = ascending(first_cuts(level, torch.ones(1000, dtype=torch.float64), 4))
    p = level_log_probability(torch.zeros(1, dtype=torch.float64), cuts).exp()[0]
    assert p.tolist() == pytest.approx([0.6, 0.2, 0.0, 0.2], abs=2e-3)


def test_huber_is_square_near_zero_and_linear_far_off():
    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    target = torch.tensor([0.5, 10.0], dtype=torch.float64)
    loss = head_loss("huber", zero, target, one, CUTS, 1.0)
    assert loss.tolist() == pytest.approx([0.25, 2 * (10 - 0.5)])
    assert head_loss("mse", zero, target, 4 * one, CUTS, 1.0).tolist() == [0.0625, 25]


def test_expected_rating_of_levels_stays_on_the_scale():
    zero, one = torch.zeros(()).double(), torch.ones(()).double()
    found = expected_rating("ordinal", ETA, CUTS, centre=zero, spread=one, low=1)
    assert found[0] == pytest.approx(1) and found[3] == pytest.approx(4)
    assert expected_rating("mse", ETA, CUTS, centre=one, spread=2 * one, low=1)[1] == -1


def test_gradients_of_every_head():
    eta = torch.tensor([-1.0, 0.3, 0.9], dtype=torch.float64, requires_grad=True)
    raw = torch.tensor([-1.0, 0.1, 0.2], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0.0, 2.0, 3.0], dtype=torch.float64)
    noise = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    for head in ("mse", "huber", "ordinal"):
        assert torch.autograd.gradcheck(
            lambda e, c, h=head: head_loss(h, e, target, noise, ascending(c), 1.3), (eta, raw)
        )
