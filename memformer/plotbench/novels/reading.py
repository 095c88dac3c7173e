"""Which part of a novel is read for which lines, and which lines make a group of four."""

from typing import NamedTuple

from memformer.data.manuscripts import Manuscript
from memformer.plotbench.names import CHARS_PER_TOKEN
from memformer.plotbench.novels.candidates import distance, licence
from memformer.plotbench.novels.edited import Edited
from memformer.plotbench.novels.recipes import Line, Swap
from memformer.plotbench.story import BUCKETS, Act, Chapter, Side


class Group(NamedTuple):
    """A line of X and one of Y; each is asked in both twins."""

    id: str
    x: Line
    y: Line
    bucket: int
    """Of the nearer line's distance, at a fixed number of characters a token."""


class Reading(NamedTuple):
    """A part of the book and the lines that are asked in it."""

    base: str
    """What the ids of both twins begin with."""
    begin: int
    end: int
    asked: tuple[tuple[Group, Side], ...]
    bucket: int


class Readings(NamedTuple):
    """All readings of one swap, and the lines that are not asked."""

    readings: tuple[Reading, ...]
    n_out_of_context: int
    """Good lines whose licence lies before the part that is read."""
    n_unpaired: int
    """Good lines without one of the other person to make a group with."""


def readings(text: str, book: str, swap: Swap, context_chars: int | None) -> Readings:
    """Lines of X and Y in groups, farthest with farthest; read in one go, or each by itself."""
    kept = {side: _within(text, swap, side, context_chars) for side in ("x", "y")}
    n_good = sum(len(swap.good(side)) for side in ("x", "y"))
    groups = [
        Group(
            f"{book}.{swap.id}.g{i:02d}", x, y,
            bucket_of(min(distance(swap, x), distance(swap, y))),
        )
        for i, (x, y) in enumerate(zip(kept["x"], kept["y"], strict=False))
    ]  # fmt: skip
    n_kept = len(kept["x"]) + len(kept["y"])
    return Readings(
        tuple(_parts(text, book, swap, groups, context_chars)),
        n_good - n_kept,
        n_kept - 2 * len(groups),
    )


def bucket_of(n_char: int) -> int:
    """The largest distance bucket that so many characters fill; the smallest if they fill none."""
    return max((b for b in BUCKETS if b * CHARS_PER_TOKEN <= n_char), default=BUCKETS[0])


def chapters_of(manuscript: Manuscript, version: Edited, begin: int, end: int) -> list[Chapter]:
    """Chapters that touch text[begin:end], in the offsets of its new version."""
    starts = [chapter.offset for chapter in manuscript.chapters]
    stops = [*starts[1:], len(manuscript.text)]
    return [
        Chapter(
            i=i,
            span=(version.at(max(start, begin)), version.at(min(stop, end))),
            act=_act(start / len(manuscript.text)),
        )
        for i, (start, stop) in enumerate(zip(starts, stops, strict=False), 1)
        if max(start, begin) < min(stop, end)
    ]


def _act(u: float) -> Act:
    if u < 0.25:
        return "setup"
    if u < 0.75:
        return "confrontation"
    return "climax" if u < 0.9 else "resolution"


def _within(text: str, swap: Swap, side: Side, context_chars: int | None) -> list[Line]:
    """Lines whose latest licence is read, farthest first."""
    lines = [
        line for line in swap.good(side)
        if licence(text, swap, side, line.insert)[-1] >= _begin(text, line.insert, context_chars)
    ]  # fmt: skip
    return sorted(lines, key=lambda line: (-distance(swap, line), line.insert))


def _begin(text: str, insert: int, context_chars: int | None) -> int:
    """The first paragraph that begins within the context; a word where none does."""
    if context_chars is None or insert <= context_chars:
        return 0
    start = insert - context_chars
    at = text.find("\n\n", start, insert)
    return at + 2 if at >= 0 else text.find(" ", start) + 1


def _parts(
    text: str, book: str, swap: Swap, groups: list[Group], context_chars: int | None
) -> list[Reading]:
    if not groups:
        return []
    sides: tuple[Side, Side] = ("x", "y")
    if context_chars is None:
        every = tuple((group, side) for group in groups for side in sides)
        middle = sorted(group.bucket for group in groups)[(len(groups) - 1) // 2]
        return [Reading(f"{book}.{swap.id}", 0, len(text), every, middle)]
    found = []
    for i, group in enumerate(groups):
        for side in sides:
            line = group.x if side == "x" else group.y
            end = text.find("\n\n", line.stop)
            base = f"{book}.{swap.id}.{side}{i:02d}"
            begin = _begin(text, line.insert, context_chars)
            end = len(text) if end < 0 else end
            found.append(Reading(base, begin, end, ((group, side),), group.bucket))
    return found
