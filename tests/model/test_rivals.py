"""The state contract holds for the rival memories as for the paged one."""

import json

import pytest
import torch

from memformer import Decoder, DecoderConfig, DecoderState
from memformer.config import (
    NO_MEMORY,
    CompressiveConfig,
    OptimiserConfig,
    RecurrentConfig,
    from_json,
    to_json,
)
from memformer.memory.storage import UnreadableSave, complete_save, read_manifest
from memformer.model.saved_state import KIND
from memformer.training.optimiser import parameter_groups
from tests.model import laws
from tests.model.conftest import lively, read, small_config

RIVALS = {
    "linear": dict(compressive=CompressiveConfig(layers=(1, 2), update="linear", block_len=7)),
    "delta": dict(compressive=CompressiveConfig(layers="all", block_len=16), n_sink=2),
    "beside pages": dict(
        memory=dict(layers=(1,), n_retrieved=5),
        compressive=CompressiveConfig(layers=(2,), block_len=5),
    ),
    "recurrent": dict(recurrent=RecurrentConfig(n_token=3, block_len=7)),
    "recurrent, sinks": dict(
        recurrent=RecurrentConfig(n_token=2, block_len=14), n_sink=3, conv_width=0,
        fraction=dict(kind="fourier"),
    ),
}  # fmt: skip


@pytest.fixture(params=RIVALS.values(), ids=RIVALS.keys())
def model(request):
    model = lively(Decoder(small_config(**request.param))).double()
    if model.recurrent is not None:
        torch.nn.init.normal_(model.recurrent.start)
    return model


def held(state):
    """All that a state holds, as values."""
    parts = [torch.tensor(state.n_read), *state.conv]
    parts += [] if state.recurrent is None else [state.recurrent]
    for layer in state.layers:
        parts += [layer.keys, layer.values, layer.sink_keys, *(layer.compressive or ())]
        if layer.memory is not None:
            parts += [layer.memory.pairs(lane).keys for lane in range(state.n_lane)]
    return [part.clone() for part in parts]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_segment_length_does_not_change_logits(model, tokens, u):
    tokens, u = tokens[:, :67], u[:, :67]
    with torch.no_grad():
        whole = read(model, tokens, 100, u)
        for segment_len in (1, 9, 45):
            got = read(model, tokens, segment_len, u)
            torch.testing.assert_close(got, whole, atol=1e-5, rtol=0)


def test_the_memory_matters(model, tokens):
    with torch.no_grad():
        without = read(model.reconfigure(NO_MEMORY), tokens, 16)
        gap = (read(model, tokens, 16) - without).abs().amax((0, 2))
    assert not model.reconfigure(NO_MEMORY).config.has_memory
    assert bool((gap[30:] > 1e-4).all())


def test_changing_the_future_changes_no_logit(model, tokens):
    laws.changing_the_future_changes_no_logit(read, model, tokens)


def test_lanes_do_not_leak(model, tokens):
    laws.lanes_do_not_leak(read, model, tokens)


def test_ragged_lanes_equal_each_lane_alone(model, tokens):
    lengths = [[9, 16, 3, 16, 0, 16], [16, 1, 16, 5, 16, 11]]
    state, at = model.new_state(2), [0, 0]
    got: list[list[torch.Tensor]] = [[], []]
    with torch.no_grad():
        for step in range(6):
            ids = torch.zeros(2, 16, dtype=torch.long)
            mask = torch.zeros(2, 16, dtype=torch.bool)
            for lane in range(2):
                n = lengths[lane][step]
                ids[lane, :n] = tokens[lane, at[lane] : at[lane] + n]
                mask[lane, :n] = True
                at[lane] += n
            out = model(ids, state, mask=mask)
            state.advance(out)
            for lane in range(2):
                got[lane].append(out.logits[lane, : lengths[lane][step]])
        for lane in range(2):
            alone = read(model, tokens[lane : lane + 1, : at[lane]], 16)
            torch.testing.assert_close(torch.cat(got[lane]), alone[0], atol=1e-5, rtol=1e-5)


def test_reading_changes_nothing_and_remembering_is_refused_twice(model, tokens):
    state = model.new_state(2)
    with torch.no_grad():
        read(model, tokens[:, :60], 11, state=state)
        before = held(state)
        out = model(tokens[:, 60:80], state)
    assert same(before, held(state))
    state.advance(out)
    assert not same(before, held(state))
    with pytest.raises(ValueError, match="read the segment again"):
        state.advance(out)


