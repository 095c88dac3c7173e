"""Do raters' own tastes help? The rater model of rank 2 beside rank 0, with raters and shuffled.

M texts, R training raters
"""

from typing import Any

import torch
from torch import Tensor

from memformer.config.reward import RaterConfig
from memformer.reward.correlations import correlation, spearman
from memformer.reward.goodhart_lab import Lab, stream
from memformer.reward.goodhart_proxies import terms
from memformer.reward.raters import RaterModel, fit_raters
from memformer.reward.ratings import Ratings
from memformer.reward.worlds.ideal_point_ratings import expected_rating, first

RANK = 2
_N_TEXT = 500  # of the pool, at which tastes are compared cell by cell


def rank_row(lab: Lab, n_rating: int) -> dict[str, Any]:
    """Rank 2 and rank 0 on the first ratings, and on the same with rater ids shuffled.

    `tastes` is the correlation, over texts and raters, of what each rater is expected to say with
    what they honestly would, each text's mean taken off: who likes it, not how good it is.
    `spearman` is that of the population's mean with true gold.
    """
    number = torch.full((lab.config.world.n_rater,), -1)
    number[lab.train_raters] = torch.arange(len(lab.train_raters))
    ratings = first(lab.ratings, n_rating)
    ratings = ratings._replace(rater=number[ratings.rater], n_rater=len(lab.train_raters))
    order = torch.randperm(n_rating, generator=stream(lab.seed, f"rater ids {n_rating}"))
    mixed = ratings._replace(rater=ratings.rater[order])
    row: dict[str, Any] = {
        "seed": lab.seed, "part": "rank", "n_rating": n_rating, "rank": RANK,
    }  # fmt: skip
    for name, held in (("own", ratings), ("shuffled", mixed)):
        for rank in (0, RANK):
            model = _fit(lab, held, rank)
            row[f"tastes_{name}_{rank}"] = _tastes(lab, model)
            score = model.score(_terms(lab, lab.pool.counts)).double()
            row[f"spearman_{name}_{rank}"] = spearman(score, lab.gold)
    return row


def _fit(lab: Lab, ratings: Ratings, rank: int) -> RaterModel:
    features = _terms(lab, lab.offered.counts)[: ratings.n_item]
    return fit_raters(
        ratings, features, RaterConfig(rank=rank, ridge=lab.config.rank_ridge), seed=lab.seed
    )


def _terms(lab: Lab, counts: Tensor) -> Tensor:
    return terms(lab.reader(counts), "quadratic").float()


def _tastes(lab: Lab, model: RaterModel) -> float:
    told = model(_terms(lab, lab.pool.counts[:_N_TEXT])).double()  # (M, R)
    honest = expected_rating(lab.world, lab.pool.z[:_N_TEXT])[:, lab.train_raters]
    return correlation(_own(told).flatten(), _own(honest).flatten())


def _own(cells: Tensor) -> Tensor:
    """Without the text's mean and the rater's."""
    left = cells - cells.mean(1, keepdim=True)
    return left - left.mean(0)
