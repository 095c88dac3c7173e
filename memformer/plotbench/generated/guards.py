"""Whether a text is one at all: what repeats, copies, or cannot be read scores well by saying
nothing, so these stand beside every rate.

    n words of a text, m of what came before
"""

from collections.abc import Sequence
from typing import NamedTuple

from memformer.plotbench.generated.grammar import Assertion
from memformer.plotbench.generated.sentences import Sentence
from memformer.plotbench.story_words import words_of


class Guards(NamedTuple):
    """Counts whose ratios are the guards; sums over texts give pooled ratios."""

    n_bigrams: int
    n_distinct_bigrams: int
    """After Li et al. 2016, arXiv:1510.03055 (distinct-2), of each text alone."""
    n_fourgrams: int
    n_repeated_fourgrams: int
    """That stand earlier in the same text (Welleck et al. 2019, arXiv:1908.04319, seq-rep-4)."""
    longest_copy: int
    """Words in a row that stand in the same order in what was read before."""
    n_named: int
    """Sentences with a known person."""
    n_unparsed: int
    """Of these, from which nothing at all was extracted."""


def guards_of(
    text: str, before: str, cut: Sequence[Sentence], assertions: Sequence[Assertion]
) -> Guards:
    """Of one text, what was read before it, and what was made of it."""
    words = words_of(text)
    bigrams, fourgrams = _grams(words, 2), _grams(words, 4)
    parsed = {each.sentence for each in assertions}
    named = [i for i, each in enumerate(cut) if each.people]
    return Guards(
        n_bigrams=len(bigrams),
        n_distinct_bigrams=len(set(bigrams)),
        n_fourgrams=len(fourgrams),
        n_repeated_fourgrams=len(fourgrams) - len(set(fourgrams)),
        longest_copy=longest_copy(words, words_of(before)),
        n_named=len(named),
        n_unparsed=sum(i not in parsed for i in named),
    )


def longest_copy(words: Sequence[str], before: Sequence[str]) -> int:
    """Length of the longest run of words that occurs before: by halving, in O((n + m) log n)."""
    low, high = 0, len(words)
    while low < high:  # a run of n that occurs holds one of n - 1
        n = (low + high + 1) // 2
        if set(_grams(words, n)) & set(_grams(before, n)):
            low = n
        else:
            high = n - 1
    return low


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
