import pytest
import torch

from memformer.reward.social_choice import aggregate

UTILITY = torch.tensor([[1.0, 2.0, 3.0, 10.0], [4.0, 4.0, 0.0, 4.0]], dtype=torch.float64)
EQUAL = torch.ones(4, dtype=torch.float64)


@pytest.mark.parametrize(("rule", "expected"), [
    ("mean", [4.0, 3.0]), ("median", [2.5, 4.0]), ("maxmin", [1.0, 0.0]), ("cvar", [1.5, 2.0]),
])  # fmt: skip
def test_each_social_choice_by_hand(rule, expected):
    assert aggregate(UTILITY, EQUAL, rule, cvar_share=0.5).tolist() == expected


def test_the_rater_on_the_edge_of_the_unhappiest_share_counts_in_part():
    found = aggregate(UTILITY, EQUAL, "cvar", cvar_share=0.4)
    assert found.tolist() == pytest.approx([(0.25 * 1 + 0.15 * 2) / 0.4, 0.15 * 4 / 0.4])


def test_a_weight_of_two_is_a_rater_given_twice():
    weight = torch.tensor([1.0, 1.0, 2.0, 1.0], dtype=torch.float64)
    twice = torch.cat((UTILITY, UTILITY[:, 2:3]), 1)
    for rule in ("mean", "median", "cvar", "maxmin"):
        one = aggregate(UTILITY, weight, rule, cvar_share=0.3)
        assert torch.allclose(one, aggregate(twice, torch.ones(5).double(), rule, cvar_share=0.3))


def test_who_is_weighted_down_has_no_veto_and_still_counts():
    weight = torch.tensor([0.1, 1.0, 1.0, 1.0], dtype=torch.float64)
    assert aggregate(UTILITY, weight, "maxmin")[0] == 2
    assert aggregate(UTILITY, weight, "mean")[0] == pytest.approx((0.1 + 15) / 3.1)


def test_own_weights_replace_the_populations():
    only_last = torch.tensor([0.0, 0.0, 0.0, 2.0], dtype=torch.float64)
    assert aggregate(UTILITY, EQUAL, only_last).tolist() == [10, 4]


@pytest.mark.parametrize("rule", ["mean", "median", "cvar", "maxmin"])
def test_gradients(rule):
    g = torch.Generator().manual_seed(1)
    utility = torch.randn(3, 7, generator=g, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(7, generator=g, dtype=torch.float64) + 0.5
    assert torch.autograd.gradcheck(lambda u: aggregate(u, weight, rule, cvar_share=0.4), utility)


@pytest.mark.parametrize(("weight", "rule", "message"), [
    (EQUAL, "borda", "aggregate must be one of mean, median, cvar, maxmin or weights"),
    (EQUAL[:3], "mean", r"weights must have shape \(4,\), one a rater, got \(3,\)"),
    (EQUAL * 0, "mean", "weights must be finite, none negative and not all 0"),
    (EQUAL, EQUAL - 2, "weights must be finite, none negative"),
])  # fmt: skip
def test_bad_choices_are_errors(weight, rule, message):
    with pytest.raises(ValueError, match=message):
        aggregate(UTILITY, weight, rule)
