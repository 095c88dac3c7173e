"""Token classes from the text alone: first mention of a name, mention again after n tokens, other.

Plain rules, no language model. A name is one word: in "Elizabeth Bennet" each counts by itself.
What the rules get wrong is counted in docs/evaluation.md.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.evaluation.encoded import EncodedManuscript

FIRST_NAME = "first_name"
OTHER = "other"

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_ENDING = re.compile(r"['’](?:s|m|d|ll|re|ve)?$")  # Rachel's, I'm, Helen'll
_BEFORE = re.compile(r"[\s\"'“”‘’(\[_*]*$")
_ENDS_SENTENCE = set(".!?:;-—–…)]\n")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TITLES = _words("""
    Mr Mrs Ms Miss Misses Messrs Dr St Sir Lady Lord Madam Madame Mademoiselle Monsieur Mme Mlle
    Captain Colonel Major General Admiral Doctor Professor Father Mother Brother Sister Aunt Uncle
    Rev Reverend Saint King Queen Prince Princess Duke Duchess Count Countess Baron Esq Jr Jun Sen
    Mamma Papa Master Mistress Dame
""")
_ABBREVIATED = _words("Mr Mrs Ms Messrs Dr St Mme Mlle Rev Esq Jr Jun Sen Capt Col Gen Prof")
# of a thing or a people rather than of someone or somewhere
_NOT_NAMES = _words("""
    God Lord Heaven Providence Christmas Easter Sunday Monday Tuesday Wednesday Thursday Friday
    Saturday January February March April May June July August September October November December
    English Englishman Englishmen Englishwoman French Frenchman Frenchmen German Germans Italian
    Italians Spanish Spaniard Spaniards Portuguese Greek Greeks Latin Roman Romans Russian Russians
    Scotch Scottish Irish Irishman Welsh American Americans Indian Indians Chinese Turkish Dutch
    European Europeans African Christian Christians Christianity Catholic Protestant Jew Jews
    Jewish British Chapter Oh Ah Yes No The And But
""")


class Mention(NamedTuple):
    """A name where it stands in the text, without 's and the like."""

    start: int
    stop: int
    name: str


def mentions(text: str, *, max_lower: float = 0.05) -> list[Mention]:
    """The names of a text, in order.

    A word is a name if it is capitalised (not all capitals, at least two letters), stands so at
    least once inside a sentence, at most `max_lower` of its occurrences are in lower case, and it
    is no title, calendar word or people's name from a short English list. Then all its capitalised
    occurrences are mentions, those at the start of a sentence included.
    """
    words = [_stripped(match) for match in _WORD.finditer(text)]
    lower = Counter(word.name for word in words if word.name.islower())
    capital = Counter(word.name for word in words if _is_capitalised(word.name))
    inside = {word.name for word in words if _is_capitalised(word.name) and _inside(text, word)}
    names = {
        word
        for word in inside - _NOT_NAMES - _TITLES
        if lower[word.lower()] <= max_lower * (lower[word.lower()] + capital[word])
    }
    return [word for word in words if word.name in names]


def class_names(edges: Sequence[int]) -> list[str]:
    """The classes in the order of their numbers: other, first mention, again by distance.

    `edges` in tokens, ascending: edges (256, 1024) give `again <256`, `again 256-1024`,
    `again >=1024`.
    """
    if list(edges) != sorted(set(edges)) or not edges or edges[0] < 1:
        raise ValueError(f"edges must be ascending numbers of tokens, got {tuple(edges)}")
    between = [f"again {a}-{b}" for a, b in zip(edges, edges[1:], strict=False)]
    return [OTHER, FIRST_NAME, f"again <{edges[0]}", *between, f"again >={edges[-1]}"]


def token_classes(manuscript: EncodedManuscript, edges: Sequence[int]) -> NDArray[np.int64]:
    """(n,) the number in `class_names(edges)` of each token's class.

    A name's class goes to every token that overlaps it, its later subwords too: spelling a name
    is a part of recalling it. The distance to the last mention is counted in tokens between the
    first tokens of both. What stands before token 0 does not exist: reading starts there.
    """
    class_names(edges)
    classes = np.zeros(len(manuscript), dtype=np.int64)
    starts, stops = manuscript.spans[:, 0], manuscript.spans[:, 1]
    last: dict[str, int] = {}
    for mention in mentions(manuscript.text):
        # spans ascend, so the tokens that overlap the mention are consecutive
        first = int(np.searchsorted(stops, mention.start, side="right"))
        after = int(np.searchsorted(starts, mention.stop, side="left"))
        if first >= after:
            continue
        classes[first:after] = (
            2 + int(np.searchsorted(edges, first - last[mention.name], side="right"))
            if mention.name in last
            else 1
        )
        last[mention.name] = first
    return classes


def _stripped(match: re.Match[str]) -> Mention:
    word = _ENDING.sub("", match.group())
    return Mention(match.start(), match.start() + len(word), word)


def _is_capitalised(word: str) -> bool:
    return len(word) > 1 and word[0].isupper() and not word.isupper()


def _inside(text: str, word: Mention) -> bool:
    """Whether a word stands inside a sentence: not after an end, a quotation mark, a blank line."""
    head = text[max(0, word.start - 40) : word.start]
    gap = _BEFORE.search(head)
    before, between = (head[: gap.start()], gap.group()) if gap else (head, "")
    if not before or "\n\n" in between or any(c in between for c in '"“”‘(['):
        return False
    if before.endswith("."):
        return re.split(r"\W+", before[:-1])[-1] in _ABBREVIATED
    return before[-1] not in _ENDS_SENTENCE
