"""Whether what a text asserts can be, in the world of its story: the rules are `world.py`'s.

Every assertion becomes an event of the world; one that breaks a precondition is a contradiction and
has no effect on what is judged after it. What the world says nothing of is new, and holds from then
on: a text can also contradict itself.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from memformer.plotbench.generated.grammar import Assertion
from memformer.plotbench.world import Event, Inconsistent, State, apply

Verdict = Literal["consistent", "contradicted", "new", "unjudged"]


class Judged(NamedTuple):
    """An assertion with its verdict."""

    assertion: Assertion
    verdict: Verdict
    rule: str
    """What a contradiction breaks; empty for others."""
    is_of_dead: bool
    """Whether the person it is about was dead when it was made."""

    @property
    def is_checkable(self) -> bool:
        """Whether the world had anything to say."""
        return self.verdict in ("consistent", "contradicted")


def judge(state: State, assertions: Sequence[Assertion]) -> list[Judged]:
    """Judge assertions in their order.

    Unjudged are hearsay, wishes, questions and negations; and what the dead say and do where the
    text looks back, or tells of a dream, a letter or a ghost.

    Args:
        state: of the world where the text begins; is changed.
        assertions: of one text (`grammar.extract`).
    """
    t = max((fact.t[0] for fact in state.facts), default=0)
    placed: set[str] = set()
    scene = -1
    found = []
    for each in assertions:
        t += 1
        if each.scene != scene:
            placed, scene = set(), each.scene
        is_dead = state.get(each.s, "alive") == "no"
        if each.voice in ("claimed", "denied") or (
            is_dead and each.is_aside and each.kind in ("speak", "act", "at", "move")
        ):
            found.append(Judged(each, "unjudged", "", is_dead))
            continue
        verdict, rule = _verdict(state, each, t, placed)
        found.append(Judged(each, verdict, rule, is_dead))
        if each.kind in ("at", "move") and verdict != "contradicted":
            placed.add(each.s)
    return found


def _verdict(state: State, a: Assertion, t: int, placed: set[str]) -> tuple[Verdict, str]:
    is_known, events = _event(state, a, t, placed)
    try:
        for event in events:
            apply(state, event)
    except Inconsistent as broken:
        return "contradicted", str(broken)
    return ("consistent" if is_known else "new"), ""


def _event(state: State, a: Assertion, t: int, placed: set[str]) -> tuple[bool, list[Event]]:
    """Whether the world knows anything of this, and what must be able to happen."""
    change = {"hair*": "dye_hair", "home*": "move_house", "trade*": "take_trade"}
    p, s, o = a.states

    def observed() -> tuple[bool, list[Event]]:
        return state.get(s, p) is not None, [Event("observe", (s, p, o), t)]

    match a.kind:
        case "hair*" | "home*" | "trade*" if state.get(s, p) != o:
            return state.get(s, p) is not None, [Event(change[a.kind], (s, o), t)]
        case "dead" if state.get(s, p) != "no":
            return False, [Event("die", (s,), t)]
        case "ill":
            return state.get(s, "alive") is not None, [Event("fall_ill", (s,), t)]
        case "speak" | "act":
            return state.get(s, "alive") is not None, [Event(a.kind, (s,), t)]
        case "move":
            return state.get(s, "alive") == "no", [Event("move", (s, o), t)]
        case "at" if s in placed:  # nobody is at two places in one scene
            return True, [Event("be", (s, o), t)]
        case "at":
            return state.get(s, "alive") == "no", [Event("move", (s, o), t)]
        case "take" | "give":
            return _handed_over(state, a, t)
        case "spot" if state.get(s, p) != o:  # a thing may be moved while nobody looks
            return False, [Event("hide", ("someone", s, o), t)]
        case "knows" | "tell":
            return _knowing(state, a, t)
        case "brother":  # one may have several
            return state.get(s, p) == o, []
        case "promise":
            return state.get(s, "alive") == "no", [Event("promise", (s, "?"), t)]
        case "borrow":
            return state.get(s, "alive") == "no", [Event("borrow", (s, o), t)]
        case "fulfil" | "repay":
            thread = state.threads.get(f"th.{s}.{'debt' if a.kind == 'repay' else 'promise'}")
            return thread is not None, [Event(a.kind, (s,), t)] if thread else []
        case "owes":
            thread = state.threads.get(f"th.{s}.debt")
            if thread is None:
                return False, []
            return True, [] if thread.status == "open" else [Event("repay", (s,), t)]
        case _:
            return observed()


def _handed_over(state: State, a: Assertion, t: int) -> tuple[bool, list[Event]]:
    thing, new = a.thing, a.s if a.kind == "take" else a.o
    holder = state.get(thing, "holder")
    if holder == new:  # told again
        return True, [Event("observe", (thing, "holder", new), t)]
    if a.kind == "take":
        if holder in (None, "nobody"):
            return False, [Event("find", (new, thing), t)]
        return False, [Event("steal", (holder, new, thing), t)]
    if holder is None:
        return False, [Event("find", (a.s, thing), t), Event("give", (a.s, new, thing), t)]
    return True, [Event("give", (a.s, new, thing), t)]


def _knowing(state: State, a: Assertion, t: int) -> tuple[bool, list[Event]]:
    """Who acts on a secret must have come to know it; what lies nowhere cannot be known."""
    secret = f"k.{a.thing}.{a.o}"
    if secret in state.knows:
        return True, [Event("use_secret", (a.s, secret), t)]
    is_known = state.get(a.thing, "place") is not None
    return is_known, [Event("observe", (a.thing, "place", a.o), t)]
