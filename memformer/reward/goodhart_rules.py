"""The lab's pass rules, as they were fixed before the protocol was run.

a  Spearman(proxy, true gold) rises with the logarithm of the number of ratings: the slope's
   interval lies above 0, for the linear and for the quadratic proxy.
b  1 - r^2 / reliability of held-out raters follows c + a n^-b; c is the linear proxy's
   misspecification: its interval lies above 0, and above the quadratic proxy's c.
c  The n of peak gold does not fall with more ratings: the mean slope of log n is at least 0, for
   each of linear, quadratic and uwo.
d  Stopped on held-out gold, less than 5% of the peak's gain is lost: sum of losses by sum of peaks,
   over seeds, ratings and linear, quadratic and uwo; for best-of-n and for training apart.
e  The ensemble `mean - lambda var` gives at n = 1,024 no less gold than the single proxy.
f  Each thing left out costs rank correlation: the difference's interval lies above 0.
Controls: noise moves gold nowhere; random labels gain nothing, and leave gold flat; gold itself
   never turns over; the linear proxy turns over with much feedback, the quadratic with little only.
Delays: the settled judgement beats the early mean.

S seeds, K numbers of ratings
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.config.goodhart import GoodhartConfig
from memformer.evaluation.metrics import Estimate
from memformer.reward.goodhart_fits import (
    asymptote_of,
    fit_power,
    of_resamples,
    over_seeds,
    slope_of,
)
from memformer.reward.goodhart_measure import Row

Floats = NDArray[np.float64]
LEARNED = ("linear", "quadratic", "uwo")


class Verdict(NamedTuple):
    """One rule and what became of it."""

    rule: str
    """Letter, or `control`, or `delays`."""
    claim: str
    passed: bool
    value: float
    low: float
    """95% interval; NaN where there is none."""
    high: float
    told: str
    """What the number is."""


class Results:
    """Rows of all seeds, by what they are of."""

    def __init__(self, config: GoodhartConfig, rows: Sequence[Row]) -> None:
        self.config, self.rows = config, rows
        self.seeds = sorted({row["seed"] for row in rows})

    def cell(self, part: str, **named: object) -> list[Row]:
        """Rows of one cell, one a seed, in the order of seeds.

        Raises:
            ValueError: a seed has none: the run is not whole.
        """
        found = {
            row["seed"]: row
            for row in self.rows
            if row["part"] == part and all(row.get(k) == v for k, v in named.items())
        }
        missing = [seed for seed in self.seeds if seed not in found]
        if missing:
            raise ValueError(
                f"no {part} {named} for seeds {missing}: the run is not whole, go on with it first"
            )
        return [found[seed] for seed in self.seeds]

    def table(self, field: Callable[[Row], float], part: str, **named: object) -> Floats:
        """(S, K): a number by seed and number of ratings."""
        columns = [
            [field(row) for row in self.cell(part, n_rating=n, **named)]
            for n in self.config.n_rating
        ]
        return np.array(columns, dtype=np.float64).T

    def draws(self, name: str, proxy: str) -> Floats | None:
        """(S, B, K): resamples of raters; None if there are none."""
        if not self.config.n_bootstrap:
            return None
        held = [
            [row[name] for row in self.cell("proxy", proxy=proxy, n_rating=n)]
            for n in self.config.n_rating
        ]
        return np.array(held, dtype=np.float64).transpose(1, 2, 0)


def verdicts(results: Results) -> list[Verdict]:
    """Every rule's verdict, whichever way it fell."""
    return [
        *_rising(results), *_asymptotes(results), *_peaks(results), *_stops(results),
        *_ensembles(results), *_ablations(results), *_controls(results), *_delays(results),
    ]  # fmt: skip


