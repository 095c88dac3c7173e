"""A transformers model with a memory attached equals our decoder with the same settings."""

import copy

import pytest
import torch
from transformers import LlamaForCausalLM

from memformer.config import MemoryConfig
from memformer.interop.transformers import (
    attach_memory,
    detach_memory,
    from_transformers,
    load_llama,
)
from tests.interop.tiny import draw_ids, llama, read, read_cached, save

WINDOW, N_SINK, T = 6, 2, 45
MEMORIES = {
    "true-distances": {"positions": "rotary"},
    "clamped": {"positions": "rotary", "max_distance": 11},
    "no-position": {},
    "gate": {"positions": "rotary", "combine": "gate"},
    "some-layers": {"positions": "rotary", "layers": (2, 0)},
    "no-layer-twice": {"positions": "rotary", "layers": (1,), "n_retrieved": 40},
}
CUTS = {
    "one-call": [0, 45],
    "prompt-then-tokens": [0, 30, *range(31, 46)],
    "pieces": [0, 1, 8, 9, 26, 45],
    "token-by-token": list(range(46)),
}


def memory(**changes) -> MemoryConfig:
    return MemoryConfig(**({"layers": "all", "n_retrieved": 4, "page_len": 8} | changes))


def pair(**changes):
    """Our decoder, and a transformers model with a memory, of the same weights."""
    config = memory(**changes)
    theirs = llama()
    settings = {"window": WINDOW, "n_sink": N_SINK}
    ours = from_transformers(theirs, memory=config, **settings)
    return ours, attach_memory(theirs, memory=config, **settings)


