"""Splits by author, never by passage: no author and no work stands on both sides.

A model that has read other novels of an author knows voice, names and places of the next one.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from memformer.data.cleaning import same_words
from memformer.data.manuscripts import Manuscript, natural_name

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

_SAME = 0.5  # of the shorter one's shingles
_CLASSICS_1: dict[str, Part] = {
    "jane austen": "train",
    "marcel proust": "train",
    "hans christian andersen": "train",
    "james joyce": "train",
    "joseph conrad": "train",
    "george eliot": "train",
    "aldous huxley": "validation",
    "h g wells": "validation",
    "virginia woolf": "test",
    "herman melville": "test",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Manuscripts to train on, to choose by, and to report.

    Raises:
        ValueError: with `by="author"`, an author is unknown or stands in two parts; in any case,
            the same work does.
    """

    name: str
    train: tuple[Manuscript, ...]
    validation: tuple[Manuscript, ...]
    test: tuple[Manuscript, ...]
    by: Literal["author", "manuscript"] = "author"

    def __post_init__(self) -> None:
        match self.by:
            case "author":
                self._refuse_shared_authors()
            case "manuscript":
                pass
        self._refuse_shared_works()

    def part(self, name: Part) -> tuple[Manuscript, ...]:
        """The manuscripts of one part."""
        match name:
            case "train":
                return self.train
            case "validation":
                return self.validation
            case "test":
                return self.test

    def part_of(self, manuscript: Manuscript) -> Part | None:
        """Where a manuscript stands; None if it is in no part."""
        return next((p for p in PARTS if any(m.id == manuscript.id for m in self.part(p))), None)

    def _refuse_shared_authors(self) -> None:
        for manuscript in (*self.train, *self.validation, *self.test):
            if author_key(manuscript) is None:
                raise ValueError(
                    f"a split by author needs every author, {manuscript.id!r} has none: "
                    f"name it, or split by manuscript"
                )
        for a, b in combinations(PARTS, 2):
            keys = {author_key(m) for m in self.part(a)}
            for manuscript in self.part(b):
                if author_key(manuscript) in keys:
                    raise ValueError(
                        f"an author must stand in one part only, {manuscript.author!r} "
                        f"({manuscript.id!r}) stands in {a} and in {b}"
                    )

    def _refuse_shared_works(self) -> None:
        works = _Works()
        for part in PARTS:
            for manuscript in self.part(part):
                if (other := works.find(manuscript)) is not None and self.part_of(other) != part:
                    raise ValueError(
                        f"a work must stand in one part only, {manuscript.id!r} in {part} is the "
                        f"same as {other.id!r} in {self.part_of(other)}"
                    )
                works.add(manuscript)


def classics_1(manuscripts: Iterable[Manuscript]) -> Split:
    """The split `classics-1` of whatever it is given of the classics, the Austens and Moby-Dick.

    Validation is Huxley and Wells, test Woolf and Melville. One or two test novels carry no
    interval over books: it is for development and demonstrations.

    Raises:
        ValueError: an author is none of the classics', or see `Split`.
    """
    every = tuple(manuscripts)
    for manuscript in every:
        if part_in_classics_1(manuscript) is None:
            raise ValueError(
                f"classics-1 must hold its own authors, got {manuscript.author!r} "
                f"({manuscript.id!r}): split others with split_by_author"
            )
    return _by_author("classics-1", every, _CLASSICS_1)


def part_in_classics_1(manuscript: Manuscript) -> Part | None:
    """Where the split `classics-1` puts a manuscript's author; None if it does not know him."""
    return _CLASSICS_1.get(author_key(manuscript) or "")


def split_by_author(
    manuscripts: Iterable[Manuscript],
    *,
    name: str,
    validation: Collection[str],
    test: Collection[str],
) -> Split:
    """Held-out authors to validation and test, all others to train.

    `Wells, H. G.` and `H. G. Wells` are one author. A work given twice is kept once.

    Raises:
        ValueError: an author to hold out has written none of the manuscripts, or see `Split`.
    """
    every = tuple(manuscripts)
    known = {author_key(manuscript) for manuscript in every}
    for author in (*validation, *test):
        if _name_key(author) not in known:
            raise ValueError(f"held-out author {author!r} has written none of the manuscripts")
    parts: dict[str, Part] = {_name_key(author): "validation" for author in validation}
    for author in test:
        if parts.setdefault(_name_key(author), "test") != "test":
            raise ValueError(f"held-out author {author!r} must be in validation or test, not both")
    return _by_author(name, every, parts)


