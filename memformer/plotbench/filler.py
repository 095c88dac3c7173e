"""What stands between the facts: small wants of other people, told from the story's end backwards.

Numbered from the end, so that the last pages of a story are the same wherever its facts stand.
"""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from memformer.plotbench.frames.beats import BEATS, WEATHER
from memformer.plotbench.frames.errands import ERRANDS, STAGES
from memformer.plotbench.frames.scenes import CLOSINGS, ENDINGS, HEADINGS, OPENINGS
from memformer.plotbench.names import VALUES, Person
from memformer.plotbench.prose import Deck, Filling, cast_slots, expand, render
from memformer.plotbench.story import Split

Traits = dict[str, dict[str, str]]
Write = Callable[[str, dict[str, Person]], str]
BREAK = "* * *"


class Unit(NamedTuple):
    """Paragraphs that belong together, a heading, or a break."""

    text: str
    kind: str
    """`text`, `heading` or `break`."""
    opens: bool = False
    """Whether a scene, or with a heading a chapter, begins here."""


def backwards(
    rng: random.Random, split: Split, cast: list[Person], traits: Traits, n_errands: int
) -> Iterator[Unit]:
    """Units of a story without end, the last one first.

    Args:
        rng: of everything that is drawn.
        split: whose frames are used.
        cast: who appears; four or more.
        traits: of each of them.
        n_errands: subplots told side by side, each in four stages.
    """
    deck = Deck(rng, split)

    def write(template: str, roles: dict[str, Person]) -> str:
        return render(template, roles_slots(roles, traits), rng).a

    a, b = cast[0], cast[1]
    yield Unit(write(deck.deal(ENDINGS), {"a": a, "b": b}), "text")
    scene, until_heading = 0, rng.randint(1, 3)
    while True:
        errands = [(deck.deal(ERRANDS), rng.sample(cast, 3)) for _ in range(n_errands)]
        for stage in (3, 2, 1, 0):
            for errand, (a, b, c) in errands:
                roles = {"a": a, "b": b, "c": c}
                told = expand(deck.deal(STAGES[stage]), errand._asdict())
                texts = [write(deck.deal(OPENINGS), {"a": a, "b": c})]
                for _ in range(rng.randint(1, 2)):
                    texts.append(_beat(deck, rng, cast, write))
                texts.append(write(told, roles))
                if rng.random() < 0.5:
                    texts.append(_beat(deck, rng, cast, write))
                texts.append(write(deck.deal(CLOSINGS), {"a": a, "b": c}))
                for i, text in reversed(list(enumerate(texts))):
                    yield Unit(text, "text", opens=i == 0)
                scene += 1
                until_heading -= 1
                if until_heading:
                    yield Unit(BREAK, "break")
                else:
                    yield Unit(deck.deal(HEADINGS).upper(), "heading", opens=True)
                    until_heading = rng.randint(2, 4)


def _beat(deck: Deck, rng: random.Random, cast: list[Person], write: Write) -> str:
    a, b, c = rng.sample(cast, 3)
    text = write(deck.deal(BEATS), {"a": a, "b": b, "c": c})
    return f"{deck.deal(WEATHER)} {text}" if text[0] != '"' and rng.random() < 0.15 else text


def traits_of(rng: random.Random, cast: list[Person]) -> Traits:
    """Eyes, birthplace, trade and instrument of each: rivals of those that are asked about."""
    return {
        each.id: {
            slot: rng.choice([v for group in VALUES[attribute] for v in group.split()])
            for slot, attribute in (
                ("eyes", "eyes"),
                ("town", "birthplace"),
                ("trade", "trade"),
                ("plays", "plays"),
            )  # fmt: skip
        }
        for each in cast
    }


def roles_slots(roles: dict[str, Person], traits: Traits) -> dict[str, Filling]:
    """Slots of people with what there is to know of them, by role."""
    slots = cast_slots(roles)
    for role, each in roles.items():
        slots |= {f"{role}.{slot}": value for slot, value in traits[each.id].items()}
    return slots
