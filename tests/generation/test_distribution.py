"""Every option against probabilities worked out by hand, on a vocabulary of four or five."""

import pytest
import torch

from memformer.config import SamplingConfig
from memformer.generation.distribution import distribution

P = [0.4, 0.3, 0.2, 0.1]


def of(p=P, recent=None, **options):
    """The distribution over tokens whose plain probabilities are `p`."""
    recent = None if recent is None else torch.tensor([recent])
    return distribution(torch.tensor([p]).log(), SamplingConfig(**options), recent)[0]


@pytest.mark.parametrize(("options", "expected"), [
    ({}, P),
    (dict(temperature=0), [1, 0, 0, 0]),
    (dict(temperature=0, top_k=2, min_p=0.5), [1, 0, 0, 0]),
    # p^2 / sum: 16, 9, 4, 1 of 30
    (dict(temperature=0.5), [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
    (dict(top_k=1), [1, 0, 0, 0]),
    (dict(top_k=3), [4 / 9, 3 / 9, 2 / 9, 0]),
    (dict(top_k=99), P),
    (dict(top_p=0.39), [1, 0, 0, 0]),
    (dict(top_p=0.41), [4 / 7, 3 / 7, 0, 0]),
    (dict(top_p=0.89), [4 / 9, 3 / 9, 2 / 9, 0]),
    (dict(top_p=0.91), P),
    (dict(min_p=1.0), [1, 0, 0, 0]),
    # 0.49 of 0.4 is 0.196, 0.51 of it 0.204
    (dict(min_p=0.49), [4 / 9, 3 / 9, 2 / 9, 0]),
    (dict(min_p=0.51), [4 / 7, 3 / 7, 0, 0]),
    # of 16, 9, 4, 1 top_k leaves 16, 9, 4 of 29; the first two have 25/29 = 0.862
    (dict(temperature=0.5, top_k=3, top_p=0.86), [16 / 25, 9 / 25, 0, 0]),
    (dict(temperature=0.5, top_k=3, top_p=0.87), [16 / 29, 9 / 29, 4 / 29, 0]),
    # without top_k the first two have 25/30 = 0.833: top_p is a share of what top_k left
    (dict(temperature=0.5, top_p=0.84), [16 / 29, 9 / 29, 4 / 29, 0]),
    (dict(temperature=0.5, top_k=3, top_p=0.84), [16 / 25, 9 / 25, 0, 0]),
    # 9/16 = 0.5625 after temperature, 3/4 before
    (dict(temperature=0.5, min_p=0.6), [1, 0, 0, 0]),
])  # fmt: skip
def test_options_give_the_probabilities_worked_out_by_hand(options, expected):
    torch.testing.assert_close(of(**options), torch.tensor(expected, dtype=torch.float32))


def test_repetition_penalty_lowers_what_was_written_whatever_its_sign():
    logits = torch.tensor([[2.0, 1.0, -1.0, 0.0]])
    config = SamplingConfig(repetition_penalty=2.0)
    got = distribution(logits, config, torch.tensor([[-1, 0, 2, 0]]))
    torch.testing.assert_close(got, torch.tensor([[1.0, 1.0, -2.0, 0.0]]).softmax(-1))


def test_repetition_penalty_comes_first():
    logits = torch.tensor([[3.0, 2.0, 1.0]])
    config = SamplingConfig(repetition_penalty=2.0, temperature=0.5, top_k=2)
    got = distribution(logits, config, torch.tensor([[0]]))  # scores 1.5, 2, 1
    torch.testing.assert_close(got[0, :2], torch.tensor([3.0, 4.0]).softmax(-1))
    assert got[0, 2] == 0
    greedy = SamplingConfig(repetition_penalty=2.0, temperature=0)
    assert distribution(logits, greedy, torch.tensor([[0]])).tolist() == [[0, 1, 0]]


def test_lanes_have_their_own_recent_tokens():
    logits = torch.zeros(2, 3) + 1.0
    got = distribution(
        logits, SamplingConfig(repetition_penalty=2.0), torch.tensor([[0, -1], [1, 2]])
    )
    torch.testing.assert_close(got[0], torch.tensor([0.5, 1, 1]).softmax(-1))
    torch.testing.assert_close(got[1], torch.tensor([1, 0.5, 0.5]).softmax(-1))


def test_token_of_no_probability_keeps_none_and_equals_are_cut_from_the_higher_id():
    assert of([0.5, 0.0, 0.5], top_p=0.99).tolist() == [0.5, 0, 0.5]
    assert of([0.25] * 4, top_k=2).tolist() == [0.5, 0.5, 0, 0]
    assert of([0.25] * 4, temperature=0).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("temperature", [1e-4, 1000])
def test_extreme_temperatures_and_logits_stay_distributions(temperature):
    logits = torch.tensor([[-1e30, 3e38, 3e38], [0.0, -torch.inf, 1e-30]])
    got = distribution(logits, SamplingConfig(temperature=temperature, top_p=0.9))
    assert bool(got.isfinite().all())
    torch.testing.assert_close(got.sum(-1), torch.ones(2))
    torch.testing.assert_close(got[0], torch.tensor([0, 0.5, 0.5]))


def test_half_precision_logits_give_float32():
    assert distribution(torch.zeros(1, 3).bfloat16(), SamplingConfig()).dtype == torch.float32


@pytest.mark.parametrize("options", [
    dict(temperature=0.7, top_k=20), dict(temperature=1.3, top_p=0.8), dict(min_p=0.2),
    dict(repetition_penalty=1.5, temperature=0.8, top_k=30, top_p=0.9, min_p=0.02),
])  # fmt: skip
def test_equals_transformers(options):
    process = pytest.importorskip("transformers.generation.logits_process")
    logits, recent = 3 * torch.randn(5, 60), torch.randint(0, 60, (5, 12))
    order = [
        ("repetition_penalty", process.RepetitionPenaltyLogitsProcessor),
        ("temperature", process.TemperatureLogitsWarper),
        ("top_k", process.TopKLogitsWarper),
        ("top_p", process.TopPLogitsWarper),
        ("min_p", process.MinPLogitsWarper),
    ]
    expected = logits
    for name, kind in order:
        if name in options:
            expected = kind(options[name])(recent, expected)
    got = distribution(logits, SamplingConfig(**options), recent)
    torch.testing.assert_close(got, expected.softmax(-1))


@pytest.mark.parametrize(("logits", "recent", "message"), [
    ([[0.0, 1], [0, torch.nan]], None, "lane 1 has nan"),
    ([[torch.inf, 1.0]], None, "lane 0 has inf"),
    ([[-torch.inf, -torch.inf]], None, "lane 0 has -inf"),
    ([0.0, 1.0], None, r"logits must be \(B, V\), got \(2,\)"),
    ([[0.0, 1.0]], [[2]], r"recent ids must be in \[0, 2\), or -1 for none, got 2 to 2"),
    ([[0.0, 1.0]], [[-2]], "or -1 for none, got -2"),
    ([[0.0, 1.0]], [[0], [0]], r"recent must be \(1, n\), got \(2, 1\)"),
])  # fmt: skip
def test_what_is_no_distribution_is_refused(logits, recent, message):
    recent = None if recent is None else torch.tensor(recent)
    with pytest.raises(ValueError, match=message):
        distribution(torch.tensor(logits), SamplingConfig(), recent)


@pytest.mark.parametrize(("changes", "message"), [
    (dict(temperature=-1), r"temperature must be in \[0, 1000\], got -1"),
    (dict(temperature=1e-9), "temperature must be 0 or at least 1e-4, got 1e-09"),
    (dict(temperature=float("nan")), "temperature must be in"),
    (dict(top_k=0), "top_k must be an integer of at least 1, got 0"),
    (dict(top_p=0), r"top_p must be in \(0, 1\], got 0"),
    (dict(top_p=1.1), r"top_p must be in \[0, 1\], got 1.1"),
    (dict(min_p=-0.1), r"min_p must be in \[0, 1\], got -0.1"),
    (dict(repetition_penalty=0), r"repetition_penalty must be in \[0.01, 100\], got 0"),
    (dict(repetition_window=0), "repetition_window must be an integer of at least 1, got 0"),
    (dict(seed=-1), "seed must be an integer of at least 0, got -1"),
])  # fmt: skip
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        SamplingConfig(**changes)
