"""The state: reading changes nothing, remembering changes one lane at a time."""

import pytest
import torch

from memformer import Decoder
from tests.model import laws
from tests.model.conftest import lively, read, small_config


def snapshot(state):
    """All that a state holds, as values."""
    parts = [torch.tensor(state.n_read), *state.conv]
    for layer in state.layers:
        parts += [layer.keys, layer.values, layer.fraction, layer.sink_keys, layer.sink_values]
        if layer.memory is not None:
            runs = [layer.memory.pairs(lane) for lane in range(state.n_lane)]
            parts += [part for run in runs for part in run.columns]
    return [part.clone() for part in parts]


def same(a, b):
    return all(
        torch.equal(x.nan_to_num(-1.0), y.nan_to_num(-1.0)) for x, y in zip(a, b, strict=True)
    )


@pytest.fixture
def state(model, tokens):
    state = model.new_state(2)
    with torch.no_grad():
        read(model, tokens[:, :60], 11, state=state)
    return state


def test_scoring_without_advance_leaves_the_state_bit_identical(model, tokens, state):
    before = snapshot(state)
    model(tokens[:, 60:80], state, want_retrieved=True)
    assert same(before, snapshot(state))


def test_stale_reading_is_refused(model, tokens, state):
    out = model(tokens[:, 60:70], state)
    state.advance(out)
    with pytest.raises(
        ValueError, match=r"read at tokens \[60, 60\], the state stands at \[70, 70\]"
    ):
        state.advance(out)


def test_reading_from_another_state_is_refused_though_it_stands_at_the_same_token(model, tokens):
    one, other = model.new_state(2), model.new_state(2)
    for state, ids in ((one, tokens), (other, tokens.flip(1))):
        state.advance(model(ids[:, :20], state))
    out = model(tokens[:, 20:30], other)
    with pytest.raises(ValueError, match="out was read from another state"):
        one.advance(out)
    with pytest.raises(ValueError, match="out was read from another state"):
        other.select([1, 0]).advance(out)
    other.advance(out)


def test_reading_from_before_a_reset_is_refused(model, tokens, state):
    out = model(tokens[:, :60], model.new_state(2))
    fresh = model.new_state(2)
    first = model(tokens[:, :60], fresh)
    fresh.reset([0, 1])
    for each in (out, first):
        with pytest.raises(ValueError, match="or from this one before a reset: read the segment"):
            fresh.advance(each)


def test_reading_is_remembered_by_a_copy_of_its_state_and_by_a_state_of_its_copy(model, tokens):
    state = model.new_state(2)
    state.advance(model(tokens[:, :20], state))
    copy = state.fork(1)
    out, of_copy = model(tokens[:, 20:30], state), model(tokens[:, 20:30], copy)
    copy.advance(out)
    state.advance(of_copy)
    assert same(snapshot(state), snapshot(copy))
    with pytest.raises(ValueError, match=r"read at tokens"):
        state.advance(out)


def test_reset_of_one_lane_keeps_the_others(model, tokens, state):
    state.reset(lanes=[1])
    assert state.n_read == [60, 0]
    with torch.no_grad():
        got = read(model, tokens[:, :40].roll(1, 1), 8, state=state)
        lane_1 = read(model, tokens[1:, :40].roll(1, 1), 8)
        other = model.new_state(2)
        read(model, tokens[:, :60], 11, state=other)
        lane_0 = read(model, tokens[:, :40].roll(1, 1), 8, state=other)
    torch.testing.assert_close(got[1:], lane_1, atol=1e-4, rtol=1e-4)
    assert torch.equal(got[0], lane_0[0])
    with pytest.raises(ValueError, match=r"reset: lane must be in \[0, 2\), got 2"):
        state.reset(lanes=[2])


