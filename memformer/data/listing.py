"""A table of manuscripts, for people."""

from collections.abc import Iterable
from typing import NamedTuple

from memformer.data.manuscripts import Manuscript
from memformer.data.splits import part_in_classics_1


class Row(NamedTuple):
    """One manuscript, or a whole series."""

    id: str
    author: str
    title: str
    words: int
    chapters: int
    split: str
    """Where the author stands in `classics-1`; `-` if it does not know him."""


def list_manuscripts(manuscripts: Iterable[Manuscript], *, by_series: bool = False) -> list[Row]:
    """A row a manuscript, or with `by_series` a row a series and one for each that is in none."""
    groups: dict[tuple[str | None, str], list[Manuscript]] = {}
    for manuscript in manuscripts:
        name = manuscript.series if by_series and manuscript.series else manuscript.id
        groups.setdefault((manuscript.author, name), []).append(manuscript)
    return [_row(name, group) for (_, name), group in groups.items()]


def _row(name: str, group: list[Manuscript]) -> Row:
    first = group[0]
    is_one = name == first.id
    return Row(
        id=first.id if is_one else f"{first.id.rpartition('.')[0] or first.id}.*",
        author=first.author or "-",
        title=first.title if is_one else f"{name} ({len(group)} stories)",
        words=sum(manuscript.words for manuscript in group),
        chapters=sum(len(manuscript.chapters) for manuscript in group),
        split=part_in_classics_1(first) or "-",
    )
