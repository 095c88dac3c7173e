"""The attention layer against its definition, outputs and gradients."""

from itertools import product

import pytest
import torch

from memformer.config import MemoryConfig
from memformer.memory import compiled
from memformer.model.memory_attention import MemoryAttention
from tests.model import naive
from tests.model.conftest import lively

T = 26
CASES = [
    (combine, positions, limit, n_retrieved, n_sink)
    for combine, (positions, limit), n_retrieved, n_sink in product(
        ("joint", "gate", "tanh"),
        (("none", None), ("rotary", None), ("rotary", 7), ("rotary", 15), ("fraction", None)),
        (3, 1000),
        (0, 2),
    )
]


SEARCHES = ("exact", "fused") if compiled.is_built() else ("exact",)


def layer_of(
    combine="joint", positions="none", limit=None, n_retrieved=3, n_sink=2, search="exact",
    **changes,
):  # fmt: skip
    memory = MemoryConfig(
        combine=combine, positions=positions, max_distance=limit, n_retrieved=n_retrieved,
        page_len=4, search=search,
    )  # fmt: skip
    sizes = dict(n_head=4, n_kv_head=2, head_dim=6, window=5, n_sink=n_sink)
    return lively(MemoryAttention(20, **{**sizes, **changes}, memory=memory)).double()


def in_segments(layer, x, u, L):
    state, rows = layer.new_state(1), []
    for i in range(0, len(x), L):
        out = layer(x[None, i : i + L], state, fraction=u[None, i : i + L])
        state.advance(out)
        rows.append(out.x[0])
    return torch.cat(rows)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(("combine", "positions", "limit", "n_retrieved", "n_sink"), CASES)
def test_layer_equals_its_definition(combine, positions, limit, n_retrieved, n_sink, search):
    layer = layer_of(combine, positions, limit, n_retrieved, n_sink, search)
    x, u = torch.randn(T, 20, dtype=torch.float64), (torch.arange(T) + 0.5) / T
    with torch.no_grad():
        expected = naive.attention(layer, x, u)
        # 9 is longer than the window: pairs are then found among the segment's own
        for L in (1, 9):
            # pages are float32, so that is the precision of what is retrieved
            torch.testing.assert_close(in_segments(layer, x, u, L), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("combine", "positions", "limit", "n_retrieved", "n_sink"), CASES[::3])
def test_gradients_equal_those_of_the_definition(combine, positions, limit, n_retrieved, n_sink):
    layer = layer_of(combine, positions, limit, n_retrieved, n_sink)
    x, u = torch.randn(18, 20, dtype=torch.float64), (torch.arange(18) + 0.5) / 18
    toward = torch.randn(18, 20, dtype=torch.float64)
    inputs = [x.requires_grad_(), *layer.parameters()]

    def gradients(y):
        return torch.autograd.grad((y * toward).sum(), inputs, allow_unused=True)

    expected = gradients(naive.attention(layer, x, u))
    got = gradients(in_segments(layer, x, u, 18))  # one segment: everything is in the graph
    for wanted, found in zip(expected, got, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=2e-6)  # rotation is float32


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("positions", ["none", "rotary"])
def test_queries_are_trained_by_pairs_of_the_paged_memory(positions, search):
    limit = 12 if positions == "rotary" else None
    layer = layer_of("joint", positions, limit, search=search, window=4)
    x, u = torch.randn(T, 20, dtype=torch.float64), torch.full((T,), torch.nan)
    toward = torch.randn(2, 20, dtype=torch.float64)
    state = layer.new_state(1)
    with torch.no_grad():
        for i in range(0, 24, 6):
            state.advance(layer(x[None, i : i + 6], state))
    out = layer(x[None, 24:], state)
    # of the layer's weights only q's meets the current segment alone, in both computations
    (got,) = torch.autograd.grad((out.x[0] * toward).sum(), [layer.q.weight])
    y = naive.attention(layer, x, u)
    (expected,) = torch.autograd.grad((y[24:] * toward).sum(), [layer.q.weight])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_sink_distance_clamps_what_sinks_get():
    for limit in (None, 8):
        layer = layer_of(n_sink=3, sink_distance=limit)
        x, u = torch.randn(T, 20, dtype=torch.float64), torch.full((T,), torch.nan)
        with torch.no_grad():
            expected = naive.attention(layer, x, u)
            got = in_segments(layer, x, u, 5)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [2, 6])
