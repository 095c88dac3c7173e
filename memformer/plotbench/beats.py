"""What recipes are made of: beats that tell facts in both twins at once, and groups of them.

X and Y are the two people of a group. In twin A, X has the first value and Y the second; in B it is
the other way round. Yet neither their names nor the options trade places (but for the floors, whose
values do): a third thing does, through which one belongs to the other, or what two sentences say of
them (`told_of_both`). So a rule that looks only at where names and options stand, or in which
order, chooses alike in both twins and is wrong in one.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from memformer.plotbench.frames.both import CLOSINGS, OPENINGS
from memformer.plotbench.names import Gender, Pair, Person, draw_values
from memformer.plotbench.prose import Deck, Filling, cast_slots, person_slots, render
from memformer.plotbench.story import Role, Side, Span, Split

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
    licenses: tuple[bool, bool] = (True, True)
    """Whether the answer follows from it (with the others that license), in A and in B."""
    part: tuple[Span, Span] | None = None
    """Where in its beat it stands, in A and in B; the whole of it if not said."""


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

    @property
    def size(self) -> int:
        """Characters, about."""
        both = self.slots.get("both", "")
        return len(self.template) + len(both if isinstance(both, str) else both[0])


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
        self._served: set[tuple[str, Pair]] = set()

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

    def trading_pair(self, purpose: str, gender: Gender | None = None) -> Pair:
        """Two whose names trade places and who are asked nothing; they serve a purpose once.

        `witness` is the exception: who has served goes to the end, and may serve again.
        """
        for i, each in enumerate(self.witnesses):
            fits = gender in (None, each.x.gender)
            if fits and (purpose == "witness" or (purpose, each) not in self._served):
                self._served.add((purpose, each))
                self.witnesses.append(self.witnesses.pop(i))
                return each
        raise AssertionError(f"no pair left for {purpose}")

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


def tell(
    who: Who, p: str, role: Role, *, s: Filling | None = None,
    licenses: tuple[bool, bool] = (True, True),
) -> Tell:  # fmt: skip
    """A fact that concerns one of the group."""
    of: Filling = who.id if s is None else s
    return Tell(of, p, role, ((who.side[0],), (who.side[1],)), licenses)


def tell_both(s: Filling, p: str, role: Role) -> Tell:
    """A fact on which both answers rest."""
    return Tell(s, p, role, (BOTH, BOTH))


class Said(NamedTuple):
    """What is said of one of the group, with their name once a sentence in the slot `role`."""

    forms: tuple[tuple[str, ...], ...]
    """Ways to say it, each a sentence or two."""
    role: str
    p: str
    """Of the fact, as in `Tell`."""
    tells_as: Role


def forms(draw: Draw, frames: tuple[str, ...], n: int = 8) -> tuple[tuple[str, ...], ...]:
    """Some frames, to choose a form from."""
    return tuple((draw.frame(frames),) for _ in range(n))


def of_two_lines(draw: Draw, lines: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """The first sentence of one line and the second of another.

    Where the two of a line are built alike, any two builds go with first and second as often as
    with second and first: no build tells which is which.
    """
    one, other = draw.frame(lines), draw.frame(lines)
    assert one != other, "a split needs two lines"
    return one[0], other[1]


def told_of_both(
    draw: Draw, pair: Pair, of_p: Said, of_q: Said, slots: dict[str, Filling],
    deeds: tuple[Deed, ...],
) -> Beat:  # fmt: skip
    """One beat with something of X and something of Y; in A the first is said of X, in B of Y.

    Who is spoken of first is the same in both twins: what is said trades places, not the names.
    Coins toss whose sentence is longer, and whose name comes earlier in it, where forms allow both.
    """
    more = {**cast_slots({"f": draw.helper(), "g": draw.helper()}), **slots}
    turns = (x_of(pair), y_of(pair)) if draw.coin() else (y_of(pair), x_of(pair))
    choice = draw.rng.random()
    opening, closing = draw.frame(OPENINGS), draw.frame(CLOSINGS)
    p_form, q_form = _forms(draw, of_p, of_q)
    texts = ["", ""]
    parts: dict[Side, list[Span]] = {"x": [], "y": []}
    for twin in (0, 1):
        for who in turns:
            side = who.side[twin]
            is_p = (side == "x") == (twin == 0)
            said, form = (of_p, p_form) if is_p else (of_q, q_form)
            filled = more | who.slots(said.role)
            start = len(texts[twin])
            texts[twin] += render(" ".join(form), filled, random.Random(choice)).a + " "
            at = len(opening) + 1 + start
            parts[side].append((at, at + len(texts[twin]) - 1 - start))
    sides: tuple[tuple[Side, Who], ...] = (("x", x_of(pair)), ("y", y_of(pair)))
    return Beat(
        template=f"{opening} {{both}} {closing}",
        mood="",
        slots={"both": (texts[0][:-1], texts[1][:-1])},
        tells=tuple(
            Tell(who.id, said.p, said.tells_as, ((side,), (side,)),
                 part=(parts[side][0], parts[side][1]))
            for (side, who), said in zip(sides, (of_p, of_q), strict=True)
        ),
        deeds=deeds,
    )  # fmt: skip


def _forms(draw: Draw, of_p: Said, of_q: Said) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """One form of each: coins toss whose sentence is longer and who is named nearer to its
    beginning, so far as there are such forms."""
    every = [(p, q) for p in of_p.forms for q in of_q.forms if len(p) == len(q)]
    wanted = draw.coin(), draw.coin()
    signs = {each: _is_longer_and_earlier(each, of_p.role, of_q.role) for each in every}
    for n in (2, 1):
        fitting = [each for each in every if signs[each][:n] == wanted[:n]]
        if fitting:
            return draw.rng.choice(fitting)
    return draw.rng.choice(every)


def _is_longer_and_earlier(
    forms: tuple[tuple[str, ...], tuple[str, ...]], p_role: str, q_role: str
) -> tuple[bool, bool]:
    (p_length, p_at), (q_length, q_at) = (
        _of_name(form, role) for form, role in zip(forms, (p_role, q_role), strict=True)
    )
    return p_length > q_length, p_at < q_at


def _of_name(form: tuple[str, ...], role: str) -> tuple[int, int]:
    """Length of the last sentence that holds the name, and where in it the name stands."""
    text = re.sub(r"\{[a-z]+\.([a-z]+)\}", r"\1", " ".join(form))  # pronouns as they will be
    sentences = re.split(r"(?<=[.!?])[\"']?\s+", text)
    last = next(each for each in reversed(sentences) if f"{{{role}" in each)
    return len(last), last.index(f"{{{role}")


def decoys(draw: Draw, pair: Pair, frames: tuple[str, ...], values: tuple[str, str]) -> list[Beat]:
    """A sentence with X and one value, and one with Y and the other, from which nothing follows.

    They are the same in both twins: who takes them for the answer is wrong in one.
    """
    return draw.shuffled(
        *(
            Beat(template=draw.frame(frames), slots=who.slots("x") | {"v": v})
            for who, v in zip(
                (x_of(pair), y_of(pair)), draw.rng.sample(values, len(values)), strict=True
            )
        )
    )
