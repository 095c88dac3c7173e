"""Correlations of scores, and how far a panel's mean agrees with another such panel's."""

import torch
from torch import Tensor


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's r; 0 if either is constant, as it tells nothing of the other."""
    x, y = a.double() - a.double().mean(), b.double() - b.double().mean()
    size = float(x.norm() * y.norm())
    return float(x @ y) / size if size > 0 else 0.0


def spearman(a: Tensor, b: Tensor) -> float:
    """Correlation of ranks, ties sharing their mean rank."""
    return correlation(_ranks(a), _ranks(b))


def _ranks(values: Tensor) -> Tensor:
    _, group, size = torch.unique(values, return_inverse=True, return_counts=True)
    return Tensor(size.cumsum(0) - (size - 1) / 2)[group]


def reliability(panel: Tensor, *, n_split: int = 50, seed: int = 0) -> float:
    """Share of the variance of a panel's mean that another such panel would find again.

    Correlation of the means of two halves of the raters, mean over random halves, stepped up to the
    whole panel (Spearman 1910; Brown 1910): 2 r / (1 + r).

    Args:
        panel: (texts, raters), complete.

    Raises:
        ValueError: fewer than two raters, or halves that do not agree at all.
    """
    if panel.dim() != 2 or panel.shape[1] < 2:
        raise ValueError(f"panel must be (texts, raters >= 2), got {tuple(panel.shape)}")
    g = torch.Generator().manual_seed(seed)
    half = panel.shape[1] // 2
    found = []
    for _ in range(n_split):
        order = torch.randperm(panel.shape[1], generator=g)
        found.append(correlation(panel[:, order[:half]].mean(1), panel[:, order[half:]].mean(1)))
    r = sum(found) / n_split
    if r <= 0:
        raise ValueError(
            f"halves of the panel correlate {r:.3f}: it has no reliability to divide by"
        )
    return 2 * r / (1 + r)
