"""Lines of a novel at which a value could be asked for, by pattern: raw, to be read by a person.

A line is a clause with X's value and X's name (or with the name in the sentence before), naming
neither Y nor Y's value, after an earlier paragraph that holds both X's name and X's value; the
value stands nowhere in the `NEAREST` characters before.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from memformer.plotbench.novels.recipes import Line, Recipe, Swap, Verdict
from memformer.plotbench.story import Side, Span

LATE = 0.15
"""Share of the book before which no line is taken."""
NEAREST = 400
"""Characters at least between the latest mention of a value and a line that asks for it."""
_STEM, _SUFFIX, _TITLED = (12, 480), 90, 24  # characters
_END = re.compile(r"[.!?][\"')]*(?=\s)")
_SHORT = re.compile(r"\b(?:Mr|Mrs|Dr|St|Rev|Esq|M)\.$")
_CLAUSE = re.compile(r"[,;:.!?\"]|--")


def mentions_of(text: str, words: Iterable[str]) -> tuple[int, ...]:
    """Offsets of whole words, ascending."""
    every = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return tuple(m.start() for m in re.finditer(rf"\b(?:{every})\b", text))


def sentence(text: str, at: int) -> Span:
    """The sentence around an offset, within its paragraph."""
    start = text.rfind("\n\n", 0, at) + 2 if "\n\n" in text[:at] else 0
    stop = text.find("\n\n", at)
    stop = len(text) if stop < 0 else stop
    for end in _END.finditer(text, start, stop):
        if _SHORT.search(text, start, end.start() + 1):
            continue
        if end.end() > at:
            return start, end.end()
        start = end.end()
    return start, stop


def licence(text: str, swap: Swap, side: Side, before: int) -> list[int]:
    """Mentions of a side's value before an offset whose paragraphs name the person."""
    held = swap.mentions[0 if side == "x" else 1]
    names = _pattern(swap.person(side).aliases)
    found = []
    for at in held[: bisect_left(held, before)]:
        start = text.rfind("\n\n", 0, at) + 1
        stop = text.find("\n\n", at)
        if names.search(text, start, min(before, len(text) if stop < 0 else stop)):
            found.append(at)
    return found


def raw_lines(text: str, swap: Swap, side: Side) -> list[Line]:
    """All lines of a side that the pattern finds, in the order of the text."""
    found = (_line(text, swap, side, at) for at in swap.mentions[0 if side == "x" else 1])
    return [line for line in found if line is not None]


def distance(swap: Swap, line: Line) -> int:
    """Characters from the latest earlier mention of a line's value, whoever it is said of, to the
    line; -1 without one. What licenses the line lies no nearer."""
    held = swap.mentions[0 if line.side == "x" else 1]
    n = bisect_left(held, line.insert)
    return line.insert - (held[n - 1] + len(swap.value(line.side))) if n else -1


def _line(text: str, swap: Swap, side: Side, at: int) -> Line | None:
    value, other = swap.value(side), swap.value("y" if side == "x" else "x")
    start, stop = sentence(text, at)
    own, rival = _pattern(swap.person(side).aliases), _pattern(swap.person(_other(side)).aliases)
    after = _CLAUSE.search(text, at + len(value) + 1, stop)
    end = min(after.end() if after else stop, at + len(value) + _SUFFIX)
    if swap.attribute == "title":
        is_named = own.search(text, at, min(end, at + len(value) + _TITLED)) is not None
    else:
        is_named = own.search(text, start, end) is not None
        if not is_named and start > 1 and text[start - 2] != "\n":
            start = sentence(text, start - 2)[0]
            is_named = own.search(text, start, at) is not None
    while start > 0 and text[start - 1].isspace():
        start -= 1  # the stem begins with the space before it
    stem, suffix = text[start:at], text[at + len(value) : end]
    both = _pattern([form for pair in swap.forms for form in pair])
    is_line = (
        text.startswith(value, at)
        and at > LATE * len(text)
        and _STEM[0] <= len(stem) <= _STEM[1]
        and stem[-1] == " "
        and not re.search(r"\b[Aa]n? $", stem)
        and is_named
        and not rival.search(text, start, stop)
        and not both.search(stem)
        and not both.search(suffix)
        and other not in text[max(0, start - NEAREST) : start]
    )
    if not is_line:
        return None
    line = Line(side=side, insert=start, value=at, stop=end, verdict="unread")
    is_far = distance(swap, line) >= NEAREST and licence(text, swap, side, start)
    return line if is_far else None


def _other(side: Side) -> Side:
    return "y" if side == "x" else "x"


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(re.escape(word) for word in words)})\b")


class Precision(NamedTuple):
    """How much of what the pattern gave holds when it is read."""

    n_good: int
    n_read: int
    why: dict[Verdict, int]
    """Verdicts of the others."""


def precision(recipes: Sequence[Recipe]) -> dict[str, Precision]:
    """By attribute: of the lines that were read, those that hold."""
    found: dict[str, list[Verdict]] = {}
    for recipe in recipes:
        for swap in recipe.swaps:
            found.setdefault(swap.attribute, []).extend(line.verdict for line in swap.lines)
    return {
        attribute: Precision(
            verdicts.count("good"), len(verdicts),
            {each: verdicts.count(each) for each in sorted(set(verdicts) - {"good"})},
        )
        for attribute, verdicts in sorted(found.items())
    }  # fmt: skip
