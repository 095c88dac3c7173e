"""How training reads: each lane reads one manuscript to its end, in order, then begins another.

Which one comes next follows from what was read so far: first the corpus, then the manuscript that
is furthest behind its share. So shares hold however long the books are, and a few numbers say where
a stream stands.

B lanes, L tokens of a segment, T tokens of a manuscript
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from memformer.data.token_files import Tokens


class Segment(NamedTuple):
    """The next tokens of every lane."""

    tokens: Tensor
    """(B, L) int64; 0 under padding."""
    targets: Tensor
    """(B, L) int64: the next token of the same manuscript; 0 where there is none."""
    mask: Tensor
    """(B, L) bool: False for padding, which stands at the end of a lane's row."""
    weight: Tensor
    """(B, L) float32: of each target in the loss; 0 where there is no target."""
    fraction: Tensor
    """(B, L) float32: u = (t + 0.5) / T; 0 under padding."""
    begins: list[int]
    """Rows in which a manuscript begins: reset their state before reading."""
    books: list[str]
    """Id of the manuscript, by row."""


class Corpus(NamedTuple):
    """Manuscripts that are read in one share."""

    name: str
    tokens: Tokens
    weight: float
    """Share of the tokens read, relative to other corpora."""


class Lanes:
    """An endless stream of segments of `n_lane` manuscripts read side by side.

    The next manuscript of a lane is of the corpus with the fewest tokens given out for its weight,
    and in it the manuscript with the fewest tokens given out for length**length_power; equals are
    taken in a random order, and books open in another lane only when no other is left.

    Args:
        corpora: at least one.
        n_lane: manuscripts read side by side, in all ranks together.
        segment_len: tokens of a segment, `L`.
        seed: of the order among equals.
        length_power: 0 gives every manuscript of a corpus equally many tokens, so that no book is
            favoured by its length; 1 reads every one equally often. (Sampling by a power of size is
            known from mixing languages: Conneau & Lample 2019, arXiv:1901.07291, §3.1.)
        own: lanes of this rank, whose tensors are made; all by default.

    Raises:
        ValueError: no corpus, a weight that is not above 0, a size below 1, a negative power or
            seed, or lanes that do not exist.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        *,
        n_lane: int,
        segment_len: int,
        seed: int,
        length_power: float = 0.0,
        own: range | None = None,
    ) -> None:
        self.corpora, self.n_lane, self.segment_len = list(corpora), n_lane, segment_len
        self.seed, self.length_power = seed, length_power
        self.own = range(n_lane) if own is None else own
        self._check()
        self._about = [[c.name, c.weight, _digest(c.tokens)] for c in self.corpora]
        self._given = [np.zeros(len(corpus.tokens.ids), np.int64) for corpus in self.corpora]
        self._size = [
            np.asarray(c.tokens.lengths, np.float64) ** length_power for c in self.corpora
        ]
        self._lanes: list[tuple[int, int, int]] = []  # corpus, manuscript, next token
        for _ in range(n_lane):
            self._lanes.append(self._next_book({(c, b) for c, b, _ in self._lanes}))

    def __iter__(self) -> "Lanes":
        return self

    def __next__(self) -> Segment:
        """The next segment of every lane; see `Segment`."""
        rows = []
        for lane, (corpus, book, at) in enumerate(self._lanes):
            if lane in self.own:
                rows.append(self._row(corpus, book, at))
            self._lanes[lane] = (corpus, book, at + self.segment_len)
        self._turn_pages()
        columns = list(zip(*rows, strict=True))
        ids, targets, mask, weight, fraction = (torch.from_numpy(np.stack(c)) for c in columns[:5])
        begins = [i for i, is_first in enumerate(columns[5]) if is_first]
        return Segment(ids, targets, mask, weight, fraction, begins, list(columns[6]))

    def to_json(self) -> dict[str, Any]:
        """Where the stream stands, for `restore`."""
        return {
            "n_lane": self.n_lane,
            "segment_len": self.segment_len,
            "seed": self.seed,
            "length_power": self.length_power,
            "corpora": self._about,
            "lanes": [list(lane) for lane in self._lanes],
            "given": [given.tolist() for given in self._given],
        }

    def restore(self, where: dict[str, Any]) -> None:
        """Go on from where another stream over the same texts stood.

        Raises:
            ValueError: its settings or texts differ, or a part is missing; the message names what.
        """
        mine = self.to_json()
        if missing := sorted(mine.keys() - where.keys()):
            raise ValueError(f"restore: where must be what to_json gave, it has no {missing[0]!r}")
        for name in ("n_lane", "segment_len", "seed", "length_power", "corpora"):
            if where[name] != mine[name]:
                raise ValueError(
                    f"restore: the stream was saved with {name}={where[name]}, this one has "
                    f"{mine[name]}: resume with the texts and settings it began with"
                )
        self._lanes = [(c, b, at) for c, b, at in where["lanes"]]
        self._given = [np.asarray(given, np.int64) for given in where["given"]]

    def _row(self, corpus: int, book: int, at: int) -> tuple[Any, ...]:
        tokens = self.corpora[corpus].tokens
        whole, L = tokens.tokens(book), self.segment_len
        n, T = min(L, len(whole) - at), len(whole)
        part = np.zeros(L + 1, np.int64)
        seen = whole[at : at + L + 1]
        part[: len(seen)] = seen
        ids, targets = part[:L].copy(), part[1:].copy()
        ids[n:] = 0
        place = np.arange(L)
        weight = (place + at + 1 < T).astype(np.float32)
        fraction = np.where(place < n, (at + place + 0.5) / T, 0).astype(np.float32)
        return ids, targets, place < n, weight, fraction, at == 0, tokens.ids[book]

    def _turn_pages(self) -> None:
        """Begin another manuscript in each lane whose own has ended."""
        for lane, (corpus, book, at) in enumerate(self._lanes):
            if at >= self.corpora[corpus].tokens.lengths[book]:
                open_elsewhere = {(c, b) for i, (c, b, _) in enumerate(self._lanes) if i != lane}
                self._lanes[lane] = self._next_book(open_elsewhere)

    def _next_book(self, avoid: set[tuple[int, int]]) -> tuple[int, int, int]:
        behind = [g.sum() / c.weight for g, c in zip(self._given, self.corpora, strict=True)]
        corpus = int(np.argmin(behind))
        given, tokens = self._given[corpus], self.corpora[corpus].tokens
        busy = np.zeros(len(given), bool)
        busy[[b for c, b in avoid if c == corpus]] = True
        # each time a book has been given once more, its place among equals is drawn anew
        place, n_pass = np.empty(len(given)), given // np.asarray(tokens.lengths)
        for each in np.unique(n_pass):
            drawn = np.random.default_rng([self.seed, corpus, int(each)]).random(len(given))
            place[n_pass == each] = drawn[n_pass == each]
        book = int(np.lexsort((place, given / self._size[corpus], busy))[0])
        given[book] += tokens.lengths[book]
        return corpus, book, 0

    def _check(self) -> None:
        if not self.corpora:
            raise ValueError("corpora must hold at least one corpus, got none")
        for name in ("n_lane", "segment_len"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        if not 0 <= self.length_power < float("inf"):
            raise ValueError(f"length_power must be at least 0, got {self.length_power}")
        for corpus in self.corpora:
            if not 0 < corpus.weight < float("inf"):
                raise ValueError(f"weight of {corpus.name!r} must be above 0, got {corpus.weight}")
        if not self.own or self.own[0] < 0 or self.own[-1] >= self.n_lane:
            raise ValueError(f"own must be lanes in [0, n_lane={self.n_lane}), got {self.own}")


def _digest(tokens: Tokens) -> str:
    names = "\n".join(f"{i} {n}" for i, n in zip(tokens.ids, tokens.lengths, strict=True))
    names += tokens.hash
    return hashlib.sha256(names.encode()).hexdigest()[:16]
