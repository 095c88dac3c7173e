"""What leaks into a review from outside the novel: title, author, stars.

With the title a pretrained reviewer could quote what it has read of the book, with the stars it
would learn the rating instead of the review.
"""

import re
from typing import NamedTuple

from memformer.data.manuscripts import natural_name

_LEAST = 4  # letters of a word that is a title, or an author's last name, by itself
_NUMBER = r"(?:\d{1,2}(?:[.,]\d)?|one|two|three|four|five|six|seven|eight|nine|ten|half|zero|no)"
_STARS = re.compile(
    rf"""[★☆⭐✩✪✭✮✯\U0001f31f]+ (?:\s*[½¼¾])? (?:\s*\(?\d(?:[.,]\d)?\)?)?
    | \b{_NUMBER} (?:\s+and\s+a\s+half | \s*½)? (?:\s*[-–]\s*|\s+) stars?\b(?![-–]\w)
      (?:\s+(?:out\s+)?of\s+{_NUMBER})?
    | \b{_NUMBER}\s*/\s*(?:5|10|100|five|ten)\b (?:\s*stars?\b)?
    | \b{_NUMBER}\s+out\s+of\s+(?:5|10|100|five|ten)\b (?:\s*stars?\b)?
    | \b(?:rating|score|grade)\s*[:=]\s*{_NUMBER}(?:\s*/\s*\d+)?
    | \*{{3,}}""",
    re.IGNORECASE | re.VERBOSE,
)


class Stripped(NamedTuple):
    """A review without leaks, and how many there were."""

    text: str
    n_title: int
    """Replaced by "this book"."""
    n_author: int
    """Replaced by "the author"."""
    n_stars: int
    """Removed."""


def strip_leaks(text: str, *, title: str | None, author: str | None) -> Stripped:
    """A review without the novel's title and author, and without stars.

    A title of several words is found in any case and with any white space between them, with or
    without the article and without a subtitle after a colon too. A title or last name of one word
    is found only as it is written, and, if it has fewer than 4 letters ("It"), a title only between
    quotation marks, a name only with the first name: else common words would go. A title that is a
    character's name ("Emma") goes everywhere; that loses some of what a review says of the novel,
    and is counted.

    Args:
        text: of the review.
        title, author: of the novel, as its source has them; None is unknown.
    """
    n_title = n_author = 0
    for pattern in _titles(title):
        text, n = pattern.subn("this book", text)
        n_title += n
    for pattern in _authors(author):
        text, n = pattern.subn("the author", text)
        n_author += n
    text, n_stars = _STARS.subn(" ", text)
    if n_stars:
        text = re.sub(r"[ \t]+([.,;:!?])", r"\1", re.sub(r"[ \t]{2,}", " ", text)).strip()
    return Stripped(text, n_title, n_author, n_stars)


def _titles(title: str | None) -> list[re.Pattern[str]]:
    """Longest first, so that a subtitle does not stay behind."""
    if title is None or not title.strip():
        return []
    main = re.split(r"\s*[:;]\s|\s+[-–—]\s+", title.strip())[0]
    names = {title.strip(), main}
    names |= {short for name in names if (short := re.sub(r"(?i)^(the|an?)\s+", "", name))}
    found = []
    for name in sorted(names, key=len, reverse=True):
        words = name.split()
        pattern = r"\s+".join(map(re.escape, words))
        if len(words) > 1:
            found.append(re.compile(rf"(?<!\w)[\"“*_]?{pattern}[\"”*_]?(?!\w)", re.IGNORECASE))
        elif len(name) >= _LEAST:
            found.append(re.compile(rf"(?<!\w)[\"“*_]?{pattern}[\"”*_]?(?!\w)"))
        else:
            found.append(re.compile(rf"[\"“*_]{pattern}[\"”*_]"))
    return found


def _authors(author: str | None) -> list[re.Pattern[str]]:
    name = natural_name(author)
    if author is None or not name:
        return []
    *first, last = name.split()
    whole = [r"\s+".join(map(re.escape, name.split())), re.escape(author.strip())]
    if first:  # initials of the first names, with or without points
        initials = r"\s*".join(rf"{re.escape(each[0])}\.?" for each in first)
        whole.append(rf"{initials}\s*{re.escape(last)}")
    found = [re.compile(rf"(?<!\w)(?:{each})(?!\w)", re.IGNORECASE) for each in whole]
    if len(last) >= _LEAST:
        found.append(re.compile(rf"(?<!\w){re.escape(last)}(?!\w)"))
    return found
