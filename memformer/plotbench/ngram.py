"""A 5-gram model with a cache of what has been read: how far word statistics go."""

from collections import Counter
from collections.abc import Iterable, Sequence

ORDER = 5
DISCOUNT = 0.75
CACHE_WEIGHT = 0.5
"""Share of the story's own model; the rest is the background's."""


class KneserNey:
    """Interpolated Kneser-Ney of words (Kneser & Ney 1995; Chen & Goodman 1999, §2.7), one
    discount for all orders; the lowest order is mixed with a uniform share for unseen words.

    Args:
        order: words of the longest n-gram.
    """

    def __init__(self, order: int = ORDER) -> None:
        self.order = order
        # by length of the n-gram - 1: n-gram -> count (of the longest), or number of words that
        # stand before it
        self._counts: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order)]
        self._totals: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order)]
        self._kinds: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order)]

    def add(self, words: Sequence[str], start: int = 0) -> None:
        """Count words[start:]; the words before have been counted already."""
        for end in range(start + 1, len(words) + 1):
            for n in range(min(self.order, end), 0, -1):
                # a shorter n-gram counts once for each word before it: if the longer was new
                if not self._count(tuple(words[end - n : end])):
                    break

    def _count(self, gram: tuple[str, ...]) -> bool:
        """Whether the n-gram is new."""
        level, context = len(gram) - 1, gram[:-1]
        is_new = gram not in self._counts[level]
        self._counts[level][gram] += 1
        self._totals[level][context] += 1
        self._kinds[level][context] += is_new
        return is_new

    def probability(self, context: Sequence[str], word: str) -> float:
        """Of a word after others; above 0, also for words never seen."""
        seen = len(self._counts[0])
        p = 1 / (seen + 1)
        for level in range(self.order):
            if level > len(context):
                break
            before = tuple(context[len(context) - level :])
            total = self._totals[level][before]
            if not total:
                break
            kept = max(self._counts[level][(*before, word)] - DISCOUNT, 0) / total
            p = kept + DISCOUNT * self._kinds[level][before] / total * p
        return p


def mixed(models: Iterable[tuple[float, KneserNey]], context: Sequence[str], word: str) -> float:
    """Probability under a weighted mean of models."""
    return sum(weight * model.probability(context, word) for weight, model in models)
