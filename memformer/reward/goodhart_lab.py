"""One world of the goodhart lab: its texts, its raters in three disjoint sets, its proxies.

M texts of the pool, I texts offered to raters, d features
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config.goodhart import GoodhartConfig
from memformer.reward.correlations import reliability
from memformer.reward.goodhart_proxies import (
    Ensemble,
    Form,
    How,
    Score,
    build_ensemble,
    choose_ridge,
    fit_score,
    resampled_weight,
)
from memformer.reward.goodhart_reader import Reader, count_reader, fit_reviewer
from memformer.reward.ratings import Ratings
from memformer.reward.worlds.ideal_point import IdealPointWorld, make_world
from memformer.reward.worlds.ideal_point_ratings import collect, first, rate
from memformer.reward.worlds.ideal_point_reviews import ngrams, review
from memformer.reward.worlds.ideal_point_text import counts, write


class Texts(NamedTuple):
    """Ordinary texts, as the world and as a proxy see them."""

    z: Tensor
    """(B, 16), what readers judge by; no proxy sees it."""
    counts: Tensor
    """(B, 128), word counts: all that a proxy may read."""


class Lab(NamedTuple):
    """What one seed makes before any proxy is trained."""

    config: GoodhartConfig
    seed: int
    world: IdealPointWorld
    pool: Texts
    gold: Tensor
    """(M,), true, of the pool."""
    offered: Texts
    """Texts that raters may rate for training."""
    ratings: Ratings
    """The largest number of ratings, by the training raters."""
    reported: Texts
    """Held-out texts of the report."""
    panel: Tensor
    """(texts, raters): their ratings by the raters of the report, who rate nothing else."""
    reliability: float
    """Of their mean over raters."""
    stop_raters: Tensor
    """Ids of those whose ratings stop an optimisation."""
    train_raters: Tensor
    reader: Reader
    """The reviewer's hidden state."""
    shuffled: Reader
    """The same, learned from reviews of other texts."""
    plain: Reader
    """Word counts without any review."""


