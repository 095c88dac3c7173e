"""Pairs that have left the window and are not in pages yet: found, trained, checked."""

import pytest
import torch

from memformer.config import DecoderConfig, LowRankConfig, MemoryConfig
from memformer.model.decoder import Decoder
from memformer.model.memory_attention import MemoryAttention
from memformer.training.low_rank import add_low_rank


def layer(n_sink=0, n_retrieved=2, search="auto", **settings):
    torch.manual_seed(0)
    memory = MemoryConfig(n_retrieved=n_retrieved, search=search)
    return MemoryAttention(
        8, n_head=2, n_kv_head=1, head_dim=4, window=4, n_sink=n_sink, memory=memory, **settings
    )


def test_a_lane_that_begins_again_finds_nothing_beside_one_that_does():
    attention = layer(n_sink=4, n_retrieved=1)
    state = attention.new_state(2, grad_segments=2)
    state.advance(attention(torch.randn(2, 6, 8), state))
    state.reset([0])
    x = torch.randn(2, 2, 8)
    fresh = attention(x[:1], attention.new_state(1, grad_segments=2))
    torch.testing.assert_close(attention(x, state).x[:1], fresh.x)


def test_values_are_trained_where_keys_are_frozen():
    config = DecoderConfig(
        vocab_size=20, n_layer=1, n_head=2, n_kv_head=1, n_embd=16, head_dim=8, mlp_dim=16,
        window=4, conv_width=0, memory=MemoryConfig(layers="all", n_retrieved=4),
    )  # fmt: skip
    torch.manual_seed(0)
    model = Decoder(config)
    ids = torch.randint(20, (1, 24))

    def gradient(of):
        twin = Decoder(config)
        twin.load_state_dict(model.state_dict())
        add_low_rank(twin, LowRankConfig(rank=2, of=of))
        torch.manual_seed(1)
        for name, weight in sorted(twin.named_parameters()):
            if ".v." in name and name.endswith((".a", ".b")):
                torch.nn.init.normal_(weight)
        twin(ids, twin.new_state(1)).logits.logsumexp(-1).sum().backward()
        return {n: w.grad for n, w in twin.named_parameters() if ".v." in n and w.grad is not None}

    frozen, trained = gradient(("q", "v")), gradient(("q", "k", "v"))
    assert frozen and frozen.keys() == trained.keys()
    for name, want in trained.items():
        torch.testing.assert_close(frozen[name], want)


def test_ragged_lanes_keep_no_graph():
    attention = layer()
    state = attention.new_state(2)
    for _ in range(3):
        out = attention(torch.randn(2, 3, 8), state, lengths=[3, 2])
        state.advance(out)
        assert not state.keys.requires_grad and not state.values.requires_grad
        out.x[:, :2].sum().backward()


def test_memories_that_reach_less_far_are_no_other_book():
    config = DecoderConfig(
        vocab_size=20, n_layer=1, n_head=2, n_kv_head=1, n_embd=16, head_dim=8, mlp_dim=16,
        window=4, memory=MemoryConfig(layers="all", n_retrieved=4),
    )  # fmt: skip
    model, ids = Decoder(config), torch.randint(20, (1, 24))
    states = []
    for grad_segments, L in ((1, 4), (3, 8)):
        state = model.new_state(1, grad_segments=grad_segments)
        for part in ids.split(L, dim=1):
            state.advance(model(part, state))
        states.append(state)
    with pytest.raises(ValueError, match=r"with_memory: \[21\] tokens have left .* \[8\]"):
        states[0].with_memory(states[1])


@pytest.mark.parametrize("search", ["exact", "auto"])
@torch.no_grad()
def test_a_key_that_is_nan_is_named_when_it_leaves_the_window(search):
    attention = layer(search=search, qk_norm=False)
    x = torch.randn(1, 12, 8)
    x[0, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        attention(x, attention.new_state(1))
