"""Early stop on held-out gold: the rule, and gold of best-of-n as raters see it.

M texts of a pool, T of them rated, n of best of n
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.generation.best_of_n_curve import best_of_n_weights
from memformer.reward.worlds.ideal_point import IdealPointWorld
from memformer.reward.worlds.ideal_point_ratings import rate


class Stop(NamedTuple):
    """Where an optimisation is to stop."""

    best: int
    """Index of the step whose lower bound is largest among those looked at: the one to keep."""
    looked_at: int
    """Steps looked at, the last included."""
    reason: str


def gold_stop(
    mean: Sequence[float], error: Sequence[float], *, z: float = 1.0, patience: int = 1
) -> Stop:
    """Go on until gold's lower bound falls below its running maximum; keep the step of the maximum.

    The same rule watches simulated and real runs. It looks at steps in order and at none after
    the one at which it stops.

    Args:
        mean, error: held-out gold and its standard error, by step.
        z: standard errors from the mean to the lower bound.
        patience: looks in a row that must lie below the maximum; more than 1 costs steps, not gold,
            since the step of the maximum is kept.

    Raises:
        ValueError: no step, NaN, or patience below 1.
    """
    if not len(mean) or len(mean) != len(error):
        raise ValueError(
            f"mean and error must be as many, at least 1, got {len(mean)}, {len(error)}"
        )
    if patience < 1:
        raise ValueError(f"patience must be at least 1, got {patience}")
    best, best_bound, below = 0, float("-inf"), 0
    for i, (m, e) in enumerate(zip(mean, error, strict=True)):
        bound = m - z * e
        if bound != bound:
            raise ValueError(f"gold is NaN at step {i}: it cannot be stopped by")
        below = below + 1 if bound < best_bound else 0
        if below == patience:
            told = f"lower bound {bound:.3f} at step {i} is below {best_bound:.3f} at step {best}"
            return Stop(best, i + 1, told)
        if bound >= best_bound:
            best, best_bound = i, bound
    return Stop(best, len(mean), "the steps are at an end")


class Seen(NamedTuple):
    """Gold as raters see it, in points of the scale; only differences mean something."""

    mean: Tensor
    """(S,), of each step."""
    error: Tensor
    """(S,), standard error over texts."""


def rated_best_of_n(
    world: IdealPointWorld,
    z: Tensor,
    proxy: Tensor,
    n: Sequence[int],
    raters: Tensor,
    *,
    n_text: int,
    per_text: int,
    generator: torch.Generator,
) -> Seen:
    """Gold of best-of-n for each n from one set of ratings.

    Texts are drawn from the mean over n of where best-of-n picks; each n then weighs them anew
    (self-normalised importance weights), so that all n share their raters and texts.

    Args:
        world: whose readers rate.
        z: (M, 16), features of the pool.
        proxy: (M,).
        n: sizes.
        raters: ids of those who rate.
        n_text: texts rated.
        per_text: ratings of each, by different raters.
        generator: of the draws.
    """
    order = proxy.argsort()
    weights = torch.stack([best_of_n_weights(len(proxy), size) for size in n])  # (S, M)
    mixture = weights.mean(0)
    rank = mixture.multinomial(n_text, replacement=True, generator=generator)
    value = rated(world, z[order[rank]], raters, per_text, generator)
    weight = weights[:, rank] / mixture[rank]  # (S, T)
    weight = weight / weight.sum(1, keepdim=True)
    mean = weight @ value
    error = (weight.square() * (value - mean[:, None]).square()).sum(1).sqrt()
    return Seen(mean, error)


def rated(
    world: IdealPointWorld, z: Tensor, raters: Tensor, per_text: int, generator: torch.Generator
) -> Tensor:
    """(T,): mean rating of each text by `per_text` of the raters, each one's own mean taken off."""
    lots = torch.rand(len(z), len(raters), generator=generator)
    rater = raters[lots.topk(per_text, dim=1).indices.flatten()]
    item = torch.arange(len(z)).repeat_interleave(per_text)
    value = rate(world, z, rater, item, generator)
    number = rater.bincount(minlength=world.config.n_rater)
    total = torch.zeros(world.config.n_rater, dtype=value.dtype).index_add(0, rater, value)
    return (value - (total / number.clamp(min=1))[rater]).view(-1, per_text).mean(1)
