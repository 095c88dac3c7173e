"""What recipes are made of: beats that tell facts in both twins at once, and groups of them.

X and Y are the two people of a group. In twin A, X has the first value and Y the second; in B it is
the other way round. Either the values trade places or the two names do.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from memformer.plotbench.names import Gender, Pair, Person, draw_values
from memformer.plotbench.prose import Deck, Filling, person_slots
from memformer.plotbench.story import Role, Side, Split

BOTH: tuple[Side, Side] = ("x", "y")


class Who(NamedTuple):
    """A person, or one in A and another in B."""

    name: Filling
    id: Filling
    gender: Gender
    side: tuple[Side, Side]
    """Which of the group it is, in A and in B."""

    def slots(self, role: str) -> dict[str, Filling]:
        """Its slots under a role."""
        return person_slots(role, self.name, self.gender)


class Tell(NamedTuple):
    """A beat bears on what holds of `s` and `p`; `k` is knowledge, `th.…` a thread."""

    s: Filling
    p: str
    role: Role
    sides: tuple[tuple[Side, ...], tuple[Side, ...]]
    """For whom of the group, in A and in B."""
    licenses: bool = True
    """Whether the answer follows from it (with the others that license)."""


class Deed(NamedTuple):
    """An event of the world, in both twins."""

    op: str
    args: tuple[Filling, ...]


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One sentence or two of a scene."""

    template: str
    slots: dict[str, Filling]
    tells: tuple[Tell, ...] = ()
    deeds: tuple[Deed, ...] = ()
    mood: str = "casual"
    """Key of `chronicle.FOLLOWS`: what may be said after it; empty for nothing."""
    joined: bool = False
    """Whether it follows the one before it in the same scene."""
    glued: bool = False
    """Whether it follows the one before it in the same paragraph."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """A recipe carried out: what the story tells, and what the four probes ask."""

    family: str
    pair: Pair
    beats: list[Beat]
    about: str
    """What is asked: a predicate, by which no two groups of a pair may overlap."""
    stem: str
    options: tuple[str, str]
    suffix: str
    gold: int
    """Index of the option that is right for X in A (and Y in B)."""
    licence: tuple[str, str]
    """By index of the right option: what would license it on the spot."""
    slots: dict[str, Filling] = field(default_factory=dict)
    """Of stem, suffix and licence, besides `{x}`, `{f}`."""
    hops: int = 1
    n_updates: int = 0
    rivals: tuple[str, ...] = ()
    """Values of the same type, to be counted between mention and probe."""


class Draw:
    """Random choices of one story: frames of its split, values and helpers, each used once."""

    def __init__(
        self,
        rng: random.Random,
        split: Split,
        helpers: Sequence[Person] = (),
        witnesses: Sequence[Pair] = (),
    ) -> None:
        self.rng, self.split = rng, split
        self.helpers, self.witnesses = list(helpers), list(witnesses)
        self.frame = Deck(rng, split).deal
        self.taken: set[str] = set()
        self._dealt: set[str] = set()
        self._related: set[Person] = set()

    def frame_once(self, frames: tuple[str, ...]) -> str | None:
        """The next frame, None when all were dealt."""
        frame = self.frame(frames)
        if frame in self._dealt:
            return None
        self._dealt.add(frame)
        return frame

    def values(self, attribute: str, classes: tuple[str, ...] | None = None) -> tuple[str, str]:
        """Two values that may trade places."""
        return draw_values(self.rng, attribute, self.taken, classes)

    def helper(self, gender: Gender | None = None) -> Person:
        """Somebody who belongs to no pair; again from the start when all have served."""
        for i, each in enumerate(self.helpers):
            if gender in (None, each.gender):
                self.helpers.append(self.helpers.pop(i))
                return each
        raise AssertionError(f"no helper of gender {gender}")

    def relative(self, gender: Gender) -> Person:
        """A helper who is somebody's kin, and nobody else's."""
        found = next(e for e in self.helpers if e.gender == gender and e not in self._related)
        self._related.add(found)
        return found

    def witness_pair(self) -> Pair:
        """Two who are asked nothing, but speak of others; again from the start as helpers."""
        self.witnesses.append(self.witnesses.pop(0))
        return self.witnesses[-1]

    def coin(self) -> bool:
        """Heads or tails."""
        return self.rng.random() < 0.5

    def shuffled(self, *things: Beat) -> list[Beat]:
        """In random order."""
        return self.rng.sample(things, len(things))


def x_of(pair: Pair) -> Who:
    """X, the same in both twins."""
    return Who(pair.x.name, pair.x.id, pair.x.gender, ("x", "x"))


def y_of(pair: Pair) -> Who:
    """Y, the same in both twins."""
    return Who(pair.y.name, pair.y.id, pair.y.gender, ("y", "y"))


def p_of(pair: Pair) -> Who:
    """X in A, Y in B."""
    names, ids = (pair.x.name, pair.y.name), (pair.x.id, pair.y.id)
    return Who(names, ids, pair.x.gender, ("x", "y"))


def q_of(pair: Pair) -> Who:
    """Y in A, X in B."""
    names, ids = (pair.y.name, pair.x.name), (pair.y.id, pair.x.id)
    return Who(names, ids, pair.x.gender, ("y", "x"))


def tell(who: Who, p: str, role: Role, *, s: Filling | None = None, licenses: bool = True) -> Tell:
    """A fact that concerns one of the group."""
    of: Filling = who.id if s is None else s
    return Tell(of, p, role, ((who.side[0],), (who.side[1],)), licenses)


def tell_both(s: Filling, p: str, role: Role) -> Tell:
    """A fact on which both answers rest."""
    return Tell(s, p, role, (BOTH, BOTH))


def decoys(draw: Draw, pair: Pair, frames: tuple[str, ...], values: tuple[str, str]) -> list[Beat]:
    """A sentence with X and one value, and one with Y and the other, from which nothing follows.

    They are the same in both twins. Were both values alike, one of them together with one swapped
    mention could be right in all four cells.
    """
    return draw.shuffled(
        *(
            Beat(template=draw.frame(frames), slots=who.slots("x") | {"v": v})
            for who, v in zip(
                (x_of(pair), y_of(pair)), draw.rng.sample(values, len(values)), strict=True
            )
        )
    )
