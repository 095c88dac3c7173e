"""The words of the plot world and the shapes of its sentences."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

Kind = Literal["move", "act", "talk", "take", "give", "die", "open", "close"]

BEGIN, STOP = "<story>", "."
PEOPLE = ("anna", "boris", "clara", "dmitri", "elena", "felix", "greta", "hugo", "irina", "jonas",
          "karin", "leo")  # fmt: skip
PLACES = ("tavern", "mill", "chapel", "harbour", "forest", "castle", "market", "bridge", "school",
          "garden")  # fmt: skip
THINGS = ("ring", "letter", "sword", "lamp", "map", "key", "book", "crown", "violin", "mirror",
          "coin", "cloak")  # fmt: skip
TIMES = ("then", "later", "soon", "meanwhile")
MOVES = ("walks", "rides", "returns")
ACTS = ("sings", "works", "waits", "sleeps", "reads", "dances")
TALKS = ("tells", "asks", "greets")
THREADS = {  # what opens a thread -> what closes it, both by the same person towards the same one
    "promises": "helps", "owes": "repays", "deceives": "confesses", "curses": "blesses",
    "courts": "weds",
}  # fmt: skip
WORDS = (BEGIN, STOP, "to", "at", *PEOPLE, *PLACES, *THINGS, *TIMES, *MOVES, *ACTS, *TALKS, "takes",
         "gives", "dies", *THREADS, *THREADS.values())  # fmt: skip
ID = {word: i for i, word in enumerate(WORDS)}
VOCAB_SIZE = len(WORDS)
NAMES = frozenset(ID[word] for word in PEOPLE)
_KIND: dict[str, Kind] = {
    **dict.fromkeys(MOVES, "move"), **dict.fromkeys(ACTS, "act"), **dict.fromkeys(TALKS, "talk"),
    "takes": "take", "gives": "give", "dies": "die",
    **dict.fromkeys(THREADS, "open"), **dict.fromkeys(THREADS.values(), "close"),
}  # fmt: skip
_CLOSES = {closing: opening for opening, closing in THREADS.items()}


class Sentence(NamedTuple):
    """What one sentence says; words that its kind has no place for are empty."""

    kind: Kind
    verb: str
    person: str
    other: str = ""
    place: str = ""
    thing: str = ""

    @property
    def thread(self) -> tuple[str, str, str]:
        """The thread that it opens or closes: opening verb, from whom, towards whom."""
        return _CLOSES.get(self.verb, self.verb), self.person, self.other

    def words(self) -> list[str]:
        """The sentence as words, full stop included."""
        head = [self.person, self.verb]
        match self.kind:
            case "move":
                return [*head, "to", self.place, STOP]
            case "act" | "die":
                return [*head, "at", self.place, STOP]
            case "talk":
                return [*head, self.other, "at", self.place, STOP]
            case "take":
                return [*head, self.thing, "at", self.place, STOP]
            case "give":
                return [*head, self.thing, "to", self.other, STOP]
            case "open" | "close":
                return [*head, self.other, STOP]


def parse(words: Sequence[str]) -> Sentence | None:
    """What words without their full stop say; None if they are no sentence of this world.

    A word of time may stand in front and means nothing.
    """
    told = list(words[1:] if words and words[0] in TIMES else words)
    if len(told) < 3 or told[0] not in PEOPLE or told[1] not in _KIND:
        return None
    person, verb, rest = told[0], told[1], told[2:]
    kind = _KIND[verb]
    match kind, rest:
        case ("move", ["to", place]) | ("act" | "die", ["at", place]) if place in PLACES:
            return Sentence(kind, verb, person, place=place)
        case ("talk", [other, "at", place]) if other in PEOPLE and place in PLACES:
            return Sentence(kind, verb, person, other=other, place=place)
        case ("take", [thing, "at", place]) if thing in THINGS and place in PLACES:
            return Sentence(kind, verb, person, place=place, thing=thing)
        case ("give", [thing, "to", other]) if thing in THINGS and other in PEOPLE:
            return Sentence(kind, verb, person, other=other, thing=thing)
        case ("open" | "close", [other]) if other in PEOPLE:
            return Sentence(kind, verb, person, other=other)
    return None


def encode(text: str) -> list[int]:
    """Ids of a text whose words stand apart by blanks.

    Raises:
        ValueError: a word that this world does not have.
    """
    unknown = [word for word in text.split() if word not in ID]
    if unknown:
        raise ValueError(f"the plot world has no word {unknown[0]!r}: see plot_words.WORDS")
    return [ID[word] for word in text.split()]


def decode(ids: Iterable[int]) -> str:
    """The text of ids, words apart by blanks."""
    return " ".join(WORDS[i] for i in ids)
