import pytest
import torch

from memformer.reward.ratings import (
    Ratings,
    cell_weights,
    check_ratings,
    folds,
    held_out,
    item_means,
    select,
)
from tests.reward.known_worlds import world

CELLS = Ratings(
    torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), torch.tensor([1.0, 2.0, 4.0]),
    torch.tensor([0.5, 0.1, 1.0]), 2, 3, (1.0, 5.0),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), [
    (dict(value=torch.tensor([1.0, 6.0, 7.0])),
     r"value must be on the scale \[1, 5\], got 6 at row 1 \(2 such rows\)"),
    (dict(value=torch.tensor([1.0, torch.nan, 2.0])), "value must be a finite.*nan at row 1"),
    (dict(rater=torch.tensor([0, 2, 1])), r"rater must be in \[0, 2\), got 2 at row 1"),
    (dict(item=torch.tensor([-1, 0, 1])), r"item must be in \[0, 3\), got -1 at row 0"),
    (dict(item=torch.tensor([0, 1])), r"item must have shape \(3,\) as value, got \(2,\)"),
    (dict(item=torch.tensor([0, 1, 1]).int()), "item must be int64, got torch.int32"),
    (dict(propensity=torch.tensor([0.5, 0.0, 1.0])), r"propensity must be in \(0, 1\].*got 0 at"),
    (dict(propensity=torch.tensor([0.5, 1.5, 1.0])), "propensity must be in .*got 1.5 at row 1"),
    (dict(scale=(5.0, 1.0)), "scale must run from a lesser to a greater"),
    (dict(value=torch.zeros(0)), "ratings must hold at least one cell, got none"),
])  # fmt: skip
def test_bad_ratings_are_errors(changes, message):
    check_ratings(CELLS)
    with pytest.raises(ValueError, match=message):
        check_ratings(CELLS._replace(**changes))


def test_propensity_weights_are_clipped_and_self_normalised():
    found = cell_weights(CELLS, 0.2)
    assert found.weight.tolist() == pytest.approx([3 * x / 8 for x in (2, 5, 1)])
    assert found.n_clipped == 1
    assert found.effective_n == pytest.approx(64 / 30)
    unknown = cell_weights(CELLS._replace(propensity=None), 0.2)
    assert unknown.weight.tolist() == [1, 1, 1] and unknown.effective_n == 3


def test_weights_keep_the_callers_total():
    found = cell_weights(CELLS, 0.2, torch.tensor([1.0, 2.0, 1.0]))
    assert found.weight.sum() == pytest.approx(4)
    with pytest.raises(ValueError, match="weight must be positive and finite, got 0 at row 0"):
        cell_weights(CELLS, 0.2, torch.tensor([0.0, 1.0, 1.0]))


def test_folds_of_cells_share_out_every_cell_once():
    ratings = world(n_item=20).ratings
    fold = folds(ratings, 4, seed=0)
    sizes = torch.bincount(fold)
    assert sizes.max() - sizes.min() <= 1
    parts = list(held_out(ratings, fold))
    assert sum(len(test.value) for _, test in parts) == len(ratings.value)
    assert all(len(a.value) + len(b.value) == len(ratings.value) for a, b in parts)


def test_folds_of_items_never_part_an_item():
    ratings = world(n_item=20).ratings
    for train, test in held_out(ratings, folds(ratings, 4, by="item", seed=0)):
        assert not set(train.item.tolist()) & set(test.item.tolist())
    with pytest.raises(ValueError, match=r"n_fold must be in \[2, 20\] for 20 items, got 21"):
        folds(ratings, 21, by="item", seed=0)
    with pytest.raises(ValueError, match="by must be 'cell' or 'item', got 'rater'"):
        folds(ratings, 2, by="rater", seed=0)


def test_an_item_without_ratings_has_no_mean():
    means, count = item_means(CELLS)
    assert count.tolist() == [1, 2, 0]
    assert means[:2].tolist() == [1, 3] and means[2].isnan()
    assert select(CELLS, CELLS.value > 1).propensity.tolist() == pytest.approx([0.1, 1.0])