def test_reset_of_one_lane_keeps_the_others(model, tokens):
    state, other = model.new_state(2), model.new_state(2)
    with torch.no_grad():
        for each in (state, other):
            read(model, tokens[:, :60], 11, state=each)
        state.reset([1])
        got = read(model, tokens[:, 60:], 8, state=state)
        kept = read(model, tokens[:, 60:], 8, state=other)
        alone = read(model, tokens[1:, 60:], 8)
    # not bit for bit: pieces also end where a block of another lane does
    torch.testing.assert_close(got[:1], kept[:1], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(got[1:], alone, atol=1e-5, rtol=1e-5)


def test_write_to_a_fork_shows_in_no_sibling(model, tokens):
    state = model.new_state(2)
    with torch.no_grad():
        read(model, tokens[:, :60], 11, state=state)
        before, branches = held(state), state.fork(3)
        continuations = torch.randint(0, 50, (6, 30))
        got = read(model, continuations, 10, state=branches)
        assert same(before, held(state))
        for branch in range(6):
            alone = state.select([branch // 3])
            expected = read(model, continuations[branch : branch + 1], 10, state=alone)
            torch.testing.assert_close(got[branch : branch + 1], expected, atol=1e-5, rtol=1e-5)


def test_going_on_after_load_equals_going_on(model, tokens, tmp_path):
    state = model.new_state(2)
    with torch.no_grad():
        read(model, tokens[:, :60], 11, state=state)
        state.save(tmp_path, model)
        loaded = DecoderState.load(tmp_path, model)
        assert same(held(state), held(loaded))
        a, b = (read(model, tokens[:, 60:], 11, state=s) for s in (state, loaded))
    assert torch.equal(a, b)


def first_segment_gradient(model, tokens, grad_segments):
    rows = torch.nn.functional.one_hot(tokens[:, :48], 50).double().requires_grad_()
    state = model.new_state(2, grad_segments=grad_segments)
    for i in (0, 16):
        state.advance(model(rows[:, i : i + 16], state))
    loss = model(rows[:, 32:], state).logits.logsumexp(-1).sum()
    return torch.autograd.grad(loss, rows)[0]


def test_grad_segments_reach_back_as_far_as_one_shot(tokens):
    # sinks are without gradient once they have left the pairs in the graph: so none here
    for name in ("linear", "delta", "recurrent"):
        model = lively(Decoder(small_config(**{**RIVALS[name], "n_sink": 0}))).double()
        got = first_segment_gradient(model, tokens, 3)
        rows = torch.nn.functional.one_hot(tokens[:, :48], 50).double().requires_grad_()
        logits = model(rows, model.new_state(2)).logits[:, 32:]
        (whole,) = torch.autograd.grad(logits.logsumexp(-1).sum(), rows)
        assert whole[:, :16].abs().max() > 1e-4
        torch.testing.assert_close(got, whole, atol=1e-5, rtol=1e-4)


def test_one_grad_segment_detaches_all_that_is_remembered(model, tokens):
    gradient = first_segment_gradient(model, tokens, 1)
    assert bool((gradient[:, :32] == 0).all()) and bool((gradient[:, 32:] != 0).any())


def test_detach_lets_training_go_on_after_a_backward(model, tokens):
    laws.detach_lets_training_go_on(model, tokens)
    names = [n for n, w in model.named_parameters() if w.grad is None and "fraction" not in n]
    assert names == []


def test_state_read_in_inference_mode_can_be_trained_on(model, tokens):
    state = model.new_state(2, grad_segments=2)
    with torch.inference_mode():
        read(model, tokens[:, :64], 16, state=state)
    model(tokens[:, 64:80], state).logits.logsumexp(-1).mean().backward()


def test_another_books_memory_is_read_and_a_shuffled_one_is_refused(model, tokens):
    state, other = model.new_state(2), model.new_state(2)
    with torch.no_grad():
        read(model, tokens[:, :60], 11, state=state)
        read(model, tokens[:, :60].flip(1), 11, state=other)
        mine = model(tokens[:, 60:70], state).logits
        theirs = model(tokens[:, 60:70], state.with_memory(other)).logits
    assert not torch.allclose(mine, theirs)
    with pytest.raises(ValueError, match="holds no single pairs to shuffle"):
        state.with_shuffled_values()


def test_bytes_are_those_of_the_formulas():
    config = small_config(compressive=CompressiveConfig(layers=(0, 2), block_len=4))
    state, (G, D) = Decoder(config).new_state(3), (config.n_kv_head, config.head_dim)
    assert state.memory_bytes() == 3 * 2 * G * (D * D + D) * 4
    config = small_config(recurrent=RecurrentConfig(n_token=5, block_len=4))
    assert Decoder(config).new_state(3).memory_bytes() == 3 * 5 * config.n_embd * 4


def test_parameters_are_those_of_the_formulas():
    def n(**changes):
        return sum(w.numel() for w in Decoder(small_config(**changes)).parameters())

    assert n(compressive=CompressiveConfig(layers=(0, 2), block_len=4)) - n() == 2 * 4
    assert n(recurrent=RecurrentConfig(n_token=5, block_len=4)) - n() == 5 * 32


def test_gates_and_memory_tokens_are_trained_as_such():
    rivals = ("linear", "recurrent")
    for name, group in zip(rivals, ("gates and scales", "others"), strict=True):
        model = Decoder(small_config(**RIVALS[name]))
        (found,) = (g for g in parameter_groups(model, OptimiserConfig()) if g["name"] == group)
        mine = [w for n, w in model.named_parameters() if "compressive" in n or "recurrent" in n]
        ids = {id(w) for w in found["params"]}
        assert mine and all(id(w) in ids for w in mine) and found["weight_decay"] == 0


def test_configs_and_states_from_before_the_rivals_are_readable(tokens, tmp_path):
    model = lively(Decoder(small_config(memory=dict(layers=(1,), n_retrieved=5))))
    old = to_json(model.config)
    del old["compressive"], old["recurrent"]
    assert from_json(DecoderConfig, json.loads(json.dumps(old))) == model.config
    state = model.new_state(2)
    with torch.no_grad():
        read(model, tokens[:, :60], 11, state=state)
    state.save(tmp_path, model)
    manifest = read_manifest(tmp_path, KIND)
    complete_save(tmp_path, {**manifest, "config": json.loads(json.dumps(old))})
    loaded = DecoderState.load(tmp_path, model)
    assert same(held(loaded), held(state))
    with pytest.raises(UnreadableSave, match="memory.n_retrieved=5, this model has 6"):
        DecoderState.load(tmp_path, model.reconfigure({"memory.n_retrieved": 6}))


@pytest.mark.parametrize(("changes", "message"), [
    (dict(compressive=CompressiveConfig(layers=(3,))),
     "compressive.layers must be below n_layer=3"),
    (dict(memory=dict(layers=(1,)), compressive=CompressiveConfig(layers="all", block_len=4)),
     r"compressive.layers must be none of memory.layers=\(1,\), got 1 in both"),
    (dict(compressive=CompressiveConfig(layers=(1,), block_len=17)),
     "compressive.block_len must be at most window=16, .* got 17"),
    (dict(recurrent=RecurrentConfig(n_token=3, block_len=14)),
     r"recurrent.block_len \+ n_token must be at most window=16, .* got 14 \+ 3"),
    (dict(recurrent=RecurrentConfig(n_token=1, block_len=4), memory=dict(layers=(1,))),
     "recurrent.n_token=1 needs memory.layers="),
    (dict(recurrent=RecurrentConfig(n_token=1, block_len=4), fraction=dict(kind="rotary")),
     "recurrent.n_token must be 0 with fraction.kind='rotary'"),
])  # fmt: skip
def test_rules_between_fields(changes, message):
    with pytest.raises(ValueError, match=message):
        small_config(**changes)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: CompressiveConfig(layers=[1]), "layers must be a tuple of depths or 'all'"),
    (lambda: CompressiveConfig(update="sum"), "update must be one of linear, delta, got 'sum'"),
    (lambda: CompressiveConfig(block_len=0), "block_len must be an integer of at least 1, got 0"),
    (lambda: RecurrentConfig(n_token=-1), "n_token must be an integer of at least 0, got -1"),
])  # fmt: skip
def test_rules_of_fields(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_state_of_another_rival_is_refused(tokens):
    model = Decoder(small_config(**RIVALS["linear"]))
    with pytest.raises(ValueError, match="the state was made with compressive"):
        model.reconfigure({"compressive.block_len": 5})(tokens, model.new_state(2))
    with pytest.raises(ValueError, match="the state was made with recurrent"):
        Decoder(small_config(**RIVALS["recurrent"]))(tokens, Decoder(small_config()).new_state(2))


def test_bfloat16_reads_like_float32_and_trains(model, tokens):
    model = model.float()
    with torch.no_grad():
        expected = read(model, tokens, 16).softmax(-1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = read(model, tokens, 16).float().softmax(-1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        state = model.new_state(2, grad_segments=3)
        read(model, tokens[:, :40], 16, state=state).float().logsumexp(-1).sum().backward()
    assert all(w.grad.isfinite().all() for w in model.parameters() if w.grad is not None)
    with torch.no_grad():
        got = read(model.bfloat16(), tokens, 16).float().softmax(-1)
    assert (mixed - expected).abs().mean() < 2e-3 and (got - expected).abs().mean() < 2e-3
