"""The laws of the decoder: segments, lanes, time, limits."""

import pytest
import torch

from memformer import Decoder
from tests.model import laws
from tests.model.conftest import lively, read, small_config

MEMORIES = [
    dict(layers=(1, 2), n_retrieved=5),
    dict(layers=(1, 2), n_retrieved=5, combine="gate", positions="fraction"),
    dict(layers="all", n_retrieved=5, combine="tanh", positions="rotary", max_distance=30),
    dict(layers="all", n_retrieved=1000, positions="rotary"),
    dict(layers=(2,), n_retrieved=5, search="Flat"),
]


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("kind", ["fourier", "rotary"])
def test_segment_length_does_not_change_logits(memory, kind, tokens, u):
    if kind == "rotary" and memory.get("positions") == "rotary":
        memory = {**memory, "positions": "none", "max_distance": None}
    n_sink = 0 if kind == "rotary" else 3
    config = small_config(memory=memory, fraction=dict(kind=kind, rotary_dim=4), n_sink=n_sink)
    model = lively(Decoder(config)).double()
    with torch.no_grad():
        whole = read(model, tokens, 100, u)
        for segment_len in (1, 7, 16):
            got = read(model, tokens, segment_len, u)
            torch.testing.assert_close(got, whole, atol=1e-5, rtol=0)


