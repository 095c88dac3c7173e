"""Where the scored tokens begin.

A story is split into tokens once. Splitting a probe alone would differ from splitting it where it
stands, so the last tokens of the context are held back and split again together with stem, option
and suffix. Cutting at the length of the context's own tokens instead may leave nothing to score.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from memformer.data.tokenizer import Tokenizer
from memformer.plotbench.story import Span

_N_OVERLAP = 32  # tokens split once more before those held back
_N_AGREE = 16  # of them that must come out as in the whole story


class Branch(NamedTuple):
    """A probe in tokens, to be read after the first `n_context` tokens of its story."""

    n_context: int
    rows: tuple[tuple[int, ...], ...]
    """Of each option: the context's end, stem, option and suffix."""
    first: int
    """Place in every row of the first scored token; all rows are equal before it."""


class StoryTokens:
    """A story split once, and whatever is put into it.

    Args:
        text: the whole story.
        tokenizer: the model's.
        n_held: tokens before a probe that are split again with it.
    """

    def __init__(self, text: str, tokenizer: Tokenizer, n_held: int) -> None:
        self.text, self._tokenizer, self._n_held = text, tokenizer, n_held
        ids, spans = tokenizer.encode(text)
        self.ids: list[int] = list(ids)
        self.spans: list[Span] = [(start, stop) for start, stop in spans]
        self._stops = list(accumulate((stop for _, stop in self.spans), max))

    def __len__(self) -> int:
        return len(self.ids)

    def n_before(self, char: int) -> int:
        """Tokens that end at this offset or before."""
        return bisect_right(self._stops, char)

    def n_context(self, char: int) -> int:
        """Tokens that are read as they are before a probe at this offset."""
        return max(0, self.n_before(char) - self._n_held)

    def row(self, char: int, added: str) -> tuple[int, ...]:
        """Tokens after `n_context` of the story cut at an offset with a text added there.

        Raises:
            ValueError: the text changes how tokens before those held back are split.
        """
        return self._split(char, added)[0]

    def branch(self, char: int, stem: str, options: Sequence[str], suffix: str) -> Branch:
        """Split stem, option and suffix at an offset, for each option.

        Scored is from the first token at which rows differ, but no later than the token that covers
        the options' first character, to the suffix's end.

        Raises:
            ValueError: fewer than two options, options that are equal in tokens, nothing before
                them, or as `row`.
        """
        if len(options) < 2:
            raise ValueError(f"options must be at least two, got {len(options)}")
        split = [self._split(char, stem + option + suffix) for option in options]
        rows = [ids for ids, _ in split]
        if len(set(rows)) < len(rows):
            raise ValueError(f"options must differ in tokens, got {rows[0]} for {list(options)}")
        begin = char + len(stem)
        covering = [sum(stop <= begin for stop in stops) for _, stops in split]
        first = min(_first_difference(rows), *covering)
        n = self.n_context(char)
        if first == 0:
            raise ValueError(
                f"offset {char}: no token stands before the first scored one"
                if n == 0
                else f"offset {char}: the options change tokens as far back as those held back: "
                f"raise n_held above {self._n_held}"
            )
        return Branch(n, tuple(rows), first)

    def _split(self, char: int, added: str) -> tuple[tuple[int, ...], list[int]]:
        """Ids after `n_context`, and the offset at which each ends."""
        n = self.n_context(char)
        for start in (max(0, n - _N_OVERLAP), 0):
            found = self._split_from(start, n, char, added)
            if found is not None:
                return found
        raise ValueError(
            f"offset {char}: with the probe, tokens before the last {self._n_held} of the context "
            "are split otherwise: raise n_held"
        )

    def _split_from(
        self, start: int, n: int, char: int, added: str
    ) -> tuple[tuple[int, ...], list[int]] | None:
        """None where the tokens before token `n` do not come out as in the story."""
        origin = self.spans[start][0] if start else 0
        ids, spans = self._tokenizer.encode(self.text[origin:char] + added)
        stops = list(accumulate((origin + stop for _, stop in spans), max))
        if not n:
            return tuple(ids), stops
        m = bisect_right(stops, self._stops[n - 1])
        k = _N_AGREE if start else n
        agree = (
            m >= k
            and list(ids[m - k : m]) == self.ids[n - k : n]
            and stops[m - k : m] == self._stops[n - k : n]
        )
        return (tuple(ids[m:]), stops[m:]) if agree else None


def _first_difference(rows: Sequence[Sequence[int]]) -> int:
    shortest = min(len(row) for row in rows)
    return next((i for i in range(shortest) if len({row[i] for row in rows}) > 1), shortest)
