"""Sampling: the state goes along, the draws follow the distribution."""

import pytest
import torch

from memformer import Decoder
from memformer.generation.sample import sample
from tests.model.conftest import lively, read, small_config


@pytest.fixture
def model():
    torch.manual_seed(0)
    memory = dict(layers=(1, 2), n_retrieved=5)
    return lively(Decoder(small_config(memory=memory, fraction=dict(kind="fourier")))).eval()


def started(model, n_lane=1):
    state = model.new_state(n_lane)
    with torch.no_grad():
        logits = read(model, torch.arange(40).expand(n_lane, 40), 16, state=state)[:, -1]
    return state, logits


def test_greedy_writing_equals_reading_the_whole_text_again_for_each_token(model):
    state, logits = started(model)
    written = list(sample(model, state, logits, 20, temperature=0))
    text = torch.arange(40)[None]
    with torch.no_grad():
        for token in written:
            expected = model(text, model.new_state(1)).logits[:, -1].argmax(-1)
            assert torch.equal(token, expected)
            text = torch.cat((text, token[:, None]), dim=1)
    assert state.n_read == [60]


def test_draws_follow_the_distribution(model):
    state = model.new_state(4000)
    logits = torch.tensor([2.0, 1.0, 0.0, -torch.inf]).expand(4000, 4)
    token = next(sample(model, state, logits, 1, temperature=0.5, seed=3))
    expected = (logits[0] / 0.5).softmax(-1)
    got = torch.bincount(token, minlength=4) / 4000
    torch.testing.assert_close(got, expected, atol=0.03, rtol=0)


def test_top_p_keeps_the_smallest_set_that_reaches_it(model):
    state = model.new_state(500)
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(500, 4)
    for top_p, kept in ((0.2, {0}), (0.5, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2})):
        token = next(sample(model, state, logits, 1, top_p=top_p))
        assert set(token.tolist()) == kept


def test_seed_decides(model):
    runs = []
    for seed in (1, 1, 2):
        state, logits = started(model)
        runs.append(torch.cat(list(sample(model, state, logits, 12, seed=seed))).tolist())
    assert runs[0] == runs[1] != runs[2]


def test_declared_length_gives_the_fraction(model, monkeypatch):
    state, logits = started(model, 2)
    seen = []
    forward = Decoder.forward
    monkeypatch.setattr(
        Decoder,
        "forward",
        lambda *args, **kwargs: seen.append(kwargs["fraction"]) or forward(*args, **kwargs),
    )
    list(sample(model, state, logits, 2, length=80))
    torch.testing.assert_close(torch.cat(seen, 1), torch.tensor([[40.5, 41.5]] * 2) / 80)


@pytest.mark.parametrize(("changes", "message"), [
    (dict(n_token=-1), "n_token must be at least 0, got -1"),
    (dict(length=0), "length must be at least 1 token, got 0"),
    (dict(temperature=-1), "temperature must be at least 0, got -1"),
    (dict(top_p=0), r"top_p must be in \(0, 1\], got 0"),
    (dict(logits=torch.zeros(2, 50)), r"logits must be \(1, V\), got \(2, 50\)"),
])  # fmt: skip
def test_bad_settings_are_named(model, changes, message):
    state, logits = started(model)
    with pytest.raises(ValueError, match=message):
        next(sample(model, state, **{"logits": logits, "n_token": 1, **changes}))
