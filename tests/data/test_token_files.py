"""Tokens on disk: mapped into memory, whole or not there, of one tokenizer."""

import errno
import os

import numpy as np
import pytest
import torch

from memformer.data import token_files
from memformer.data.lanes import Corpus, Lanes
from memformer.data.manuscripts import Manuscript
from memformer.data.sentencepiece_tokenizer import train_tokenizer
from memformer.data.token_files import TokenFolder, TokenLists, write_tokens
from memformer.data.tokenizer import Encoding

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
    with pytest.raises(OSError, match="the tokens were not written") as e:
        write_tokens(books[:1], tokenizer, tmp_path / "t")
    assert e.value.errno == errno.ENOSPC and e.value.filename == str(tmp_path / "t")
    assert TokenFolder.open(tmp_path / "t", verify=True).ids == ["one", "two", "three"]
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_failed_rename_puts_the_old_tokens_back(tokenizer, books, tmp_path, monkeypatch):
    write_tokens(books, tokenizer, tmp_path / "t")
    replace = os.replace

    def full(source, target):
        if target == tmp_path / "t" and not str(source).endswith(".old"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(token_files.os, "replace", full)
        with pytest.raises(OSError, match="No space left on device: the tokens were not written"):
            write_tokens(books[:1], tokenizer, tmp_path / "t")
    assert TokenFolder.open(tmp_path / "t", verify=True).ids == ["one", "two", "three"]
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "no manifest", "cut manifest", "old"])
def test_writing_again_mends_a_damaged_folder(tokenizer, books, tmp_path, damage):
    write_tokens(books, tokenizer, tmp_path / "t")
    tokens, manifest = tmp_path / "t" / token_files.FILE, tmp_path / "t" / token_files.MANIFEST
    match damage:
        case "cut":
            tokens.write_bytes(tokens.read_bytes()[:-2])
        case "flipped":
            tokens.write_bytes(tokens.read_bytes()[:-1] + b"\xff")
        case "no manifest":
            manifest.unlink()
        case "cut manifest":
            manifest.write_text(manifest.read_text()[:-9])
        case "old":
            manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 0'))
    write_tokens(books, tokenizer, tmp_path / "t")
    again = TokenFolder.open(tmp_path / "t", tokenizer.hash, verify=True)
    assert again.tokens(1).tolist() == tokenizer.encode(books[1].text).ids


def test_two_of_one_id_are_refused_before_the_rest_is_read(tokenizer, books, tmp_path):
    def endless():
        yield books[0]
        yield books[0]
        raise AssertionError("read on")

    with pytest.raises(ValueError, match="must have different ids, got 'one' twice"):
        write_tokens(endless(), tokenizer, tmp_path / "t")
    assert not list(tmp_path.iterdir())


def test_unreadable_manuscript_is_not_called_a_failed_write(tokenizer, books, tmp_path):
    def lazy():
        yield books[0]
        yield manuscript("gone", (tmp_path / "gone.txt").read_text())

    with pytest.raises(FileNotFoundError, match=r"gone\.txt"):
        write_tokens(lazy(), tokenizer, tmp_path / "t")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["[]", '{"version": 1}', "null"])
def test_manifest_of_something_else_is_named(tokenizer, books, tmp_path, content):
    write_tokens(books, tokenizer, tmp_path / "t")
    (tmp_path / "t" / token_files.MANIFEST).write_text(content)
    with pytest.raises(ValueError, match="holds no tokens"):
        TokenFolder.open(tmp_path / "t")


def test_mapped_tokens_are_read_as_those_in_memory(tokenizer, books, tmp_path):
    folder = write_tokens(books, tokenizer, tmp_path / "t")
    lists = TokenLists(folder.ids, [np.array(folder.tokens(i)) for i in range(3)])
    mapped, held = (
        Lanes([Corpus("a", tokens, 1.0)], n_lane=2, segment_len=7, seed=0)
        for tokens in (folder, lists)
    )
    for _ in range(20):
        a, b = next(mapped), next(held)
        assert all(torch.equal(x, y) for x, y in zip(a[:5], b[:5], strict=True))
        assert a[5:] == b[5:]


def test_large_vocabulary_takes_four_bytes(tokenizer, books, tmp_path):
    class Large:
        vocab_size, hash = 70_000, "large"

        def encode(self, text):
            return Encoding([69_999, 1, 2], [(0, 1)] * 3)

    folder = write_tokens(books, Large(), tmp_path / "t")
    assert folder.tokens(1).dtype == "<u4" and folder.tokens(1).tolist() == [69_999, 1, 2]


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


@pytest.mark.parametrize("beside_tokens", [False, True])
def test_foreign_folder_is_not_replaced(tokenizer, books, tmp_path, beside_tokens):
    (tmp_path / "t").mkdir()
    if beside_tokens:
        write_tokens(books, tokenizer, tmp_path / "t")
    (tmp_path / "t" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="hold only tokens, it holds 'thesis.txt'"):
        write_tokens(books[:1], tokenizer, tmp_path / "t")
    assert (tmp_path / "t" / "thesis.txt").read_text() == "years of work"
