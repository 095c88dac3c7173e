"""What one proxy, policy, ablation or estimator of delays gives: a row of results.

S steps (n of best of n, or updates), M texts of the pool
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from memformer.generation.best_of_n_curve import best_of_n_curve, fall_after_peak
from memformer.reward.correlations import correlation, spearman
from memformer.reward.delays import known, mean_by_item, mean_delay, settle
from memformer.reward.goodhart_lab import (
    Fits,
    Lab,
    Proxy,
    gold_proxy,
    reads,
    stream,
    taste_ratings,
)
from memformer.reward.goodhart_policy import Method, train_policy
from memformer.reward.goodhart_proxies import choose_ridge, fit_score
from memformer.reward.goodhart_reader import principal_reader
from memformer.reward.goodhart_stop import gold_stop, rated, rated_best_of_n
from memformer.reward.worlds.ideal_point_delays import rate_with_delay
from memformer.reward.worlds.ideal_point_ratings import first
from memformer.reward.worlds.ideal_point_text import counts, write

Row = dict[str, Any]


class Truth(NamedTuple):
    """How near a proxy is to what it stands for."""

    spearman: float
    """Rank correlation with true gold over the pool."""
    r: float
    """Correlation with true gold over the pool."""
    r_panel: float
    """Correlation with the mean of the report's raters over held-out texts."""
    shortfall: float
    """1 - r_panel^2 / reliability: what a real run can measure."""


def proxy_row(lab: Lab, name: str, n_rating: int, proxy: Proxy, draws: list[Proxy]) -> Row:
    """Best-of-n with one proxy, and its early stop."""
    config = lab.config
    score = proxy(lab.pool.counts)
    spread = float(score.std())
    curve = best_of_n_curve(score, lab.gold, config.n_best)
    # a proxy of random labels may come out constant: no text is then better than another
    unit = (score - score.mean()) / (spread if spread > 0 else 1.0)
    fall, error = fall_after_peak(score, lab.gold, config.n_best, seed=lab.seed)
    peak = int(curve.argmax())
    g = stream(lab.seed, f"stop {name} {n_rating}")
    seen = rated_best_of_n(
        lab.world, lab.pool.z, score, config.n_best, lab.stop_raters,
        n_text=config.stop_texts, per_text=config.stop_ratings_per_text, generator=g,
    )  # fmt: skip
    stop = gold_stop(
        seen.mean.tolist(), seen.error.tolist(), z=config.stop_z, patience=config.stop_patience
    )
    drawn = [truth(lab, each) for each in draws]
    return {
        "seed": lab.seed, "part": "proxy", "proxy": name, "n_rating": n_rating,
        **truth(lab, proxy)._asdict(), "reliability": lab.reliability,
        "curve": curve.tolist(),
        "proxy_curve": best_of_n_curve(score, unit, config.n_best).tolist(),
        "peak_n": config.n_best[peak], "peak": float(curve[peak] - curve[0]),
        "fall": fall, "fall_error": error, "turnover": fall > 2 * error,
        "stop_n": config.n_best[stop.best], "stop_loss": float(curve[peak] - curve[stop.best]),
        "stop_reason": stop.reason, "seen": seen.mean.tolist(), "seen_error": seen.error.tolist(),
        "spearman_draws": [each.spearman for each in drawn],
        "shortfall_draws": [each.shortfall for each in drawn],
    }  # fmt: skip


def truth(lab: Lab, proxy: Proxy) -> Truth:
    """Correlations with what is true and with what held-out raters say."""
    score, told = proxy(lab.pool.counts), proxy(lab.reported.counts)
    r_panel = correlation(told, lab.panel.mean(1))
    return Truth(
        spearman(score, lab.gold), correlation(score, lab.gold), r_panel,
        1 - r_panel**2 / lab.reliability,
    )  # fmt: skip


def policy_row(lab: Lab, method: Method, name: str, n_rating: int, proxy: Proxy) -> Row:
    """A writer trained against one proxy, and its early stop."""
    config = lab.config.policy
    score = proxy(lab.pool.counts)
    centre, spread = float(score.mean()), float(score.std())

    def standard(texts: Tensor) -> Tensor:
        return (proxy(counts(texts).flatten(1)) - centre) / spread

    label = f"{method} {name} {n_rating}"
    seed = int(torch.randint(2**40, (1,), generator=stream(lab.seed, label)))
    points = train_policy(lab.world, standard, config, method, seed=seed)
    # all steps are judged together, so that a rater's own mean does not hide the steps
    shown = torch.cat([point.z[: config.n_rated] for point in points])
    value = rated(
        lab.world, shown, lab.stop_raters, lab.config.stop_ratings_per_text,
        stream(lab.seed, f"stop {label}"),
    ).view(len(points), -1)  # fmt: skip
    seen, error = value.mean(1), value.std(1) / value.shape[1] ** 0.5
    stop = gold_stop(
        seen.tolist(), error.tolist(), z=lab.config.stop_z, patience=lab.config.stop_patience
    )
    gold = [point.gold for point in points]
    peak = gold.index(max(gold))
    fall = gold[peak] - gold[-1]
    noise = (points[peak].error ** 2 + points[-1].error ** 2) ** 0.5
    return {
        "seed": lab.seed, "part": "policy", "method": method, "proxy": name, "n_rating": n_rating,
        "step": [point.step for point in points], "kl": [point.kl for point in points],
        "proxy_curve": [point.proxy for point in points], "curve": gold,
        "error": [point.error for point in points], "peak": gold[peak] - gold[0],
        "peak_kl": points[peak].kl, "fall": fall, "turnover": fall > 2 * noise,
        "stop_kl": points[stop.best].kl, "stop_step": points[stop.best].step,
        "stop_loss": gold[peak] - gold[stop.best], "stop_reason": stop.reason,
        "seen": seen.tolist(), "seen_error": error.tolist(),
    }  # fmt: skip


