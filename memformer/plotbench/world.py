"""What can happen, and what must hold for it to happen: events with pre- and postconditions.

A world is a list of events; replaying it gives its facts, each valid from one moment to the next
change, and every breach of a precondition. The same rules judge events read off generated text.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from memformer.plotbench.story import Fact, Knowledge, Thread

AWAY = "away"


class Event(NamedTuple):
    """Something happens at a moment of the story's clock; see `apply` for operators and args."""

    op: str
    args: tuple[str, ...]
    t: int


class Violation(NamedTuple):
    """An event that could not have happened."""

    event: Event
    rule: str


class Inconsistent(ValueError):
    """A precondition does not hold; the message says which."""


@dataclass
class State:
    """All that holds at one moment, and how it came to."""

    facts: list[Fact] = field(default_factory=list)
    current: dict[tuple[str, str], int] = field(default_factory=dict)
    """Index in `facts` of what holds of subject and predicate."""
    knows: dict[str, dict[str, int]] = field(default_factory=dict)
    """By id of the knowledge: who knows, since when."""
    threads: dict[str, Thread] = field(default_factory=dict)
    rumours: list[tuple[Event, str, str, str]] = field(default_factory=list)

    def get(self, s: str, p: str) -> str | None:
        """What holds now; None if nothing was said."""
        at = self.current.get((s, p))
        return None if at is None else self.facts[at].o

    def put(self, s: str, p: str, o: str, t: int) -> None:
        """Let a fact hold from now on, in place of what held before."""
        old = self.current.get((s, p))
        supersedes = None
        if old is not None:
            fact = self.facts[old]
            self.facts[old] = Fact(
                id=fact.id, s=s, p=p, o=fact.o, t=(fact.t[0], t), supersedes=fact.supersedes
            )
            supersedes = fact.id
        n = sum(f.s == s and f.p == p for f in self.facts)
        self.current[s, p] = len(self.facts)
        self.facts.append(
            Fact(id=f"{s}.{p}.{n}", s=s, p=p, o=o, t=(t, None), supersedes=supersedes)
        )


def replay(events: Iterable[Event]) -> tuple[State, list[Violation]]:
    """Play events in the order of their clock; what breaks a rule is reported and has no effect."""
    state, broken = State(), []
    for event in sorted(events, key=lambda e: e.t):
        try:
            apply(state, event)
        except Inconsistent as err:
            broken.append(Violation(event, str(err)))
    for event, s, p, o in state.rumours:
        if state.get(s, p) == o:
            broken.append(Violation(event, f"a rumour must be false: {p} of {s} is {o}"))
    return state, broken


def check_consistency(events: Iterable[Event]) -> list[Violation]:
    """Every event whose precondition does not hold when it happens; empty for a sound world."""
    return replay(events)[1]


def apply(state: State, event: Event) -> None:
    """Let one event happen.

    Raises:
        Inconsistent: its precondition does not hold; the state is unchanged.
        ValueError: there is no such operator, or it takes other arguments.
    """
    t = event.t
    match event.op, event.args:
        case "observe", (s, p, o):  # the narrator states it
            _need(state.get(s, p) in (None, o), f"{p} of {s} is {state.get(s, p)}, not {o}")
            if state.get(s, p) is None:
                state.put(s, p, o, t)
        case ("dye_hair" | "move_house" | "take_trade") as op, (s, o):
            p = {"dye_hair": "hair", "move_house": "home", "take_trade": "trade"}[op]
            _alive(state, s)
            _need(state.get(s, p) != o, f"{p} of {s} is {o} already")
            state.put(s, p, o, t)
        case "call", (s, alias):
            bearer = next((f.s for f in state.facts if f.p == "alias" and f.o == alias), s)
            _need(bearer == s, f"{alias} is {bearer}")
            state.put(s, "alias", alias, t)
        case "rumour", (_, s, p, o):  # judged when the truth is known
            state.rumours.append((event, s, p, o))
        case "move", (s, place):
            _alive(state, s)
            state.put(s, "at", place, t)
        case "be", (s, place):
            _alive(state, s)
            _need(state.get(s, "at") in (None, place), f"{s} is at {state.get(s, 'at')}")
        case (("speak" | "act"), (s,)):
            _alive(state, s)
        case "fall_ill" | "wound", (s,):
            _alive(state, s)
            state.put(s, "health", "ill", t)
        case "recover", (s,):
            _alive(state, s)
            _need(state.get(s, "health") == "ill", f"{s} is not ill")
            state.put(s, "health", "well", t)
            state.put(s, "alive", "yes", t)
        case "die", (s,):
            _alive(state, s)
            state.put(s, "alive", "no", t)
        case "marry", (s, r):
            _alive(state, s, r)
            for each in (s, r):
                _need(state.get(each, "spouse") is None, f"{each} is married")
            state.put(s, "spouse", r, t)
            state.put(r, "spouse", s, t)
        case ("quarrel" | "reconcile") as op, (s, r):
            _alive(state, s, r)
            at_odds = state.get(s, f"with.{r}") == "odds"
            now = "at odds" if at_odds else "at peace"
            _need(at_odds == (op == "reconcile"), f"{s} and {r} are {now}")
            state.put(s, f"with.{r}", "odds" if op == "quarrel" else "peace", t)
        case "parent", (child, parent):
            _need(child != parent, "nobody is his own parent")
            state.put(child, "mother", parent, t)
        case "sibling", (s, r):
            state.put(s, "brother", r, t)
        case "stage", (s, arc, n):
            last = state.get(s, f"stage.{arc}")
            _need(last is None or int(last) <= int(n), f"{arc} of {s} has come to {last} already")
            state.put(s, f"stage.{arc}", n, t)
        case _:
            if not (_apply_things(state, event) or _apply_plots(state, event)):
                raise ValueError(f"event: no operator {event.op!r} of {len(event.args)} arguments")


