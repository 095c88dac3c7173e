"""From losses per token to the numbers of a report: by book, class, fraction and distance.

`nats[arm][i]` holds the losses of tokens 1 ... n-1 of book i; everything here follows that order.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memformer.evaluation.encoded import EncodedManuscript
from memformer.evaluation.metrics import (
    MIN_BOOKS,
    BlockDraws,
    BookDraws,
    Draws,
    Floats,
    bytes_per_token,
    estimate,
    ratio,
    share_of_gap,
    words_per_token,
)
from memformer.evaluation.tokens import class_names, token_classes

Arrays = list[NDArray[Any]]
Json = dict[str, Any]

MAX_BINS = 32
N_CUMULATIVE = 32
MIN_CLASS = 20
"""Tokens of a class below which its mean has no interval."""


@dataclass(frozen=True)
class Plan:
    """How losses are summed up and resampled."""

    baseline: str
    """Name of the arm that gains are measured against."""
    rivals: tuple[str, ...]
    """Names of the arms whose distance to the baseline is the gap to be closed."""
    edges: tuple[int, ...]
    """Tokens since a name's last mention at which its class changes."""
    block_len: int
    """Tokens of a block of the bootstrap."""
    n_draw: int
    """Resamples."""
    seed: int
    """Of the resamples."""


def summarise(
    books: Sequence[EncodedManuscript],
    nats: Mapping[str, Arrays],
    plan: Plan,
    *,
    pooled: Collection[str],
) -> dict[str, Json]:
    """All numbers, by scope: each book's id, and `all` for the books of the ids `pooled` together,
    if they are several.

    Each estimate is {value, low, high}, bounds null where there is no interval; over at least
    `MIN_BOOKS` books `low_books` and `high_books` hold the interval over books.
    """
    scopes = {
        book.id: _Scope([book], {arm: [rows[i]] for arm, rows in nats.items()}, plan)
        for i, book in enumerate(books)
    }
    if len(pooled) > 1:
        which = [i for i, book in enumerate(books) if book.id in pooled]
        together = {arm: [rows[i] for i in which] for arm, rows in nats.items()}
        scopes["all"] = _Scope([books[i] for i in which], together, plan)
    return {name: scope.summary() for name, scope in scopes.items()}