def test_write_to_a_fork_shows_in_no_sibling(model, tokens, state):
    before = snapshot(state)
    branches = state.fork(3)
    assert branches.n_read == [60] * 6
    with torch.no_grad():
        continuations = torch.randint(0, 50, (6, 30))
        got = read(model, continuations, 10, state=branches)
        assert same(before, snapshot(state))
        for branch in range(6):
            alone = state.select([branch // 3])
            expected = read(model, continuations[branch : branch + 1], 10, state=alone)
            torch.testing.assert_close(got[branch : branch + 1], expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        state.fork(0)


def test_select_refuses_a_lane_that_does_not_exist(state):
    with pytest.raises(ValueError, match=r"select: lane must be in \[0, 2\), got 5"):
        state.select([0, 5])


def test_view_with_another_memory_reads_it_and_cannot_advance(model, tokens, state):
    other = model.new_state(2)
    with torch.no_grad():
        read(model, tokens[:, :60].flip(1), 11, state=other)
        view = state.with_memory(other)
        mine, theirs = model(tokens[:, 60:70], state), model(tokens[:, 60:70], view)
    assert not torch.allclose(mine.logits, theirs.logits)
    with pytest.raises(ValueError, match="this state is a view"):
        view.advance(theirs)
    state.advance(theirs)  # a reading through the view may be remembered by the true state
    assert state.n_read == [70, 70]


def test_view_forgets_nothing_of_the_original(model, state):
    view = state.with_memory(state)
    with pytest.raises(ValueError, match="reset: this state is a view"):
        view.reset([0])
    branches = view.fork(2)
    branches.reset([0])
    assert state.layers[1].memory.size(0) == 60 - 15 - 2


def test_memory_of_a_state_that_read_further_is_refused(model, tokens, state):
    other = model.new_state(2)
    read(model, tokens, 20, state=other)
    with pytest.raises(ValueError, match=r"read \[60, 60\] tokens, the other \[100, 100\]"):
        state.with_memory(other)
    twin = model.reconfigure({"memory.n_retrieved": 6}).new_state(2)
    with pytest.raises(ValueError, match="the states are of different configs"):
        model.new_state(2).with_memory(twin)


def test_shuffled_values_change_what_is_read_but_not_what_is_found(model, tokens, state):
    with torch.no_grad():
        mine = model(tokens[:, 60:70], state, want_retrieved=True)
        shuffled = model(tokens[:, 60:70], state.with_shuffled_values(), want_retrieved=True)
    assert not torch.allclose(mine.logits, shuffled.logits)
    # the first memory layer sees the same queries: it finds the same tokens
    assert torch.equal(mine.retrieved[1].token_index, shuffled.retrieved[1].token_index)


def test_capacity_bounds_the_memory_and_reading_goes_on(tokens):
    memory = dict(layers=(1,), n_retrieved=4, page_len=4, capacity=12)
    model = lively(Decoder(small_config(memory=memory, window=8)))
    state = model.new_state(2)
    with torch.no_grad():
        logits = read(model, tokens, 8, state=state)
        out = model(tokens[:, :4], state, want_retrieved=True)
    assert state.layers[1].memory.size(0) <= 12 and bool(logits.isfinite().all())
    assert int(out.retrieved[1].token_index.min()) >= 100 - 7 - 12


def test_memory_bytes_count_the_pages(model, tokens, state):
    # 2 layers, 2 lanes, 2 key/value heads of 8 channels, float32: at least the pairs held
    n_pairs = 60 - 15 - 2
    assert state.memory_bytes() >= 2 * 2 * n_pairs * (2 * 2 * 8 * 4)


def test_state_needs_a_lane_and_a_segment(model):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        model.new_state(0)
    with pytest.raises(ValueError, match="grad_segments must be at least 1, got 0"):
        model.new_state(1, grad_segments=0)


def first_segment_gradient(model, tokens, grad_segments):
    """Gradient of a loss on the last of three segments with respect to the first one's rows."""
    rows = torch.nn.functional.one_hot(tokens[:, :48], 50).double().requires_grad_()
    state = model.new_state(2, grad_segments=grad_segments)
    for i in (0, 16):
        state.advance(model(rows[:, i : i + 16], state))
    loss = model(rows[:, 32:], state).logits.logsumexp(-1).sum()
    return torch.autograd.grad(loss, rows)[0]


@pytest.mark.parametrize("memory", [
    dict(layers=(1, 2), n_retrieved=4),
    dict(layers="all", n_retrieved=4, positions="rotary"),
    dict(layers=(0, 2), n_retrieved=4, combine="gate"),
])  # fmt: skip
def test_grad_segments_reach_back_as_far_as_one_shot(memory, tokens):
    model = lively(Decoder(small_config(memory=memory, window=6, n_sink=2))).double()
    got = first_segment_gradient(model, tokens, 3)
    rows = torch.nn.functional.one_hot(tokens[:, :48], 50).double().requires_grad_()
    logits = model(rows, model.new_state(2)).logits[:, 32:]
    (whole,) = torch.autograd.grad(logits.logsumexp(-1).sum(), rows)
    assert whole[:, :16].abs().max() > 1e-4
    torch.testing.assert_close(got, whole, atol=1e-5, rtol=1e-4)


def test_one_grad_segment_detaches_all_that_is_remembered(model, tokens):
    model = model.double()
    gradient = first_segment_gradient(model, tokens, 1)
    assert bool((gradient[:, :32] == 0).all()) and bool((gradient[:, 32:] != 0).any())


def test_two_grad_segments_reach_one_segment_back_through_pairs(tokens):
    memory = dict(layers="all", n_retrieved=4)
    model = lively(Decoder(small_config(memory=memory, n_layer=1, conv_width=0))).double()
    gradient = first_segment_gradient(model, tokens, 2)
    # one layer: pairs of the second segment depend on nothing before it
    assert bool((gradient[:, :16] == 0).all()) and bool((gradient[:, 16:32] != 0).any())


def test_detach_lets_training_go_on_after_a_backward(model, tokens):
    laws.detach_lets_training_go_on(model, tokens)


def test_training_through_memory_needs_no_retained_graph(model, tokens):
    state = model.new_state(2)
    for i in range(0, 96, 16):
        out = model(tokens[:, i : i + 16], state)
        out.logits.logsumexp(-1).mean().backward()
        state.advance(out)
    assert all(w.grad is not None for w in model.parameters())


def test_state_read_in_inference_mode_can_be_trained_on(model, tokens):
    state = model.new_state(2)
    with torch.inference_mode():
        read(model, tokens[:, :64], 16, state=state)
    model(tokens[:, 64:80], state).logits.logsumexp(-1).mean().backward()
