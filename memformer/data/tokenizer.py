"""What the library asks of a tokenizer; wrappers live where their library may be imported."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol


class Encoding(NamedTuple):
    """A text in tokens."""

    ids: list[int]
    """Token ids, one a token."""
    spans: list[tuple[int, int]]
    """Half-open range of characters of the text that each token stands for."""


class Tokenizer(Protocol):
    """Text to token ids and back."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that are no text (unknown, begin, end, ...): they are never drawn when writing."""

    @property
    def hash(self) -> str:
        """Digest of all that determines `encode`: saved states and results keep it."""

    def encode(self, text: str) -> Encoding:
        """Split a text; no special token is added."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some tokens."""

    def save_in(self, folder: Path) -> None:
        """Write its files into a folder, which is made if missing."""
