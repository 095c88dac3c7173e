"""Positions and the fraction of the novel."""

import math

import pytest
import torch

from memformer import Decoder, FractionConfig
from memformer.model.local_attention import Part, attend, logits_of, rotary_logits
from memformer.model.positions import (
    FractionBias,
    FractionBins,
    FractionEncoding,
    FractionModulation,
    build_fraction,
    fourier_features,
    rotate,
    rotate_by_fraction,
)
from tests.model.conftest import lively, read, small_config

NAN = torch.nan


def test_rotation_depends_on_distance_only_at_any_real_position():
    q, k = torch.randn(1, 2, 1, 8), torch.randn(1, 2, 1, 8)

    def product(a, b):
        at = [torch.tensor([[p]]) for p in (a, b)]
        return (rotate(q, at[0]) * rotate(k, at[1])).sum(-1)

    torch.testing.assert_close(product(7.25, 3.5), product(103.75, 100.0), atol=1e-4, rtol=1e-4)
    assert (product(7.25, 3.5) - product(7.25, 4.5)).abs().max() > 1e-3


def test_rotation_pairs_channels_as_llama_does():
    x = torch.zeros(1, 1, 1, 4)
    x[..., 1] = 1.0
    turned = rotate(x, torch.tensor([[2.0]]), base=100.0)[0, 0, 0]
    angle = 2.0 * 100.0 ** (-2 / 4)
    expected = torch.tensor([0.0, math.cos(angle), 0.0, math.sin(angle)])
    torch.testing.assert_close(turned, expected)


def test_rotation_refuses_an_odd_head():
    with pytest.raises(ValueError, match="head_dim must be even to rotate in pairs, got 3"):
        rotate(torch.zeros(1, 1, 1, 3), torch.zeros(1, 1))


def test_rotation_of_bfloat16_is_computed_in_float32():
    x = torch.randn(1, 1, 1, 8)
    at = torch.tensor([[257.0]])
    got = rotate(x.bfloat16(), at)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), rotate(x.bfloat16().float(), at), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("limit", [None, 1, 3, 5, 6, 7, 12, 50])
@pytest.mark.parametrize("n_query", [1, 4])
def test_clamped_logits_equal_their_definition(limit, n_query):
    q, k = torch.randn(2, 4, n_query, 6), torch.randn(2, 2, 9, 6)
    q_at = torch.tensor([[10.0], [14.0]]) + torch.arange(n_query)
    k_at = torch.tensor([[0.0], [2.0]]) + torch.arange(9)
    got = rotary_logits(q, k, q_at, k_at, 100.0, limit)
    for lane in range(2):
        for i in range(n_query):
            for s in range(9):
                d = float(q_at[lane, i] - k_at[lane, s])
                d = d if limit is None else min(d, limit)
                turned = rotate(q[lane : lane + 1, :, i : i + 1], torch.tensor([[d]]), 100.0)
                expected = (turned[0, :, 0] * k[lane, :, s].repeat_interleave(2, 0)).sum(-1)
                torch.testing.assert_close(got[lane, :, i, s], expected, atol=1e-4, rtol=1e-4)


def test_query_that_sees_nothing_gets_zeros_and_no_nan_gradient():
    logits = torch.full((1, 1, 2, 3), -torch.inf)
    logits[0, 0, 1] = torch.randn(3)
    logits.requires_grad_()
    values = torch.randn(1, 1, 3, 4, requires_grad=True)
    o, (weights,) = attend([Part(logits, values)])
    assert bool((o[0, 0, 0] == 0).all()) and bool((weights[0, 0, 0] == 0).all())
    o.sum().backward()
    assert logits.grad.isfinite().all() and values.grad.isfinite().all()


def test_one_softmax_runs_over_shared_and_own_values():
    q, k = torch.randn(1, 2, 3, 4), torch.randn(1, 1, 5, 4)
    v, own = torch.randn(1, 1, 5, 4), torch.randn(1, 2, 3, 2, 4)
    far = torch.randn(1, 2, 3, 2)
    o, weights = attend([Part(logits_of(q, k), v), Part(far, own)])
    whole = torch.cat((logits_of(q, k), far), -1).softmax(-1)
    values = torch.cat((v[:, :, None].expand(1, 2, 3, 5, 4), own), -2)
    torch.testing.assert_close(o, (whole[..., None] * values).sum(-2))
    torch.testing.assert_close(torch.cat(weights, -1), whole)


