"""What to ask next: the (review, rater) pairs whose ratings would say most about the score.

In what `fit_raters` minimises, f0 and the raters' biases are linear: with tastes, scales and noise
taken as known, its ridges are Gaussian priors, and the variance of a score depends on who rated
what, not on how (Bayesian linear regression; MacKay 1992, "Information-based objective functions
for active data selection", whose mean marginal variance this lowers).

    A = sum over cells of w / noise_r phi phi',  + ridges;     phi(i, r) = (1, e_r, s_r x_i)
    a rating more takes  |G A^-1 phi|² / (noise_r + phi' A^-1 phi)  off the summed variance

n cells, R raters, I items, d features, p = 1 + R + d, G (I, p) items as the population sees them
"""

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.reward.raters import RaterModel
from memformer.reward.ratings import Ratings, cell_weights, check_ratings

_BLOCK = 4096


class Ask(NamedTuple):
    """A pair to ask, given that those before it are asked."""

    item: int
    rater: int
    reduction: float
    """Expected fall of the scores' mean variance over items, in squares of the ratings' scale."""
    variance: float
    """That mean variance after it."""


class _Known(NamedTuple):
    """What is known so far."""

    covariance: Tensor
    """(p, p): A^-1, in units of the average rater's noise."""
    x: Tensor
    """(I, d)"""
    scale: Tensor
    """(R,)"""
    noise: Tensor
    """(R,)"""
    seen: Tensor
    """(I, p): the items as the population sees them."""
    unit: float
    """Variance of the average rater's noise on the ratings' scale."""


def ask_next(model: RaterModel, ratings: Ratings, features: Tensor, n: int) -> list[Ask]:
    """The n pairs to ask, most telling first: each is chosen as if those before it were answered.

    That no answer is needed to choose the next keeps near-duplicates apart: once one of them is
    asked, the other tells little. Pairs that were rated are not asked again. Whoever asks only what
    is listed here has no propensities: ask a share of all pairs at random beside it.

    Args:
        model: fitted to these ratings, or to a part of them.
        ratings: all that are known; their items are rows of `features`.
        features: (I, d) of every item that may be asked about; the variance is of all of these.
        n: at least 1; fewer come back where fewer pairs are left.

    Returns:
        Up to n pairs. Time and memory grow with n (I R + I p + p²).

    Raises:
        ValueError: a model with a hidden layer, an ordinal or a Huber head, another social choice
            than the mean, or without features; n below 1; as `check_ratings`.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    known = _known(model, ratings, features)
    free = torch.ones(len(features), ratings.n_rater, dtype=torch.bool)
    free[ratings.item, ratings.rater] = False
    asked = []
    for _ in range(min(n, int(free.sum()))):
        gain = _reductions(known).masked_fill(~free, -torch.inf)
        item, rater = divmod(int(gain.argmax()), ratings.n_rater)
        free[item, rater] = False
        known = known._replace(covariance=_after(known, item, rater))
        asked.append(Ask(item, rater, float(gain[item, rater]), _variance(known)))
    return asked


def expected_reductions(model: RaterModel, ratings: Ratings, features: Tensor) -> Tensor:
    """(I, R): how much one more rating of each pair would take off the scores' mean variance, in
    squares of the ratings' scale. Arguments and errors as in `ask_next`."""
    return _reductions(_known(model, ratings, features))


def _known(model: RaterModel, ratings: Ratings, features: Tensor) -> _Known:
    check_ratings(ratings)
    config = model.config
    if model.d is None or config.hidden or config.head != "mse" or config.aggregate != "mean":
        raise ValueError(
            "what to ask next is known for raters with features, hidden=0, head='mse' and "
            f"aggregate='mean', got features of width {model.d}, hidden={config.hidden}, "
            f"head={config.head!r}, aggregate={config.aggregate!r}"
        )
    x = ((features - model.feature_mean) / model.feature_scale).double()  # (I, d)
    scale, noise = model.stretch.double(), model.noise.double()
    R, d = ratings.n_rater, x.shape[1]
    ridge = torch.cat((
        torch.zeros(1), torch.full((R,), config.ridge_bias), torch.full((d,), config.ridge),
    )).double()  # fmt: skip
    precision = ridge.diag()
    weight = cell_weights(ratings, config.min_propensity).weight.double() / noise[ratings.rater]
    for start in range(0, len(ratings.value), _BLOCK):
        part = slice(start, start + _BLOCK)
        phi = _rows(x[ratings.item[part]], ratings.rater[part], scale)
        precision += phi.T @ (weight[part, None] * phi)
    share = (model.population / model.population.sum()).double()
    seen = torch.cat((
        torch.ones(len(x), 1), share.expand(len(x), R), (share @ scale) * x,
    ), 1).double()  # fmt: skip
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    unit = float((model.deviation * model.spread) ** 2)
    return _Known(covariance, x, scale, noise, seen, unit)


def _rows(x: Tensor, rater: Tensor, scale: Tensor) -> Tensor:
    """phi of pairs, (n, p)."""
    one = torch.nn.functional.one_hot(rater, len(scale)).to(x)
    return torch.cat((x.new_ones(len(x), 1), one, scale[rater, None] * x), 1)


def _reductions(known: _Known) -> Tensor:
    told = known.covariance @ (known.seen.T @ (known.seen @ known.covariance)) / len(known.x)
    return (
        known.unit * _quadratic(told, known) / (known.noise + _quadratic(known.covariance, known))
    )


def _quadratic(Q: Tensor, known: _Known) -> Tensor:
    """(I, R): phi' Q phi of every pair, without forming phi; Q symmetric."""
    R, x, s = len(known.scale), known.x, known.scale
    of_rater = Q[0, 0] + 2 * Q[0, 1 : R + 1] + Q.diagonal()[1 : R + 1]  # (R,)
    cross = x @ (Q[0, R + 1 :, None] + Q[R + 1 :, 1 : R + 1])  # (I, R)
    own = ((x @ Q[R + 1 :, R + 1 :]) * x).sum(1)  # (I,)
    return of_rater + 2 * s * cross + s**2 * own[:, None]


def _after(known: _Known, item: int, rater: int) -> Tensor:
    """The covariance once a pair is rated (Sherman and Morrison 1950)."""
    phi = _rows(known.x[item, None], torch.tensor([rater]), known.scale)[0]
    told = known.covariance @ phi
    return known.covariance - told.outer(told) / (known.noise[rater] + phi @ told)


def _variance(known: _Known) -> float:
    """Mean variance of the items' scores."""
    return known.unit * float(((known.seen @ known.covariance) * known.seen).sum(1).mean())