class _Scope:
    """Books taken together."""

    def __init__(
        self, books: list[EncodedManuscript], nats: Mapping[str, Arrays], plan: Plan
    ) -> None:
        self.nats, self.plan = nats, plan
        self.position: Arrays = [np.arange(1, len(book)) for book in books]
        self.fraction: Arrays = [(np.arange(1, len(book)) + 0.5) / book.n_total for book in books]
        self.n_bytes: Arrays = [bytes_per_token(b.text, b.spans)[1:] for b in books]
        self.n_words: Arrays = [words_per_token(b.text, b.spans)[1:] for b in books]
        self.classes: Arrays = [token_classes(b, plan.edges)[1:] for b in books]
        self.ones: Arrays = [np.ones(len(book) - 1) for book in books]
        self.late: Arrays = [p >= (len(p) + 1) / 2 for p in self.position]
        lengths = [len(p) for p in self.position]
        self.draws: list[Draws] = [_blocks(lengths, plan)]
        if len(books) >= MIN_BOOKS:
            self.draws.append(BookDraws(len(books), plan.n_draw, plan.seed))

    def summary(self) -> Json:
        gains = [arm for arm in self.nats if arm != self.plan.baseline]
        return {
            "n_tokens": sum(map(len, self.ones)),
            "classes": self._class_counts(),
            "arms": {arm: self._levels(self.nats[arm]) for arm in self.nats},
            "gain": {arm: self._gains(arm) for arm in gains},
            "gap_closed": [
                self._gap_closed(arm, rival)
                for rival in self.plan.rivals
                for arm in gains
                if arm not in self.plan.rivals
            ],
        }

    def _class_counts(self) -> dict[str, int]:
        names = class_names(self.plan.edges)
        return {
            name: int(sum((row == i).sum() for row in self.classes)) for i, name in enumerate(names)
        }

    def _levels(self, nats: Arrays) -> Json:
        """What an arm's losses are."""
        bits: Arrays = [row.astype(np.float64) / math.log(2) for row in nats]
        return {
            "nats_per_token": self._estimate(lambda d: ratio(d, nats, self.ones)),
            "second_half": self._estimate(lambda d: self._mean(d, nats, self.late)),
            "bits_per_byte": self._estimate(lambda d: ratio(d, bits, self.n_bytes)),
            "word_perplexity": self._estimate(lambda d: np.exp(ratio(d, nats, self.n_words))),
            **self._parts(nats),
        }

    def _gains(self, arm: str) -> Json:
        """Nats per token by which an arm is better than the baseline, paired."""
        gain: Arrays = [
            base.astype(np.float64) - row
            for base, row in zip(self.nats[self.plan.baseline], self.nats[arm], strict=True)
        ]
        return {
            "nats_per_token": self._estimate(lambda d: ratio(d, gain, self.ones)),
            "second_half": self._estimate(lambda d: self._mean(d, gain, self.late)),
            **self._parts(gain),
            "cumulative": self._cumulative(gain),
        }

    def _parts(self, values: Arrays) -> Json:
        """Means of values by class, by fraction of the book, by distance into it."""
        names = class_names(self.plan.edges)
        return {
            "by_class": {name: self._in_class(values, i) for i, name in enumerate(names)},
            "by_fraction": [
                {"from": low / 10, "to": (low + 1) / 10, **each}
                for low in range(10)
                if (each := self._within(values, self.fraction, low / 10, (low + 1) / 10))
            ],
            "by_distance": [
                {"from": low, "to": high, **each}
                for low, high in self._distance_bins()
                if (each := self._within(values, self.position, low, high))
            ],
        }

    def _gap_closed(self, arm: str, rival: str) -> Json:
        """(baseline - arm) / (baseline - rival), and rival - arm in nats (`ahead_`): paired."""
        parts: list[tuple[str, Arrays]] = [("whole", self.ones), ("second_half", self.late)]
        shares: Json = {}
        ahead: Json = {}
        base, own, best = self.nats[self.plan.baseline], self.nats[arm], self.nats[rival]
        for name, where in parts:
            found, lead = [], []
            for d in self.draws:
                mean = partial(self._mean, d, where=where)
                found.append(share_of_gap(mean(base), mean(own), mean(best), d.n_unit))
                lead.append(estimate(mean(best) - mean(own), d.n_unit))
            shares[name], ahead[f"ahead_{name}"] = _json(*found), _json(*lead)
        return {"arm": arm, "rival": rival, **shares, **ahead}

    def _cumulative(self, values: Arrays) -> list[Json]:
        """Means over all tokens up to a distance into the book, at growing distances."""
        longest = max(map(len, values))
        stops = np.unique(np.linspace(longest / N_CUMULATIVE, longest, N_CUMULATIVE).astype(int))
        return [
            {"to": int(stop) + 1, **each}
            for stop in stops
            if (each := self._within(values, self.position, 0, int(stop) + 1))
        ]

    def _distance_bins(self) -> list[tuple[int, int]]:
        longest = max(map(len, self.position)) + 1
        size = 1024
        while longest > MAX_BINS * size:
            size *= 2
        return [(low, min(low + size, longest)) for low in range(0, longest, size)]

    def _within(self, values: Arrays, where: Arrays, low: float, high: float) -> Json | None:
        """The mean of values at low <= where < high, resampled within this part alone."""
        # where ascends, so the part is a slice of each book
        cuts = [np.searchsorted(row, [low, high]) for row in where]
        parts: Arrays = [v[a:b] for v, (a, b) in zip(values, cuts, strict=True) if b > a]
        n = sum(map(len, parts))
        if n < 16:
            return None
        draws = _blocks([len(part) for part in parts], self.plan)
        ones: Arrays = [np.ones(len(part)) for part in parts]
        return {"n": n, **_json(estimate(ratio(draws, parts, ones), draws.n_unit))}

    def _mean(self, draws: Draws, values: Arrays, where: Arrays) -> Floats:
        masked: Arrays = [v * w for v, w in zip(values, where, strict=True)]
        return ratio(draws, masked, where)

    def _in_class(self, values: Arrays, i: int) -> Json:
        where: Arrays = [row == i for row in self.classes]
        found = self._estimate(lambda draws: self._mean(draws, values, where))
        if sum(row.sum() for row in where) >= MIN_CLASS:
            return found
        return {name: found[name] if name == "value" else None for name in found}

    def _estimate(self, statistic: Callable[[Draws], Floats]) -> Json:
        return _json(*(estimate(statistic(draws), draws.n_unit) for draws in self.draws))


def _blocks(lengths: Sequence[int], plan: Plan) -> BlockDraws:
    """Blocks of the plan's length, shorter where a part would hold fewer than 16 of them."""
    block_len = max(1, min(plan.block_len, sum(lengths) // 16))
    return BlockDraws(lengths, block_len, plan.n_draw, plan.seed)


def _json(within: tuple[float, ...], over: tuple[float, ...] | None = None) -> Json:
    value, low, high = map(_number, within)
    found = {"value": value, "low": low, "high": high}
    if over is not None:
        _, low, high = map(_number, over)
        found |= {"low_books": low, "high_books": high}
    return found


def _number(x: float) -> float | None:
    # eight digits: resampling is good for three
    return float(f"{x:.8g}") if math.isfinite(x) else None
