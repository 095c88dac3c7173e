"""Statistics of losses: ratios of sums over tokens, and intervals by resampling.

Every number here is a ratio of two sums over tokens (nats over tokens, bits over bytes, nats over
words, nats of a class over its tokens). A plan of draws says which tokens a resample holds; it is
made once and used for every arm, so that differences and shares are paired: what a passage has of
ease or difficulty cancels.

    R resamples; an array of draws is (1 + R,): the data's own value, then the resamples'
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_BOOKS = 5
"""Books below which no interval over books is given: resampling two says nothing of a third."""


class Estimate(NamedTuple):
    """A number and its 95% interval; NaN bounds where there is none."""

    value: float
    low: float
    high: float


class Draws(Protocol):
    """A plan of resamples."""

    n_unit: int
    """Units that are drawn (blocks or books)."""

    def sums(self, values: Sequence[NDArray[Any]]) -> Floats:
        """Sums over all tokens of all books, one array of values a book: (1 + R,)."""


class BlockDraws:
    """Circular moving blocks within each book (Künsch 1989; Politis & Romano 1992).

    Each book is resampled from its own blocks of consecutive tokens, every token equally often.
    Blocks keep the dependence of neighbouring losses, which a bootstrap over tokens would ignore.

    What the interval covers: another stretch of these very books, as far as blocks are
    exchangeable. What not: other books, other authors, another model or seed; nor dependence
    that reaches further than a block.

    Args:
        n_token: values per book.
        block_len: tokens of a block; at least 4 blocks must fit in the books together.
        n_draw: resamples, `R`.
        seed: of the draws.
    """

    def __init__(self, n_token: Sequence[int], block_len: int, n_draw: int, seed: int) -> None:
        if not n_token or min(n_token) < 1:
            raise ValueError(f"n_token must be at least 1 for each book, got {tuple(n_token)}")
        if block_len < 1 or n_draw < 2:
            raise ValueError(f"block_len and n_draw must be positive, got {block_len}, {n_draw}")
        if sum(n_token) < 4 * block_len:
            raise ValueError(
                f"block_len must be at most a quarter of the {sum(n_token)} tokens, got {block_len}"
            )
        rng = np.random.default_rng(seed)
        self.n_token = tuple(n_token)
        self._block_len = [min(block_len, n) for n in n_token]
        n_block = [max(1, round(n / b)) for n, b in zip(n_token, self._block_len, strict=True)]
        self._starts = [
            rng.integers(n, size=(n_draw, k)) for n, k in zip(n_token, n_block, strict=True)
        ]
        self.n_unit = sum(n_block)

    def sums(self, values: Sequence[NDArray[Any]]) -> Floats:
        """Sums of the values and of each resample, a book's scaled to its own number of tokens."""
        if tuple(map(len, values)) != self.n_token:
            raise ValueError(f"values must have {self.n_token} entries, got {[*map(len, values)]}")
        total = np.zeros(1 + self._starts[0].shape[0])
        for x, b, starts in zip(values, self._block_len, self._starts, strict=True):
            x = x.astype(np.float64)
            ahead = np.concatenate(([0.0], np.cumsum(np.concatenate((x, x[: b - 1])))))
            blocks = ahead[starts + b] - ahead[starts]  # (R, blocks)
            total[0] += x.sum()
            total[1:] += blocks.sum(1) * (len(x) / (blocks.shape[1] * b))
        return total


class BookDraws:
    """Whole books, drawn with replacement.

    What the interval covers: other books of the kind these are a sample of, if they are one. What
    not: authors behind several books, another model or seed. Needs `MIN_BOOKS` books.
    """

    def __init__(self, n_book: int, n_draw: int, seed: int) -> None:
        if n_book < MIN_BOOKS:
            raise ValueError(f"an interval over books needs at least {MIN_BOOKS}, got {n_book}")
        self.n_unit = n_book
        self._books = np.random.default_rng(seed).integers(n_book, size=(n_draw, n_book))

    def sums(self, values: Sequence[NDArray[Any]]) -> Floats:
        """Sums of the values and of each resample."""
        per_book = np.array([x.astype(np.float64).sum() for x in values])
        return np.concatenate(([per_book.sum()], per_book[self._books].sum(1)))


def ratio(
    draws: Draws,
    top: Sequence[NDArray[Any]],
    bottom: Sequence[NDArray[Any]],
) -> Floats:
    """Draws of sum(top) / sum(bottom), NaN where a resample holds nothing of `bottom`."""
    above, below = draws.sums(top), draws.sums(bottom)
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 1e-9)


def estimate(values: Floats, n_unit: int, level: float = 0.95) -> Estimate:
    """The data's value and the percentile interval of its draws.

    Percentiles are expanded for few units (Hesterberg 2015, arXiv:1411.5279, "expanded
    percentile"): with 16 blocks a plain percentile interval is about 12% too narrow. No interval
    (NaN) if over 5% of the resamples have no value, or there are fewer than 4 units.
    """
    drawn = values[1:]
    defined = drawn[np.isfinite(drawn)]
    if n_unit < 4 or len(defined) < 0.95 * len(drawn):
        return Estimate(float(values[0]), math.nan, math.nan)
    tail = (1 - level) / 2
    wide = math.sqrt(n_unit / (n_unit - 1)) * _student(1 - tail, n_unit - 1)
    outer = NormalDist().cdf(-wide)
    low, high = np.quantile(defined, [outer, 1 - outer])
    return Estimate(float(values[0]), float(low), float(high))


def share_of_gap(baseline: Floats, arm: Floats, rival: Floats, n_unit: int) -> Estimate:
    """(baseline - arm) / (baseline - rival), from draws of the same plan: 1 closes the gap.

    No interval (NaN) where the gap's own interval contains 0: then its share means nothing.
    """
    gap = baseline - rival
    own = estimate(gap, n_unit)
    closed = (baseline - arm) / np.where(gap == 0, np.nan, gap)
    if not (own.low > 0 or own.high < 0):
        return Estimate(float(closed[0]), math.nan, math.nan)
    return estimate(closed, n_unit)


def bytes_per_token(text: str, spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) UTF-8 bytes between the end of the token before and the token's own end.

    They sum to the bytes of the text up to the last token; of several tokens that share one
    character the first has its bytes.
    """
    size = np.array([len(c.encode()) for c in text], dtype=np.int64)
    return _between(size, spans)


def words_per_token(text: str, spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) whitespace-separated words whose last character lies in the token."""
    blank = np.array([c.isspace() for c in text] + [True])
    ends = (~blank[:-1] & blank[1:]).astype(np.int64)
    return _between(ends, spans)


def _between(weight: NDArray[np.int64], spans: NDArray[np.int64]) -> NDArray[np.int64]:
    upto = np.concatenate(([0], np.cumsum(weight)))
    stops = np.maximum.accumulate(spans[:, 1])
    return np.diff(upto[stops], prepend=0)


def _student(p: float, df: int) -> float:
    """Quantile of Student's t expanded around the normal (error below 0.03 from 3 df on)."""
    z = NormalDist().inv_cdf(p)
    return (
        z
        + (z**3 + z) / (4 * df)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)
    )
