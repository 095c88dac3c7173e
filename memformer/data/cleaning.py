"""Cleaning: one typography and one paragraph form for all sources, chapters as metadata.

Novels come with curly or straight quotes, `—` or `--`, `_emphasis_`, hard-wrapped lines, title
pages and end words. Unless all sources are made alike, a model tells the source by its typography.
"""

import logging
import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

CLEANING = 1
"""Version of the cleaning. Any change of what `clean` returns raises it, for texts cleaned in
different ways must not be compared."""

PARAGRAPH = "\n\n"
"""What stands between two paragraphs of a cleaned text; inside a paragraph there is no newline."""

_NUMBER = (
    r"(?:\d+|[ivxlc]+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|"
    r"fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|(?:twen|thir|for|fif|six|seven|eigh|"
    r"nine)ty(?:[- ]\w+)?|the first|the last|first|second|third)"
)
HEADING = (
    rf"(?i:(?:chapter|book|part|volume|canto) {_NUMBER}\b[^\n]{{0,80}}|prologue|epilogue)"
    r"|[IVXLC]+\.?"
)
"""Headings of novels that nobody described: `Chapter 7`, `BOOK THE FIRST`, `XII.`, `Epilogue`."""

_NEVER = r"(?!)"
_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u2014\u2015", "--"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013", "-"),
        **dict.fromkeys("\u00a0\u2007\u2009\u202f", " "),
        **dict.fromkeys("\ufeff\u00ad\u200b", None),
        "\u2026": "...",
    }
)
_END_WORD = re.compile(r"(?i)(?:the end|finis|end)[.!]?")
_SCENE_BREAK = re.compile(r"(?:[*~#\u2022_-] *){2,}")
_BREAK = "* * *"
_WRAP = 100  # characters
_log = logging.getLogger(__name__)


class Chapter(NamedTuple):
    """Where a chapter begins."""

    offset: int
    """Characters from the start of the cleaned text: the heading's first one if headings are kept,
    else the first one of the chapter's body."""
    heading: str
    """Adjacent headings make one: `VOLUME I / CHAPTER I`."""


class Cleaned(NamedTuple):
    """A text made like all others."""

    text: str
    """Paragraphs of one line each, a blank line between them."""
    chapters: tuple[Chapter, ...]
    """In order; the first one need not begin at 0."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What one source needs beyond what all need: patterns that match a whole, joined paragraph."""

    heading: str = HEADING
    """A chapter's heading. Kept or dropped by one setting, equal for all sources."""
    start: str | None = None
    """The first paragraph of the novel; what stands before it is a title page."""
    end: str | None = None
    """The first paragraph after the novel."""
    drop: str = _NEVER
    """Paragraphs that are no part of the novel, such as an editor's notes."""
    erase: str = _NEVER
    """Marks erased inside paragraphs, such as references to dropped notes."""
    front: tuple[str, ...] = ()
    """Title and author: leading paragraphs that say only these are a title page."""


def clean(raw: str, rules: Rules | None = None, *, keep_headings: bool = True) -> Cleaned:
    """Make a decoded text like all others, and find its chapters.

    Args:
        raw: the text as decoded; LF, CR or CRLF line ends.
        rules: what this source needs; None is `Rules()`.
        keep_headings: False drops headings from the text; chapters are found all the same. A
            heading tells how far the novel is, so an experiment sets this alike in all its arms.

    Raises:
        ValueError: `rules.start` or `rules.end` matches no paragraph.
    """
    rules = rules or Rules()
    heading, drop = re.compile(rules.heading), re.compile(rules.drop)
    out = _Writer(keep_headings)
    kept = [p for p in _paragraphs(raw, rules) if not drop.fullmatch(p)]
    for paragraph in _body(kept, rules):
        if heading.fullmatch(paragraph):
            out.heading(paragraph)
        else:
            out.body(paragraph)
    return out.finish()


