"""Our own tokenizer: lossless, deterministic, and clear about what it cannot do."""

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
    "zero\u200bwidth e\u0301",
])  # fmt: skip
def test_decoding_gives_the_text_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\u2581\0"), max_size=60))
def test_any_text_survives_and_spans_cover_it(text):
    ids, spans = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert len(ids) == len(spans) and all(0 <= i < TOKENIZER.vocab_size for i in ids)
    assert "".join(text[a:b] for a, b in dict.fromkeys(spans)) == text


def test_bytes_of_one_character_share_its_span():
    assert TOKENIZER.encode("😀").spans == [(0, 1)] * 4


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


@pytest.mark.parametrize(("texts", "size", "message"), [
    ([TEXT], 259, r"vocab_size must be above 259 \(256 bytes and 3 specials\), got 259"),
    (["few words"], 5000, r"vocab_size must be at most \d+ for so little text, got 5000"),
    ([], 300, "texts must hold some text"),
    (["\n\n"], 300, "texts must hold some text"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_named(texts, size, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(texts, size)
