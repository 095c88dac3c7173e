"""Our own tokenizer: lossless, deterministic, and clear about what it cannot do."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memformer.data.sentencepiece_tokenizer import SentencePieceTokenizer, train_tokenizer

TEXT = (
    "It was a bright cold day in April, and every clock in the house had stopped at noon.\n\n" * 4
)
TOKENIZER = train_tokenizer([TEXT], 300)


@pytest.mark.parametrize("text", [
    "", " ", "\n", "\n\n  two  spaces\t\r\n", 'café — “quoted” 😀😀x', "日本", "<s> <unk> <0x0A>",
    "zero\u200bwidth e\u0301", "\u2581", "a\u2581\u2581 b\u2581", "\0a\0", "\ufffd",
])  # fmt: skip
def test_decoding_gives_the_text_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids) == text


@given(st.text(st.characters(codec="utf-8", include_characters="\u2581 \n"), max_size=60))
def test_any_text_survives_and_spans_cover_it(text):
    ids, spans = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert len(ids) == len(spans) and all(0 <= i < TOKENIZER.vocab_size for i in ids)
    assert "".join(text[a:b] for a, b in dict.fromkeys(spans)) == text


def test_bytes_of_one_character_share_its_span():
    assert TOKENIZER.encode("😀").spans == [(0, 1)] * 4


def test_lone_surrogate_is_an_error_that_says_where():
    with pytest.raises(ValueError, match=r"'\\ud800' in position 2: surrogates not allowed"):
        TOKENIZER.encode("ab\ud800")


def test_training_is_deterministic_and_saving_keeps_the_hash(tmp_path):
    assert train_tokenizer([TEXT], 300).hash == TOKENIZER.hash
    TOKENIZER.save(tmp_path / "a" / "t.model")
    loaded = SentencePieceTokenizer.load(tmp_path / "a" / "t.model")
    assert (loaded.hash, loaded.vocab_size) == (TOKENIZER.hash, 300)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["t.model"]


def test_damaged_file_is_named(tmp_path):
    (tmp_path / "t.model").write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"t\.model: not a SentencePiece model"):
        SentencePieceTokenizer.load(tmp_path / "t.model")


def test_file_cut_short_anywhere_is_refused(tmp_path):
    TOKENIZER.save(tmp_path / "t.model")
    whole = (tmp_path / "t.model").read_bytes()
    cuts = [*range(0, len(whole) - 64, 37), *range(len(whole) - 64, len(whole))]
    for n in cuts:  # one of them ends after a whole field and parses
        (tmp_path / "t.model").write_bytes(whole[:n])
        with pytest.raises(ValueError, match=r"t\.model: .*SentencePiece model"):
            SentencePieceTokenizer.load(tmp_path / "t.model")


def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "t.model").write_bytes(b"old")

    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device: the tokenizer was not written"):
        TOKENIZER.save(tmp_path / "t.model")
    assert (tmp_path / "t.model").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["t.model"]


@pytest.mark.parametrize(("texts", "size", "message"), [
    ([TEXT], 259, r"vocab_size must be above 259 \(256 bytes and 3 specials\), got 259"),
    (["few words"], 5000, r"vocab_size must be at most \d+ for so little text, got 5000"),
    (["".join(map(chr, range(0x400, 0x500)))], 270, r"at least \d+ to hold the characters of"),
    (["\u2585"], 300, "texts cannot be trained on"),  # a sign that SentencePiece keeps to itself
    ([], 300, "texts must hold some text"),
    (["\n\n"], 300, "texts must hold some text"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_named(texts, size, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(texts, size)


def test_unknown_begin_and_end_are_special():
    assert TOKENIZER.special_ids == {0, 1, 2}
    assert not TOKENIZER.special_ids & set(TOKENIZER.encode(TEXT + "<s> <unk> \U0001f642").ids)
