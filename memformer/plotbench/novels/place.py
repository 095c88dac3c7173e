"""Where in the book is this excerpt? A linear probe, and what is known without a model.

Authors are left out in turn: fitted on all others' books, judged on theirs. The unit is the book.

n excerpts, D features
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.config.plotbench_novels import PlaceConfig
from memformer.plotbench.novels.excerpts import Excerpt
from memformer.plotbench.statistics import Estimate, Floats, mean_interval

Features = Callable[[NDArray[np.int64]], Floats]
"""Indices of the training excerpts to (n, D) features of all excerpts."""
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_NUMBERED = re.compile(
    r"\b(?:chapter|book|part|volume) (\d+|[ivxlc]+)\b|^\s*([ivxlc]+)\.?\s*$", re.I | re.M
)
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_LEAST_DOCUMENTS = 3  # that a word of TF-IDF stands in


class Placed(NamedTuple):
    """How well a way tells the place, with intervals over books."""

    mae: Estimate
    """Mean absolute error of u; .25 for who always says .5."""
    spearman: Estimate
    """Mean over books of the rank correlation within a book; books where all predictions are
    equal have none and are left out."""


def judge(found: Sequence[Excerpt], predicted: Floats) -> Placed:
    """Compare predictions (n,) with the excerpts' places.

    Raises:
        ValueError: not one prediction an excerpt.
    """
    if len(found) != len(predicted) or not len(found):
        raise ValueError(
            f"predicted must have one number an excerpt, got {len(predicted)} for {len(found)}"
        )
    u = np.array([each.u for each in found])
    books = np.array([each.book for each in found])
    by_book = {book: spearman(u[books == book], predicted[books == book]) for book in set(books)}
    ranked = {book: value for book, value in by_book.items() if np.isfinite(value)}
    nothing = Estimate(np.nan, np.nan, np.nan, 0)
    return Placed(
        mean_interval(np.abs(u - predicted), books),
        mean_interval(list(ranked.values()), list(ranked)) if ranked else nothing,
    )


def probe(found: Sequence[Excerpt], features: Features, config: PlaceConfig) -> Floats:
    """(n,) predictions in [0, 1] by ridge regression, each author's from all others' books.

    The penalty is the one that serves best when the training authors are left out in turn.

    Raises:
        ValueError: excerpts of fewer than three authors.
    """
    names = sorted({each.author for each in found})
    if len(names) < 3:
        raise ValueError(
            f"excerpts must be of at least three authors, got {names}: one to judge on, and two to "
            "choose the penalty"
        )
    authors = np.array([each.author for each in found])
    u = np.array([each.u for each in found])
    predicted = np.empty(len(found))
    for author in names:
        train, test = np.flatnonzero(authors != author), np.flatnonzero(authors == author)
        x = features(train)
        errors = {each: _error(x[train], u[train], authors[train], each)
                  for each in config.strengths}  # fmt: skip
        best = min(errors, key=lambda each: errors[each])
        predicted[test] = ridge(x[train], u[train], x[test], best)
    return np.clip(predicted, 0, 1)


def ridge(x: Floats, y: Floats, new: Floats, strength: float) -> Floats:
    """Predictions (m,) for features (m, D) from n examples (n, D), (n,), by the dual form.

    Features and targets are centred; the penalty is `strength` times the squared weights.
    """
    middle, level = x.mean(0), y.mean()
    centred = x - middle
    gram = centred @ centred.T
    weights = np.linalg.solve(gram + strength * np.eye(len(x)), y - level)
    return np.asarray(level + (new - middle) @ (centred.T @ weights))


def scaled(x: Floats) -> Features:
    """Given features, standardised on the training excerpts, rows of length about 1."""

    def of(train: NDArray[np.int64]) -> Floats:
        middle, spread = x[train].mean(0), x[train].std(0)
        spread = np.where(spread > 1e-9 * (1 + np.abs(middle)), spread, np.inf)
        return np.asarray((x - middle) / spread / np.sqrt(x.shape[1]))

    return of


def tf_idf(texts: Sequence[str]) -> Features:
    """log(1 + count) x idf of words in at least three training excerpts, rows of length 1."""
    counts = [Counter(_WORD.findall(text.lower())) for text in texts]

    def of(train: NDArray[np.int64]) -> Floats:
        n_document = Counter(word for i in train for word in counts[i])
        kept = sorted(word for word, n in n_document.items() if n >= _LEAST_DOCUMENTS)
        idf = {word: np.log(len(train) / n_document[word]) for word in kept}
        place = {word: i for i, word in enumerate(kept)}
        x = np.zeros((len(texts), len(kept)))
        for row, own in zip(x, counts, strict=True):
            for word, n in own.items():
                if word in place:
                    row[place[word]] = np.log1p(n) * idf[word]
        length = np.linalg.norm(x, axis=1, keepdims=True)
        return np.asarray(x / np.where(length > 0, length, 1))

    return of


def by_constant(found: Sequence[Excerpt]) -> Floats:
    """(n,) always .5."""
    return np.full(len(found), 0.5)


class Numbered(NamedTuple):
    """What the pattern says."""

    predicted: Floats
    """(n,) the chapter's middle by the median number of chapters of others' books; .5 without a
    number."""
    share: float
    """Of excerpts in which a chapter's number stands."""


def by_chapter_number(found: Sequence[Excerpt]) -> Numbered:
    """A chapter's number in the excerpt as the place: a leak where headings were to be dropped."""
    numbers = [chapter_number(each.text) for each in found]
    predicted = by_constant(found)
    for i, number in enumerate(numbers):
        if number is not None:
            others = {e.book: e.n_chapter for e in found if e.author != found[i].author}
            n = np.median(list(others.values())) if others else number
            predicted[i] = min(1.0, (number - 0.5) / max(1.0, float(n)))
    return Numbered(predicted, float(np.mean([number is not None for number in numbers])))


def chapter_number(text: str) -> int | None:
    """The first number of a chapter in a text: `Chapter 7`, or a line that says `XII.`"""
    m = _NUMBERED.search(text)
    if m is None:
        return None
    number = (m[1] or m[2]).lower()
    if number.isdigit():
        return int(number)
    values = [_ROMAN[letter] for letter in number]
    return sum(-v if v < max(values[i + 1 :], default=0) else v for i, v in enumerate(values))


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation, equal values sharing their mean rank; NaN where all are equal."""
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum() / size) if size > 0 else float("nan")


def _ranks(values: Floats) -> Floats:
    _, index, n = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(n)
    return np.asarray((last - (n - 1) / 2)[index], dtype=np.float64)


def _error(x: Floats, u: Floats, authors: NDArray[np.str_], strength: float) -> float:
    errors = []
    for author in sorted(set(authors)):
        out = authors == author
        errors.append(np.abs(ridge(x[~out], u[~out], x[out], strength) - u[out]))
    return float(np.concatenate(errors).mean())