def ablation_rows(lab: Lab, n_rating: int, fits: Fits) -> list[Row]:
    """Spearman with true gold when one thing is left out, beside the same with it."""
    config, offered = lab.config, lab.offered.counts
    ratings, taste = first(lab.ratings, n_rating), first(taste_ratings(lab), n_rating)
    assert taste.propensity is not None
    floor = config.min_propensity * float(taste.propensity.mean())
    weight = 1 / taste.propensity.clamp(min=floor)
    x = lab.reader(offered)
    principal = principal_reader(lab.pool.counts, config.width)
    ridge = fits.ridge["quadratic"]
    shuffled = choose_ridge(ratings, lab.shuffled(offered), "quadratic", config.ridges)
    no_review = choose_ridge(ratings, principal(offered), "quadratic", config.ridges)
    by_word = choose_ridge(ratings, lab.plain(offered), "linear", config.ridges)
    with_taste = choose_ridge(taste, x, "quadratic", config.ridges)
    weighted = choose_ridge(taste, x, "quadratic", config.ridges, weight=weight)
    fit = fit_score
    without: dict[str, tuple[Proxy, Proxy]] = {
        "no review, quadratic": (
            fits.proxies["quadratic"],
            reads(principal, fit(ratings, principal(offered), "quadratic", no_review)),
        ),
        "no review, linear": (
            fits.proxies["linear"],
            reads(lab.plain, fit(ratings, lab.plain(offered), "linear", by_word)),
        ),
        "shuffled review": (
            fits.proxies["quadratic"],
            reads(lab.shuffled, fit(ratings, lab.shuffled(offered), "quadratic", shuffled)),
        ),
        "raw mean": (
            fits.proxies["quadratic"],
            reads(lab.reader, fit(ratings, x, "quadratic", ridge, with_bias=False)),
        ),
        "no propensities": (
            reads(lab.reader, fit(taste, x, "quadratic", weighted, weight=weight)),
            reads(lab.reader, fit(taste, x, "quadratic", with_taste)),
        ),
    }
    return [
        ablation_row(lab, name, n_rating, truth(lab, full), truth(lab, less))
        for name, (full, less) in without.items()
    ]


def ablation_row(lab: Lab, name: str, n_rating: int, full: Truth, less: Truth) -> Row:
    """One row of an ablation: `with` it and `without` it."""
    return {
        "seed": lab.seed, "part": "ablation", "name": name, "n_rating": n_rating,
        "with": full.spearman, "without": less.spearman,
    }  # fmt: skip


def gold_rows(lab: Lab) -> list[Row]:
    """The controls that need no rating: gold itself as the proxy, and one that is noise."""
    proxy, g = gold_proxy(lab), stream(lab.seed, "noise")

    def noise(counts: Tensor) -> Tensor:
        return torch.randn(len(counts), generator=g, dtype=counts.dtype)

    return [
        proxy_row(lab, "gold", 0, proxy, []), proxy_row(lab, "noise", 0, noise, []),
        policy_row(lab, "rloo", "gold", 0, proxy),
    ]  # fmt: skip


def delay_row(lab: Lab) -> Row:
    """How well the settled judgement is told from what is known on a day."""
    config = lab.config.delays
    g = stream(lab.seed, "delays")
    texts = write(lab.world.writer, config.n_item, lab.world.config.n_token, g)
    every = rate_with_delay(lab.world, lab.world.features(texts), config, g)
    seen = known(every.ratings, config.as_of)
    late, timeless = settle(seen), settle(seen, with_impression=False)
    early = mean_by_item(seen, up_to=config.early)
    has = ~early.isnan()
    true = every.settled[has]
    guesses = {
        "early mean": early, "mean of all known": mean_by_item(seen),
        "model without the delay": timeless.value, "settled": late.value,
    }  # fmt: skip
    return {
        "seed": lab.seed, "part": "delays", "n_known": len(seen.value),
        "n_ever": len(every.ratings.value), "n_item": int(has.sum()),
        "n_item_without_early": int((~has).sum()),
        "spearman": {name: spearman(guess[has], true) for name, guess in guesses.items()},
        "rmse": {
            name: float((guess[has] - true).square().mean().sqrt())
            for name, guess in guesses.items()
        },
        "tau": late.tau, "tau_true": config.tau,
        "mean_delay": mean_delay(seen.delay, config.as_of - seen.read_at),
        "mean_delay_naive": float(seen.delay.mean()), "mean_delay_true": config.mean_delay,
        "sd": late.sd,
    }  # fmt: skip
