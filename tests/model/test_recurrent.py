"""Recurrent memory tokens against a token by token reading, outputs and gradients."""

import pytest
import torch

from memformer import Decoder
from memformer.config import RecurrentConfig
from tests.model import naive_rivals
from tests.model.conftest import lively, read, small_config

T = 23


def model_of(n_token=2, block_len=5, **changes):
    changes = {"n_layer": 2, "window": 8, **changes}
    config = small_config(
        recurrent=RecurrentConfig(n_token=n_token, block_len=block_len), **changes
    )
    model = lively(Decoder(config)).double()
    torch.nn.init.normal_(model.recurrent.start)
    return model


@pytest.mark.parametrize("changes", [
    {}, dict(n_token=1, block_len=7), dict(n_token=3, block_len=4, conv_width=0),
    dict(n_sink=2, qk_norm=False), dict(window=16, block_len=5), dict(block_len=1, window=3),
], ids=str)  # fmt: skip
def test_decoder_equals_token_by_token_reading(changes):
    model, tokens = model_of(**changes), torch.randint(0, 50, (1, T))
    with torch.no_grad():
        expected = naive_rivals.recurrent(model, tokens[0])
        for L in (1, 4, T):
            got = read(model, tokens, L)[0]
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
        model.recurrent.start.add_(1)
        assert (read(model, tokens, T)[0] - expected)[:3].abs().max() > 1e-3


@pytest.mark.parametrize("changes", [{}, dict(n_token=3, block_len=4, conv_width=0)], ids=str)
@pytest.mark.parametrize("L", [T, 6])
def test_gradients_equal_those_of_token_by_token_reading(changes, L):
    model, tokens = model_of(**changes), torch.randint(0, 50, (1, T))
    toward = torch.randn(T, 50, dtype=torch.float64)

    def gradients(logits):
        return torch.autograd.grad((logits * toward).sum(), list(model.parameters()))

    expected = gradients(naive_rivals.recurrent(model, tokens[0]))
    state = model.new_state(1, grad_segments=9)
    got = gradients(read(model, tokens, L, state=state)[0])
    for wanted, found in zip(expected, got, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_memory_tokens_carry_what_window_and_blocks_cannot():
    """A changed first token shows where only memory tokens can have brought it."""
    model = model_of(n_layer=1, conv_width=0, block_len=5, window=7)
    tokens = torch.randint(0, 50, (1, 40))
    changed = tokens.clone()
    changed[0, 0] = (tokens[0, 0] + 1) % 50
    with torch.no_grad():
        gap = (read(model, tokens, 40) - read(model, changed, 40))[0].abs().amax(-1)
        without = model.reconfigure({"recurrent.n_token": 0})
        local = (read(without, tokens, 40) - read(without, changed, 40))[0].abs().amax(-1)
    assert [t for t in range(40) if local[t] > 0] == list(range(7))
    assert bool((gap[7:] > 0).all())


def test_tokens_of_a_block_are_computed_from_what_was_written_before_it():
    """Within a block the memory tokens are fixed: nothing of the block reaches its own read."""
    model, tokens = model_of(), torch.randint(0, 50, (1, 12))
    state = model.new_state(1)
    with torch.no_grad():
        for at in range(12):
            before = state.recurrent
            state.advance(model(tokens[:, at : at + 1], state))
            changes = not torch.equal(before, state.recurrent)
            # the learned first tokens take the place of zeros with the first token read
            assert changes == ((at + 1) % 5 == 0 or at == 0)


def test_recomputing_gives_the_same_gradients():
    model, tokens = model_of(), torch.randint(0, 50, (1, T))
    results = []
    for recompute in (False, True):
        logits = model(tokens, model.new_state(1), recompute=recompute).logits
        results.append(torch.autograd.grad(logits.square().sum(), list(model.parameters())))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
