"""A tokenizer of given byte strings, which drops a leading space, as SentencePiece's may."""

from collections.abc import Sequence

from memformer.data.tokenizer import Encoding


class FakeTokenizer:
    hash = "fake"
    special_ids: frozenset[int] = frozenset()

    def __init__(self, *pieces: bytes | str) -> None:
        self.pieces = [p if isinstance(p, bytes) else p.encode() for p in pieces]

    @property
    def vocab_size(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> Encoding:
        """Longest piece first; spans are not needed here."""
        rest, ids = text.encode(), []
        while rest:
            best = max((p for p in self.pieces if p and rest.startswith(p)), key=len)
            ids.append(self.pieces.index(best))
            rest = rest[len(best) :]
        return Encoding(ids, [])

    def decode(self, ids: Sequence[int]) -> str:
        text = b"".join(self.pieces[i] for i in ids).decode(errors="replace")
        return text[1:] if text.startswith(" ") else text


class Script:
    """Stands in for `draw`: gives these ids, one after the other."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = list(ids)

    def __call__(self, probability, seed, positions):
        return probability.argmax(-1) * 0 + self.ids.pop(0)
