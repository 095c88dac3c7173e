"""A tokenizer of our own, trained on the training texts: SentencePiece, byte-pair encoding.

Kudo & Richardson 2018, arXiv:1808.06226. Nothing is normalised and unknown characters fall back to
bytes, so decoding gives back any text as it was.
"""

import hashlib
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from memformer.data.tokenizer import Encoding

FILE = "tokenizer.model"
"""In a folder of a run."""

_LEAST = 3 + 256  # unknown, begin, end, and the bytes
_LONGEST = 4000  # characters of a piece of text to train on; longer ones SentencePiece drops
_SIGN = "\u2581"  # SentencePiece's own for a space: in a text it is written as its three bytes
_PROBE = f"  a\n\n b{_SIGN}\U0001f642 "


class SentencePieceTokenizer:
    """A SentencePiece model behind the library's protocol; no special token is ever added.

    Args:
        model: the bytes of a .model file.

    Raises:
        ValueError: the bytes are no such model, or one that changes a text (SentencePiece's own
            defaults drop and add spaces; so does a file that was cut short).
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = _processor(model)
        self.vocab_size: int = self._processor.vocab_size()
        self.special_ids = frozenset(
            i for i in range(self.vocab_size)
            if self._processor.is_control(i) or self._processor.is_unknown(i)
        )  # fmt: skip
        self.hash = hashlib.sha256(model).hexdigest()
        self._widths = [_width(self._processor, i) for i in range(self.vocab_size)]
        self._sign = [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in _SIGN.encode()]
        if self.decode(self.encode(_PROBE).ids) != _PROBE:
            raise ValueError(
                "this SentencePiece model does not give a text back as it was: it is damaged, or "
                "no tokenizer that train_tokenizer made"
            )

    def encode(self, text: str) -> Encoding:
        """Ids and half-open character spans; the bytes of one character share its span.

        Raises:
            UnicodeEncodeError: a lone surrogate; a ValueError, and says where it stands.
        """
        text.encode()  # SentencePiece's own complaint about a surrogate names nothing
        ids: list[int] = []
        for i, part in enumerate(text.split(_SIGN)):
            ids += self._sign if i else []
            ids += self._processor.encode(part) if part else []
        return Encoding(ids, self._spans(ids))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids; bytes that are no UTF-8 become U+FFFD."""
        text: str = self._processor.decode([int(i) for i in ids])
        return text

    def save(self, path: Path) -> None:
        """Write the .model file, whole or not at all.

        Raises:
            OSError: for example when the disk is full; what stood at `path` is then as it was.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(self._model)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            reason = f"{error.strerror or error}: the tokenizer was not written"
            raise OSError(error.errno, reason, str(path)) from error
        finally:
            temporary.unlink(missing_ok=True)

    def save_in(self, folder: Path) -> None:
        """Write `tokenizer.model` into a folder, as `save` does."""
        self.save(folder / FILE)

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

    def _spans(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        spans, span = [], (0, 0)
        for i in ids:
            if width := self._widths[i]:  # 0: a further byte of the character before
                span = (span[1], span[1] + width)
            spans.append(span)
        return spans


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> SentencePieceTokenizer:
    """Train byte-pair encoding with byte fallback on some texts; the same texts give the same.

    Args:
        texts: of the training split alone.
        vocab_size: tokens, the 256 bytes and three specials among them.

    Raises:
        ValueError: no text, or a vocabulary too small for the bytes and the texts' characters, or
            too large for the texts.
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
        raise ValueError(_refusal(str(error), vocab_size)) from None
    return SentencePieceTokenizer(model.getvalue())


def _cut(text: str) -> list[str]:
    """Paragraphs, each with its line ends kept out (they are tokens of their own, as bytes)."""
    return [
        line[i : i + _LONGEST]
        for line in text.splitlines()
        for i in range(0, len(line), _LONGEST)
        if line.strip()
    ]


def _refusal(message: str, vocab_size: int) -> str:
    """What SentencePiece says of a vocabulary that does not fit, in words of ours."""
    if most := re.search(r"<= (\d+)\.", message):
        return (
            f"vocab_size must be at most {most[1]} for so little text, got {vocab_size}: lower it, "
            "or train on more"
        )
    if least := re.search(r"\d+ vs (\d+)", message):
        return (
            f"vocab_size must be at least {least[1]} to hold the characters of the texts, "
            f"got {vocab_size}: raise it"
        )
    return f"texts cannot be trained on: {message}"


def _processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    if not model:  # SentencePiece takes no bytes for a model of no tokens
        raise ValueError("not a SentencePiece model: it is empty")
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise ValueError(f"not a SentencePiece model: {error}") from None


def _width(processor: sentencepiece.SentencePieceProcessor, i: int) -> int:
    """Characters that a token adds to a text; the first byte of a character counts as all of it."""
    piece = processor.id_to_piece(i)
    if processor.is_byte(i):
        return int(not 0x80 <= int(piece[1:-1], 16) < 0xC0)
    return len(piece)
