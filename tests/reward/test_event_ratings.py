"""From events to a fitted rater model."""

import numpy as np
import pytest
import torch

from memformer.config.reward import RaterConfig
from memformer.data.feedback_cells import cells_of, combine, norm_of
from memformer.reward.event_ratings import ratings_of
from memformer.reward.raters import fit_raters
from tests.data.made_events import event


def world(propensity=lambda r, i: None):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 2))
    every = []
    for r in range(8):
        for i in range(40):
            for criterion, w in (("positive", 0), ("want_to_read", 1)):
                value = float(np.clip(np.rint(4 + x[i, w] + 0.3 * rng.normal()), 1, 7))
                every.append(event(f"{r}-{i}-{w}", rater=f"r{r}", item=f"v{i:02}", value=value,
                                   criterion=criterion, propensity=propensity(r, i)))  # fmt: skip
    return every, torch.from_numpy(x)


def test_a_model_fitted_to_events_finds_what_they_say():
    every, x = world(propensity=lambda r, i: 0.5)
    parts = [cells_of(every, name).cells for name in ("positive", "want_to_read")]
    both = combine(parts, {p.criterion: norm_of(p) for p in parts},
                   {"positive": 1.0, "want_to_read": 1.0})  # fmt: skip
    ratings = ratings_of(both.cells)
    assert ratings.n_rater == 8 and ratings.n_item == 40
    assert ratings.propensity is not None and (ratings.propensity == 0.5).all()
    model = fit_raters(ratings, x, RaterConfig(), seed=0)
    truth = x.sum(1)
    found = torch.corrcoef(torch.stack([model.score(x).double(), truth]))[0, 1]
    assert found > 0.97


def test_unknown_propensities_are_none_and_mixed_ones_refused():
    every, _ = world()
    assert ratings_of(cells_of(every, "positive").cells).propensity is None
    mixed, _ = world(propensity=lambda r, i: 0.5 if r else None)
    cells = cells_of(mixed, "positive").cells
    with pytest.raises(ValueError, match="known for all cells or for none, got 40 of 320 unknown"):
        ratings_of(cells)
    assert ratings_of(cells, mixed_propensity="ignore").propensity is None
    with pytest.raises(ValueError, match="mixed_propensity must be 'refuse' or 'ignore'"):
        ratings_of(cells, mixed_propensity="drop")
