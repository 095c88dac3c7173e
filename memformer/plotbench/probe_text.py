"""What can be learnt from probes without their stories: it must be nothing.

Two learners, trained on some stories' probes and asked about the others': logistic regression on
TF-IDF of words and pairs of words, and a trigram model of the consistent continuations.
"""

import math
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memformer.plotbench.statistics import Floats
from memformer.plotbench.story import Probe
from memformer.plotbench.story_words import words_of

N_FOLD = 5
_WIDTH = 1024  # columns that words are hashed into
_N_STEP, _RATE, _DECAY = 100, 4.0, 1e-4


def by_tfidf(probes: Sequence[Probe], seeds: Sequence[int]) -> Floats:
    """Margin of each probe by a regression that saw no probe of its story, (n,).

    What the option changes in the text and what stands around it each have their own columns. What
    differs in the last bits of a sum is a tie.
    """
    texts = [[_terms(p, i) for i in (0, 1)] for p in probes]
    around = [_hashed(words_of(p.stem + p.suffix)) for p in probes]
    first, second = (_tfidf([each[i] for each in texts]) for i in (0, 1))
    x = np.concatenate([first - second, _tfidf(around)], axis=1)  # (n, 2 x width)
    golds = np.array([p.gold for p in probes])
    out = np.zeros(len(probes))
    for held in _folds(seeds):
        out[held] = regression_logits(x[~held], 1.0 - golds[~held], x[held])
    return np.asarray(np.where(golds == 0, out, -out).round(6), dtype=np.float64)


def by_trigrams(probes: Sequence[Probe], seeds: Sequence[int]) -> Floats:
    """Margin of each probe by a model of the consistent texts of other stories, (n,) nats."""
    out = np.zeros(len(probes))
    words = [[_words(p, i) for i in (0, 1)] for p in probes]
    for held in _folds(seeds):
        model = _Trigrams([words[i][probes[i].gold] for i in np.flatnonzero(~held).tolist()])
        for i in np.flatnonzero(held).tolist():
            gold = probes[i].gold
            out[i] = model.logprob(words[i][gold]) - model.logprob(words[i][1 - gold])
    return out


def _folds(seeds: Sequence[int]) -> list[NDArray[np.bool_]]:
    _, index = np.unique(np.asarray(seeds), return_inverse=True)
    return [index % N_FOLD == fold for fold in range(N_FOLD) if (index % N_FOLD == fold).any()]


def _words(probe: Probe, option: int) -> list[str]:
    return words_of(probe.stem + probe.options[option] + probe.suffix)


def _terms(probe: Probe, option: int) -> Counter[int]:
    return _hashed(_words(probe, option))


def _hashed(words: list[str]) -> Counter[int]:
    pairs = [" ".join(each) for each in zip(words, words[1:], strict=False)]
    return Counter(zlib.crc32(term.encode()) % _WIDTH for term in words + pairs)


def _tfidf(texts: Sequence[Counter[int]]) -> NDArray[np.float32]:
    """(n, width), rows of length 1."""
    x = np.zeros((len(texts), _WIDTH), dtype=np.float32)
    for row, text in zip(x, texts, strict=True):
        row[list(text)] = [1 + math.log(n) for n in text.values()]
    x *= np.log((1 + len(x)) / (1 + (x > 0).sum(0))).astype(np.float32) + 1
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9))


def regression_logits(
    x: NDArray[np.float32], y: Floats, asked: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Logistic regression with an L2 penalty by gradient descent with momentum; answers."""
    if not len(x):
        return np.zeros(len(asked), dtype=np.float32)
    target = y.astype(np.float32)
    weights, speed = np.zeros(x.shape[1], np.float32), np.zeros(x.shape[1], np.float32)
    for _ in range(_N_STEP):
        p = 1 / (1 + np.exp(-(x @ weights)))
        gradient = x.T @ (p - target) / len(x) + _DECAY * weights
        speed = 0.9 * speed - _RATE * gradient
        weights = weights + speed
    return np.asarray(asked @ weights)


class _Trigrams:
    """Counts of one, two and three words, interpolated; what is unknown has one count."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._contexts: Counter[tuple[str, ...]] = Counter()
        for text in texts:
            for gram in _grams(text):
                self._counts[gram] += 1
                self._contexts[gram[:-1]] += 1
        self._n_word = len({gram[0] for gram in self._counts if len(gram) == 1}) + 1

    def logprob(self, text: Sequence[str]) -> float:
        """Nats of a whole text."""
        grams = list(_grams(text))
        one, two, three = (grams[i::3] for i in range(3))
        return sum(
            math.log(0.2 * self._p(a, 1.0) + 0.3 * self._p(b, 0.0) + 0.5 * self._p(c, 0.0))
            for a, b, c in zip(one, two, three, strict=True)
        )

    def _p(self, gram: tuple[str, ...], added: float) -> float:
        below = self._contexts[gram[:-1]] + added * self._n_word
        return (self._counts[gram] + added) / below if below else 0.0


def _grams(text: Sequence[str]) -> list[tuple[str, ...]]:
    """For every word: itself, with the one before, with the two before."""
    padded = ["", "", *text]
    return [tuple(padded[i - n : i + 1]) for i in range(2, len(padded)) for n in range(3)]