def split_by_manuscript(
    manuscripts: Iterable[Manuscript],
    *,
    name: str,
    validation: Collection[str],
    test: Collection[str],
) -> Split:
    """Held-out ids to validation and test, all others to train, authors disregarded.

    It says nothing about unseen authors; a work still stands in one part only.

    Raises:
        ValueError: an id is none of the manuscripts', or see `Split`.
    """
    every = tuple(distinct(manuscripts))
    for id in (*validation, *test):
        if id not in {manuscript.id for manuscript in every}:
            raise ValueError(f"held-out id {id!r} is none of the distinct manuscripts'")
    held = {*validation, *test}
    return Split(
        name=name,
        train=tuple(m for m in every if m.id not in held),
        validation=tuple(m for m in every if m.id in validation),
        test=tuple(m for m in every if m.id in test),
        by="manuscript",
    )


def distinct(manuscripts: Iterable[Manuscript]) -> Iterator[Manuscript]:
    """The manuscripts without works that came before, lazily.

    Works are the same if author and title are, or if half of the 8-word shingles of the shorter
    one stand in the other.
    """
    works = _Works()
    for manuscript in manuscripts:
        if _is_new(manuscript, works):
            works.add(manuscript)
            yield manuscript


def without(manuscripts: Iterable[Manuscript], known: Iterable[Manuscript]) -> Iterator[Manuscript]:
    """The manuscripts without works that are `known`, lazily: nothing of them is kept, so that a
    corpus that does not fit in memory can be freed of the books that a test reads."""
    works = _Works()
    for manuscript in known:
        works.add(manuscript)
    return (manuscript for manuscript in manuscripts if _is_new(manuscript, works))


def author_key(manuscript: Manuscript) -> str | None:
    """An author's name in one form; None if unknown."""
    return _name_key(manuscript.author) or None


def work_key(author: str | None, title: str) -> tuple[str, str] | None:
    """Author and title in one form: works of equal ones are the same; None without an author."""
    return (_name_key(author), same_words(title)) if author else None


def _by_author(name: str, manuscripts: Iterable[Manuscript], parts: dict[str, Part]) -> Split:
    held: dict[Part, list[Manuscript]] = {part: [] for part in PARTS}
    for manuscript in distinct(manuscripts):
        held[parts.get(author_key(manuscript) or "", "train")].append(manuscript)
    return Split(
        name=name,
        train=tuple(held["train"]),
        validation=tuple(held["validation"]),
        test=tuple(held["test"]),
    )


def _name_key(author: str | None) -> str:
    return same_words(natural_name(author) or "")


def _is_new(manuscript: Manuscript, works: "_Works") -> bool:
    if (other := works.find(manuscript)) is not None:
        _log.info("dropped %s: the same work as %s", manuscript.id, other.id)
    return other is None


class _Works:
    """Works seen so far, by author and title and by shingle."""

    def __init__(self) -> None:
        self._every: list[Manuscript] = []
        self._titles: dict[tuple[str, str] | None, Manuscript] = {}
        self._owners: dict[int, int] = {}  # shingle -> who had it first

    def add(self, manuscript: Manuscript) -> None:
        for shingle in manuscript.shingles:
            self._owners.setdefault(shingle, len(self._every))
        self._titles.setdefault(work_key(manuscript.author, manuscript.title), manuscript)
        self._every.append(manuscript)

    def find(self, manuscript: Manuscript) -> Manuscript | None:
        key = work_key(manuscript.author, manuscript.title)
        if key and (same := self._titles.get(key)):
            return same
        own = manuscript.shingles
        shared = Counter(self._owners[shingle] for shingle in own if shingle in self._owners)
        for index, count in shared.items():
            other = self._every[index]
            if count >= _SAME * min(len(own), len(other.shingles)):
                return other
        return None