def _rising(results: Results) -> list[Verdict]:
    slope = slope_of(np.log10(results.config.n_rating))
    out = []
    for proxy in ("linear", "quadratic"):
        values = results.table(lambda row: row["spearman"], "proxy", proxy=proxy)
        found = of_resamples(values, results.draws("spearman_draws", proxy), slope)
        claim = f"{proxy}: more ratings, nearer to the truth"
        told = "rise of Spearman(proxy, true gold) by tenfold ratings"
        out.append(_verdict("a", claim, found.low > 0, found, told))
    return out


def asymptote(results: Results, proxy: str) -> Estimate:
    """c of 1 - r^2 / reliability = c + a n^-b, with its interval over seeds and raters."""
    values = results.table(lambda row: row["shortfall"], "proxy", proxy=proxy)
    return of_resamples(
        values, results.draws("shortfall_draws", proxy), asymptote_of(results.config.n_rating)
    )


def _asymptotes(results: Results) -> list[Verdict]:
    c = {proxy: asymptote(results, proxy) for proxy in ("linear", "quadratic")}
    fits = {
        proxy: fit_power(
            results.config.n_rating,
            results.table(lambda row: row["shortfall"], "proxy", proxy=proxy).mean(0),
        )
        for proxy in c
    }
    told = {p: f"c; a = {f.a:.3g}, b = {f.b:.3g}, R2 of the fit {f.r2:.3f}"
            for p, f in fits.items()}  # fmt: skip
    return [
        _verdict("b", "linear: what no number of ratings mends is above 0", c["linear"].low > 0,
                 c["linear"], told["linear"]),
        _verdict("b", "quadratic: it lies below the linear proxy's",
                 c["quadratic"].high < c["linear"].low, c["quadratic"], told["quadratic"]),
    ]  # fmt: skip


def _peaks(results: Results) -> list[Verdict]:
    slope = slope_of(np.log10(results.config.n_rating))
    out = []
    for proxy in LEARNED:
        values = results.table(lambda row: float(np.log10(row["peak_n"])), "proxy", proxy=proxy)
        found = of_resamples(values, None, slope)
        out.append(_verdict("c", f"{proxy}: the peak does not come sooner with more ratings",
                            round(found.value, 9) >= 0, found,
                            "rise of log10(n at peak gold) by tenfold ratings"))  # fmt: skip
    return out


def _stops(results: Results) -> list[Verdict]:
    out = []
    for part, told in (("proxy", "best-of-n"), ("policy", "training")):
        rows = [row for row in results.rows if row["part"] == part and row["proxy"] in LEARNED]
        sums = np.array([
            [sum(row[name] for row in rows if row["seed"] == seed) for name in
             ("stop_loss", "peak")] for seed in results.seeds
        ])  # fmt: skip
        found = of_resamples(sums, None, lambda y: y[..., 0].sum(1) / y[..., 1].sum(1))
        claim = f"{told}: stopped on held-out gold, under 5% is lost"
        share = "share of the peak's gain that is lost"
        out.append(_verdict("d", claim, found.value < 0.05, found, share))
    return out


def gain_of(results: Results, name: str, over: str, n: int) -> Floats:
    """(S, K): gold at n of one proxy minus that of another."""
    at = results.config.n_best.index(n)
    one, other = (
        results.table(lambda row: row["curve"][at], "proxy", proxy=proxy) for proxy in (name, over)
    )
    return np.asarray(one - other)


def _ensembles(results: Results) -> list[Verdict]:
    gains = gain_of(results, "uwo", "quadratic", 1_024)
    found = over_seeds(gains.mean(1))
    by_n = ", ".join(
        f"{n:,}: {x:+.3f}" for n, x in zip(results.config.n_rating, gains.mean(0), strict=True)
    )
    return [_verdict("e", "mean - lambda var gives no less than the single proxy at n = 1,024",
                     found.value >= 0, found, f"gold, sd; by ratings {by_n}")]  # fmt: skip


