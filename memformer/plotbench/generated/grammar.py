"""From text to assertions over known people, things and values."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from memformer.plotbench.generated.patterns import Rule, canonical, rules
from memformer.plotbench.generated.sentences import Lexicon, Sentence, sentences
from memformer.plotbench.story import Span

Voice = Literal["told", "spoken", "claimed", "denied"]
DEEDS = ("speak", "act", "at", "move")
"""Kinds that say what somebody does or where, and nothing that stays true."""

_CLAIMED = re.compile(
    r"\b(?:if|whether|perhaps|maybe|might|may|could(?! (?:hear|see|tell|smell))|would|should"
    r"|(?<!the )will|must|heard"
    r"|told (?:@\d+ |[a-z]+ )?that|(?:was|were|been) told|rumou?r\w*|suppos\w+|pretend\w*"
    r"|believed|claim\w+|lies?|lied|as though|wish\w*|wanted to|want to|had it from|swears"
    r"|people say|they say|as a boy|as a girl|unless|imagin\w+"
    r"|(?:said|says|saying|telling|tells|told|answered|announced|noted|declared|insisted|swore"
    r"|wrote|repeated|added|fall|have it|had it|word of|known|assured|message)"
    r"\b[^\".;]{0,60}\bthat)\b"
)
# "that Anna was ...": somebody says so, unless it is known or seen
_REPORTED = re.compile(r"\bthat $")
_KNOWN = re.compile(
    r"\b(?:knew|knows?|saw|sees?|noticed|realised|realized|remember\w*|discovered|found out|learnt"
    r"|learned|tell|true|fact|certain|plain|clear)\b[^.;]*$"
)
_DENIED = re.compile(r"\b(?:not|never|nobody|neither|nor|no longer|no|almost|nearly|half)\b|n't\b")
_ASIDE = re.compile(
    r"\b(?:remember\w*|recall\w*|dream\w*|dreamt|letter|wrote|written|ghost|spirit|years ago|once"
    r"|had (?:always |often |once )?(?:said|asked|told|been|gone|come)|used to|photograph|portrait"
    r"|memory|memories|diary|in those days|before @\d+ died|when @\d+ was alive|as @\d+ lay)\b"
)
_LETTER = re.compile(r"\b(?:my )?dear(?:est)? @?\w")


class Assertion(NamedTuple):
    """One thing that a text says of somebody or something."""

    kind: str
    """A key of `patterns.RULES`."""
    s: str
    """Whom it is about: id of a person, or a thing for `spot`."""
    o: str
    """A value, a place, another person; empty where the kind has none."""
    thing: str
    voice: Voice
    """`told` and `spoken` are judged; `claimed` (hearsay, a wish, a question) and `denied` not."""
    is_aside: bool
    """Whether sentence or paragraph look back, or are a dream, a letter, a ghost."""
    span: Span
    """Of its sentence."""
    sentence: int
    scene: int

    @property
    def states(self) -> tuple[str, str, str]:
        """Predicate, subject and value, in the words of `world.py` where it has them."""
        match self.kind:
            case "holder" | "take":
                return "holder", self.thing, self.s
            case "give":
                return "holder", self.thing, self.o
            case "dead" | "alive":
                return "alive", self.s, "no" if self.kind == "dead" else "yes"
            case "spot":
                return "place", self.thing, self.o
            case "knows" | "tell":
                return "knows", self.s, f"{self.thing}.{self.o}"
            case _:
                return self.kind.removesuffix("*"), self.s, self.o


def extract(text: str, lexicon: Lexicon) -> tuple[list[Sentence], list[Assertion]]:
    """All sentences of a text, and what they assert, in the order of the text.

    An assertion that a sentence makes twice counts once.
    """
    cut = list(sentences(text, lexicon))
    letters = {each.paragraph for each in cut if _LETTER.match(each.told)}
    found: list[Assertion] = []
    for i, sentence in enumerate(cut):
        aside = bool(_ASIDE.search(sentence.told)) or sentence.paragraph in letters
        found += _of_sentence(i, sentence, aside)
    return cut, found


def _of_sentence(i: int, sentence: Sentence, aside: bool) -> list[Assertion]:
    seen: dict[tuple[str, str, str, str], Assertion] = {}
    for clause, is_spoken in [
        (sentence.told, False),
        *((each, True) for q in sentence.spoken for each in re.split(r"(?<=[.!?]) ", q)),
    ]:
        for rule in rules():
            for s, o, thing, span in _matches(rule, clause, sentence.people):
                voice = _voice(clause, span, is_spoken, rule.kind)
                each = Assertion(
                    rule.kind, s, o, thing, voice, aside, sentence.span, i, sentence.scene
                )
                if is_spoken and rule.kind in DEEDS:
                    continue  # reported, at some other time and place
                seen.setdefault((*each.states, rule.kind if rule.kind in DEEDS else ""), each)
    kept = _without_shadowed(list(seen.values()))
    return sorted(kept, key=lambda a: a.kind in ("act",))


def _matches(
    rule: Rule, clause: str, people: tuple[str, ...]
) -> Iterator[tuple[str, str, str, Span]]:
    for found in rule.pattern.finditer(clause):
        groups = found.groupdict()
        s, r = (None if groups.get(g) is None else people[int(groups[g])] for g in "sr")
        if s is not None and s == r:
            continue
        v = groups.get("v")
        o = r or "" if v is None else canonical(rule.kind, v)
        if rule.kind == "tell":
            s = r  # who knows it now
        yield s or "", o, groups.get("t") or "", found.span()


def _voice(clause: str, span: Span, is_spoken: bool, kind: str) -> Voice:
    start, stop = span
    if _DENIED.search(clause[max(0, start - 12) : stop]):
        return "denied"
    if kind not in ("speak", "tell") and (
        clause.endswith("?")
        or _CLAIMED.search(clause[:stop])
        or (_REPORTED.search(clause[:start]) and not _KNOWN.search(clause[:start]))
    ):  # fmt: skip
        return "claimed"
    return "spoken" if is_spoken else "told"


def _without_shadowed(found: list[Assertion]) -> list[Assertion]:
    """Without what is but a part of something else: what is known to lie somewhere lies there."""
    known = {(a.thing, a.o) for a in found if a.kind in ("knows", "tell")}
    given = {a.thing for a in found if a.kind == "give"}
    return [
        a for a in found
        if not (a.kind == "spot" and (a.thing, a.o) in known)
        and not (a.kind in ("holder", "take") and a.thing in given)
    ]  # fmt: skip
