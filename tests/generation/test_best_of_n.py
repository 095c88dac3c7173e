"""Best of n: branches share what is sealed, the original stays, the best is the largest."""

import math

import pytest
import torch

from memformer import DecoderState
from memformer.config import SamplingConfig
from memformer.generation.best_of_n import best_of_n, mean_log_probability
from memformer.generation.prompts import read_prompts
from memformer.generation.sample import sample

PROMPT = [(7 * i) % 50 for i in range(60)]


@pytest.fixture
def started(model):
    state = model.new_state(1)
    return state, read_prompts(model, state, [PROMPT])


def addresses(state):
    """Where the sealed pages of each lane and memory layer lie."""
    memories = [layer.memory for layer in state.layers if layer.memory is not None]
    return [
        {run.keys.data_ptr() for run in book.pages() if run.first + book.page_len <= book.stop}
        for memory in memories
        for book in memory.books
    ]


def test_best_is_the_largest_and_branches_are_those_of_sample(model, started):
    state, logits = started
    config = SamplingConfig(seed=5)
    seen = []

    def scorer(ids):
        seen.append(ids)
        return float(sum(ids))

    best = best_of_n(model, state, logits, 4, 6, scorer, config=config)
    lanes = sample(model, state.fork(4), logits.expand(4, -1), 6, config=config)
    assert seen == torch.stack(list(lanes), 1).tolist()
    assert len({tuple(ids) for ids in seen}) == 4
    assert best.scores == [float(sum(ids)) for ids in seen]
    assert best.score == max(best.scores) and best.tokens == max(seen, key=sum)


def test_original_is_untouched_and_sealed_pages_are_shared(model, started, monkeypatch):
    state, logits = started
    made = []
    fork = DecoderState.fork
    monkeypatch.setattr(DecoderState, "fork", lambda *args: made.append(fork(*args)) or made[-1])
    before = [tensor.clone() for tensor in (state.layers[0].keys, *state.conv)]
    pages = addresses(state)
    assert all(pages)
    best = best_of_n(model, state, logits, 3, 20, lambda ids: -ids[0])
    (branches,) = made
    for layer, own in enumerate(pages):
        for lane in range(3):
            assert own <= addresses(branches)[3 * layer + lane]
        assert own <= addresses(best.state)[layer]
    assert state.n_read == [60] and best.state.n_read == [80] and addresses(state) == pages
    after = (state.layers[0].keys, *state.conv)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_writing_on_from_the_best_equals_reading_it(model, started):
    state, logits = started
    best = best_of_n(model, state, logits, 3, 8, lambda ids: ids[-1], length=100)
    expected = read_prompts(model, state, [best.tokens], length=100)
    torch.testing.assert_close(best.logits, expected, atol=1e-4, rtol=1e-4)
    greedy = SamplingConfig(temperature=0)
    rows = [
        torch.cat(list(sample(model, each, ahead, 12, config=greedy, length=100))).tolist()
        for each, ahead in ((best.state, best.logits), (state, expected))
    ]
    assert rows[0] == rows[1]


def test_of_equal_scores_the_first_is_best(model, started):
    best = best_of_n(model, *started, 3, 4, lambda ids: -math.inf)
    first = sample(model, started[0].fork(1), started[1], 4)
    assert best.tokens == torch.cat(list(first)).tolist()


def test_nan_score_is_refused(model, started):
    scores = iter([1.0, math.nan, 2.0])
    with pytest.raises(ValueError, match="scorer gave NaN for continuation 1 of 3"):
        best_of_n(model, *started, 3, 2, lambda ids: next(scores))
    assert started[0].n_read == [60]


def test_repetition_penalty_knows_the_text_before(model, started):
    config = SamplingConfig(temperature=0, repetition_penalty=100)
    best = best_of_n(model, *started, 1, 5, lambda ids: 0, config=config, before=PROMPT)
    lane = sample(model, started[0].fork(1), started[1], 5, config=config, before=[PROMPT])
    assert best.tokens == torch.cat(list(lane)).tolist()


@pytest.mark.parametrize(("changes", "message"), [
    (dict(n=0), "n must be at least 1, got 0"),
    (dict(n_token=0), "n_token must be at least 1, got 0"),
    (dict(config=SamplingConfig(temperature=0)), "temperature must be above 0 for n=2"),
    (dict(logits=torch.zeros(2, 50)), r"logits must be \(1, V\), got \(2, 50\)"),
    (dict(length=0), "length must be at least 1 token"),
])  # fmt: skip
def test_bad_arguments_are_named(model, started, changes, message):
    state, logits = started
    arguments = dict(logits=logits, n=2, n_token=2, scorer=len) | changes
    with pytest.raises(ValueError, match=message):
        best_of_n(model, state, **arguments)
    with pytest.raises(ValueError, match="best_of_n continues one lane, got 2"):
        best_of_n(model, state.fork(2), logits.expand(2, -1), 2, 2, len)


@pytest.mark.parametrize("length", [None, 70])
def test_mean_log_probability_is_that_of_reading_the_whole_text(model, started, length):
    state, logits = started
    if length:
        state = model.new_state(1)
        logits = read_prompts(model, state, [PROMPT], length=length)
    ids = [(3 * i) % 50 for i in range(37)]  # several segments
    got = mean_log_probability(model, state, logits, ids, length=length)
    text = torch.tensor([PROMPT + ids])
    u = ((torch.arange(97) + 0.5) / length).clamp(max=1)[None] if length else None
    with torch.no_grad():
        all_logits = model(text, model.new_state(1), fraction=u).logits
    said = all_logits[0, 59:-1].log_softmax(-1).gather(-1, text[0, 60:, None])
    assert got == pytest.approx(float(said.mean()), abs=1e-4)
    assert state.n_read == [60]


def test_mean_log_probability_of_nothing_is_refused(model, started):
    with pytest.raises(ValueError, match="needs at least one token, one lane"):
        mean_log_probability(model, *started, [])
    with pytest.raises(ValueError, match="got 1, 2 and"):
        mean_log_probability(model, started[0].fork(2), started[1], [1])
