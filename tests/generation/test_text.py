"""The stream of text: whole characters, as early as they are certain, and no stop string."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memformer.config import SamplingConfig
from memformer.generation import sample as sample_module
from memformer.generation.prompts import read_prompts
from memformer.generation.sample import sample
from memformer.generation.text import pieces, until_stop, until_words, write_text
from tests.generation.fake import FakeTokenizer, Script

WORDS = FakeTokenizer(" It", " rain", "ed", ".", "\n", "", *[bytes([b]) for b in "é😀".encode()])
EURO = FakeTokenizer(b"a\xe2", b"\x82", b"\xac", b"b", b"\xff", b"\xacb")


def texts(ids, tokenizer, stop=(), before=()):
    """What is yielded after each token, and at the end."""
    told, after = [""], []

    def feed():
        for each in ids:
            yield each
            after.append(told[-1])
            told.append("")

    for piece in until_stop(pieces(feed(), tokenizer, before), stop):
        told[-1] += piece.text
    return [*after, *told[len(after) :]]


def test_each_token_gives_its_text_at_once_and_inner_spaces_stay():
    assert texts([0, 1, 2, 3], WORDS) == ["It", " rain", "ed", ".", ""]


def test_first_word_keeps_its_space_after_a_text():
    assert texts([1, 2], WORDS, before=[0]) == [" rain", "ed", ""]
    assert texts([1, 2], WORDS, before=[4, 4, 4]) == [" rain", "ed", ""]
    assert texts([4, 4, 1, 4, 1], WORDS) == ["\n", "\n", " rain", "\n", " rain", ""]


def test_character_over_several_tokens_comes_as_a_whole():
    assert texts([0, 6, 7, 3], WORDS) == ["It", "", "é", ".", ""]
    assert texts([8, 9, 10, 11, 0], WORDS) == ["", "", "", "😀", " It", ""]
    assert texts([0, 1, 2, 0], EURO) == ["a", "", "€", "a", ""]
    assert texts([0, 1, 5], EURO) == ["a", "", "€b", ""]


def test_unfinished_character_at_the_end_is_left_out():
    assert texts([3, 0, 1], EURO) == ["b", "a", "", ""]
    assert [p.ids for p in pieces([3, 0, 1], EURO)] == [[3], [0]]


def test_bytes_that_are_no_character_come_with_the_next_one():
    assert texts([4, 4, 3, 4], EURO) == ["", "", "\ufffd\ufffdb", "", ""]


def test_token_without_text_is_passed_on():
    assert list(pieces([0, 5, 1], WORDS)) == [([0], "It"), ([5], ""), ([1], " rain")]
    assert [p.ids for p in until_stop(pieces([0, 5], WORDS), ()) if p.ids] == [[0], [5]]


def test_stop_string_over_several_tokens_leaks_nothing():
    tokenizer = FakeTokenizer("a", "\n", "\nCHAP", "TER", "T", "x")
    assert texts([0, 2, 3, 0], tokenizer, ["\nCHAPTER"]) == ["a", "", ""]
    assert texts([0, 2, 4, 5], tokenizer, ["\nCHAPTER"]) == ["a", "", "", "\nCHAPTx", ""]
    assert texts([1, 1, 2, 3], tokenizer, ["\n\nCHAPTER"]) == ["", "", "\n", ""]
    assert texts([0, 2], tokenizer, ["\nCHAPTER"]) == ["a", "", "\nCHAP"]  # it was none


def test_stop_string_within_a_token_ends_before_it():
    tokenizer = FakeTokenizer("one. Two", " three")
    assert texts([1, 0, 1], tokenizer, ["."]) == ["three", "one"]
    assert texts([0], tokenizer, ["Two", "."]) == ["one"]
    assert texts([0], tokenizer, ["one"]) == [""]
    (piece,) = until_stop(pieces([0, 1], tokenizer), ["."])
    assert piece == ([0], "one")


def test_stop_string_with_a_split_character():
    assert texts([3, 0, 1, 2, 3], EURO, ["€"]) == ["b", "a", "", ""]
    assert texts([0, 1, 5], EURO, ["a€b"]) == ["", "", ""]


def test_words_end_before_the_token_that_begins_one_more():
    ids = [0, 1, 2, 3, 4, 0, 1]  # It rained.\n It rain
    for n, expected in ((1, [0]), (2, [0, 1, 2, 3, 4]), (3, ids[:6]), (4, ids), (9, ids)):
        assert [i for piece in until_words(pieces(ids, WORDS), n) for i in piece.ids] == expected


@settings(max_examples=200, deadline=None)
@given(st.text("ab é€😀\n\ufffd", max_size=12), st.data())
def test_any_split_of_any_text_gives_the_text(text, data):
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)))
    parts = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    tokenizer = FakeTokenizer("x", *parts)
    stop = data.draw(st.text("ab é€\n", min_size=1, max_size=4))
    expected = text.rstrip("\ufffd")  # at the very end it may be half a character
    joined = "".join(texts(range(1, len(parts) + 1), tokenizer, before=[0]))
    assert joined == expected
    stopped = "".join(texts(range(1, len(parts) + 1), tokenizer, [stop], before=[0]))
    assert stopped == (text[: text.find(stop)] if stop in text else expected)


def test_write_text_streams_what_sample_writes(model):
    tokenizer = FakeTokenizer(*[f" {i}" for i in range(50)])
    config = SamplingConfig(seed=2, repetition_penalty=1.2)
    state = model.new_state(1)
    logits = read_prompts(model, state, [[1, 2, 3]])
    twin = state.fork(1)
    expected = [f" {int(t)}" for t in sample(model, twin, logits, 9, config=config,
                                             before=[[1, 2, 3]], length=20)]  # fmt: skip
    stream = write_text(
        model, tokenizer, state, logits, 9, config=config, before=[1, 2, 3], length=20
    )
    for i, text in enumerate(stream):
        assert text == expected[i] and state.n_read == [4 + i]
    assert state.n_read == [12]


def test_write_text_stops_and_has_read_the_stop_string(model, monkeypatch):
    monkeypatch.setattr(sample_module, "draw", Script([0, 1, 2, 6, 7, 3, 4, 0]))
    state = model.new_state(1)
    logits = read_prompts(model, state, [[4]])
    stream = write_text(model, WORDS, state, logits, 8, stop=[".\n"], before=[4])
    assert list(stream) == [" It", " rain", "ed", "é"]
    assert state.n_read == [8]


def test_bad_arguments_are_named_at_once(model):
    state = model.new_state(2)
    logits = read_prompts(model, state, [[1], [2]])
    with pytest.raises(ValueError, match="write_text writes one lane, the state has 2"):
        write_text(model, WORDS, state, logits, 3)
    one = state.select([0])
    with pytest.raises(TypeError, match=r"got the string 'END': \['END'\]"):
        write_text(model, WORDS, one, logits[:1], 3, stop="END")
    with pytest.raises(ValueError, match="stop must not hold an empty string"):
        write_text(model, WORDS, one, logits[:1], 3, stop=[""])
    with pytest.raises(ValueError, match="n_token must be at least 0"):
        write_text(model, WORDS, one, logits[:1], -3)


def test_special_tokens_are_not_written(model, monkeypatch):
    tokenizer = FakeTokenizer(*[f" {i}" for i in range(50)])
    state = model.new_state(1)
    logits = read_prompts(model, state, [[1, 2, 3]])

    def words():
        return set("".join(write_text(model, tokenizer, state.fork(1), logits, 60)).split())

    special = {str(i) for i in range(25)}
    assert special & words()
    monkeypatch.setattr(tokenizer, "special_ids", frozenset(range(25)))
    assert words() and not special & words()
