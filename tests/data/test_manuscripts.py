import hashlib

import pytest

from memformer.data.cleaning import Chapter
from memformer.data.manuscripts import (
    Manuscript,
    build_manuscript,
    decode,
    natural_name,
    slug,
    stories,
)


def manuscript(**changes):
    fields = {"id": "a", "author": None, "title": "A", "text": "Rain fell.", "source": "test"}
    return Manuscript(**{**fields, "raw_hash": "0", **changes})


def test_hash_and_words_are_of_the_cleaned_text():
    assert manuscript().hash == hashlib.sha256(b"Rain fell.").hexdigest()
    assert manuscript().words == 2


def test_repr_does_not_print_the_novel():
    assert "Rain" not in repr(manuscript())


@pytest.mark.parametrize("text", ["", " \n "])
def test_manuscript_without_text_is_an_error(text):
    with pytest.raises(ValueError, match="manuscript 'a' has no text"):
        manuscript(text=text)


@pytest.mark.parametrize("id", ["", "a/b", "../up", "a b", ".hidden", "x" * 121])
def test_id_that_cannot_name_a_file_is_an_error(id):
    with pytest.raises(ValueError, match="id must be up to 120 letters, digits"):
        manuscript(id=id)


@pytest.mark.parametrize("offsets", [(10,), (-1,), (3, 1), (2, 2)])
def test_chapters_out_of_order_or_range_are_an_error(offsets):
    with pytest.raises(ValueError, match=r"chapters of 'a' must have rising offsets in \[0, 10\)"):
        manuscript(chapters=tuple(Chapter(offset, "I") for offset in offsets))


def test_nothing_left_after_cleaning_is_an_error():
    with pytest.raises(ValueError, match="manuscript 'b' has no text"):
        build_manuscript("THE END", id="b", author=None, title="B", source="s", raw_hash="0")


def test_title_and_author_at_the_top_are_a_title_page():
    built = build_manuscript(
        "B\n\nBy H. G. Doe\n\nRain.",
        id="b",
        author="Doe, H. G.",
        title="B",
        source="s",
        raw_hash="0",
    )
    assert built.text == "Rain."


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_empty_file_is_an_error(data):
    with pytest.raises(ValueError, match="novel.txt is empty"):
        decode(data, "novel.txt")


def test_binary_file_is_an_error():
    with pytest.raises(ValueError, match="novel.txt must be text, got a zero byte at byte 2"):
        decode(b"PK\0\1", "novel.txt")


def test_file_in_another_encoding_is_an_error_that_says_how_to_convert():
    with pytest.raises(
        ValueError, match="novel.txt must be UTF-8, got byte 0xe9 at byte 3: .*iconv"
    ):
        decode("caf\u00e9".encode("latin-1"), "novel.txt")


def test_byte_order_mark_is_dropped():
    assert decode(b"\xef\xbb\xbfRain", "novel.txt") == "Rain"


def test_collection_is_split_at_titles_below_four_blank_lines():
    rain = "\nTHE RAIN\n\nIt fell.\n\nPART TWO\n\nAgain."
    raw = f"\ufeff{rain}\n\n\n\n\nTHE KING'S SUN\n\nIt shone."
    assert stories(raw.replace("\n", "\r\n")) == [
        ("The Rain", "\nIt fell.\n\nPART TWO\n\nAgain."),
        ("The King's Sun", "\nIt shone."),
    ]


def test_collection_without_titles_is_an_error():
    with pytest.raises(ValueError, match="a collection must have titles in capitals"):
        stories("It fell.")


def test_slug_and_natural_name():
    assert slug("The Emperor's New Suit!") == "the-emperors-new-suit"
    assert natural_name("Wells, H. G.") == "H. G. Wells"
