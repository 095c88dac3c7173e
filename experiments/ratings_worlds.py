"""What do biases, tastes and propensities bring on raters whose truth is known?

200 raters, 300 items without text, two directions of taste, ratings rounded to 1 ... 7, five seeds.
Cells are missing at random or by taste (people rate what they like; the odds are logged). Each
estimate of an item is correlated with the true mean over all raters.

Expect: more ratings help most; low rank helps from 10 an item on; by taste, propensities help.
Run:    python experiments/ratings_worlds.py experiments/results/ratings_worlds.json    (minutes)
Result: experiments/README.md
"""

import argparse
import json
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import numpy as np
import torch
from torch import Tensor

from memformer.config import to_json
from memformer.config.reward import RaterConfig
from memformer.evaluation.machine import describe
from memformer.reward.raters import fit_raters
from memformer.reward.ratings import Ratings, item_means

SEEDS = range(5)
N_RATER, N_ITEM, RANK = 200, 300, 2
DENSITIES = (3, 10, 30)
BY_TASTE = (0.0, 0.75, 1.5)
"""How strongly the logarithm of the odds of rating rises with liking; 0: missing at random."""
BIAS = RaterConfig(learn_noise=False, tolerance=1e-8)
LOW_RANK = RaterConfig(rank=RANK, learn_noise=False, tolerance=1e-8)


def world(seed: int, n_per_item: int, by_taste: float) -> tuple[Ratings, Tensor]:
    """Ratings with the odds that they would be given, and the true mean of each item."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    factor = normal(N_RATER, RANK)
    taste = (factor - factor.mean(0)) @ normal(RANK, N_ITEM) / RANK**0.5
    shared, bias = normal(N_ITEM), 0.7 * normal(N_RATER)
    utility = 4 + shared + bias[:, None] + taste
    odds = torch.exp(by_taste * (shared + taste))  # of what is liked, not of who rates high
    p = (odds / odds.mean() * n_per_item / N_RATER).clamp(1e-4, 1)
    rater, item = (torch.rand(N_RATER, N_ITEM, generator=g) < p).nonzero(as_tuple=True)
    value = (utility[rater, item] + 0.7 * normal(len(rater))).round().clamp(1, 7)
    return (
        Ratings(rater, item, value, p[rater, item], N_RATER, N_ITEM, (1.0, 7.0)),
        utility.mean(0),
    )


def correlations(seed: int, n_per_item: int, by_taste: float) -> dict[str, float]:
    ratings, truth = world(seed, n_per_item, by_taste)
    unknown = ratings._replace(propensity=None)
    means, _ = item_means(ratings)
    every = torch.arange(N_ITEM)
    found = {"raw mean": means.nan_to_num(float(ratings.value.mean()))}
    for name, config in (("bias", BIAS), ("low rank", LOW_RANK)):
        found[name] = fit_raters(unknown, None, config, seed=0).score(every)
        if by_taste:
            found[f"{name}, propensities"] = fit_raters(ratings, None, config, seed=0).score(every)
    return {
        name: float(torch.corrcoef(torch.stack((score.double(), truth)))[0, 1])
        for name, score in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"rows": [], "seeds": list(SEEDS), "machine": describe()}
    result["configs"] = {"bias": to_json(BIAS), "low rank": to_json(LOW_RANK)}
    for by_taste in BY_TASTE:
        for density in DENSITIES:
            each = [correlations(seed, density, by_taste) for seed in SEEDS]
            row = {
                name: {"mean": float(np.mean(v)), "sd": float(np.std(v, ddof=1)), "seeds": v}
                for name in each[0]
                for v in [[one[name] for one in each]]
            }
            result["rows"].append({"by_taste": by_taste, "n_per_item": density, **row})
            shown = {name: f"{v['mean']:.2f} ± {v['sd']:.2f}" for name, v in row.items()}
            print(by_taste, density, shown, flush=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