def is_wrapped(text: str) -> bool:
    """Whether a newline inside a paragraph is only the end of a printed line.

    True if at most 1% of the lines with text are longer than 100 characters. Else every line is
    a paragraph of its own, as word processors save them.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    return sum(len(line) > _WRAP for line in lines) <= len(lines) / 100


def same_words(text: str) -> str:
    """Letters and digits of a text in one form, to compare titles: `The Voyage  Out.` and
    `THE VOYAGE OUT` are equal, and so are `Méséglise` and `Meseglise`."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return " ".join(re.findall(r"\w+", plain.replace("'", "").replace("\u2019", "")))


def _paragraphs(raw: str, rules: Rules) -> list[str]:
    text = unicodedata.normalize("NFC", raw.replace("\r\n", "\n").replace("\r", "\n"))
    text = text.lstrip("\ufeff")
    blocks = re.split(r"\n[ \t]*\n\s*" if is_wrapped(text) else r"\n+", text)
    joined = (tidy(re.sub(rules.erase, "", " ".join(block.split()))) for block in blocks)
    return [paragraph for paragraph in joined if paragraph]


def tidy(line: str) -> str:
    """One paragraph in the typography of all: straight quotes, `--`, no `_emphasis_`."""
    if _SCENE_BREAK.fullmatch(line):
        return _BREAK
    line = re.sub(" [\u2013\u2014] ", "--", line).translate(_TYPOGRAPHY)
    line = re.sub(r"\[Illustration[^\]]*\]", "", line)
    line = re.sub(r"_([^_]+)_", r"\1", line)
    return " ".join(re.sub(r"(?<!\w)_+|_+(?!\w)", "", line).split())


def _body(paragraphs: list[str], rules: Rules) -> list[str]:
    """What stands between title page and end words."""
    if rules.start is not None:
        paragraphs = paragraphs[_first(paragraphs, rules.start, "start") :]
    if rules.end is not None:
        paragraphs = paragraphs[: _first(paragraphs, rules.end, "end")]
    front = {"by", *(same_words(words) for words in rules.front)}
    while paragraphs and (
        paragraphs[0] == _BREAK or same_words(paragraphs[0]).removeprefix("by ") in front
    ):
        paragraphs = paragraphs[1:]
    while paragraphs and (paragraphs[-1] == _BREAK or _END_WORD.fullmatch(paragraphs[-1])):
        paragraphs = paragraphs[:-1]
    return paragraphs


def _first(paragraphs: list[str], pattern: str, name: str) -> int:
    for index, paragraph in enumerate(paragraphs):
        if re.fullmatch(pattern, paragraph):
            return index
    raise ValueError(f"rules.{name} must match a whole paragraph, {pattern!r} matches none")


class _Writer:
    """Collects paragraphs and knows the offset of the next one."""

    def __init__(self, keep_headings: bool) -> None:
        self._keep_headings = keep_headings
        self._paragraphs: list[str] = []
        self._chapters: list[Chapter] = []
        self._length = 0
        self._after_heading = False

    def heading(self, paragraph: str) -> None:
        if self._after_heading:
            above = self._chapters.pop()
            self._chapters.append(Chapter(above.offset, f"{above.heading} / {paragraph}"))
        else:
            self._chapters.append(Chapter(self._length, paragraph))
        if self._keep_headings:
            self._write(paragraph)
        self._after_heading = True

    def body(self, paragraph: str) -> None:
        self._write(paragraph)
        self._after_heading = False

    def finish(self) -> Cleaned:
        if self._after_heading:
            _log.debug("heading %r has no text after it", self._chapters[-1].heading)
        text = PARAGRAPH.join(self._paragraphs)
        return Cleaned(text, tuple(c for c in self._chapters if c.offset < len(text)))

    def _write(self, paragraph: str) -> None:
        self._paragraphs.append(paragraph)
        self._length += len(paragraph) + len(PARAGRAPH)
