"""The manuscript: one type for all sources, from the bytes as stored to a cleaned text."""

import hashlib
import re
import string
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property

from memformer.data.cleaning import Chapter, Rules, clean, same_words

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_SHINGLE = 8  # words


@dataclass(frozen=True, kw_only=True)
class Manuscript:
    """One novel or story, cleaned.

    Raises:
        ValueError: the id cannot name a file, there is no text, or a chapter's offset is outside
            the text or out of order.
    """

    id: str
    """Names the manuscript in results and its file on disk: letters, digits, `.`, `_` and `-`."""
    author: str | None
    """As the source gives it; None is unknown, and a split by author refuses it."""
    title: str
    text: str = field(repr=False)
    """Cleaned: a paragraph a line, a blank line between paragraphs."""
    chapters: tuple[Chapter, ...] = field(default=(), repr=False)
    """Offsets in characters of `text`."""
    source: str
    """Where it came from, for example a package and version."""
    raw_hash: str
    """SHA-256 of the bytes as stored by the source; stories of one collection share theirs."""
    series: str | None = None
    """The collection that a story is from, or the series that a novel belongs to."""
    year: int | None = None
    """Of first publication in the original language."""
    licence: str | None = None

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(
                f"id must be up to 120 letters, digits, '.', '_' or '-' and begin with a letter "
                f"or digit, got {self.id!r}"
            )
        if not self.text.strip():
            raise ValueError(f"manuscript {self.id!r} has no text")
        offsets = [chapter.offset for chapter in self.chapters]
        if sorted(set(offsets)) != offsets or any(not 0 <= o < len(self.text) for o in offsets):
            raise ValueError(
                f"chapters of {self.id!r} must have rising offsets in [0, {len(self.text)}), "
                f"got {offsets}"
            )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the cleaned text in UTF-8: equal hashes are equal texts."""
        return sha256(self.text.encode())

    @cached_property
    def words(self) -> int:
        """Whitespace-separated words of the cleaned text."""
        return len(self.text.split())

    @cached_property
    def shingles(self) -> frozenset[int]:
        """A quarter of the hashes of all runs of 8 words, chosen by value and so alike in all
        texts: what two texts share of it estimates what they share of their wording."""
        words = [zlib.crc32(word.encode()) for word in same_words(self.text).split()]
        runs = zip(*(words[i:] for i in range(_SHINGLE)), strict=False)
        return frozenset(h for run in runs if not (h := hash(run)) & 3)


def sha256(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, name: str) -> str:
    """The text of a file's bytes, UTF-8 with or without a byte order mark.

    Raises:
        ValueError: the file is empty, binary or in another encoding; `name` is in the message.
    """
    if not data.strip():
        raise ValueError(f"{name} is empty")
    if (at := data.find(0)) >= 0:
        raise ValueError(f"{name} must be text, got a zero byte at byte {at}: is it binary?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} must be UTF-8, got byte 0x{data[error.start]:02x} at byte {error.start}: "
            f"convert it, for example with `iconv -f WINDOWS-1252 -t UTF-8`"
        ) from None


def build_manuscript(
    raw: str,
    *,
    id: str,
    author: str | None,
    title: str,
    source: str,
    raw_hash: str,
    series: str | None = None,
    year: int | None = None,
    licence: str | None = None,
    rules: Rules | None = None,
    keep_headings: bool = True,
) -> Manuscript:
    """Clean a decoded text into a manuscript; title and author alone at its top are dropped.

    Args:
        raw: the decoded text. The fields of `Manuscript` follow.
        rules: what this source needs; None is `Rules()`.
        keep_headings: whether headings stay in the text.

    Raises:
        ValueError: nothing is left after cleaning.
    """
    names = (title, author, natural_name(author))
    rules = replace(rules or Rules(), front=tuple(words for words in names if words))
    text, chapters = clean(raw, rules, keep_headings=keep_headings)
    return Manuscript(
        id=id,
        author=author,
        title=title,
        text=text,
        chapters=chapters,
        source=source,
        raw_hash=raw_hash,
        series=series,
        year=year,
        licence=licence,
    )


def natural_name(author: str | None) -> str | None:
    """`Wells, H. G.` as `H. G. Wells`; other names as they are."""
    if author is None:
        return None
    last, comma, first = author.partition(",")
    return f"{first.strip()} {last.strip()}" if comma else author.strip()


def stories(raw: str) -> list[tuple[str, str]]:
    """Titles and texts of a collection: a title is a line in capitals below four blank lines.

    Raises:
        ValueError: there is no such line.
    """
    text = raw.replace("\r\n", "\n").strip("\ufeff\n")
    title = re.compile(r"(?:\A|\n{5,})((?=.*[A-Z])[^a-z\s][^a-z\n]*)\n(?=\n)")
    _, *parts = title.split(text)
    if not parts:
        raise ValueError("a collection must have titles in capitals below four blank lines")
    return [
        (string.capwords(name), body) for name, body in zip(parts[::2], parts[1::2], strict=True)
    ]


def slug(words: str) -> str:
    """A title as part of an id: `The Emperor's New Suit` is `the-emperors-new-suit`."""
    return "-".join(re.findall("[a-z0-9]+", same_words(words)))
