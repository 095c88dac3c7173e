"""The compressive memory against its paper's equations, outputs and gradients."""

from itertools import product

import pytest
import torch

from memformer.config import CompressiveConfig
from memformer.model.memory_attention import MemoryAttention
from tests.model import naive_rivals
from tests.model.conftest import lively

T = 23
CASES = list(product(("linear", "delta"), (1, 4, 7), (True, False), (0, 2)))


def layer_of(update="delta", block_len=4, qk_norm=True, n_sink=0):
    config = CompressiveConfig(update=update, block_len=block_len)
    layer = MemoryAttention(
        20, n_head=4, n_kv_head=2, head_dim=6, window=7, memory=config, qk_norm=qk_norm,
        n_sink=n_sink,
    )  # fmt: skip
    layer = lively(layer).double()
    torch.nn.init.normal_(layer.compressive.gate)
    return layer


def in_segments(layer, x, L, grad_segments=1):
    state, rows = layer.new_state(1, grad_segments=grad_segments), []
    for i in range(0, len(x), L):
        out = layer(x[None, i : i + L], state)
        state.advance(out)
        rows.append(out.x[0])
    return torch.cat(rows)


@pytest.mark.parametrize(("update", "block_len", "qk_norm", "n_sink"), CASES)
def test_layer_equals_the_equations(update, block_len, qk_norm, n_sink):
    layer = layer_of(update, block_len, qk_norm, n_sink)
    x = torch.randn(T, 20, dtype=torch.float64)
    with torch.no_grad():
        expected = naive_rivals.compressive(layer, x)
        for L in (1, 5, T):
            torch.testing.assert_close(in_segments(layer, x, L), expected, atol=1e-6, rtol=1e-6)
        beyond = expected - naive_rivals.window_attention(layer, x)
    assert float(beyond[block_len:].abs().max()) > 1e-2
    assert float(beyond[:block_len].abs().max()) < 1e-9  # nothing is in it yet


@pytest.mark.parametrize(("update", "block_len", "qk_norm", "n_sink"), CASES[::3])
@pytest.mark.parametrize("L", [T, 5])
def test_gradients_equal_those_of_the_equations(update, block_len, qk_norm, n_sink, L):
    layer = layer_of(update, block_len, qk_norm, n_sink)
    x = torch.randn(T, 20, dtype=torch.float64, requires_grad=True)
    toward = torch.randn(T, 20, dtype=torch.float64)
    inputs = [x, *layer.parameters()]
    expected, got = (
        torch.autograd.grad((y * toward).sum(), inputs)
        for y in (naive_rivals.compressive(layer, x), in_segments(layer, x, L, grad_segments=9))
    )
    for wanted, found in zip(expected, got, strict=True):
        # sinks are kept without gradient once they are outside the pairs in the graph
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_delta_does_not_write_what_the_memory_says_already():
    """A block written twice changes M less the second time than the first."""
    layer = layer_of("delta", 4)
    q, v = torch.randn(2, 1, 2, 4, 6, dtype=torch.float64)
    empty = layer.new_state(1).compressive
    once = layer.compressive._written(empty, q, v)
    twice = layer.compressive._written(once, q, v)
    assert float((twice.matrix - once.matrix).norm()) < 0.9 * float(once.matrix.norm())
    linear = layer_of("linear", 4).compressive
    added = linear._written(once, q, v).matrix - once.matrix
    torch.testing.assert_close(added, linear._written(empty, q, v).matrix)


def test_gate_alone_decides_between_window_and_memory():
    layer, x = layer_of(), torch.randn(T, 20, dtype=torch.float64)
    with torch.no_grad():
        torch.nn.init.constant_(layer.compressive.gate, -40.0)
        torch.testing.assert_close(
            in_segments(layer, x, 6), naive_rivals.window_attention(layer, x), atol=1e-6, rtol=0
        )
        torch.nn.init.constant_(layer.compressive.gate, 40.0)
        got = in_segments(layer, x, 6)
        torch.testing.assert_close(got, naive_rivals.compressive(layer, x), atol=1e-6, rtol=1e-6)


def test_reset_lane_beside_one_in_the_graph_has_finite_gradients():
    layer = layer_of()
    state = layer.new_state(2, grad_segments=3)
    x = torch.randn(2, 16, 20, dtype=torch.float64, requires_grad=True)
    state.advance(layer(x[:, :8], state))
    state.reset([1])
    (grad,) = torch.autograd.grad(layer(x[:, 8:], state).x.square().sum(), x)
    assert bool(grad.isfinite().all())
    assert bool((grad[0, :8] != 0).any()) and bool((grad[1, :8] == 0).all())


def test_padding_of_any_value_leaves_the_memory_alone():
    layer = layer_of().float()
    x = torch.randn(2, 9, 20)
    x[1, 3:] = torch.nan
    state = layer.new_state(2)
    state.advance(layer(x, state, lengths=[9, 3]))
    assert bool(state.compressive.matrix.isfinite().all())
    assert bool((state.compressive.matrix[1] == 0).all())  # no whole block of lane 1


def test_sums_stay_in_float32_under_autocast():
    layer = layer_of().float()
    state = layer.new_state(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(torch.randn(1, 9, 20), state)
    assert out.compressive.matrix.dtype == torch.float32