def stream(seed: int, name: str) -> torch.Generator:
    """A generator of one part of one seed: the same whatever ran before."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


def make_lab(config: GoodhartConfig, seed: int) -> Lab:
    """Texts, raters, ratings and readers of one seed."""
    world = make_world(config.world, seed=seed)
    pool = _texts(world, config.pool, stream(seed, "pool"))
    # cells are drawn one by one: some more texts than the mean needs
    n_offered = round(1.15 * config.n_rating[-1] / config.n_rating_per_item) + 50
    offered = _texts(world, n_offered, stream(seed, "offered"))
    R = config.world.n_rater
    order = torch.randperm(R, generator=stream(seed, "raters"))
    n_train = round(config.train_raters * R)
    n_stop = (R - n_train) // 2
    train, stop, report = order.tensor_split([n_train, n_train + n_stop])
    reported = _texts(world, config.n_report, stream(seed, "reported"))
    rater = report.repeat(config.n_report)
    item = torch.arange(config.n_report).repeat_interleave(len(report))
    panel = rate(world, reported.z, rater, item, stream(seed, "panel"))
    panel = panel.view(config.n_report, -1)
    reviewed = _texts(world, config.n_reviewed, stream(seed, "reviewed"))
    g = stream(seed, "reviews")
    by = torch.randint(R, (config.n_reviewed,), generator=g)
    told = ngrams(review(world, reviewed.z, by, g))
    mixed = told[torch.randperm(len(told), generator=g)]
    return Lab(
        config=config, seed=seed, world=world, pool=pool,
        gold=(-world.l_novel(pool.z) - world.gold_mean) / world.gold_sd, offered=offered,
        ratings=collect(
            world, offered.z, train, n_rating=config.n_rating[-1],
            per_item=config.n_rating_per_item, generator=stream(seed, "ratings"),
        ),
        reported=reported, panel=panel, reliability=reliability(panel), stop_raters=stop,
        train_raters=train,
        reader=fit_reviewer(reviewed.counts, told, config.width),
        shuffled=fit_reviewer(reviewed.counts, mixed, config.width),
        plain=count_reader(reviewed.counts),
    )  # fmt: skip


def taste_ratings(lab: Lab) -> Ratings:
    """As many ratings of the same texts, each rater rating rather what they will like."""
    world = lab.world._replace(config=replace(lab.world.config, missingness="taste"))
    return collect(
        world, lab.offered.z, lab.train_raters, n_rating=lab.config.n_rating[-1],
        per_item=lab.config.n_rating_per_item, generator=stream(lab.seed, "taste"),
    )  # fmt: skip


Proxy = Callable[[Tensor], Tensor]
"""(B, 128) word counts -> (B,) scores, larger is better."""


class Fits(NamedTuple):
    """The proxies of one number of ratings."""

    ridge: dict[Form, float]
    proxies: dict[str, Proxy]
    """By name: linear, quadratic, mean, uwo, wco, random_label."""
    draws: dict[str, list[Proxy]]
    """Refits of linear and quadratic on resampled raters."""


def fit_proxies(lab: Lab, n_rating: int) -> Fits:
    """Train every proxy on the first `n_rating` ratings; scores of texts come from word counts."""
    config, reader = lab.config, lab.reader
    ratings, x = first(lab.ratings, n_rating), reader(lab.offered.counts)
    forms: tuple[Form, Form] = ("linear", "quadratic")
    ridge = {form: choose_ridge(ratings, x, form, config.ridges) for form in forms}
    single: dict[str, Score] = {form: fit_score(ratings, x, form, ridge[form]) for form in forms}
    g = stream(lab.seed, f"ensemble {n_rating}")
    members = [
        fit_score(
            ratings, x, "quadratic", ridge["quadratic"],
            weight=resampled_weight(ratings, g, items=True),
        )
        for _ in range(config.ensemble)
    ]  # fmt: skip
    seen = x[torch.unique(ratings.item)]
    how: tuple[How, ...] = ("mean", "uwo", "wco")
    ensembles = {name: build_ensemble(members, seen, name, config.uwo) for name in how}
    g = stream(lab.seed, f"random label {n_rating}")
    mixed = ratings._replace(value=ratings.value[torch.randperm(n_rating, generator=g)])
    random_label = fit_score(mixed, x, "quadratic", ridge["quadratic"])
    draws: dict[str, list[Proxy]] = {form: [] for form in forms}
    for i in range(config.n_bootstrap):
        # the same raters for every number of ratings
        weight = resampled_weight(ratings, stream(lab.seed, f"bootstrap {i}"), items=False)
        for form in forms:
            score = fit_score(ratings, x, form, ridge[form], weight=weight)
            draws[form].append(reads(reader, score))
    proxies = {name: reads(reader, score) for name, score in single.items()}
    proxies |= {name: reads(reader, score) for name, score in ensembles.items()}
    proxies["random_label"] = reads(reader, random_label)
    return Fits(ridge, proxies, draws)


def reads(reader: Reader, score: Score | Ensemble) -> Proxy:
    """A score behind what reads for it."""

    def proxy(counts: Tensor) -> Tensor:
        return score(reader(counts))

    return proxy


def gold_proxy(lab: Lab) -> Proxy:
    """The truth as a proxy: the control that cannot be over-optimised."""
    w = lab.world

    def proxy(counts: Tensor) -> Tensor:
        z = (counts @ w.loading - w.centre) @ w.whiten
        return (-w.l_novel(z) - w.gold_mean) / w.gold_sd

    return proxy


def _texts(world: IdealPointWorld, n: int, generator: torch.Generator) -> Texts:
    ids = write(world.writer, n, world.config.n_token, generator)
    return Texts(world.features(ids), counts(ids).flatten(1))
