"""A story as words, sentences and paragraphs: what rules without a model look things up in."""

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Literal

Unit = Literal["sentence", "paragraph"]
_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"[.!?][\"”’')]*\s|\n")


def words_of(text: str) -> list[str]:
    """Lower case, without punctuation."""
    return [word.lower() for word in _WORD.findall(text)]


class StoryWords:
    """One twin's text, cut once; every question names how many words have been read."""

    def __init__(self, text: str) -> None:
        found = list(_WORD.finditer(text))
        self.words = [each.group().lower() for each in found]
        self._starts = [each.start() for each in found]
        ends = [each.end() for each in _SENTENCE_END.finditer(text)]
        breaks = [each.end() for each in re.finditer(r"\n\n", text)]
        self.units: dict[Unit, list[int]] = {
            "sentence": [bisect_left(ends, start + 1) for start in self._starts],
            "paragraph": [bisect_left(breaks, start + 1) for start in self._starts],
        }
        self._at: dict[str, list[int]] = {}
        for i, word in enumerate(self.words):
            self._at.setdefault(word, []).append(i)
        self._lengths = {unit: Counter(index) for unit, index in self.units.items()}

    def n_read(self, to_char: int) -> int:
        """Words before an offset."""
        return bisect_left(self._starts, to_char)

    def places(self, phrase: Sequence[str], n_read: int) -> list[int]:
        """Words at which a phrase begins, ascending; those not read yet are left out."""
        if not phrase:
            return []
        n = len(phrase)
        return [
            i
            for i in self._at.get(phrase[0], [])
            if i + n <= n_read and (n == 1 or self.words[i : i + n] == list(phrase))
        ]

    def bm25(self, query: Sequence[str], unit: Unit, n_read: int) -> dict[int, float]:
        """Okapi BM25 (k1 = 1.2, b = .75) of every unit read that holds a word of the query."""
        index, lengths = self.units[unit], self._lengths[unit]
        n_unit = index[n_read - 1] + 1 if n_read else 0
        mean = n_read / max(n_unit, 1)
        found: dict[int, float] = {}
        for word in set(query):
            counts = Counter(index[i] for i in self._at.get(word, []) if i < n_read)
            rarity = math.log(1 + (n_unit - len(counts) + 0.5) / (len(counts) + 0.5))
            for at, n in counts.items():
                long = 1.2 * (0.25 + 0.75 * lengths[at] / mean)
                found[at] = found.get(at, 0.0) + rarity * n * 2.2 / (n + long)
        return found
