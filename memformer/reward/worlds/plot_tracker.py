"""What holds in a story at each sentence, exactly: who is where, holds what, lives, owes what.

T tokens of a story
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from memformer.reward.worlds.plot_words import BEGIN, STOP, WORDS, Sentence, parse

FaultKind = Literal["place", "holding", "dead", "thread", "self"]


@dataclass
class Plot:
    """What a story told so far.

    What was never told is open: the first sentence about a person's place settles it. After a
    contradiction the newer sentence holds, so that one slip is counted once.
    """

    place: dict[str, str] = field(default_factory=dict)
    """Where each person is, if it was told."""
    holder: dict[str, str] = field(default_factory=dict)
    """Who holds each thing, if anyone took it."""
    dead: set[str] = field(default_factory=set)
    opened: set[tuple[str, str, str]] = field(default_factory=set)
    """Threads that are open."""

    def faults(self, told: Sentence) -> tuple[FaultKind, ...]:
        """What a sentence contradicts; nothing is changed.

        `place`: someone acts where she is not. `holding`: takes what another holds, or gives what
        she does not hold. `dead`: a dead one acts, or is acted upon. `thread`: closes what was
        never opened. `self`: does to herself what takes two.
        """
        found: list[FaultKind] = []
        involved = [told.person, *([told.other] if told.other else [])]
        if told.kind in ("act", "talk", "take", "die") and any(
            self.place.get(who, told.place) != told.place for who in involved
        ):
            found.append("place")
        if told.kind == "give":
            here, there = (self.place.get(who) for who in involved)
            if here and there and here != there:
                found.append("place")
        holder = self.holder.get(told.thing)
        if (told.kind == "take" and holder is not None) or (
            told.kind == "give" and holder != told.person
        ):
            found.append("holding")
        if any(who in self.dead for who in involved):
            found.append("dead")
        if told.kind == "close" and told.thread not in self.opened:
            found.append("thread")
        if told.person == told.other:
            found.append("self")
        return tuple(found)

    def tell(self, told: Sentence) -> None:
        """Let a sentence hold, whatever it contradicts."""
        if told.place:
            for who in (told.person, told.other) if told.other else (told.person,):
                self.place[who] = told.place
        match told.kind:
            case "take":
                self.holder[told.thing] = told.person
            case "give":
                self.holder[told.thing] = told.other
                if told.person in self.place:  # they met
                    self.place[told.other] = self.place[told.person]
            case "die":
                self.dead.add(told.person)
            case "open":
                self.opened.add(told.thread)
            case "close":
                self.opened.discard(told.thread)
            case "move" | "act" | "talk":
                pass


class Fault(NamedTuple):
    """One contradiction."""

    kind: FaultKind
    at: int
    """Token of the sentence's full stop."""


class Thread(NamedTuple):
    """A promise, debt, lie, curse or courtship."""

    opened: float
    """Fraction u of the story at which it opened, in [0, 1]."""
    closed: float | None
    """At which it was resolved; None: never."""


class Told(NamedTuple):
    """What a story is, for a reader who forgets nothing."""

    n_sentence: int
    """Those that can be understood."""
    n_broken: int
    """Pieces between full stops that are no sentence, an unfinished one at the end included."""
    n_word: int
    """Without full stops and marks."""
    faults: tuple[Fault, ...]
    threads: tuple[Thread, ...]
    """In the order in which they opened."""

    @property
    def n_unresolved(self) -> int:
        """Threads that stay open."""
        return sum(thread.closed is None for thread in self.threads)


def follow(ids: Sequence[int]) -> Told:
    """Read a story (T,) from its token ids alone.

    Raises:
        ValueError: an id outside the world's words, or no token.
    """
    if not len(ids):
        raise ValueError("ids must hold at least one token, got none")
    if bad := [i for i in ids if not 0 <= i < len(WORDS)]:
        raise ValueError(f"ids must be in [0, {len(WORDS)}), got {bad[0]}")
    plot, piece = Plot(), []
    n_sentence = n_broken = 0
    faults: list[Fault] = []
    threads: dict[int, Thread] = {}
    open_now: dict[tuple[str, str, str], int] = {}  # thread -> its number
    for at, i in enumerate(ids):
        word = WORDS[i]
        if word == BEGIN and at == 0:
            continue
        if word != STOP:
            piece.append(word)
            continue
        told, piece = parse(piece), []
        if told is None:
            n_broken += 1
            continue
        n_sentence += 1
        u = (at + 0.5) / len(ids)
        faults += [Fault(kind, at) for kind in plot.faults(told)]
        if told.kind == "open" and told.thread not in open_now:
            open_now[told.thread] = len(threads)
            threads[len(threads)] = Thread(u, None)
        if told.kind == "close" and told.thread in open_now:
            number = open_now.pop(told.thread)
            threads[number] = threads[number]._replace(closed=u)
        plot.tell(told)
    n_word = sum(WORDS[i] not in (BEGIN, STOP) for i in ids)
    return Told(
        n_sentence, n_broken + bool(piece), n_word, tuple(faults), tuple(threads.values())
    )  # fmt: skip
