"""One token by the compiled part is one by torch; a tape changes nothing for anybody else."""

from unittest.mock import patch

import pytest
import torch

from memformer.config import DecoderConfig, override
from memformer.memory import compiled
from memformer.model import one_token, tape
from memformer.model.decoder import Decoder
from memformer.model.one_token import MOST_LANES

needs_build = pytest.mark.skipif(not compiled.is_built(), reason="the compiled part was not built")
BASE = DecoderConfig(
    vocab_size=50, n_layer=3, n_head=4, n_kv_head=2, n_embd=72, head_dim=34, mlp_dim=83, window=7,
    tie_embeddings=False,
)  # fmt: skip
MEMORY = {"memory.layers": (1,), "memory.n_retrieved": 3, "memory.page_len": 4}
SHAPES = [
    {},
    {"n_kv_head": 1, "conv_width": 0, "qk_norm": False},
    {"n_kv_head": 4, "head_dim": 64, "n_embd": 128, "mlp_dim": 160, "window": 1},
    MEMORY | {"n_sink": 2, "sink_distance": 9, "head_dim": 16},
    MEMORY | {"memory.positions": "rotary", "memory.combine": "gate", "memory.max_distance": 11},
    MEMORY | {"fraction.kind": "fourier", "memory.positions": "fraction"},
]


def model_of(changes):
    torch.manual_seed(0)
    model = Decoder(override(BASE, changes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


def served(model, state, ids):
    """Logits, and how many blocks the compiled part read."""
    count = 0

    def counted(*args, plain=one_token.read):
        nonlocal count
        count += 1
        return plain(*args)

    with patch.object(one_token, "read", counted):
        out = model(ids, state, fraction=torch.full(ids.shape, 0.4))
    state.advance(out)
    return out, count


def plainly(model, state, ids):
    with patch.object(one_token, "is_served", lambda *_: False):
        out = model(ids, state, fraction=torch.full(ids.shape, 0.4))
    state.advance(out)
    return out


@needs_build
@pytest.mark.parametrize("changes", SHAPES)
@pytest.mark.parametrize("n_lane", [1, 3])
@torch.no_grad()
def test_tokens_are_those_of_torch(changes, n_lane):
    model = model_of(changes)
    ids = torch.randint(50, (n_lane, 30))
    fast, plain = model.new_state(n_lane), model.new_state(n_lane)
    for one in ids.split(1, dim=1):
        got, n_block = served(model, fast, one)
        expected = plainly(model, plain, one)
        assert n_block == 3
        torch.testing.assert_close(got.logits, expected.logits, atol=2e-5, rtol=2e-5)
        for a, b in zip(got.attention, expected.attention, strict=True):
            for name in ("x", "keys", "values", "fraction"):
                torch.testing.assert_close(
                    getattr(a, name), getattr(b, name), atol=2e-5, rtol=2e-5, equal_nan=True
                )
    for a, b in zip(fast.layers, plain.layers, strict=True):
        assert (a.n_read, a.n_held) == (b.n_read, b.n_held)
        torch.testing.assert_close(a.keys, b.keys, atol=2e-5, rtol=2e-5)
        torch.testing.assert_close(a.sink_values, b.sink_values, atol=2e-5, rtol=2e-5)


@needs_build
@torch.no_grad()
def test_threads_change_no_bit_and_instruction_sets_little(monkeypatch):
    model = model_of({"n_embd": 512, "mlp_dim": 700, "n_head": 12, "head_dim": 64})
    state = model.new_state(1)
    state.advance(model(torch.arange(9)[None], state))
    token, before = torch.tensor([[3]]), torch.get_num_threads()
    one = model(token, state).logits
    try:
        torch.set_num_threads(3)
        assert model(token, state).logits.equal(one)
    finally:
        torch.set_num_threads(before)
    library = compiled.library_or_none()
    for path in range(library.memformer_best_path()):

        class Older:
            memformer_token_read = library.memformer_token_read
            memformer_token_back = library.memformer_token_back

            @staticmethod
            def memformer_best_path(path=path):
                return path

        monkeypatch.setattr(one_token, "library_or_none", lambda older=Older: older)
        torch.testing.assert_close(model(token, state).logits, one, atol=1e-4, rtol=1e-4)


@needs_build
@pytest.mark.parametrize(
    "why", ["gradient", "hook", "other module", "autocast", "lanes", "float64"]
)
def test_what_it_does_not_know_is_left_to_torch(why):
    model = model_of({})
    if why == "hook":
        for block in model.blocks:
            block.attention.q.register_forward_hook(lambda *_: None)
    if why == "other module":
        for block in model.blocks:
            block.mlp.up = torch.nn.Sequential(block.mlp.up)
    if why == "float64":
        model.double()
    n_lane = MOST_LANES + 1 if why == "lanes" else 1
    state = model.new_state(n_lane)
    with (
        torch.set_grad_enabled(why == "gradient"),
        torch.autocast("cpu", torch.bfloat16, enabled=why == "autocast"),
    ):
        _, n_block = served(model, state, torch.ones(n_lane, 1, dtype=torch.int64))
    assert n_block == 0


@pytest.mark.parametrize("is_inference", [True, False])
def test_a_tape_is_shared_and_nobody_sees_what_others_write(is_inference):
    model = model_of(MEMORY)
    state = model.new_state(1)
    with torch.inference_mode(is_inference), torch.set_grad_enabled(False):
        for token in range(20):
            state.advance(model(torch.tensor([[token]]), state))
        other = state.fork(1)
        one = model(torch.tensor([[1]]), state)
        seen = one.attention[0].keys.clone()
        two = model(torch.tensor([[2]]), state)  # from the same place
        assert one.attention[0].keys.equal(seen)
        assert not one.attention[0].keys.equal(two.attention[0].keys)
        state.advance(two)
        logits = model(torch.tensor([[3]]), state).logits
        other.advance(model(torch.tensor([[2]]), other))
        assert model(torch.tensor([[3]]), other).logits.equal(logits)
    # what was remembered serves a training step
    model.train()
    model(torch.tensor([[4, 5]]), state).logits.sum().backward()


@torch.no_grad()
def test_a_tape_that_is_full_is_copied():
    model = model_of({})
    ids = torch.randint(50, (1, 12 + tape.ROOM))
    state, parts = model.new_state(1), []
    tapes = set()
    for one in ids.split(1, dim=1):
        out = model(one, state)
        state.advance(out)
        parts.append(out.logits)
        tapes.add(id(state.layers[0].taped.tape))
        assert state.layers[0].keys.shape[2] == 6
    whole = model(ids, model.new_state(1)).logits
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=2e-4, rtol=2e-4)
    assert len(tapes) > 1


def test_going_backward_is_not_disturbed_by_what_is_written_later():
    model = model_of({})
    state = model.new_state(1)
    with torch.no_grad():
        for token in range(9):
            state.advance(model(torch.tensor([[token]]), state))
    out = model(torch.tensor([[1, 2]]), state)
    with torch.no_grad():
        model(torch.tensor([[3]]), state)  # writes on the tape that the graph has kept
    out.logits.sum().backward()
    assert model.embedding.weight.grad.isfinite().all()
