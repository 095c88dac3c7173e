"""Readers of one sentence or of two: what a family asks beyond them is what it can show.

They are no shortcuts, as they find and read what decides; so the gate does not forbid them. A
family in which one does well says little more than that such reading was done.
"""

import math
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.plotbench.frames import arc, life, order, status
from memformer.plotbench.probe_text import regression_logits
from memformer.plotbench.rules import Asked, Ranks, asked
from memformer.plotbench.story import Bench, Probe

POLES: dict[str, frozenset[str]] = {
    "life": life.LIVING,
    "thread.status": status.SETTLED,
    "arc.position": arc.LATE,
    "time.order": frozenset({order.OPTIONS[0].strip()}),
}
"""Families whose options mean one of two states, with the words for the first."""
_WIDTH = 4096  # columns that words are hashed into
_RARE = 1.0  # of the logarithm of (sentences / sentences with a word), what a word must exceed


def learned_words(train: Bench, bench: Bench) -> dict[str, Ranks]:
    """Logistic regression on the words in sentences that name one person, minus those of the other.

    Trained on other stories, with the names taken out: does the vocabulary of a sentence give its
    state away? Families without `POLES` are ties.
    """
    found: dict[str, Ranks] = {p.probe_id: (0.0, 0.0) for p in bench.probes}
    for family in POLES:
        x, y, _ = _states(train, family)
        told, _, probes = _states(bench, family)
        if not len(x) or not len(told):
            continue
        margins = regression_logits(x, y, told)
        for p, margin in zip(probes, margins.tolist(), strict=True):
            at = _first_state(p)
            found[p.probe_id] = (margin, -margin) if at == 0 else (-margin, margin)
    return found


def _states(
    bench: Bench, family: str
) -> tuple[NDArray[np.float32], NDArray[np.float64], list[Probe]]:
    """(n, width) differences of words, rows of length 1; (n,) 1 for the first state; the probes."""
    here = [(p, q) for p, q in asked(bench) if p.family == family]
    x = np.zeros((len(here), _WIDTH), dtype=np.float32)
    for row, (_, q) in zip(x, here, strict=True):
        sentences = Sentences.of(q)
        for name, sign in ((q.name, 1), (q.other, -1)):
            for words in sentences.with_one(name, q.name + q.other):
                for word in set(words) - {*q.name, *q.other}:
                    row[zlib.crc32(word.encode()) % _WIDTH] += sign
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    y = np.array([float(p.gold == _first_state(p)) for p, _ in here])
    return x, y, [p for p, _ in here]


def _first_state(p: Probe) -> int:
    return next(i for i, option in enumerate(p.options) if option.strip() in POLES[p.family])


class Sentences(NamedTuple):
    """What has been read, cut into sentences of words."""

    all: list[list[str]]

    @classmethod
    def of(cls, q: Asked) -> "Sentences":
        """Of the story before a probe."""
        found: list[list[str]] = []
        last = -1
        for word, i in zip(q.story.words[: q.n_read], q.story.units["sentence"], strict=False):
            if i != last:
                found.append([])
                last = i
            found[-1].append(word)
        return cls(found)

    def with_one(self, name: list[str], names: list[str]) -> Iterator[list[str]]:
        """Those that hold this name and none of the others."""
        for words in self.all:
            if [each for each in names if each in words] == name:
                yield words


def two_steps(bench: Bench) -> dict[str, Ranks]:
    """From the name to words that share a sentence with it, from those to sentences with an option.

    A word weighs the square of its rarity. Sentences that name both people, or a person and an
    option, are skipped: they are the same in both twins. This is lexical retrieval in two steps.
    """
    found: dict[str, Ranks] = {}
    for p, q in asked(bench):
        options = tuple(option[0] for option in q.options)
        kept = [
            set(words)
            for words in Sentences.of(q).all
            if sum(word in words for word in (*q.name, *q.other)) < 2
            and not (
                any(word in words for word in (*q.name, *q.other))
                and any(option in words for option in options)
            )
        ]
        n_with = Counter(word for words in kept for word in words)
        weight = {
            word: max(0.0, math.log(len(kept) / n) - _RARE) ** 2
            for word, n in n_with.items()
            if n > 1 or word in options
        }
        reached = Counter[str]()
        for words in kept:
            if q.name and q.name[0] in words:
                for word in words - {*q.name, *q.other}:
                    reached[word] += 1
        ranks = [0.0, 0.0]
        for words in kept:
            total = sum(weight.get(word, 0.0) for word in words) or 1.0
            linked = sum(reached[word] * weight.get(word, 0.0) for word in words if reached[word])
            for i, option in enumerate(options):
                if option in words:
                    ranks[i] += linked / total
        found[p.probe_id] = (ranks[0], ranks[1])
    return found


def smaller_number(bench: Bench) -> dict[str, Ranks]:
    """The first option for whoever stands beside the smaller number: `9.40` against `9.53`.

    As the two of a group always differ in the answer, an event between them need not be looked up.
    """
    found: dict[str, Ranks] = {}
    for p, q in asked(bench):
        sentences = Sentences.of(q)
        both = q.name + q.other
        mine, theirs = (
            [_number(words) for words in sentences.with_one(name, both) if _number(words)]
            for name in (q.name, q.other)
        )
        is_known = p.family == "time.order" and mine and theirs
        gap = (mine[-1] or 0) - (theirs[-1] or 0) if is_known else 0
        found[p.probe_id] = (float(gap < 0), float(gap > 0))
    return found


def _number(words: list[str]) -> int | None:
    digits = [word for word in words if word.isdecimal()]
    return int("".join(digits)) if digits else None
