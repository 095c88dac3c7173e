"""Readers with ideal points: a world in which the true l_novel of every text is known.

B texts, D = 16 features, R raters, K clusters
"""

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config.goodhart import IdealPointConfig
from memformer.reward.worlds.ideal_point_text import V, Writer, counts, ordinary_writer, write

ASPECTS = (
    "wit", "warmth", "dread", "colour", "music", "irony", "candour", "suspense", "grief",
    "romance", "satire", "detail", "mystery", "anger", "momentum", "closure",
)  # fmt: skip
D = len(ASPECTS)
_MOVING = 2  # the last aspects are read from where words stand, not from how often


class Readers(NamedTuple):
    """What raters like, and how they rate."""

    ideal: Tensor
    """(R, D): p_r."""
    weight: Tensor
    """(R, D, D): Q_r, symmetric and positive definite."""
    level: Tensor
    """(R,): c_r."""
    cluster: Tensor
    """(R,) int64."""
    bias: Tensor
    """(R,), in points of the scale."""
    slope: Tensor
    """(R,), points by standard deviation of utility."""
    noise: Tensor
    """(R,), standard deviation of a rating given again."""
    kind: Tensor
    """(R,) int64: 0 honest, 1 spammer, 2 inverted."""


class IdealPointWorld(NamedTuple):
    """A world made from one seed (`make_world`)."""

    config: IdealPointConfig
    writer: Writer
    """Writes ordinary texts."""
    readers: Readers
    loading: Tensor
    """(2 V, D): from counts to features before standardising."""
    centre: Tensor
    """(D,): mean of those over ordinary texts."""
    whiten: Tensor
    """(D, D): to unit covariance over ordinary texts."""
    utility_mean: Tensor
    """Mean utility over ordinary texts and raters."""
    utility_sd: Tensor
    """Its standard deviation over both."""
    gold_mean: Tensor
    """Mean of -l_novel over ordinary texts."""
    gold_sd: Tensor
    """Its standard deviation."""

    def features(self, texts: Tensor) -> Tensor:
        """(B, D): z(x), mean 0 and covariance 1 over ordinary texts.

        Args:
            texts: (B, L) ids, or (B, L, V) rows that sum to 1.
        """
        return (counts(texts).flatten(1) @ self.loading - self.centre) @ self.whiten

    def utilities(self, z: Tensor) -> Tensor:
        """(B, R): U_r = c_r - 1/2 (z - p_r)' Q_r (z - p_r)."""
        gap = z[:, None] - self.readers.ideal  # (B, R, D)
        return self.readers.level - 0.5 * torch.einsum(
            "brd,rde,bre->br", gap, self.readers.weight, gap
        )

    def l_novel(self, z: Tensor) -> Tensor:
        """(B,): the true loss, minus the mean utility over all raters, in closed form.

        The mean of quadratics is a quadratic: with Q the mean of Q_r,
        mean U = mean c - 1/2 (z' Q z - 2 z' mean(Q_r p_r) + mean(p_r' Q_r p_r)).
        Spammers and inverted raters count: they read as others do, they only rate otherwise.
        """
        r = self.readers
        pulled = torch.einsum("rde,re->rd", r.weight, r.ideal)  # Q_r p_r
        quadratic = torch.einsum("bd,de,be->b", z, r.weight.mean(0), z)
        constant = r.level.mean() - 0.5 * (r.ideal * pulled).sum(-1).mean()
        return 0.5 * quadratic - z @ pulled.mean(0) - constant

    def gold(self, texts: Tensor) -> Tensor:
        """(B,): -l_novel in standard deviations above the mean of ordinary texts."""
        return (-self.l_novel(self.features(texts)) - self.gold_mean) / self.gold_sd

    def best_gold(self) -> float:
        """Gold of the best z there is, whether or not a text has it."""
        r = self.readers
        pulled = torch.einsum("rde,re->rd", r.weight, r.ideal).mean(0)
        z = torch.linalg.solve(r.weight.mean(0), pulled)[None]
        return float((-self.l_novel(z) - self.gold_mean) / self.gold_sd)


def make_world(config: IdealPointConfig, *, seed: int) -> IdealPointWorld:
    """The world of one seed: its words' meanings, its ordinary writer and its readers."""
    generator = torch.Generator().manual_seed(seed)
    writer = ordinary_writer(generator)
    loading = torch.zeros(2, V, D, dtype=torch.float64)
    loading[0, :, : D - _MOVING] = _normal(generator, V, D - _MOVING)
    loading[1, :, D - _MOVING :] = _normal(generator, V, _MOVING)
    loading = loading.flatten(0, 1)
    readers = _readers(config, generator)
    texts = write(writer, config.n_calibration, config.n_token, generator)
    raw = counts(texts).flatten(1) @ loading
    centre = raw.mean(0)
    # triangular, so that each aspect keeps its name: it is made of itself and those before it
    whiten = torch.linalg.inv(torch.linalg.cholesky(torch.cov(raw.T))).T
    one = torch.ones((), dtype=torch.float64)
    world = IdealPointWorld(
        config, writer, readers, loading, centre, whiten,
        utility_mean=0 * one, utility_sd=one, gold_mean=0 * one, gold_sd=one,
    )  # fmt: skip
    z = (raw - centre) @ whiten
    utility, gold = world.utilities(z[:2_000]), -world.l_novel(z)
    return world._replace(
        utility_mean=utility.mean(), utility_sd=utility.std(), gold_mean=gold.mean(),
        gold_sd=gold.std(),
    )  # fmt: skip


def _readers(config: IdealPointConfig, generator: torch.Generator) -> Readers:
    R, K = config.n_rater, config.n_cluster
    cluster = torch.arange(R) % K
    offset = _normal(generator, K, D)
    offset = offset - offset.mean(0) if K > 1 else offset * 0
    offset = config.cluster_spread * offset / offset.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    common = _normal(generator, D)
    ideal = offset[cluster] + config.rater_spread * _normal(generator, R, D)
    ideal = ideal - ideal.mean(0) + config.ideal_norm * common / common.norm()
    rotation = torch.linalg.qr(_normal(generator, D, D))[0]
    scale = (config.weight_spread * _normal(generator, D) + 0.3 * _normal(generator, K, D)).exp()
    shape = torch.einsum("de,ke,fe->kdf", rotation, scale, rotation)[cluster]  # (R, D, D)
    own = (0.15 * _normal(generator, R, D)).exp()
    weight = own[:, :, None] * shape * own[:, None, :]
    weight = weight * D / weight.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None]
    kind = torch.zeros(R, dtype=torch.int64)
    order = torch.randperm(R, generator=generator)
    n_spam, n_inverted = round(config.spammers * R), round(config.inverted * R)
    kind[order[:n_spam]] = 1
    kind[order[n_spam : n_spam + n_inverted]] = 2
    return Readers(
        ideal=ideal, weight=weight, level=0.3 * _normal(generator, R), cluster=cluster,
        bias=config.bias * _normal(generator, R),
        slope=config.slope * (0.25 * _normal(generator, R)).exp(),
        noise=config.noise * (0.2 * _normal(generator, R)).exp(),
        kind=kind,
    )  # fmt: skip


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
