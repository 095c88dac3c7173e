"""Recipes: which words of a novel trade places, and at which of its lines one asks.

A recipe holds a hash, offsets and single words, never a sentence: the novel is fetched by whoever
runs the benchmark. Offsets count characters of the cleaned text without headings.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from memformer.data.cleaning import CLEANING
from memformer.data.manuscripts import Manuscript
from memformer.data.records import from_record
from memformer.plotbench.story import Side

Source = Literal["classics", "austen", "moby-dick"]
Attribute = Literal["eyes", "hair", "kin", "place", "title", "trade"]
Verdict = Literal["good", "untied", "grammar", "other", "told", "plot", "unread"]
"""What a reader found of a line. `good`: the book has told this value of this person before, and
the other value of the other. `untied`: the line does not say this of this person. `grammar`: the
other value does not fit the sentence. `other`: the word means something else here. `told`: the
passage just before gives the answer. `plot`: what happens decides, not who it is. `unread`: found
by the pattern, not read."""
Kind = Literal["f", "m", "s", "p"]
"""Of a name: a woman's, a man's, a surname, a place."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """Whose attribute it is."""

    id: str
    aliases: tuple[str, ...]
    """Words that name the person (or the house) in the text."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A published line: stem from `insert`, the value at `value`, the suffix up to `stop`."""

    side: Side
    insert: int
    value: int
    stop: int
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Swap:
    """Two values that trade places at every mention, and the lines that ask for them."""

    id: str
    attribute: Attribute
    forms: tuple[tuple[str, str], ...]
    """The value of X and that of Y in each form: `Captain, Admiral`, `captain, admiral`. The first
    form is asked for."""
    x: Person
    y: Person
    mentions: tuple[tuple[int, ...], tuple[int, ...]]
    """Offsets of X's value and of Y's, ascending, in any form."""
    lines: tuple[Line, ...]
    """All that the pattern gave and a reader judged."""

    def person(self, side: Side) -> Person:
        """X or Y."""
        return self.x if side == "x" else self.y

    def value(self, side: Side) -> str:
        """What the book says of this side."""
        return self.forms[0][0 if side == "x" else 1]

    def good(self, side: Side) -> list[Line]:
        """Lines that hold, in the order of the text."""
        found = [each for each in self.lines if each.side == side and each.verdict == "good"]
        return sorted(found, key=lambda each: each.insert)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that is done to one novel."""

    book: str
    """The manuscript's id."""
    number: int
    """Of the book: the unit of statistics, as a story's seed."""
    source: Source
    cleaning: int
    """`CLEANING` of the text to which the offsets belong."""
    sha256: str
    """Of the cleaned text without headings, in UTF-8."""
    read_by: str
    """How the lines were judged."""
    swaps: tuple[Swap, ...]
    names: tuple[tuple[str, Kind], ...]
    """Names of people and places that the renamed copy replaces."""


def recipes(books: Sequence[str] = ()) -> tuple[Recipe, ...]:
    """The packaged recipes, of these books or of all, by the book's id.

    Raises:
        ValueError: no recipe for a book.
    """
    folder = files("memformer.plotbench.novels")
    found = {
        path.name.removesuffix(".json"): path
        for path in folder.iterdir()
        if path.name.endswith(".json")
    }
    for book in books:
        if book not in found:
            raise ValueError(f"books: no recipe for {book!r}; there are {', '.join(sorted(found))}")
    return tuple(
        from_record(Recipe, json.loads(found[book].read_text(encoding="utf-8")))
        for book in (dict.fromkeys(books) if books else sorted(found))
    )


def check_text(recipe: Recipe, manuscript: Manuscript) -> None:
    """That this is the text which the recipe's offsets belong to.

    Raises:
        ValueError: another book, or another wording, cleaning or treatment of headings.
    """
    if manuscript.id != recipe.book:
        raise ValueError(f"the recipe is for {recipe.book!r}, got manuscript {manuscript.id!r}")
    if manuscript.hash != recipe.sha256:
        raise ValueError(
            f"{recipe.book}: the recipe's offsets belong to the text with SHA-256 "
            f"{recipe.sha256[:12]} (cleaning {recipe.cleaning}, headings dropped), this one has "
            f"{manuscript.hash[:12]} (cleaning {CLEANING}): fetch {recipe.source} of the pinned "
            "version, with keep_headings=False"
        )
