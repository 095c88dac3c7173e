"""Which rank, which ridge: chosen by ratings that the fit has not seen."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config.reward import RaterConfig
from memformer.reward.raters import RaterModel, fit_raters
from memformer.reward.ratings import Ratings, folds, held_out


class Trial(NamedTuple):
    """A candidate's held-out error."""

    config: RaterConfig
    rmse: tuple[float, ...]
    """Of each fold, on the ratings' scale."""
    mean: float


class Choice(NamedTuple):
    """The chosen settings and what they were chosen from."""

    config: RaterConfig
    trials: tuple[Trial, ...]


def choose_raters(
    ratings: Ratings,
    features: Tensor | None,
    candidates: Sequence[RaterConfig],
    *,
    by: str = "cell",
    n_fold: int = 5,
    n_error: float = 1.0,
    seed: int,
    watch: Callable[[Trial], None] | None = None,
) -> Choice:
    """The simplest candidate that is not worse than the best beyond chance.

    Candidates stand in order, simplest first. Each is fitted on all folds but one and judged on it;
    of those whose mean error exceeds the least by no more than `n_error` standard errors of the
    paired difference over folds, the first is taken (Breiman et al. 1984, the one-standard-error
    rule, paired).

    Args:
        ratings: cells.
        features: as in `fit_raters`.
        candidates: settings, simplest first.
        by: "cell" to choose for new ratings of known items, "item" for texts nobody has rated.
        n_fold: folds.
        n_error: 0 takes the least error, however small its lead.
        seed: of folds and fits.
        watch: told each candidate's trial.

    Raises:
        ValueError: no candidates, or as in `fit_raters` and `folds`.
    """
    if not candidates:
        raise ValueError("candidates must hold at least one config, got none")
    fold = folds(ratings, n_fold, by=by, seed=seed)
    parts = list(held_out(ratings, fold))
    trials = []
    for config in candidates:
        errors = [
            held_out_rmse(fit_raters(train, features, config, seed=seed), test, features)
            for train, test in parts
        ]
        trials.append(Trial(config, tuple(errors), sum(errors) / n_fold))
        if watch is not None:
            watch(trials[-1])
    best = min(trials, key=lambda t: t.mean)
    for trial in trials:
        lead = torch.tensor(trial.rmse, dtype=torch.float64) - torch.tensor(best.rmse).double()
        if lead.mean() <= n_error * lead.std() / n_fold**0.5:
            return Choice(trial.config, tuple(trials))
    return Choice(best.config, tuple(trials))


def expected_cells(model: RaterModel, ratings: Ratings, features: Tensor | None) -> Tensor:
    """(n,) expected ratings of the cells' raters and items, clipped to the scale."""
    of = ratings.item if features is None else features[ratings.item]
    return model.expected(ratings.rater, of).clamp(*ratings.scale)


def held_out_rmse(model: RaterModel, ratings: Ratings, features: Tensor | None) -> float:
    """Root mean square error of the expected ratings of cells."""
    off = expected_cells(model, ratings, features).double() - ratings.value.double()
    return float((off**2).mean().sqrt())