def test_part_of_a_head_turns_with_the_fraction(channels):
    layer = layer_of(fraction_dim=channels)
    x, u = torch.randn(T, 20, dtype=torch.float64), (torch.arange(T) + 0.5) / T
    with torch.no_grad():
        expected = naive.attention(layer, x, u)
        got = in_segments(layer, x, u, 5)
        without = in_segments(layer, x, torch.full((T,), torch.nan), 5)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    assert (got - without).abs().max() > 1e-3


def test_window_sees_exactly_w_keys_itself_included():
    layer = layer_of(n_sink=0)
    layer.memory_config = None
    x = torch.randn(1, 20, 20, dtype=torch.float64)
    changed = x.clone()
    changed[0, 12] += 1.0
    with torch.no_grad():
        state = layer.new_state(1)
        difference = (layer(x, state).x - layer(changed, state).x)[0].abs().sum(-1)
    seen = [t for t in range(20) if difference[t] > 1e-9]
    assert seen == list(range(12, 12 + 5))


def test_plain_layer_forgets_what_left_the_window_and_the_sinks():
    layer = lively(MemoryAttention(20, n_head=2, n_kv_head=2, head_dim=6, window=5, n_sink=2))
    state = layer.new_state(1)
    for _ in range(9):
        state.advance(layer(torch.randn(1, 3, 20), state))
    assert state.keys.shape[2] == 4 and state.sink_keys.shape[2] == 2 and state.memory is None


def test_empty_memory_with_gate_equals_local_exactly():
    layer = layer_of("gate", n_sink=0)
    x = torch.randn(1, 5, 20, dtype=torch.float64)
    state = layer.new_state(1)
    got = layer(x, state).x
    layer.memory_config = None
    assert torch.equal(got, layer(x, state).x)


def test_tanh_at_its_start_is_the_identity():
    layer = layer_of("tanh")
    torch.nn.init.zeros_(layer.tanh_gate)
    x, u = torch.randn(T, 20, dtype=torch.float64), torch.full((T,), torch.nan)
    got = in_segments(layer, x, u, 5)
    layer.memory_config = None
    assert torch.equal(got, in_segments(layer, x, u, 5))


def test_retrieved_names_tokens_older_than_the_window_with_their_weights():
    layer = layer_of(n_retrieved=4, n_sink=2)
    x = torch.randn(1, 45, 20, dtype=torch.float64)
    state = layer.new_state(1)
    for i in range(0, 40, 8):
        state.advance(layer(x[:, i : i + 8], state))
    out = layer(x[:, 40:], state, want_retrieved=True)
    index, weight = out.retrieved
    assert index.shape == weight.shape == (1, 4, 5, 4)
    t = torch.arange(40, 45)[:, None]
    assert bool((index >= 2).all()) and bool((t - index >= 5).all())
    assert bool((weight > 0).all()) and bool((weight.sum(-1) < 1).all())
    assert all(len(set(row.tolist())) == 4 for row in index.flatten(0, 2))


def test_retrieved_is_masked_where_fewer_pairs_exist():
    layer = layer_of(n_retrieved=4, n_sink=0)
    out = layer(torch.randn(1, 9, 20).double(), layer.new_state(1), want_retrieved=True)
    assert (out.retrieved.token_index[0, 0] >= 0).sum(-1).tolist() == [0] * 5 + [1, 2, 3, 4]
    assert bool((out.retrieved.weight[out.retrieved.token_index < 0] == 0).all())


def test_lanes_of_input_and_state_must_agree():
    layer = layer_of()
    with pytest.raises(ValueError, match="x has 2 lanes, the state has 1"):
        layer(torch.randn(2, 3, 20).double(), layer.new_state(1))
    with pytest.raises(ValueError, match="n_kv_head must divide n_head=4, got 3"):
        MemoryAttention(8, n_head=4, n_kv_head=3, head_dim=2, window=4)
    with pytest.raises(ValueError, match="head_dim must be even"):
        MemoryAttention(8, n_head=4, n_kv_head=2, head_dim=3, window=4)