def _ablations(results: Results) -> list[Verdict]:
    names = dict.fromkeys(row["name"] for row in results.rows if row["part"] == "ablation")
    out = []
    for name in names:
        lost = results.table(lambda row: row["with"] - row["without"], "ablation", name=name)
        found = over_seeds(lost.mean(1))
        by_n = ", ".join(
            f"{n:,}: {x:+.3f}" for n, x in zip(results.config.n_rating, lost.mean(0), strict=True)
        )
        out.append(_verdict("f", f"{name}: worse", found.low > 0, found,
                            f"Spearman lost; by ratings {by_n}"))  # fmt: skip
    return [*out, *_rank(results)]


def _rank(results: Results) -> list[Verdict]:
    """Of the rater model with the most ratings it was tried with."""
    n = results.config.rank_n_rating[-1]
    rows = results.cell("rank", n_rating=n)

    def gain(what: str) -> Estimate:
        return over_seeds([row[f"{what}_{row['rank']}"] - row[f"{what}_0"] for row in rows])

    tastes, level, mixed = gain("tastes_own"), gain("spearman_own"), gain("tastes_shuffled")
    told = "correlation with who honestly likes what, rank 2 less rank 0"
    return [
        _verdict("f", "rank 0: worse at who likes what", tastes.low > 0, tastes, told),
        _verdict("f", "rank 0: worse at what is liked", level.low > 0, level, "Spearman lost"),
        _verdict("control", "rater ids shuffled: rank brings nothing", mixed.low <= 0, mixed, told),
    ]


def _controls(results: Results) -> list[Verdict]:
    last = results.config.n_best.index(1_024)

    def moved(row: Row) -> float:
        return float(row["curve"][last] - row["curve"][0])

    noise = over_seeds([moved(row) for row in results.cell("proxy", proxy="noise")])
    labels = over_seeds(results.table(moved, "proxy", proxy="random_label").mean(1))
    told = "gold at n = 1,024 less gold at n = 1, sd"
    turned = {
        (proxy, n): sum(row["turnover"] for row in results.cell("proxy", proxy=proxy, n_rating=n))
        for proxy, n in (
            ("gold", 0), *((p, n) for p in ("linear", "quadratic") for n in results.config.n_rating)
        )
    }  # fmt: skip
    S, (least, *_, most) = len(results.seeds), results.config.n_rating
    return [
        _verdict("control", "noise as proxy: gold stays", noise.low <= 0 <= noise.high, noise,
                 told),
        _verdict("control", "random labels: nothing is gained", labels.low <= 0, labels, told),
        _verdict("control", "random labels: gold is flat", labels.low <= 0 <= labels.high, labels,
                 told),
        _count("gold as proxy: no turnover", turned["gold", 0], S, wants_all=False),
        _count(f"linear, {most:,} ratings: turnover in every seed", turned["linear", most], S,
               wants_all=True),
        _count(f"quadratic, {least:,} ratings: turnover in every seed",
               turned["quadratic", least], S, wants_all=True),
        _count(f"quadratic, {most:,} ratings: no turnover", turned["quadratic", most], S,
               wants_all=False),
    ]  # fmt: skip


def _count(claim: str, n: int, of: int, *, wants_all: bool) -> Verdict:
    passed = n == (of if wants_all else 0)
    return Verdict("control", claim, passed, float(n), float("nan"), float("nan"),
                   f"turnovers in {of} seeds")  # fmt: skip


def _delays(results: Results) -> list[Verdict]:
    rows = results.cell("delays")
    out = []
    for other in ("early mean", "mean of all known", "model without the delay"):
        found = over_seeds([r["spearman"]["settled"] - r["spearman"][other] for r in rows])
        claim = f"the settled judgement beats the {other}"
        told = "Spearman with the true settled judgement, difference"
        out.append(_verdict("delays", claim, found.low > 0, found, told))
    return out


def _verdict(rule: str, claim: str, passed: bool, found: Estimate, told: str) -> Verdict:
    return Verdict(rule, claim, bool(passed), found.value, found.low, found.high, told)