def test_segment_length_does_not_change_logits_in_float32(model, tokens):
    with torch.no_grad():
        a, b = read(model, tokens, 16), read(model, tokens, 7)
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_sink", [0, 3])
@pytest.mark.parametrize("n_retrieved", [90, 1000])
def test_joint_exact_over_everything_equals_full_attention(n_retrieved, n_sink, tokens):
    """Outputs, and the gradients of the current segment."""
    # 90 pairs is every pair older than the window, but fewer than the columns: the searched path
    memory = dict(layers="all", positions="rotary", n_retrieved=n_retrieved)
    model = lively(Decoder(small_config(memory=memory, n_sink=n_sink))).double()
    full = model.reconfigure({"memory.layers": (), "window": 1000, "n_sink": 0})
    results = []
    for each in (model, full):
        state = each.new_state(2)
        with torch.no_grad():
            before = read(each, tokens[:, :84], 12, state=state)
        after = each(tokens[:, 84:], state).logits
        loss = after.logsumexp(-1).sum() + after[..., 7].sum()
        wanted = [w for n, w in each.named_parameters()]
        results.append((before, after, torch.autograd.grad(loss, wanted)))
    (before, after, gradients), (full_before, full_after, full_gradients) = results
    torch.testing.assert_close(before, full_before, atol=1e-5, rtol=0)
    torch.testing.assert_close(after, full_after, atol=1e-5, rtol=0)
    for got, expected in zip(gradients, full_gradients, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_changing_the_future_changes_no_logit(model, tokens):
    laws.changing_the_future_changes_no_logit(read, model, tokens)


def test_lanes_do_not_leak(model, tokens):
    laws.lanes_do_not_leak(read, model, tokens)


def test_ragged_lanes_equal_each_lane_alone(model, tokens, u):
    model = model.reconfigure({"fraction.kind": "fourier"})
    lively(model)
    lengths = [[9, 16, 3, 16, 0, 16], [16, 1, 16, 5, 16, 11]]
    state, at = model.new_state(2), [0, 0]
    got: list[list[torch.Tensor]] = [[], []]
    with torch.no_grad():
        for step in range(6):
            ids, where = torch.zeros(2, 16, dtype=torch.long), torch.zeros(2, 16)
            mask = torch.zeros(2, 16, dtype=torch.bool)
            for lane in range(2):
                n = lengths[lane][step]
                ids[lane, :n] = tokens[lane, at[lane] : at[lane] + n]
                where[lane, :n] = u[lane, at[lane] : at[lane] + n]
                mask[lane, :n] = True
                at[lane] += n
            out = model(ids, state, fraction=where, mask=mask)
            state.advance(out)
            for lane in range(2):
                got[lane].append(out.logits[lane, : lengths[lane][step]])
        assert state.n_read == at
        for lane in range(2):
            part = slice(0, at[lane])
            alone = read(model, tokens[lane : lane + 1, part], 16, u[lane : lane + 1, part])
            torch.testing.assert_close(torch.cat(got[lane]), alone[0], atol=2e-4, rtol=1e-4)


def test_relaxed_tokens_equal_their_ids_and_carry_gradient(model, tokens):
    rows = torch.nn.functional.one_hot(tokens, 50).float().requires_grad_()
    state = model.new_state(2)
    by_row = model(rows[:, :20], state).logits
    torch.testing.assert_close(by_row, model(tokens[:, :20], state).logits)
    by_row.logsumexp(-1).sum().backward()
    assert rows.grad is not None and bool((rows.grad[:, :20] != 0).any(-1).all())


def test_hidden_states_and_retrievals_come_on_request(model, tokens):
    state = model.new_state(2)
    with torch.no_grad():
        read(model, tokens[:, :80], 16, state=state)
        out = model(tokens[:, 80:], state, want_hidden=True, want_retrieved=True)
        plain = model(tokens[:, 80:], state)
    assert plain.hidden is None and plain.retrieved is None
    torch.testing.assert_close(out.hidden @ model.embedding.weight.mT, out.logits)
    assert sorted(out.retrieved) == [1, 2]
    assert out.retrieved[1].token_index.shape == (2, 4, 20, 5)
    assert int(out.retrieved[1].token_index.min()) >= 2  # the two sinks are never in memory


def test_logits_of_the_last_columns_are_those_of_all(model, tokens):
    state = model.new_state(2)
    whole = model(tokens, state)
    for n in (0, 1, 7, tokens.shape[1]):
        got = model(tokens, state, n_logits=n)
        assert got.logits.shape == (2, n, model.config.vocab_size)
        torch.testing.assert_close(got.logits, whole.logits[:, tokens.shape[1] - n :])
    for bad in (-1, tokens.shape[1] + 1):
        with pytest.raises(ValueError, match=f"n_logits must be in .* got {bad}"):
            model(tokens, state, n_logits=bad)


def test_short_convolution_is_causal_and_sees_its_width():
    model = lively(Decoder(small_config(n_layer=1, window=1, conv_width=3)))
    ids = torch.randint(0, 50, (1, 12))
    changed = ids.clone()
    changed[0, 5] = (ids[0, 5] + 1) % 50
    state = model.new_state(1)
    difference = (model(ids, state).logits - model(changed, state).logits)[0].abs().sum(-1)
    assert [t for t in range(12) if difference[t] > 0] == [5, 6, 7]


def test_embeddings_can_be_untied(tokens):
    model = Decoder(small_config(tie_embeddings=False))
    assert model.head is not None and model.head.weight is not model.embedding.weight
    assert model(tokens, model.new_state(2)).logits.shape == (2, 100, 50)


def test_reconfigured_decoder_shares_its_parameters(model, tokens):
    twin = model.reconfigure({"memory.combine": "gate", "window": 8})
    assert twin.blocks[0].mlp.up.weight is model.blocks[0].mlp.up.weight
    assert twin.blocks[1].attention.gate is not None
    assert twin.config.window == 8 and model.config.window == 16
    twin.embedding.weight.data.add_(1)
    assert torch.equal(twin.embedding.weight, model.embedding.weight)
    assert twin(tokens, twin.new_state(2)).logits.isfinite().all()


def test_reconfigure_keeps_what_was_trained(tokens):
    model = Decoder(small_config(fraction=dict(kind="fourier")))
    with pytest.raises(ValueError, match="fraction.kind='fourier' was trained with the model"):
        model.reconfigure({"fraction.kind": "bins"})
    gated = Decoder(small_config(memory=dict(layers=(1,), combine="gate")))
    assert gated.reconfigure({"memory.combine": "joint"}).blocks[1].attention.gate is None


@pytest.mark.parametrize(("changes", "message"), [
    ({"window": 8}, "state was made with window=16, this model has 8"),
    ({"n_sink": 3}, "state was made with n_sink=2, this model has 3"),
    ({"memory.layers": (1,)}, r"made with memory_layers=\(1, 2\), this model has \(1,\)"),
])  # fmt: skip
def test_state_of_another_config_is_refused(changes, message, model, tokens):
    with pytest.raises(ValueError, match=message):
        model.reconfigure(changes)(tokens, model.new_state(2))


def test_reconfigure_refuses_another_shape(model):
    with pytest.raises(ValueError, match="embedding.weight has shape"):
        model.reconfigure({"vocab_size": 51})
    with pytest.raises(ValueError, match="no place for blocks.2"):
        model.reconfigure({"n_layer": 2, "memory.layers": (1,)})
    with pytest.raises(TypeError, match="MemoryConfig has no field 'n_retreived'"):
        model.reconfigure({"memory.n_retreived": 3})


def test_bad_input_is_named(model, tokens):
    state = model.new_state(2)
    bad = tokens.clone()
    bad[1, 3] = 50
    with pytest.raises(ValueError, match=r"token ids must be in \[0, vocab_size=50\), got 50"):
        model(bad, state)
    with pytest.raises(ValueError, match="tokens must be int64 ids, got torch.int32"):
        model(tokens.int(), state)
    with pytest.raises(ValueError, match="tokens have 1 lanes, the state has 2"):
        model(tokens[:1], state)
    with pytest.raises(ValueError, match="L >= 1"):
        model(tokens[:, :0], state)
    with pytest.raises(ValueError, match=r"relaxed tokens must be \(B, L, vocab_size=50\)"):
        model(torch.zeros(2, 3, 49), state)
    with pytest.raises(ValueError, match=r"fraction must have shape \(2, 100\), got \(2, 1\)"):
        model(tokens, state, fraction=torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\]"):
        model(tokens, state, fraction=torch.full((2, 100), -0.5))
    mask = torch.ones(2, 100, dtype=torch.bool)
    mask[1, 4] = False
    with pytest.raises(
        ValueError, match="padding must stand after a lane's tokens, not so in lane 1"
    ):
        model(tokens, state, mask=mask)
    with pytest.raises(ValueError, match=r"mask must be \(2, 100\) bool"):
        model(tokens, state, mask=mask.float())


def test_diverged_queries_are_named_not_searched(model, tokens):
    torch.nn.init.constant_(model.blocks[1].attention.q.weight, torch.nan)
    state = model.new_state(2)
    with pytest.raises(ValueError, match="query is NaN at lane 0, head 0"):
        read(model, tokens, 16, state=state)


def test_bfloat16_reads_like_float32(model, tokens):
    with torch.no_grad():
        expected = read(model, tokens, 16).softmax(-1)
        got = read(model.bfloat16(), tokens, 16).float().softmax(-1)
    assert (got - expected).abs().mean() < 2e-3
