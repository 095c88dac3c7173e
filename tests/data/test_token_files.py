"""Tokens on disk: mapped into memory, whole or not there, of one tokenizer."""

import errno

import numpy as np
import pytest

from memformer.data import token_files
from memformer.data.manuscripts import Manuscript
from memformer.data.sentencepiece_tokenizer import train_tokenizer
from memformer.data.token_files import TokenFolder, TokenLists, write_tokens

TEXT = "The ship left at dawn. Nobody waved, and nobody had expected that anybody would. "


def manuscript(name: str, text: str) -> Manuscript:
    return Manuscript(id=name, author="A", title=name, text=text, source="test", raw_hash="0" * 64)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([TEXT * 3], 290)


@pytest.fixture
def books():
    return [
        manuscript("one", TEXT),
        manuscript("two", TEXT[::-1]),
        manuscript("three", "dawn dawn"),
    ]


def test_mapped_tokens_are_those_of_the_tokenizer(tokenizer, books, tmp_path):
    folder = write_tokens(books, tokenizer, tmp_path / "t")
    assert folder.ids == ["one", "two", "three"] and len(folder) == 3
    for i, book in enumerate(books):
        assert folder.tokens(i).tolist() == tokenizer.encode(book.text).ids
        assert folder.lengths[i] == len(folder.tokens(i))
    again = TokenFolder.open(tmp_path / "t", tokenizer.hash, verify=True)
    assert np.array_equal(again.tokens(1), folder.tokens(1))


def test_writing_the_same_again_does_nothing(tokenizer, books, tmp_path):
    write_tokens(books, tokenizer, tmp_path / "t")
    before = (tmp_path / "t" / token_files.FILE).stat().st_mtime_ns
    write_tokens(books, tokenizer, tmp_path / "t")
    assert (tmp_path / "t" / token_files.FILE).stat().st_mtime_ns == before
    write_tokens(iter(books[:2]), tokenizer, tmp_path / "t")  # lazily, and other books
    assert TokenFolder.open(tmp_path / "t").ids == ["one", "two"]


def test_full_disk_leaves_the_folder_as_it_was(tokenizer, books, tmp_path, monkeypatch):
    write_tokens(books, tokenizer, tmp_path / "t")

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(token_files.os, "fsync", full)
    with pytest.raises(OSError, match="the tokens were not written"):
        write_tokens(books[:1], tokenizer, tmp_path / "t")
    assert TokenFolder.open(tmp_path / "t", verify=True).ids == ["one", "two", "three"]
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_other_tokenizer_damage_and_absence_are_named(tokenizer, books, tmp_path):
    write_tokens(books, tokenizer, tmp_path / "t")
    with pytest.raises(ValueError, match="tokens were made with tokenizer"):
        TokenFolder.open(tmp_path / "t", "f" * 64)
    path = tmp_path / "t" / token_files.FILE
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is damaged"):
        TokenFolder.open(tmp_path / "t", verify=True)
    path.write_bytes(data[:-2])
    with pytest.raises(ValueError, match="must have .* bytes, got"):
        TokenFolder.open(tmp_path / "t")
    with pytest.raises(ValueError, match="holds no tokens"):
        TokenFolder.open(tmp_path / "nowhere")


def test_empty_corpora_and_short_books_are_named(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="the corpus is empty: no manuscript is left"):
        write_tokens([], tokenizer, tmp_path / "t")
    with pytest.raises(ValueError, match="'tiny' must have at least 2 tokens to learn from, got 1"):
        write_tokens([manuscript("tiny", "a")], tokenizer, tmp_path / "t")
    with pytest.raises(ValueError, match="must have different ids, got 'a' twice"):
        TokenLists(["a", "a"], [np.zeros(3), np.zeros(3)])
    assert not (tmp_path / "t").exists()


def test_foreign_folder_is_not_replaced(tokenizer, books, tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds no tokens"):
        write_tokens(books, tokenizer, tmp_path / "t")
    assert (tmp_path / "t" / "thesis.txt").read_text() == "years of work"
