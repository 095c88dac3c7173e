"""A world in which "a good novel" has a known truth made of plot.

Readers dislike contradictions, threads left open and bad pacing, each in their own measure. Reader
r values a story with features z by U_r(z) = -1/2 sum_j q_rj (z_j - p_rj)² (ideal points; Coombs
1964, A Theory of Data); gold is the mean over all readers, in closed form.

B stories, T tokens, R readers, J = 6 features, n ratings
"""

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config.plot_world import PlotWorldConfig
from memformer.reward.ratings import Ratings
from memformer.reward.worlds.plot_corpus import write_stories
from memformer.reward.worlds.plot_tracker import Told, follow

SCALE = (1.0, 7.0)
FEATURES = (
    "contradictions", "unresolved", "opening", "closing", "threads", "broken",
)  # fmt: skip
"""Contradictions, unresolved threads, threads opened and broken sentences in ten sentences; four
times the mean fraction u at which threads open and close (2 where none does)."""
_IDEAL = (0.0, 0.0, 1.2, 3.0, 2.5, 0.0)
_WEIGHT = (0.5, 0.35, 0.5, 0.5, 0.6, 1.0)
_MINDS = ((0,), (1,), (2, 3))
"""What each cluster minds three times as much."""


class Readers(NamedTuple):
    """The population."""

    ideal: Tensor
    """(R, J), p."""
    weight: Tensor
    """(R, J), q."""
    bias: Tensor
    """(R,), in points of the scale."""
    cluster: Tensor
    """(R,) int64: 0 minds contradictions most, 1 unresolved threads, 2 pacing."""
    centre: Tensor
    """(R,): mean utility over ordinary stories."""
    spread: Tensor
    """(R,): its standard deviation."""


class PlotWorld(NamedTuple):
    """Stories, readers and the truth. Made by `make_plot_world`."""

    config: PlotWorldConfig
    readers: Readers
    curve: tuple[Tensor, Tensor, Tensor]
    """(J,) A, (J,) B, () C of gold = sum_j (B_j z_j - A_j z_j² / 2) + C, in units of utility."""
    centre: Tensor
    """(): mean gold of ordinary stories, in units of utility."""
    spread: Tensor
    """(): its standard deviation."""

    def utility(self, z: Tensor) -> Tensor:
        """(B, J) features -> (B, R): what each reader makes of each story."""
        off = z[:, None] - self.readers.ideal
        return -0.5 * (self.readers.weight * off.square()).sum(-1)

    def gold(self, z: Tensor) -> Tensor:
        """(B, J) -> (B,): the mean reader's utility in standard deviations over ordinary stories,
        of which the mean is 0. Closed form; l_novel is minus this."""
        A, B, C = self.curve
        value = (B * z - 0.5 * A * z.square()).sum(-1) + C
        return (value - self.centre) / self.spread

    def gold_of(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B,) gold."""
        return self.gold(features(ids))

    def rate(self, z: Tensor, rater: Tensor, item: Tensor, generator: torch.Generator) -> Tensor:
        """(n,): whole points from 1 to 7 that each rater gives each item.

        4 + bias + slope · (own utility in own standard deviations) + noise, cut and rounded.

        Args:
            z: (B, J).
            rater, item: (n,) int64.
            generator: of the noise.
        """
        r = self.readers
        felt = (self.utility(z)[item, rater] - r.centre[rater]) / r.spread[rater]
        noise = torch.randn(len(rater), generator=generator, dtype=z.dtype)
        value = sum(SCALE) / 2 + r.bias[rater] + self.config.slope * felt
        return (value + self.config.noise * noise).clamp(*SCALE).round()

    def collect(
        self, z: Tensor, raters: Tensor, per_item: int, generator: torch.Generator
    ) -> Ratings:
        """Ratings of each story by `per_item` different ones of `raters`, drawn uniformly.

        Raises:
            ValueError: more ratings an item than raters.
        """
        if not 1 <= per_item <= len(raters):
            raise ValueError(f"per_item must be in [1, {len(raters)}], got {per_item}")
        lots = torch.rand(len(z), len(raters), generator=generator)
        rater = raters[lots.topk(per_item, dim=1).indices.flatten()]
        item = torch.arange(len(z)).repeat_interleave(per_item)
        value = self.rate(z, rater, item, generator)
        share = torch.full_like(value, per_item / len(raters))
        return Ratings(rater, item, value, share, self.config.n_rater, len(z), SCALE)


def make_plot_world(config: PlotWorldConfig, *, seed: int) -> PlotWorld:
    """Readers drawn around three clusters, and gold standardised on ordinary stories."""
    generator = torch.Generator().manual_seed(seed)
    R, J = config.n_rater, len(FEATURES)
    cluster = torch.arange(R) % len(_MINDS)
    minds = torch.ones(len(_MINDS), J, dtype=torch.float64)
    for i, which in enumerate(_MINDS):
        minds[i, list(which)] = 3.0
    noise = torch.randn(2, R, J, generator=generator, dtype=torch.float64)
    weight = torch.tensor(_WEIGHT) * minds[cluster] * (config.weight_spread * noise[0]).exp()
    ideal = torch.tensor(_IDEAL) + config.ideal_spread * noise[1]
    bias = config.bias * torch.randn(R, generator=generator, dtype=torch.float64)
    ones = torch.ones(R, dtype=torch.float64)
    curve = (
        weight.mean(0),
        (weight * ideal).mean(0),
        -0.5 * (weight * ideal.square()).mean(0).sum(),
    )
    one = torch.ones((), dtype=torch.float64)
    readers = Readers(ideal, weight, bias, cluster, 0 * ones, ones)
    world = PlotWorld(config, readers, curve, 0 * one, one)
    z = features(write_stories(config, config.n_calibration, seed=seed))
    own, gold = world.utility(z), world.gold(z)
    readers = readers._replace(centre=own.mean(0), spread=own.std(0))
    return world._replace(readers=readers, centre=gold.mean(), spread=gold.std())


def features(ids: Tensor) -> Tensor:
    """(B, T) ids -> (B, J) float64, as `FEATURES` names them.

    Raises:
        ValueError: an id outside the world's words.
    """
    return torch.tensor([_row(follow(row)) for row in ids.tolist()], dtype=torch.float64)


def contradictions_per_1000(stories: list[Told]) -> float:
    """Contradictions in 1,000 words of some stories, pooled."""
    return 1000 * sum(len(each.faults) for each in stories) / sum(each.n_word for each in stories)


def _row(told: Told) -> list[float]:
    n = max(1, told.n_sentence + told.n_broken)
    opened = [thread.opened for thread in told.threads]
    closed = [thread.closed for thread in told.threads if thread.closed is not None]
    return [
        10 * len(told.faults) / n,
        10 * told.n_unresolved / n,
        4 * (sum(opened) / len(opened) if opened else 0.5),
        4 * (sum(closed) / len(closed) if closed else 0.5),
        10 * len(told.threads) / n,
        10 * told.n_broken / n,
    ]
