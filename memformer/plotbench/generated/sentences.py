"""A text as sentences whose people are numbered: names, by-names, pronouns, and who says `I`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from memformer.plotbench.generated.patterns import SAID
from memformer.plotbench.names import Person
from memformer.plotbench.story import Span

_QUOTE = re.compile(r'"[^"\n]*"?|“[^”\n]*”?')
_END = re.compile(r"(?<!\bMr)(?<!\bDr)(?<!\bMrs)(?<!\bSt)[.!?]+[)”\"’']*(?=\s|$)")
_BREAK = re.compile(r"\s*(?:[*#_=-][\s*#_=-]*|[A-Z][A-Z\s'’.,:;0-9-]+)\s*")
_LATER = re.compile(
    r"\b(?:next|following|later|that (?:night|evening|afternoon)|tomorrow|days? after|meanwhile"
    r"|by (?:noon|dusk|dawn|morning|evening)|in the (?:morning|evening|end|meantime)|afterwards"
    r"|spring|summer|autumn|winter|weeks?|months?|years?)\b",
    re.IGNORECASE,
)
_NOT_OWNED = frozenset({
    "and", "to", "in", "with", "that", "a", "an", "the", "on", "at", "for", "from", "when", "as",
    "but", "so", "into", "out", "up", "down", "off", "again", "away", "by", "was", "is", "what",
    "how", "if", "because", "or", "like", "than", "about", "over",
})  # fmt: skip
_IS_AFTER = frozenset({
    "a", "an", "the", "been", "dead", "not", "gone", "at", "in", "born", "alive", "no", "still",
})  # fmt: skip
_CONTRACTED = {"s": " is", "d": " had", "ve": " have", "m": " am", "ll": " will", "re": " are"}


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Who may be spoken of."""

    people: tuple[Person, ...]
    aliases: tuple[tuple[str, str], ...] = ()
    """By-names that the story has given, each with the id of its bearer."""

    @cached_property
    def genders(self) -> dict[str, str]:
        """By id."""
        return {each.id: each.gender for each in self.people}

    @cached_property
    def ids(self) -> dict[str, str]:
        """By name or by-name, in both cases of its first letter."""
        named = [(each.name, each.id) for each in self.people] + list(self.aliases)
        return {
            form: id for name, id in named for form in (name, name[:1].upper() + name[1:])
        }  # fmt: skip

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds names, pronouns, and the first person."""
        names = "|".join(map(re.escape, sorted(self.ids, key=len, reverse=True))) or r"(?!)"
        return re.compile(
            rf"\b(?:(?P<name>{names})|(?P<pro>(?i:he|she|him|her|his))|(?P<me>I|me|my|My|Me))\b"
            r"(?:['’](?P<tail>s|d|ve|m|ll|re)\b)?"
        )


class Sentence(NamedTuple):
    """One sentence, its direct speech apart."""

    span: Span
    """In the text."""
    text: str
    told: str
    """What the narrator says, people numbered, lower case; `""` where somebody speaks."""
    spoken: tuple[str, ...]
    """What is said in it, likewise."""
    people: tuple[str, ...]
    """Ids by number."""
    scene: int
    """Changes where place or time may have changed unsaid."""
    paragraph: int


def sentences(text: str, lexicon: Lexicon) -> Iterator[Sentence]:
    """Cut a text, number its people and say who a pronoun means: the last one named before it in
    its sentence, or else the first one of the sentence before, of that gender."""
    reader = _Reader(lexicon)
    paragraph = scene = at = 0
    for part in re.split(r"(\n+)", text):
        if part.strip():
            if _BREAK.fullmatch(part):
                scene += 1
                reader.before = {}
            else:
                reader.speaker = None
                for start, stop in _cut(part):
                    own = part[start:stop]
                    scene += bool(_LATER.search(_QUOTE.sub("", own)))
                    told, spoken, people = reader.read(own)
                    yield Sentence(
                        (at + start, at + stop), own, told, spoken, people, scene, paragraph
                    )  # fmt: skip
            paragraph += 1
        at += len(part)


def _cut(paragraph: str) -> Iterator[Span]:
    """Spans of sentences; what stands in quotation marks is never cut."""
    masked = _QUOTE.sub(lambda m: "q" * len(m[0]), paragraph)
    start = 0
    for end in _END.finditer(masked):
        if paragraph[start : end.end()].strip():
            yield start + _n_space(paragraph[start:]), end.end()
        start = end.end()
    if paragraph[start:].strip():
        yield start + _n_space(paragraph[start:]), len(paragraph.rstrip())


def _n_space(text: str) -> int:
    return len(text) - len(text.lstrip())


class _Reader:
    """Reads sentences in order and remembers who was last spoken of."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self.before: dict[str, str] = {}
        self.speaker: str | None = None

    def read(self, text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """What is told, what is spoken, and the people by number."""
        people: list[str] = []
        quotes = [m[0].strip('"“”') for m in _QUOTE.finditer(text)]
        here: dict[str, str] = {}
        told = self._numbered(_QUOTE.sub('""', text), people, here, None)
        self.speaker = _speaker(told, people) or self.speaker
        spoken = tuple(self._numbered(q, people, dict(here), self.speaker) for q in quotes)
        first: dict[str, str] = {}
        for id in people:
            first.setdefault(self._lexicon.genders[id], id)
        self.before |= first
        return told, spoken, tuple(people)

    def _numbered(
        self, text: str, people: list[str], here: dict[str, str], speaker: str | None
    ) -> str:
        parts, end = [], 0
        for found in self._lexicon.pattern.finditer(text):
            after = text[found.end() :].lstrip(" ").split(" ", 1)[0].strip(",.;!?").lower()
            id, is_own = self._meant(found, after, here, speaker)
            if id is None:
                continue
            people.append(id)
            here[self._lexicon.genders[id]] = id
            tail = "'s" if is_own else _CONTRACTED.get(found["tail"] or "", "")
            parts += [text[end : found.start()], f"@{len(people) - 1}{tail}"]
            end = found.end()
        whole = "".join(parts) + text[end:]
        return re.sub(r"\s+", " ", whole.replace("’", "'")).strip().lower()

    def _meant(
        self, found: re.Match[str], after: str, here: dict[str, str], speaker: str | None
    ) -> tuple[str | None, bool]:
        """Whom a name or pronoun means, and whether something is that person's."""
        is_tail = found["tail"] == "s" and after not in _IS_AFTER
        if found["name"]:
            return self._lexicon.ids[found["name"]], is_tail
        if found["me"]:
            return speaker, found["me"].lower() == "my"
        word = found["pro"].lower()
        gender = "f" if word in ("she", "her") else "m"
        is_own = word == "his" or (word == "her" and after.isalpha() and after not in _NOT_OWNED)
        return here.get(gender) or self.before.get(gender), is_own


_SPEAKER = re.compile(
    rf"\"\",? (?:{SAID}) (?:the )?@(\d+)(?!')|@(\d+) (?:\w+ly )?(?:{SAID})\b|@(\d+) told\b"
)


def _speaker(told: str, people: list[str]) -> str | None:
    found = _SPEAKER.search(told) if '""' in told else None
    return people[int(next(g for g in found.groups() if g))] if found else None
