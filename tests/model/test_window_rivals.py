"""Rivals that a decoder has without any memory: a longer window, and sinks."""

import pytest
import torch

from memformer import MemoryConfig
from memformer.model.memory_attention import MemoryAttention
from tests.model import naive_rivals
from tests.model.conftest import lively

T = 25


def layer_of(**changes):
    sizes = dict(n_head=4, n_kv_head=2, head_dim=6, window=5)
    return lively(MemoryAttention(20, **{**sizes, **changes})).double()


def both(layer, sink_distance=None, L=6):
    """Outputs and gradients of the layer, read in segments that stay in the graph, and of loops."""
    x = torch.randn(T, 20, dtype=torch.float64, requires_grad=True)
    toward = torch.randn(T, 20, dtype=torch.float64)
    state, rows = layer.new_state(1, grad_segments=9), []
    for i in range(0, T, L):
        out = layer(x[None, i : i + L], state)
        state.advance(out)
        rows.append(out.x[0])
    found = []
    for y in (torch.cat(rows), naive_rivals.window_attention(layer, x, sink_distance)):
        grads = torch.autograd.grad((y * toward).sum(), [x, *layer.parameters()])
        found.append((y.detach(), *grads))
    return found


@pytest.mark.parametrize("window", [5, 12, 40])
def test_a_longer_window_is_the_cache_of_transformer_xl_and_the_longest_is_full_attention(window):
    """arXiv:1901.02860: keys and values of earlier segments, here of the last W - 1 tokens."""
    layer = layer_of(window=window)
    for got, wanted in zip(*both(layer), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
    assert layer.new_state(1).keys.shape[2] == window - 1


@pytest.mark.parametrize("sink_distance", [None, 9])
def test_sinks_stay_visible_beside_the_window(sink_distance):
    """arXiv:2309.17453: the first tokens and a window, at true or clamped distances."""
    layer = layer_of(n_sink=3, sink_distance=sink_distance)
    for got, wanted in zip(*both(layer, sink_distance), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def test_no_retrieved_pair_and_a_longer_window_are_different_things():
    """A window of W' sees what a window of W and its W' - W latest older pairs see."""
    x = torch.randn(T, 20, dtype=torch.float64)
    wide = layer_of(window=T)
    every = layer_of(memory=MemoryConfig(n_retrieved=T, positions="rotary", page_len=4))
    every.load_state_dict(wide.state_dict())
    with torch.no_grad():
        a, b = (each(x[None], each.new_state(1)).x for each in (wide, every))
    torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)