@pytest.mark.parametrize("changes", MEMORIES.values(), ids=MEMORIES.keys())
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS.keys())
@torch.no_grad()
def test_calls_with_a_cache_equal_the_decoder(changes, cuts):
    ours, theirs = pair(**changes)
    ids = draw_ids(2, T)
    expected = read(ours, ids, [0, 16, 32, T])
    torch.testing.assert_close(read_cached(theirs, ids, cuts), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_attached_equals_load_llama(tmp_path):
    folder = save(tmp_path, llama())
    config = memory(positions="rotary", max_distance=20, layers=(1, 2))
    settings = {"window": 5, "n_sink": 3, "sink_distance": 7, "memory": config}
    ours, _ = load_llama(folder, **settings)
    theirs = LlamaForCausalLM.from_pretrained(folder)
    attach_memory(theirs, **settings)
    ids = draw_ids(2, T)
    expected = read(ours, ids, [0, 9, 22, T])
    torch.testing.assert_close(read_cached(theirs, ids, [0, 13, T]), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_memory_over_everything_equals_the_model_without():
    plain = llama()
    ids = draw_ids(2, T)
    expected = plain(ids).logits
    attach_memory(plain, memory=memory(positions="rotary", n_retrieved=64), window=WINDOW)
    got = read_cached(plain, ids, [0, 7, 30, T])
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_layers_without_memory_keep_window_and_sinks():
    ours, theirs = pair(layers=())
    detach_memory(theirs)
    attach_memory(theirs, layers=(), memory=memory(layers=()), window=WINDOW, n_sink=N_SINK)
    window_only = from_transformers(theirs_plain := llama(), window=WINDOW, n_sink=N_SINK)
    ids = draw_ids(1, T)
    expected = read(window_only, ids, [0, T])
    assert (expected - theirs_plain(ids).logits).abs().max() > 0.01
    torch.testing.assert_close(read_cached(theirs, ids, [0, 20, T]), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_tanh_at_its_start_equals_window_and_sinks():
    _, theirs = pair(combine="tanh", positions="rotary")
    window_only = from_transformers(llama(), window=WINDOW, n_sink=N_SINK)
    ids = draw_ids(2, T)
    expected = read(window_only, ids, [0, T])
    torch.testing.assert_close(read_cached(theirs, ids, [0, 20, T]), expected, atol=1e-5, rtol=0)
    for name, weight in theirs.named_parameters():
        if "tanh_gate" in name:
            torch.nn.init.constant_(weight, 1.0)
    assert (read_cached(theirs, ids, [0, 20, T]) - expected).abs().max() > 0.01


@pytest.mark.parametrize("combine", ["joint", "gate", "tanh"])
def test_gradients_equal_the_decoders(combine):
    ours, theirs = pair(positions="rotary", combine=combine)
    ours = copy.deepcopy(ours)  # from_transformers shares the weights
    ids = draw_ids(2, T)
    state = ours.new_state(2)
    for name, weight in [*ours.named_parameters(), *theirs.named_parameters()]:
        if "tanh_gate" in name:
            torch.nn.init.constant_(weight, 0.5)
    ours(ids, state).logits.log_softmax(-1)[..., 3].sum().backward()
    theirs(ids, use_cache=False).logits.log_softmax(-1)[..., 3].sum().backward()
    gradients = {name: weight.grad for name, weight in theirs.named_parameters()}
    names = {
        "blocks.0.attention.q.weight": "model.layers.0.self_attn.q_proj.weight",
        "blocks.1.attention.k.weight": "model.layers.1.self_attn.k_proj.weight",
        "blocks.1.attention.v.weight": "model.layers.1.self_attn.v_proj.weight",
        "blocks.2.attention.o.weight": "model.layers.2.self_attn.o_proj.weight",
        "blocks.0.mlp.down.weight": "model.layers.0.mlp.down_proj.weight",
        "embedding.weight": "model.embed_tokens.weight",
    }
    match combine:
        case "gate":
            names["blocks.1.attention.gate"] = "model.layers.1.self_attn.memory.attention.gate"
        case "tanh":
            names["blocks.1.attention.tanh_gate"] = (
                "model.layers.1.self_attn.memory.attention.tanh_gate"
            )
    mine = dict(ours.named_parameters())
    for name, other in names.items():
        assert mine[name].grad.abs().max() > 0, name
        torch.testing.assert_close(mine[name].grad, gradients[other], atol=1e-3, rtol=1e-4)
    assert all(gradient is not None for gradient in gradients.values())


def test_gradients_through_a_cached_call_equal_the_decoders():
    ours, theirs = pair(positions="rotary")
    ours = copy.deepcopy(ours)
    ids = draw_ids(1, T)
    state = ours.new_state(1)
    state.advance(ours(ids[:, :30], state))
    ours(ids[:, 30:], state).logits[..., 3].sum().backward()
    cache = theirs(ids[:, :30], use_cache=True).past_key_values
    theirs(ids[:, 30:], past_key_values=cache).logits[..., 3].sum().backward()
    expected = ours.blocks[0].attention.q.weight.grad
    got = theirs.model.layers[0].self_attn.q_proj.weight.grad
    assert expected.abs().max() > 0
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-4)


def test_checkpointed_gradients_equal_the_plain_ones():
    _, theirs = pair(positions="rotary")
    ids = draw_ids(1, T)
    weight = theirs.model.layers[0].self_attn.q_proj.weight
    theirs(ids, use_cache=False).logits[..., 3].sum().backward()
    expected, weight.grad = weight.grad, None
    theirs.train()
    theirs.activation_checkpointing_enable()
    theirs(ids, use_cache=False).logits[..., 3].sum().backward()
    torch.testing.assert_close(weight.grad, expected)


@torch.no_grad()
def test_a_call_without_gradients_equals_one_with():
    _, theirs = pair(positions="rotary")
    ids = draw_ids(2, T)
    with torch.enable_grad():  # one segment
        expected = theirs(ids, use_cache=False).logits.detach()
    got = theirs(ids, use_cache=False).logits  # window by window
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_call_without_a_cache_reads_from_an_empty_memory():
    _, theirs = pair(positions="rotary")
    ids = draw_ids(2, T)
    first = theirs(ids, use_cache=False).logits
    read_cached(theirs, draw_ids(2, T, seed=5), [0, 20, T])
    assert torch.equal(theirs(ids, use_cache=False).logits, first)
    assert theirs(ids, use_cache=False).past_key_values is None


@torch.no_grad()
def test_two_texts_read_in_turn_do_not_mix():
    _, theirs = pair(positions="rotary")
    texts = [draw_ids(1, T, seed=2), draw_ids(1, T, seed=3)]
    alone = [read_cached(theirs, ids, [0, 20, 30, T]) for ids in texts]
    caches, rows = [None, None], [[], []]
    for first, last in ((0, 20), (20, 30), (30, T)):
        for i, ids in enumerate(texts):
            out = theirs(ids[:, first:last], past_key_values=caches[i], use_cache=True)
            caches[i] = out.past_key_values
            rows[i].append(out.logits)
    for expected, parts in zip(alone, rows, strict=True):
        assert torch.equal(torch.cat(parts, dim=1), expected)


@torch.no_grad()
def test_what_the_cache_holds_locally_is_bounded():
    _, theirs = pair(positions="rotary", layers=(1,))
    cache = theirs(draw_ids(1, 40), use_cache=True).past_key_values
    assert cache.get_seq_length() == 40
    for depth, layer in enumerate(cache.layers):
        assert layer.state.keys.shape == (1, 2, WINDOW - 1, 12)
        assert layer.state.sink_keys.shape == (1, 2, N_SINK, 12)
        if depth == 1:
            assert layer.state.memory.size(0) == 40 - (WINDOW - 1) - N_SINK
        else:
            assert layer.state.memory is None


@pytest.mark.parametrize("side", ["left", "right", "between"])
@torch.no_grad()
def test_padded_lanes_equal_each_alone(side):
    _, theirs = pair(positions="rotary")
    ids = draw_ids(2, T)
    mask = torch.ones(2, T, dtype=torch.long)
    padding = {"left": range(17), "right": range(28, T), "between": range(5, 22)}[side]
    mask[0, list(padding)] = 0
    cache, rows = None, []
    for first, last in ((0, 11), (11, 12), (12, 30), (30, T)):
        position_ids = (mask.cumsum(1) - 1)[:, first:last]
        out = theirs(
            ids[:, first:last],
            attention_mask=mask[:, :last],
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        )
        cache = out.past_key_values
        rows.append(out.logits)
    got = torch.cat(rows, dim=1)
    for lane in range(2):
        real = mask[lane].bool()
        alone = theirs(ids[lane : lane + 1, real], use_cache=False).logits[0]
        torch.testing.assert_close(got[lane, real], alone, atol=1e-4, rtol=0)


@torch.no_grad()
def test_left_padding_without_a_cache_equals_each_lane_alone():
    _, theirs = pair(positions="rotary")
    ids = draw_ids(2, T)
    mask = torch.ones(2, T, dtype=torch.long)
    mask[1, :19] = 0
    got = theirs(ids, attention_mask=mask, use_cache=False).logits
    alone = theirs(ids[1:, 19:], use_cache=False).logits
    torch.testing.assert_close(got[1:, 19:], alone, atol=1e-4, rtol=0)


@torch.no_grad()
def test_base_model_can_have_a_memory():
    _, theirs = pair(positions="rotary")
    ids = draw_ids(1, T)
    expected = theirs.model(ids).last_hidden_state
    base = llama().model
    attach_memory(base, memory=memory(positions="rotary"), window=WINDOW, n_sink=N_SINK)
    assert torch.equal(base(ids).last_hidden_state, expected)


@torch.no_grad()
def test_a_copy_of_an_attached_model_stands_alone():
    _, theirs = pair(positions="rotary", combine="gate")
    ids = draw_ids(1, T)
    expected = theirs(ids).logits
    twin = copy.deepcopy(theirs)
    for weight in theirs.parameters():
        weight.zero_()
    assert torch.equal(twin(ids).logits, expected)


@torch.no_grad()
def test_a_projection_put_in_place_of_another_is_used():
    """As fine-tuning libraries do with their adapters, before attaching or after."""
    _, theirs = pair(positions="rotary")
    ids = draw_ids(1, T)
    before = theirs(ids).logits
    attention = theirs.model.layers[1].self_attn
    attention.q_proj = torch.nn.Sequential(attention.q_proj, torch.nn.Softsign())
    assert (theirs(ids).logits - before).abs().max() > 0.01


@torch.no_grad()
def test_bfloat16_model_stays_bfloat16():
    theirs = llama().bfloat16()
    attach_memory(theirs, memory=memory(positions="rotary", combine="gate"), window=WINDOW)
    cache = theirs(draw_ids(1, T), use_cache=True).past_key_values
    out = theirs(draw_ids(1, 1), past_key_values=cache)
    assert out.logits.dtype == torch.bfloat16
    assert out.logits.isfinite().all()
    assert cache.layers[0].state.keys.dtype == torch.bfloat16


@torch.no_grad()
def test_detach_restores_the_model():
    theirs = llama()
    ids = draw_ids(2, T)
    names, expected = list(theirs.state_dict()), theirs(ids, output_hidden_states=True)
    implementation, modules = theirs.config._attn_implementation, list(theirs.modules())
    attach_memory(theirs, memory=memory(positions="rotary", combine="gate"), window=WINDOW)
    assert (theirs(ids).logits - expected.logits).abs().max() > 0.01
    assert detach_memory(theirs) is theirs
    assert list(theirs.state_dict()) == names
    assert list(theirs.modules()) == modules
    assert theirs.config._attn_implementation == implementation
    assert all("forward" not in vars(module) for module in modules)
    after = theirs(ids, output_hidden_states=True)
    assert torch.equal(after.logits, expected.logits)
    assert len(after.hidden_states) == len(expected.hidden_states)


@torch.no_grad()
def test_attentions_are_given_again_after_detach():
    theirs = llama()
    theirs.set_attn_implementation("eager")
    attach_memory(theirs, memory=memory(positions="rotary"), window=WINDOW)
    theirs(draw_ids(1, 9))  # transformers places its hooks at the first call
    detach_memory(theirs)
    out = theirs(draw_ids(1, 9), output_attentions=True)
    assert [a.shape for a in out.attentions] == [(1, 4, 9, 9)] * 3


def test_detach_restores_a_forward_that_another_library_put_there():
    theirs = llama()
    attention = theirs.model.layers[1].self_attn
    plain, calls = attention.forward, []

    def counted(*args, **kwargs):
        calls.append(1)
        return plain(*args, **kwargs)

    attention.forward = counted
    attach_memory(theirs, memory=memory(positions="rotary"), window=WINDOW)
    detach_memory(theirs)
    assert attention.forward is counted
    theirs(draw_ids(1, 9))
    assert calls == [1]


def test_gates_are_parameters_of_the_model():
    theirs = llama()
    attach_memory(theirs, (1,), memory=MemoryConfig(positions="rotary", combine="tanh"))
    added = [name for name, _ in theirs.named_parameters() if "memory" in name]
    assert added == ["model.layers.1.self_attn.memory.attention.tanh_gate"]
    joint = attach_memory(llama(), memory=MemoryConfig(positions="rotary"))
    assert list(joint.state_dict()) == list(llama().state_dict())
