"""Worlds of raters whose every number is known."""

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.reward.ratings import Ratings


class World(NamedTuple):
    ratings: Ratings
    utility: Tensor
    """(R, I) what each rater thinks of each item, without noise."""
    features: Tensor
    """(I, d)"""
    bias: Tensor

    @property
    def mean(self) -> Tensor:
        return self.utility.mean(0)


def world(
    *,
    n_rater: int = 40,
    n_item: int = 80,
    rank: int = 2,
    d: int = 0,
    n_per_item: float = 20,
    taste: float = 1.0,
    noise: float = 0.3,
    by_taste: float = 0.0,
    seed: int = 0,
) -> World:
    """Rank and features as asked; `by_taste` > 0: people rate what they like, with known odds."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    features = normal(n_item, d) if d else torch.eye(n_item, dtype=torch.float64)
    to_item = normal(1 + rank, d) / d**0.5 if d else normal(1 + rank, n_item)
    f0, f = (features @ to_item.T)[:, 0], (features @ to_item.T)[:, 1:]
    factor = normal(n_rater, rank) * taste / max(rank, 1) ** 0.5
    factor = factor - factor.mean(0)
    bias = normal(n_rater) * 0.7
    bias = bias - bias.mean()
    utility = bias[:, None] + f0 + factor @ f.T
    odds = torch.sigmoid(by_taste * utility)
    p = (odds / odds.mean() * n_per_item / n_rater).clamp(0.002, 1)
    rater, item = (torch.rand(n_rater, n_item, generator=g) < p).nonzero(as_tuple=True)
    value = utility[rater, item] + noise * normal(len(rater))
    ratings = Ratings(
        rater, item, value.clamp(-9, 9), p[rater, item] if by_taste else None, n_rater, n_item,
        (-9.0, 9.0),
    )  # fmt: skip
    return World(ratings, utility, features, bias)


def corr(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((a.double().flatten(), b.double().flatten())))[0, 1])
