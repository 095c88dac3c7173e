"""From reviews to tokens: nothing is left out uncounted."""

import dataclasses
from datetime import UTC, datetime

import pytest

from memformer.data.feedback import Review
from memformer.data.manuscripts import build_manuscript
from memformer.reward.review_text import review_vocabulary
from memformer.reward.review_tokens import encode_reviews
from tests.reward.small_reviewer import CONFIG, LETTERS, letters

LONG = dataclasses.replace(CONFIG, max_len=20)


def manuscript(name, title="a tale", author="doe, jane"):
    return build_manuscript(
        "once upon a time there was a tale.", id=name, author=author, title=title, source="test",
        raw_hash="0",
    )  # fmt: skip


BOOKS = [manuscript("n1"), manuscript("n2", title="other days")]


def day(month, day):
    return datetime(2026, month, day, tzinfo=UTC)


def encoded(*reviews, config=LONG, **kwargs):
    words = review_vocabulary(letters(), config)
    return encode_reviews(reviews, BOOKS, letters(), words, config, **kwargs), words


def text_of(ids):
    return "".join(LETTERS[i] for i in ids if i < len(LETTERS))


def test_review_is_stripped_encoded_and_ended():
    review = Review(review="v1", novel="n2", text="grim other days 4/5", stars=4, upto_u=0.5,
                    reviewer="p_5f")  # fmt: skip
    ((found,), counts), words = encoded(review, groups={"p_5f": "old"}, delays={"v1": 30})
    assert text_of(found.ids) == "grim this book" and found.ids[-1] == words.end
    assert found.novel == 1 and found.upto_u == 0.5
    assert (found.group, found.delay) == (words.group_id("old"), words.delay_id(30))
    assert (counts.n_title, counts.n_stars, counts.n_used) == (1, 1, 1)
    assert counts.told() == "1 of 1 reviews used; title 1; stars 1"


def test_everything_left_out_is_counted():
    reviews = [
        Review(review="a", novel="n9", text="no such novel"),
        Review(review="b", novel="n1", text=" ★★★ ...", written_at=day(1, 1)),
        Review(review="c", novel="n1", text="x" * 20, written_at=day(1, 1)),
        Review(review="d", novel="n1", text="later", written_at=day(6, 2)),
        Review(review="e", novel="n1", text="undated"),
        Review(review="f", novel="n1", text="x" * 19, written_at=day(6, 1),
               reviewer="p_1"),
    ]  # fmt: skip
    (found, counts), words = encoded(*reviews, as_of=day(6, 1), groups={"p_1": "teens"})
    assert [each.id for each in found] == ["f"]
    assert found[0].group == words.group_id(None)
    assert dataclasses.asdict(counts) == {
        "n_read": 6, "n_used": 1, "n_without_novel": 1, "n_later": 2, "n_empty": 1,
        "n_too_long_left_out": 1, "n_cut": 0, "n_title": 0, "n_author": 0, "n_stars": 1,
        "n_unknown_group": 1,
    }  # fmt: skip


def test_cut_reviews_have_no_end_and_are_counted():
    config = dataclasses.replace(LONG, too_long="cut")
    ((found,), counts), words = encoded(
        Review(review="c", novel="n1", text="x" * 20), config=config
    )
    assert text_of(found.ids) == "x" * 20 and words.end not in found.ids
    assert counts.n_cut == 1 and counts.n_used == 1


def test_another_tokenizer_is_refused():
    other = letters()
    other.hash = "another"
    words = review_vocabulary(letters(), LONG)
    with pytest.raises(ValueError, match="over tokenizer fake, this one is anothe"):
        encode_reviews([], BOOKS, other, words, LONG)
