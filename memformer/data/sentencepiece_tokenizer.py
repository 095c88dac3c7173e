"""A tokenizer of our own, trained on the training texts: SentencePiece, byte-pair encoding.

Kudo & Richardson 2018, arXiv:1808.06226. Nothing is normalised and unknown characters fall back to
bytes, so decoding gives back any text as it was (but for U+2581, SentencePiece's own sign for a
space).
"""

import hashlib
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from memformer.data.tokenizer import Encoding

_LEAST = 3 + 256  # unknown, begin, end, and the bytes
_LONGEST = 4000  # characters of a piece of text to train on; longer ones SentencePiece drops


class SentencePieceTokenizer:
    """A SentencePiece model behind the library's protocol; no special token is ever added.

    Args:
        model: the bytes of a .model file.

    Raises:
        ValueError: the bytes are no such model.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise ValueError(f"not a SentencePiece model: {error}") from None
        self.vocab_size: int = self._processor.vocab_size()
        self.hash = hashlib.sha256(model).hexdigest()

    def encode(self, text: str) -> Encoding:
        """Ids and half-open character spans; the bytes of one character share its span."""
        if not text:
            return Encoding([], [])
        found = self._processor.encode(text, return_type="offset_mapping")
        return Encoding(list(found["ids"]), _whole_spans([tuple(s) for s in found["offsets"]]))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids; bytes that are no UTF-8 become U+FFFD."""
        text: str = self._processor.decode([int(i) for i in ids])
        return text

    def save(self, path: Path) -> None:
        """Write the .model file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(self._model)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> "SentencePieceTokenizer":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged.
        """
        try:
            return cls(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> SentencePieceTokenizer:
    """Train byte-pair encoding with byte fallback on some texts; the same texts give the same.

    Args:
        texts: of the training split alone.
        vocab_size: tokens, the 256 bytes and three specials among them.

    Raises:
        ValueError: no text, a vocabulary too small for the bytes, or too large for the texts.
    """
    if vocab_size <= _LEAST:
        raise ValueError(
            f"vocab_size must be above {_LEAST} (256 bytes and 3 specials), got {vocab_size}"
        )
    pieces = [piece for text in texts for piece in _cut(text)]
    if not pieces:
        raise ValueError("texts must hold some text to train a tokenizer on, got none")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(pieces),
            model_writer=model,
            vocab_size=vocab_size,
            model_type="bpe",
            byte_fallback=True,
            character_coverage=0.9999,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            max_sentence_length=4 * _LONGEST + 16,
            num_threads=1,
            minloglevel=3,
        )
    except RuntimeError as error:
        most = re.search(r"<= (\d+)", str(error))
        allowed = f"at most {most.group(1)}" if most else "fewer"
        raise ValueError(
            f"vocab_size must be {allowed} for so little text, got {vocab_size}: lower it, or "
            "train on more"
        ) from None
    return SentencePieceTokenizer(model.getvalue())


def _cut(text: str) -> list[str]:
    """Paragraphs, each with its line ends kept out (they are tokens of their own, as bytes)."""
    return [
        line[i : i + _LONGEST]
        for line in text.splitlines()
        for i in range(0, len(line), _LONGEST)
        if line.strip()
    ]


def _whole_spans(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The bytes of a character have empty spans but for the last: give each the character's."""
    whole = list(spans)
    for i in range(len(whole) - 2, -1, -1):
        if whole[i][0] == whole[i][1] == whole[i + 1][0]:
            whole[i] = whole[i + 1]
    return whole