def test_fourier_features_are_sines_and_cosines():
    features = fourier_features(torch.tensor([0.25]), 2)[0]
    expected = [math.sin(math.pi / 4), math.sin(math.pi / 2), math.cos(math.pi / 4), 0.0]
    torch.testing.assert_close(features, torch.tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("module", [FractionEncoding(6), FractionBins(6)])
def test_fraction_starts_as_no_change_and_learns_unknown_apart(module):
    u = torch.tensor([[0.1, NAN, 0.9]])
    assert bool((module(u) == 0).all())
    torch.nn.init.ones_(module.unknown)
    torch.nn.init.normal_(module.weight)
    out = module(u)
    assert bool((out[0, 1] == 1).all()) and not torch.equal(out[0, 0], out[0, 2])
    out.sum().backward()
    assert module.weight.grad.isfinite().all() and bool((module.unknown.grad == 1).all())


def test_bins_interpolate_between_neighbours():
    module = FractionBins(1, n_bin=5)
    module.weight.data = torch.tensor([[0.0], [1.0], [4.0], [9.0], [16.0]])
    got = module(torch.tensor([[0.0, 0.125, 0.25, 0.875, 1.0]]))[0, :, 0]
    torch.testing.assert_close(got, torch.tensor([0.0, 0.5, 1.0, 12.5, 16.0]))


def test_read_bias_is_bounded_and_silent_where_unknown():
    bias = FractionBias(2, bound=4.0)
    difference = torch.tensor([0.1, 0.5, NAN]).view(1, 1, 1, 3)
    assert bool((bias(difference) == 0).all())
    torch.nn.init.normal_(bias.weight, std=100.0)
    out = bias(difference)
    assert out.shape == (1, 2, 1, 3) and bool((out.abs() <= 4).all())
    assert bool((out[..., 2] == 0).all()) and bool((out[..., :2] != 0).all())


def test_modulation_starts_as_the_identity():
    film = FractionModulation(6)
    x = torch.randn(1, 3, 6)
    assert torch.equal(film(x, torch.tensor([[0.1, NAN, 0.9]])), x)


def test_unknown_fraction_is_not_rotated():
    x = torch.randn(1, 1, 2, 4)
    turned = rotate_by_fraction(x, torch.tensor([[NAN, 0.3]]))
    assert torch.equal(turned[:, :, 0], x[:, :, 0]) and not torch.equal(turned, x)


@pytest.mark.parametrize("kind", ["fourier", "bins", "rotary", "modulation"])
def test_every_kind_tells_one_fraction_from_another_and_from_none(kind, tokens, u):
    config = small_config(fraction=dict(kind=kind, rotary_dim=4))
    model = lively(Decoder(config))
    with torch.no_grad():
        true, other, unknown = (read(model, tokens, 16, x) for x in (u, 1 - u, None))
    assert not torch.allclose(true, other) and not torch.allclose(true, unknown)


def test_fraction_past_a_declared_length_is_clipped(tokens):
    model = lively(Decoder(small_config(fraction=dict(kind="fourier"))))
    state = model.new_state(2)
    past, end = torch.full((2, 100), 1.7), torch.ones(2, 100)
    assert torch.equal(model(tokens, state, past).logits, model(tokens, state, end).logits)


def test_fraction_is_hidden_by_manuscript_and_only_in_training(tokens, u):
    model = lively(Decoder(small_config(fraction=dict(kind="fourier", p_unknown=0.5))))
    state = model.new_state(2)
    state.is_hidden = [True, False]
    with torch.no_grad():
        trained = model.train()(tokens, state, u).logits
        read_out = model.eval()(tokens, state, u).logits
        unknown = model(tokens, state).logits
    torch.testing.assert_close(trained[0], unknown[0])
    torch.testing.assert_close(trained[1], read_out[1])
    assert not torch.allclose(trained[0], read_out[0])


def test_hiding_is_drawn_anew_for_each_manuscript():
    model = Decoder(small_config(fraction=dict(kind="fourier", p_unknown=0.5)))
    state = model.new_state(200)
    assert 60 < sum(state.is_hidden) < 140
    before = list(state.is_hidden)
    state.reset(lanes=range(100))
    assert state.is_hidden[100:] == before[100:] and state.is_hidden[:100] != before[:100]


def test_only_additive_kinds_are_built_for_the_embedding():
    kinds = {k: build_fraction(FractionConfig(kind=k), 8) for k in ("none", "rotary", "modulation")}
    assert set(kinds.values()) == {None}


@pytest.mark.parametrize("module", [FractionEncoding(6), FractionBins(6)])
def test_fraction_past_1_is_clipped_and_below_0_refused(module):
    torch.nn.init.normal_(module.weight)
    torch.nn.init.normal_(module.unknown)
    u = torch.tensor([[0.3, 1.0, 1.7, torch.nan]])
    got = module(u)
    assert torch.equal(got[0, 2], got[0, 1]) and torch.equal(got[0, 3], module.unknown)
    with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\], got -0.5"):
        module(torch.tensor([[0.3, -0.5, torch.nan]]))
