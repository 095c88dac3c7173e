"""Project Gutenberg files: the novel between the START and END lines, and who wrote it.

The header is cut for its trademark's sake too: the terms concern copies that keep it.
"""

import logging
import re
from pathlib import Path
from typing import NamedTuple

from memformer.data.cleaning import Rules, same_words
from memformer.data.manuscripts import Manuscript, build_manuscript, decode, sha256, slug

_START = re.compile(
    r"^(?:\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG[^*]*\*\*\*|\*END\* ?THE SMALL PRINT.*)$",
    re.MULTILINE | re.IGNORECASE,
)
_END = re.compile(
    r"^(?:\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|"
    r"End of (?:the |this )?Project Gutenberg).*",
    re.MULTILINE | re.IGNORECASE,
)
_CONTENTS = re.compile(r"(?:table of )?contents[.:]?", re.IGNORECASE)
_PAGE = re.compile(r"(?:\s{2,}|[\s.]*\.{2,}\s*)\d+\s*$")
_DROP = (
    r"(?i)(?:e-?text )?(?:produced|prepared|transcribed) by .*|"
    r"\[?(?:original )?transcriber's notes?\b.*"
)
_log = logging.getLogger(__name__)


class Cut(NamedTuple):
    """A Project Gutenberg file taken apart."""

    body: str
    """What stands between the START and END lines, without the contents list."""
    author: str | None
    """As the header says."""
    title: str | None


def read_gutenberg(
    path: Path,
    *,
    id: str | None = None,
    author: str | None = None,
    title: str | None = None,
    rules: Rules | None = None,
    keep_headings: bool = True,
) -> Manuscript:
    """A Project Gutenberg text file that the user has.

    Args:
        path: a UTF-8 file with its header and footer.
        id, author, title: instead of what header and file name say.
        rules: instead of the usual headings and notes.
        keep_headings: whether chapter headings stay in the text.

    Raises:
        ValueError: the file is empty, binary or not UTF-8, or has no START or END line.
    """
    data = path.read_bytes()
    cut = cut_gutenberg(decode(data, str(path)), str(path))
    title = title or cut.title or path.stem
    return build_manuscript(
        cut.body,
        id=id or slug(path.stem),
        author=author or cut.author,
        title=title,
        source=f"Project Gutenberg, {path.name}",
        raw_hash=sha256(data),
        rules=rules or Rules(drop=_DROP),
        keep_headings=keep_headings,
    )


def cut_gutenberg(text: str, name: str) -> Cut:
    """Cut a Project Gutenberg file between its START and END lines, whatever their wording.

    Raises:
        ValueError: one of the lines is missing; `name` is in the message.
    """
    text = text.replace("\r\n", "\n")
    starts = list(_START.finditer(text))
    if not starts:
        raise ValueError(f"{name} must have a line `*** START OF ... PROJECT GUTENBERG ...`")
    start = starts[0]
    end = _END.search(text, start.end())
    if end is None:
        raise ValueError(f"{name} must have a line `*** END OF ... PROJECT GUTENBERG ...`")
    header = text[: start.start()]
    body = drop_contents(text[start.end() : end.start()], name)
    return Cut(body, _field(header, "Author"), _field(header, "Title"))


def drop_contents(text: str, name: str) -> str:
    """Drop a contents list: from its title to where its first entry stands again as a heading.

    A list whose first entry does not stand again is kept, and logged as a warning.
    """
    lines = text.split("\n")
    title = next((i for i, line in enumerate(lines) if _CONTENTS.fullmatch(line.strip())), None)
    if title is None:
        return text
    entries = [i for i in range(title + 1, len(lines)) if _entry(lines[i])]
    first = _entry(lines[entries[0]]) if entries else []
    for i in entries[1:]:
        if _same_heading(first, _entry(lines[i])):
            return "\n".join(lines[:title] + lines[i:])
    _log.warning("%s: the contents list's first entry is no heading, the list is kept", name)
    return text


def _entry(line: str) -> list[str]:
    """Words of a line of a contents list, without its page; a column's title has none."""
    words = same_words(_PAGE.sub("", line)).split()
    return [] if words in (["page"], ["chapter", "page"], ["chapter"]) else words


def _same_heading(a: list[str], b: list[str]) -> bool:
    """`CHAPTER I. The Hole` is headed `CHAPTER I` in the text or the other way round."""
    if not a or not b:
        return False
    shared = min(len(a), len(b))
    return a == b or (shared >= 2 and a[:shared] == b[:shared])


def _field(header: str, name: str) -> str | None:
    found = re.search(rf"^{name}: *(.+)$", header, re.MULTILINE)
    return found[1].strip() if found else None
