"""A text with words replaced, and the way from its offsets to the new ones."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from memformer.plotbench.story import Span


class Edit(NamedTuple):
    """What stands in place of text[start:stop]."""

    start: int
    stop: int
    text: str
    is_swap: bool
    """Whether twins differ here; else a name was renamed."""


class Edited:
    """text[begin:end] with replacements.

    Args:
        text: the whole text.
        edits: apart from each other; those outside the part are left out.
        begin, end: the part, in offsets of the whole text.

    Raises:
        ValueError: two edits overlap, or one crosses the part's edge.
    """

    def __init__(
        self, text: str, edits: Iterable[Edit], begin: int = 0, end: int | None = None
    ) -> None:
        end = len(text) if end is None else end
        kept = sorted(e for e in edits if e.stop > begin and e.start < end)
        pieces, at, n = [], begin, 0
        self._begin, self._starts = begin, [e.start for e in kept]
        self._old_stops, self._new = [e.stop for e in kept], list[Span]()
        for edit in kept:
            if edit.start < at or edit.stop > end:
                raise ValueError(
                    f"edits must lie apart and within [{begin}, {end}), got "
                    f"[{edit.start}, {edit.stop})"
                )
            pieces += [text[at : edit.start], edit.text]
            n += edit.start - at
            self._new.append((n, n + len(edit.text)))
            n += len(edit.text)
            at = edit.stop
        self.text = "".join([*pieces, text[at:end]])
        self.swaps: tuple[Span, ...] = tuple(
            span for span, edit in zip(self._new, kept, strict=True) if edit.is_swap
        )

    def at(self, offset: int) -> int:
        """Where an offset of the whole text lies now; of a place within an edit, its start."""
        i = bisect_right(self._starts, offset) - 1
        if i < 0:
            return offset - self._begin
        if offset < self._old_stops[i]:
            return self._new[i][0]
        return self._new[i][1] + offset - self._old_stops[i]

    def cut(self, span: Span) -> str:
        """The new text of a span of the whole text, whose ends lie in no edit."""
        return self.text[self.at(span[0]) : self.at(span[1])]
