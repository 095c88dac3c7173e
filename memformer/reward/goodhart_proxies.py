"""Proxies: ridge regressions of ratings on what was read, linear or quadratic, and ensembles.

n ratings, m texts, d features, p terms
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from memformer.reward.ratings import Ratings

Form = Literal["linear", "quadratic"]
How = Literal["mean", "uwo", "wco"]
_BIAS_PRIOR = 3.0  # ratings that a rater's leniency of 0 counts for
_N_BACKFIT = 4


class Score(NamedTuple):
    """mu + terms(x) . weight: the proxy, differentiable in the features."""

    form: Form
    mu: float
    weight: Tensor
    """(p,)"""
    bias: Tensor
    """(n_rater,): leniency of each rater, 0 for those who rated nothing."""

    def __call__(self, features: Tensor) -> Tensor:
        """(m, d) -> (m,), points of the scale."""
        return self.mu + terms(features, self.form) @ self.weight


def terms(features: Tensor, form: Form) -> Tensor:
    """(m, p): the features, and for the quadratic form all their products and the sum of squares.

    A linear proxy cannot say "enough of it". The sum of squares stands in one term, so that "too
    much of anything" can be learned from few ratings; without it, the penalty on the products
    makes the proxy see the optimum too far out.
    """
    if form == "linear":
        return features
    d = features.shape[1]
    a, b = torch.triu_indices(d, d)
    products = features[:, a] * features[:, b]
    size = (features.square().mean(-1, keepdim=True) - 1) * (d / 2) ** 0.5  # variance near 1
    return torch.cat((features, products - (a == b).to(products.dtype), size), dim=1)


def fit_score(
    ratings: Ratings,
    features: Tensor,
    form: Form,
    ridge: float,
    *,
    weight: Tensor | None = None,
    with_bias: bool = True,
) -> Score:
    """Weighted ridge regression of y_ri = mu + b_r + terms(x_i) . w on the rated cells.

    b_r is shrunk to 0; w and b_r are found in turns, four times.

    Args:
        ratings: observed cells.
        features: (n_item, d), by `ratings.item`, of variance about 1.
        form: as in `terms`.
        ridge: ratings that a weight of 0 counts for; a tenth of it for the sum of squares.
        weight: (n,) above 0, of each rating; None for 1 each.
        with_bias: False leaves b_r at 0: raw means.

    Raises:
        ValueError: weights that are not above 0, or no rating.
    """
    w = torch.ones_like(ratings.value) if weight is None else weight.double()
    if len(w) != len(ratings.value) or not len(w) or not bool((w > 0).all()):
        raise ValueError("weight must be above 0 for each rating, and there must be one rating")
    w = w / w.mean()
    x = terms(features, form)[ratings.item]  # (n, p)
    total = float(w.sum())
    centre = (w @ x) / total
    x = x - centre
    penalty = torch.full((x.shape[1],), ridge, dtype=x.dtype)
    if form == "quadratic":
        penalty[-1] = ridge / 10
    factor = torch.linalg.cholesky(x.T @ (w[:, None] * x) + torch.diag(penalty))
    mu = float(w @ ratings.value) / total
    per_rater = _sum(w, ratings.rater, ratings.n_rater)
    bias = torch.zeros(ratings.n_rater, dtype=x.dtype)
    found = torch.zeros(x.shape[1], dtype=x.dtype)
    for _ in range(_N_BACKFIT if with_bias else 1):
        left = ratings.value - mu - bias[ratings.rater]
        found = torch.cholesky_solve((x.T @ (w * left))[:, None], factor)[:, 0]
        if with_bias:
            left = ratings.value - mu - x @ found
            bias = _sum(w * left, ratings.rater, ratings.n_rater) / (per_rater + _BIAS_PRIOR)
    return Score(form, mu - float(centre @ found), found, bias)


def choose_ridge(
    ratings: Ratings,
    features: Tensor,
    form: Form,
    ridges: Sequence[float],
    *,
    weight: Tensor | None = None,
    with_bias: bool = True,
) -> float:
    """The penalty with the least squared error on held-out items, five folds."""
    _, place = torch.unique(ratings.item, return_inverse=True)
    w = torch.ones_like(ratings.value) if weight is None else weight
    error = dict.fromkeys(ridges, 0.0)
    for fold in range(5):
        is_held = place % 5 == fold
        train = _part(ratings, ~is_held)
        for ridge in ridges:
            score = fit_score(train, features, form, ridge, weight=w[~is_held], with_bias=with_bias)
            held = ratings.item[is_held]
            guess = score(features[held]) + score.bias[ratings.rater[is_held]]
            left = guess - ratings.value[is_held]
            error[ridge] += float((w[is_held] * left.square()).sum())
    return min(error, key=error.__getitem__)


def resampled_weight(
    ratings: Ratings, generator: torch.Generator, *, items: bool, weight: Tensor | None = None
) -> Tensor:
    """(n,) weights of one draw of the Bayesian bootstrap over raters (Rubin 1981), and over items
    too: exponential draws of mean 1, multiplied with `weight`."""
    draw = torch.empty(ratings.n_rater, dtype=torch.float64).exponential_(generator=generator)
    out = draw[ratings.rater]
    if items:
        each = torch.empty(ratings.n_item, dtype=torch.float64).exponential_(generator=generator)
        out = out * each[ratings.item]
    out = out.clamp(min=1e-3)
    return out if weight is None else out * weight


class Ensemble(NamedTuple):
    """Several proxies and how their scores become one."""

    members: tuple[Score, ...]
    how: How
    """`mean`; `uwo`: mean - lambda var; `wco`: min (worst case). Coste et al. 2023,
    arXiv:2310.02743, §3.2."""
    centre: Tensor
    """Mean of each member over rated texts."""
    spread: Tensor
    """Standard deviation of each."""
    penalty: float
    """lambda."""

    def __call__(self, features: Tensor) -> Tensor:
        """(m, d) -> (m,), in standard deviations over rated texts."""
        each = torch.stack([member(features) for member in self.members])  # (E, m)
        each = (each - self.centre[:, None]) / self.spread[:, None]
        match self.how:
            case "mean":
                return each.mean(0)
            case "uwo":
                return each.mean(0) - self.penalty * each.var(0)
            case "wco":
                return each.amin(0)


def build_ensemble(
    members: Sequence[Score], features: Tensor, how: How, penalty: float
) -> Ensemble:
    """Members brought to one unit by their scores of (m, d) features.

    Raises:
        ValueError: fewer than two members, or one that says the same of all texts.
    """
    if len(members) < 2:
        raise ValueError(f"members must be at least 2, got {len(members)}")
    each = torch.stack([member(features) for member in members])
    if not bool((each.std(1) > 0).all()):
        raise ValueError("members must tell texts apart; one gives all the same score")
    return Ensemble(tuple(members), how, each.mean(1), each.std(1), penalty)


def _part(ratings: Ratings, keep: Tensor) -> Ratings:
    chance = None if ratings.propensity is None else ratings.propensity[keep]
    return ratings._replace(
        rater=ratings.rater[keep], item=ratings.item[keep], value=ratings.value[keep],
        propensity=chance,
    )  # fmt: skip


def _sum(values: Tensor, index: Tensor, n: int) -> Tensor:
    return torch.zeros(n, dtype=torch.float64).index_add(0, index, values)
