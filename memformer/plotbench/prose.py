"""Templates into sentences, for both twins at once.

Whatever differs between the twins must have equally many characters, so that every offset counts
for both.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from memformer.plotbench.names import Gender, Person, of_split
from memformer.plotbench.story import Span, Split

T = TypeVar("T")
Filling = str | tuple[str, str]
"""What goes into a slot: the same in both twins, or one for A and one for B."""

_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_SLOT = re.compile(r"\{([a-z]+(?:\.[a-z]+)?)(\^?)\}")
_PRONOUNS = {
    "f": {"he": "she", "him": "her", "his": "her"},
    "m": {"he": "he", "him": "him", "his": "his"},
}


class Passage(NamedTuple):
    """A stretch of prose in both twins; outside `swaps` they are equal."""

    a: str
    b: str
    swaps: tuple[Span, ...] = ()


def of_twin(filling: Filling, twin: int) -> str:
    """What a filling is in twin 0 (A) or 1 (B)."""
    return filling if isinstance(filling, str) else filling[twin]


def expand(template: str, parts: Mapping[str, str]) -> str:
    """Put templates into the slots of a template; `{part^}` makes its beginning a capital."""
    for name, part in parts.items():
        opening = _SLOT.match(part)
        if opening is None:
            capital = part[:1].upper() + part[1:]
        else:
            capital = f"{{{opening[1]}^}}{part[opening.end() :]}"
        template = template.replace(f"{{{name}^}}", capital).replace(f"{{{name}}}", part)
    return template


def render(template: str, slots: Mapping[str, Filling], rng: random.Random) -> Passage:
    """Draw the choices of a template and fill its slots.

    Raises:
        KeyError: the template has a slot that nothing fills.
    """
    while found := _CHOICE.search(template):
        choice = rng.choice(found[1].split("|"))
        template = template[: found.start()] + choice + template[found.end() :]
    a, b, swaps, length, end = [], [], [], 0, 0
    for slot in _SLOT.finditer(template):
        text = template[end : slot.start()]
        end = slot.end()
        left, right = (of_twin(slots[slot[1]], twin) for twin in (0, 1))
        if slot[2]:
            left, right = (each[:1].upper() + each[1:] for each in (left, right))
        assert len(left) == len(right), f"{left!r} and {right!r} differ in length"
        length += len(text)
        if left != right:
            swaps.append((length, length + len(left)))
        length += len(left)
        a += [text, left]
        b += [text, right]
    rest = template[end:]
    return Passage("".join(a) + rest, "".join(b) + rest, tuple(swaps))


def join(passages: Sequence[Passage], between: str = " ") -> Passage:
    """Passages one after another."""
    a, b, swaps, at = [], [], [], 0
    for passage in passages:
        a.append(passage.a)
        b.append(passage.b)
        swaps += [(start + at, stop + at) for start, stop in passage.swaps]
        at += len(passage.a) + len(between)
    return Passage(between.join(a), between.join(b), tuple(swaps))


def person_slots(role: str, name: Filling, gender: Gender) -> dict[str, Filling]:
    """Slots of somebody: `{x}`, `{x.he}`, `{x.him}`, `{x.his}`."""
    return {role: name} | {f"{role}.{each}": word for each, word in _PRONOUNS[gender].items()}


def cast_slots(people: Mapping[str, Person]) -> dict[str, Filling]:
    """Slots of several people who never trade places, by role."""
    slots: dict[str, Filling] = {}
    for role, each in people.items():
        slots |= person_slots(role, each.name, each.gender)
    return slots


class Deck:
    """Deals the frames of one split, in random order, none twice before all were dealt."""

    def __init__(self, rng: random.Random, split: Split) -> None:
        self.rng, self.split = rng, split
        self._left: dict[tuple[Any, ...], list[Any]] = {}
        self._last: dict[tuple[Any, ...], Any] = {}

    def deal(self, frames: tuple[T, ...]) -> T:
        """The next frame; never the one that was dealt last, if there is another."""
        if not self._left.get(frames):
            left = list(of_split(frames, self.split))
            self.rng.shuffle(left)
            if len(left) > 1 and left[-1] == self._last.get(frames):
                left.reverse()
            self._left[frames] = left
        card: T = self._left[frames].pop()
        self._last[frames] = card
        return card