def _apply_things(state: State, event: Event) -> bool:
    t = event.t
    match event.op, event.args:
        case (("acquire" | "find"), (s, thing)):
            _alive(state, s)
            holder = state.get(thing, "holder")
            _need(holder in (None, "nobody"), f"{thing} is with {holder}")
            state.put(thing, "holder", s, t)
        case ("give" | "steal") as op, (s, r, thing):  # from s to r
            _alive(state, r, *(() if op == "steal" else (s,)))
            _need(state.get(thing, "holder") == s, f"{thing} is not with {s}")
            state.put(thing, "holder", r, t)
        case "lose", (s, thing):
            _need(state.get(thing, "holder") == s, f"{thing} is not with {s}")
            state.put(thing, "holder", "nobody", t)
        case "inherit", (r, s, thing):
            _alive(state, r)
            _need(state.get(s, "alive") == "no", f"{s} is alive")
            _need(state.get(thing, "holder") == s, f"{thing} is not with {s}")
            state.put(thing, "holder", r, t)
        case "hide", (s, thing, place, *seen_by):
            _alive(state, s, *seen_by)
            for each in seen_by:
                _need(state.get(each, "at") != AWAY, f"{each} is away and sees nothing")
            state.put(thing, "place", place, t)
            known = state.knows.setdefault(f"k.{thing}.{place}", {})
            for each in (s, *seen_by):
                known.setdefault(each, t)
        case _:
            return False
    return True


def _apply_plots(state: State, event: Event) -> bool:
    t = event.t
    match event.op, event.args:
        case "tell", (s, r, what):
            _alive(state, s, r)
            _need(s in state.knows.get(what, {}), f"{s} does not know {what}")
            state.knows[what].setdefault(r, t)
        case "overhear", (r, s, what):
            _alive(state, r)
            _need(s in state.knows.get(what, {}), f"{s} does not know {what}")
            _need(state.get(r, "at") != AWAY, f"{r} is away and hears nothing")
            state.knows[what].setdefault(r, t)
        case "use_secret", (s, what):
            _alive(state, s)
            _need(s in state.knows.get(what, {}), f"{s} does not know {what}")
        case "promise", (s, what):
            _alive(state, s)
            id = f"th.{s}.promise"
            state.threads[id] = Thread(
                id=id, kind="promise", open_u=t, close_u=None, payoff=f"mend({s},{what})",
                status="open",
            )  # fmt: skip
        case "borrow", (s, r):
            _alive(state, s, r)
            id = f"th.{s}.debt"
            state.threads[id] = Thread(
                id=id, kind="debt", open_u=t, close_u=None, payoff=f"repay({s},{r})",
                status="open",
            )  # fmt: skip
        case ("fulfil" | "repay" | "release") as op, (s,):
            id = f"th.{s}.{'debt' if op == 'repay' else 'promise'}"
            thread = state.threads.get(id)
            if thread is None or thread.status != "open":
                raise Inconsistent(f"{s} has nothing open to {op}")
            if op != "release":
                _alive(state, s)
            state.threads[id] = Thread(
                id=id, kind=thread.kind, open_u=thread.open_u, close_u=t, payoff=thread.payoff,
                status="foreclosed" if op == "release" else "closed",
            )  # fmt: skip
        case _:
            return False
    return True


def knowledge(state: State) -> tuple[Knowledge, ...]:
    """Who came to know what, and when."""
    return tuple(
        Knowledge(id=id, prop=f"place({','.join(id.split('.')[1:])})", knowers=tuple(who.items()))
        for id, who in state.knows.items()
    )  # fmt: skip


def _need(holds: bool, rule: str) -> None:
    if not holds:
        raise Inconsistent(rule)


def _alive(state: State, *people: str) -> None:
    for each in people:
        _need(state.get(each, "alive") != "no", f"{each} is dead")
