"""Sampling: the state goes along, and pauses, saves and neighbours change nothing."""

import pytest
import torch

from memformer import Decoder, DecoderState
from memformer.config import SamplingConfig
from memformer.generation.distribution import distribution
from memformer.generation.prompts import read_prompts
from memformer.generation.sample import sample

PROMPT = list(range(40))
GREEDY = SamplingConfig(temperature=0)


def started(model, *prompts, length=None):
    state = model.new_state(len(prompts) or 1)
    return state, read_prompts(model, state, prompts or [PROMPT], length=length)


def ids(sampler):
    return torch.stack(list(sampler), dim=1).tolist()


def test_greedy_writing_equals_reading_the_whole_text_again_for_each_token(model):
    state, logits = started(model)
    text = torch.tensor([PROMPT])
    for token in sample(model, state, logits, 20, config=GREEDY):
        with torch.no_grad():
            expected = model(text, model.new_state(1)).logits[:, -1].argmax(-1)
        assert torch.equal(token, expected)
        text = torch.cat((text, token[:, None]), dim=1)
    assert state.n_read == [60]


def test_draws_follow_the_distribution_of_the_config(model):
    n = 1000
    logits = torch.tensor([2.0, 1.0, 0.0, 0.5]).expand(n, 4)
    logits = torch.cat((logits, torch.full((n, 46), -torch.inf)), dim=1)
    config = SamplingConfig(temperature=0.5, top_k=3, repetition_penalty=1.5, seed=3)
    before = [[1]] * n
    token = next(sample(model, model.new_state(n), logits, 1, config=config, before=before))
    expected = n * distribution(logits[:1], config, torch.tensor([[1]]))[0, :4]
    got = torch.bincount(token, minlength=4).float()
    assert got[expected == 0].sum() == 0 and (expected > 0).sum() == 3
    kept = expected > 0
    assert float(((got - expected)[kept] ** 2 / expected[kept]).sum()) < 13.8  # 0.1%, 2 degrees


def test_seed_decides(model):
    runs = [
        ids(sample(model, *started(model), 12, config=SamplingConfig(seed=seed)))
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_a_lane_does_not_depend_on_its_neighbours(model):
    own, short, long = [5, 6, 7] * 6, [1, 2], [9, 8, 7, 6] * 12
    alone = ids(sample(model, *started(model, own), 20))[0]
    assert ids(sample(model, *started(model, own, short), 20))[0] == alone
    assert ids(sample(model, *started(model, own, long, short), 20))[0] == alone
    second = [ids(sample(model, *started(model, other, own), 20))[1] for other in (short, long)]
    assert second[0] == second[1] != alone  # another lane, other draws


def test_stopping_and_going_on_equals_uninterrupted(model):
    config = SamplingConfig(repetition_penalty=1.3, repetition_window=7, top_p=0.95, seed=4)
    options = dict(config=config, length=90)
    whole = ids(sample(model, *started(model, length=90), 30, before=[PROMPT], **options))[0]
    state, logits = started(model, length=90)
    first = sample(model, state, logits, 30, before=[PROMPT], **options)
    written = []
    for token in first:
        written.append(int(token))
        if len(written) == 11:
            break
    before = [PROMPT + written]
    written += ids(sample(model, first.state, first.logits, 19, before=before, **options))[0]
    assert written == whole


def test_going_on_from_a_saved_state_equals_uninterrupted(model, tmp_path):
    config = SamplingConfig(min_p=0.01, seed=4)
    whole = sample(model, *started(model), 30, config=config)
    expected = ids(whole)[0]
    state, logits = started(model)
    first = sample(model, state, logits, 17, config=config)
    written = ids(first)[0]
    state.save(tmp_path, model)
    loaded = DecoderState.load(tmp_path, model)
    rest = sample(model, loaded, first.logits, 13, config=config)
    assert written + ids(rest)[0] == expected
    assert torch.equal(rest.logits, whole.logits) and loaded.n_read == [70]


def test_repetition_penalty_looks_back_over_the_window_and_no_further(model):
    config = SamplingConfig(temperature=0, repetition_penalty=100, repetition_window=3)
    state = model.new_state(1)
    logits = torch.full((1, 50), 1.0)
    for before, expected in (([0, 1, 2], 3), ([0, 1, 2, 3], 0), ([], 0), ([0], 1)):
        sampler = sample(model, state.fork(1), logits, 1, config=config, before=[before])
        assert next(sampler).item() == expected
    sampler = sample(model, state, logits, 9, config=config)
    written = ids(sampler)[0]
    assert sampler.recent.tolist() == [written[-3:]]
    assert all(len(set(written[i : i + 4])) == 4 for i in range(6))


def test_declared_length_gives_the_fraction_and_is_clipped(model, monkeypatch):
    state, logits = started(model, PROMPT, PROMPT[:38])
    seen = []
    forward = Decoder.forward
    monkeypatch.setattr(
        Decoder,
        "forward",
        lambda *args, **kwargs: seen.append(kwargs["fraction"]) or forward(*args, **kwargs),
    )
    list(sample(model, state, logits, 2, length=41))
    expected = torch.tensor([[40.5 / 41, 1.0], [38.5 / 41, 39.5 / 41]])
    torch.testing.assert_close(torch.cat(seen, 1), expected)
    list(sample(model, state, logits, 1))
    assert seen[2] is None


@pytest.mark.parametrize(("changes", "message"), [
    (dict(n_token=-1), "n_token must be at least 0, got -1"),
    (dict(length=0), "length must be at least 1 token, got 0"),
    (dict(logits=torch.zeros(2, 50)), r"logits must be \(1, V\), got \(2, 50\)"),
    (dict(before=[[1], [2]]), r"before must be one sequence a lane \(1\), got 2"),
])  # fmt: skip
def test_bad_arguments_are_named_before_anything_is_drawn(model, changes, message):
    state, logits = started(model)
    with pytest.raises(ValueError, match=message):
        sample(model, state, **{"logits": logits, "n_token": 1, **changes})


def test_ids_that_are_never_drawn_are_not(model):
    state, logits = started(model)
    best = int(logits.argmax())
    options = dict(config=GREEDY, never={best, 3})
    written = ids(sample(model, state.fork(1), logits, 20, **options))[0]
    assert written[0] == int(logits.index_fill(-1, torch.tensor([best, 3]), -torch.inf).argmax())
    assert not {best, 3} & set(written)
    freely = [ids(sample(model, state.fork(1), logits, 9, never=never)) for never in ((), [])]
    assert freely[0] == freely[1] == ids(sample(model, state.fork(1), logits, 9))
    with pytest.raises(ValueError, match=r"never must be ids in \[0, 50\), got \[7, 50\]"):
        sample(model, state, logits, 1, never=[50, 7])
