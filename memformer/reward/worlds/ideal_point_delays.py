"""Readers whose first impression fades, and who rate when they come to it.

I items, n ratings, R raters
"""

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config.goodhart import DelayConfig
from memformer.reward.delays import DelayedRatings
from memformer.reward.worlds.ideal_point import D, IdealPointWorld
from memformer.reward.worlds.ideal_point_ratings import SCALE, expected_rating


class DelayedWorld(NamedTuple):
    """Every rating that will ever be given, and what is true."""

    ratings: DelayedRatings
    settled: Tensor
    """(I,): f_inf, the mean over readers of the honest rating without a first impression."""
    impression: Tensor
    """(I,): g."""


def rate_with_delay(
    world: IdealPointWorld, z: Tensor, config: DelayConfig, generator: torch.Generator
) -> DelayedWorld:
    """Ratings of texts released one after the other, read on release, rated later.

    A text thrills at first by a direction of its features that readers do not care for in the end:
    g = impression_mean + impression x that direction. Bad raters are as in `rate`.

    Args:
        world: whose readers rate; each text is rated by different readers, drawn evenly.
        z: (I, 16), features of `config.n_item` texts.
        config: times in days.
        generator: of everything drawn.
    """
    R = world.config.n_rater
    if len(z) != config.n_item or config.n_rating_per_item > R:
        raise ValueError(
            f"z must hold n_item={config.n_item} texts, got {len(z)}; n_rating_per_item must be at "
            f"most n_rater={R}, got {config.n_rating_per_item}"
        )
    thrill = torch.randn(D, generator=generator, dtype=z.dtype)
    impression = config.impression_mean + config.impression * (z @ (thrill / thrill.norm()))
    lots = torch.rand(len(z), R, generator=generator, dtype=z.dtype)
    rater = lots.topk(config.n_rating_per_item, dim=1).indices.flatten()
    item = torch.arange(len(z)).repeat_interleave(config.n_rating_per_item)
    n = len(item)
    released = config.release_span * torch.rand(len(z), generator=generator, dtype=z.dtype)
    delay = torch.empty(n, dtype=z.dtype).exponential_(1 / config.mean_delay, generator=generator)
    honest = expected_rating(world, z)  # (I, R)
    felt = honest[item, rater] + impression[item] * (-delay / config.tau).exp()
    r = world.readers
    felt = felt + r.noise[rater] * torch.randn(n, generator=generator, dtype=z.dtype)
    value = felt.clamp(*SCALE).round()
    value = torch.where(r.kind[rater] == 2, sum(SCALE) - value, value)
    spam = torch.randint(1, 8, (n,), generator=generator).to(z.dtype)
    value = torch.where(r.kind[rater] == 1, spam, value)
    read_at = released[item]
    ratings = DelayedRatings(rater, item, value, read_at, delay, read_at + delay, R, len(z))
    return DelayedWorld(ratings, honest.mean(1), impression)
