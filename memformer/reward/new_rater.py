"""Raters whom a fitted model did not know: placed by their ratings, with its basis frozen.

n ratings, m items, R raters, k rank
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memformer.reward.heads import head_loss
from memformer.reward.rater_cells import target as standard
from memformer.reward.rater_checks import RaterCheck
from memformer.reward.rater_fit import descend
from memformer.reward.raters import RaterModel
from memformer.reward.ratings import Ratings, check_ratings


class NewRater(NamedTuple):
    """A rater whom the fit did not know, in the coordinates of a model."""

    bias: Tensor
    """() in standardised units."""
    factor: Tensor
    """(k,)"""
    n: int
    """Ratings."""


def fit_new_rater(
    model: RaterModel, features: Tensor, value: Tensor, weight: Tensor | None = None
) -> NewRater:
    """Place a rater whom the model does not know: bias and tastes under the fit's own ridges, with
    everything else frozen. One rating gives a bias and nothing else; the scale is 1.

    Args:
        model: fitted.
        features: (n, d) of what was rated, or numbers of items.
        value: (n,) ratings.
        weight: (n,) as in `fit_raters`.

    Raises:
        ValueError: no ratings, other lengths, or a rating that is NaN or off the scale.
    """
    n = len(value)
    index = torch.zeros(n, dtype=torch.int64)
    check_ratings(Ratings(index, index, value.double(), None, 1, 1, model.scale))
    if len(features) != n:
        raise ValueError(f"features must have a row for each of {n} ratings, got {len(features)}")
    with torch.no_grad():
        part = model.item_part(features).double()
        base = (model.intercept + part[:, 0]).double()
        target = standard(value.double(), model.config, model.scale, model.centre, model.spread)
    count = torch.ones(n, dtype=torch.float64) if weight is None else weight.double()
    precision, cuts = model.precision.double(), model.cuts.double()
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    factor = torch.zeros(model.config.rank, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        eta = base + bias + part[:, 1:] @ factor
        each = head_loss(
            model.config.head, eta, target, torch.ones_like(eta), cuts, model.config.huber_delta
        )
        ridge = model.config.ridge_bias * bias**2 + factor @ precision @ factor
        return ((count * each).sum() + ridge) / count.sum()

    free = [bias, factor] if count.sum() >= 2 and len(factor) else [bias]
    with torch.enable_grad():
        descend(free, loss, model.config.max_iter, model.config.tolerance)
    dtype = model.bias.dtype
    return NewRater(bias.detach().to(dtype), factor.detach().to(dtype), n)


def with_rater(model: RaterModel, new: NewRater) -> RaterModel:
    """A copy of the model whose population has one more rater, the last."""
    grown = copy.deepcopy(model)
    one = torch.ones(1, dtype=model.bias.dtype)
    grown.bias = nn.Parameter(torch.cat((model.bias, new.bias[None])), requires_grad=False)
    grown.stretch = nn.Parameter(torch.cat((model.stretch, one)), requires_grad=False)
    grown.factor = nn.Parameter(
        torch.cat((model.factor, new.factor[None])), requires_grad=False
    )  # fmt: skip
    grown.noise = torch.cat((model.noise, one))
    grown.population = torch.cat((model.population, one))
    bias = float(new.bias * (1 if model.config.head == "ordinal" else model.spread))
    check = RaterCheck(model.n_rater, new.n, bias, 1.0, 1.0, 1.0, ())
    grown.checks, grown.n_rater = (*model.checks, check), model.n_rater + 1
    return grown


def expected_of(model: RaterModel, new: NewRater, features: Tensor) -> Tensor:
    """(m, d) -> (m,): the ratings that a new rater is expected to give."""
    part = model.item_part(features)
    eta = model.intercept + new.bias + part[:, 0] + part[:, 1:] @ new.factor
    return model.rating(eta)
