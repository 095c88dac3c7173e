"""Words on demand: what is shown is what is returned, and what best-of chooses is the best."""

import pytest

from memformer.config import SamplingConfig
from memformer.generation import sample as sample_module
from memformer.generation.best_of_n import mean_log_probability
from memformer.generation.draft import new_draft
from memformer.generation.write import write_words
from tests.generation.fake import FakeTokenizer, Script

# every third token begins a word
TOKENIZER = FakeTokenizer(*[f" {i}" if i % 3 == 0 else "abcdefg"[i % 7] for i in range(50)])


@pytest.fixture
def draft(model):
    draft = new_draft(model)
    draft.read(model, range(40))
    return draft


def write(model, draft, n_word, **options):
    shown = []
    ids = write_words(model, TOKENIZER, draft, n_word, shown.append, **options)
    return ids, shown


@pytest.mark.parametrize("n_branch", [1, 3])
def test_shown_text_is_that_of_the_ids_and_has_the_words(model, draft, n_branch):
    ids, shown = write(model, draft, 10, n_branch=n_branch)
    text = TOKENIZER.decode([*draft.ids, *ids]).removeprefix(TOKENIZER.decode(draft.ids))
    assert "".join(shown) == text
    n_whole = len(text.split())
    assert n_whole == 10 or (n_branch == 3 and 5 < n_whole <= 10)
    assert draft.state.n_read == [40] and draft.ids == list(range(40))


def test_text_written_in_two_parts_is_that_written_at_once(model, draft):
    config = SamplingConfig(seed=1, repetition_penalty=1.2, top_p=0.9)
    whole, _ = write(model, draft, 16, config=config)
    first, _ = write(model, draft, 6, config=config)
    draft.read(model, first)
    second, _ = write(model, draft, 12, config=config)
    assert [*first, *second][: len(whole)] == whole


def test_stop_string_ends_it(model, draft, monkeypatch):
    monkeypatch.setattr(sample_module, "draw", Script([0, 3, 6, 9, 12, 15]))
    assert write(model, draft, 99, stop=["9 12"]) == ([0, 3, 6, 9], [" 0", " 3", " 6", " "])


def test_best_of_shows_the_likeliest(model, draft, caplog):
    caplog.set_level("INFO", "memformer")
    ids, _ = write(model, draft, 5, n_branch=6, config=SamplingConfig(temperature=2.0))
    score = mean_log_probability(model, draft.state, draft.next_logits(), ids)
    told = caplog.messages[-1]
    scores = [float(each) for each in told.split(" of ")[-1].split(", ")]
    assert len(scores) == 6 and max(scores) == pytest.approx(score, abs=1e-3)
    assert f"the one of {score:.3f} nats" in told


def test_best_of_nothing_but_the_stop_string_shows_nothing(model, draft, monkeypatch):
    monkeypatch.setattr(sample_module, "draw", lambda p, *_: p.argmax(-1) * 0)
    assert write(model, draft, 2, n_branch=2, stop=[" 0"]) == ([], [])


def test_writing_that_gets_on_with_no_word_ends(model, draft, monkeypatch):
    monkeypatch.setattr(sample_module, "draw", lambda p, *_: p.argmax(-1) * 0 + 1)
    assert len(write(model, draft, 2)[0]) == 64


@pytest.mark.parametrize(("changes", "message"), [
    (dict(n_word=0), "n_word must be at least 1, got 0"),
    (dict(n_branch=0), "n_branch must be at least 1, got 0"),
    (dict(stop=[""]), "stop must not hold an empty string"),
])  # fmt: skip
def test_bad_arguments_are_named(model, draft, changes, message):
    with pytest.raises(ValueError, match=message):
        write(model, draft, **{"n_word": 3, **changes})
    with pytest.raises(ValueError, match="does not know its next token"):
        write(model, new_draft(model), 3)


@pytest.mark.parametrize("n_branch", [1, 3])
def test_special_tokens_are_not_written(model, draft, monkeypatch, n_branch):
    special = frozenset(range(0, 50, 2))
    assert special & set(write(model, draft, 10, n_branch=n_branch)[0])
    monkeypatch.setattr(TOKENIZER, "special_ids", special)
    assert not special & set(write(model, draft, 10, n_branch=n_branch)[0])
