"""What reads a text for the proxies: word counts, and the hidden state of a small linear reviewer.

The reviewer predicts the n-grams of a text's review from the text's word counts through a layer of
few units (reduced-rank regression, Izenman 1975, J. Multivariate Analysis 5). It sees reviews, no
ratings; proxies are then trained on its hidden state, as the chain's amortised mode is.

n texts with a review, c counts, m n-grams, d hidden units
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Reader(NamedTuple):
    """Standardised features of a text, linear in its counts."""

    mean: Tensor
    """(c,)"""
    project: Tensor
    """(c, d)"""

    def __call__(self, counts: Tensor) -> Tensor:
        """(B, c) -> (B, d): mean 0 and variance 1 over the texts that it was made from."""
        return (counts - self.mean) @ self.project


def count_reader(counts: Tensor) -> Reader:
    """Every count for itself: what a proxy without a reviewer reads. (n, c) of any texts."""
    sd = counts.std(0)
    return Reader(counts.mean(0), torch.diag(torch.where(sd > 1e-9, 1 / sd, 0.0)))


def fit_reviewer(counts: Tensor, ngrams: Tensor, width: int, *, ridge: float = 10.0) -> Reader:
    """The hidden state of the linear reviewer that predicts reviews best with `width` units.

    Args:
        counts: (n, c), of texts.
        ngrams: (n, m), of one review of each.
        width: hidden units, at most c and m.
        ridge: penalty on the weights, in texts.

    Raises:
        ValueError: a width outside [1, min(c, m)], or unequal numbers of texts.
    """
    c, m = counts.shape[1], ngrams.shape[1]
    if len(counts) != len(ngrams):
        raise ValueError(f"each text needs a review: got {len(counts)} and {len(ngrams)}")
    if not 1 <= width <= min(c, m):
        raise ValueError(f"width must be in [1, {min(c, m)}], got {width}")
    plain = count_reader(counts)
    x, y = plain(counts), ngrams - ngrams.mean(0)
    gram = x.T @ x + ridge * torch.eye(c, dtype=x.dtype)
    weight = torch.linalg.solve(gram, x.T @ y)  # (c, m)
    # the best rank-d part of what is predicted, x @ weight
    _, axes = torch.linalg.eigh(weight.T @ (x.T @ x) @ weight)
    hidden = weight @ axes[:, -width:]  # (c, d)
    spread = torch.linalg.cholesky(torch.cov((x @ hidden).T))
    return Reader(plain.mean, plain.project @ hidden @ torch.linalg.inv(spread).T)


def principal_reader(counts: Tensor, width: int) -> Reader:
    """The first principal components of standardised counts: a reader that has seen no review.

    Args:
        counts: (n, c), of any texts.
        width: components, at most c.
    """
    if not 1 <= width <= counts.shape[1]:
        raise ValueError(f"width must be in [1, {counts.shape[1]}], got {width}")
    plain = count_reader(counts)
    value, axes = torch.linalg.eigh(torch.cov(plain(counts).T))
    return Reader(plain.mean, plain.project @ (axes[:, -width:] / value[-width:].sqrt()))
