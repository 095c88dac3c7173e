"""Cells of criteria that are kept apart, and splits that share nobody."""

import numpy as np
import pytest

from memformer.data.feedback import Novel, Review
from memformer.data.feedback_cells import cells_of, combine, norm_of, normalised
from memformer.data.feedback_splits import (
    part_novels,
    part_raters,
    part_reviews,
    refuse_shared,
    split_events,
)
from tests.data.made_events import event


def rating(rater, item, value, criterion="want_to_read", **changes):
    return event(f"{rater}-{item}-{criterion}-{changes.get('wave', 0)}", rater=rater, item=item,
                 value=value, criterion=criterion, **changes)  # fmt: skip


def test_what_is_no_cell_is_counted_by_reason():
    every = [
        rating("a", "v1", 7.0, propensity=0.5),
        rating("b", "v1", 1.0),
        rating("a", "v2", 3.0, criterion="positive"),
        rating("c", "v1", None, flags=("cannot_judge",)),
        rating("d", "n1", 3.0, item_kind="novel"),
        rating("e", "v2", 4.0, flags=("rejected",), verified=True),
    ]
    found = cells_of(every, "want_to_read")
    cells = found.cells
    assert found.left_out == {"of a novel": 1, "of another criterion": 1, "without a value": 1}
    assert cells.raters == ("a", "b", "e") and cells.items == ("v1", "v2")
    assert cells.value.tolist() == [1.0, 0.0, 0.5] and cells.scale == (0.0, 1.0)
    assert cells.n_unknown_propensity == 2  # nothing is left out for a flag unless asked to
    strict = cells_of(every, "want_to_read", without_flags=("rejected",))
    assert strict.left_out["flagged rejected"] == 1 and strict.cells.items == ("v1",)
    sure = cells_of(every, "want_to_read", verified_only=True)
    assert sure.left_out["not verified"] == 2 and sure.cells.raters == ("e",)
    assert sum(sure.left_out.values()) + len(sure.cells.value) == len(every)
    with pytest.raises(
        ValueError, match="'mood' has no rating of a review .6 of another criterion"
    ):
        cells_of(every, "mood")


def test_scales_are_brought_to_one():
    every = [rating("a", "v1", 4.0), rating("b", "v1", 4.0, scale=(1.0, 5.0))]
    found = cells_of(every, "want_to_read")
    assert found.cells.value.tolist() == [0.5, 0.75] and found.scales == ((1.0, 5.0), (1.0, 7.0))
    with pytest.raises(ValueError, match="raw values need one scale"):
        cells_of(every, "want_to_read", raw=True)
    raw = cells_of(every[:1], "want_to_read", raw=True).cells
    assert raw.value.tolist() == [4.0] and raw.scale == (1.0, 7.0)


def test_items_stand_in_a_given_order():
    every = [rating("a", "v1", 7.0), rating("a", "v2", 1.0)]
    cells = cells_of(every, "want_to_read", items=("v2", "unrated", "v1")).cells
    assert cells.item.tolist() == [2, 0] and cells.items == ("v2", "unrated", "v1")
    with pytest.raises(ValueError, match="item 'v2' is none of the 1 given"):
        cells_of(every, "want_to_read", items=("v1",))
    with pytest.raises(ValueError, match="raters must be given once each"):
        cells_of(every, "want_to_read", raters=("a", "a"))


def two_criteria():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=30)
    every = []
    for r in range(6):
        for i in range(30):
            likes, wants = truth[i] * 0.1 + 4, truth[i] * 1.2 + 4 + 0.3 * rng.normal()
            every.append(rating(f"r{r}", f"v{i}", float(np.clip(likes + rng.normal(), 1, 7)),
                                "positive"))  # fmt: skip
            every.append(rating(f"r{r}", f"v{i}", float(np.clip(wants, 1, 7))))
    return every, truth


def test_criteria_are_normalised_each_and_then_combined():
    every, truth = two_criteria()
    parts = [cells_of(every, name).cells for name in ("positive", "want_to_read")]
    norms = {part.criterion: norm_of(part) for part in parts}
    for part in parts:
        z = normalised(part, norms[part.criterion])
        assert abs(z.value.mean()) < 1e-12 and abs(z.value.std() - 1) < 1e-12
        assert z.scale[0] <= z.value.min() and z.value.max() <= z.scale[1]
    found = combine(parts, norms, {"positive": 1.0, "want_to_read": 1.0})
    assert found.n_incomplete == 0 and found.cells.criterion == "positive+want_to_read"
    z = [normalised(part, norms[part.criterion]).value for part in parts]
    # the same cells in another order: by rater and item
    keys = [f"{found.cells.raters[r]} {found.cells.items[i]}"
            for r, i in zip(found.cells.rater, found.cells.item, strict=True)]  # fmt: skip
    expected = {
        f"{parts[0].raters[r]} {parts[0].items[i]}": (a + b) / 2
        for r, i, a, b in zip(parts[0].rater, parts[0].item, *z, strict=True)
    }
    assert np.allclose(found.cells.value, [expected[key] for key in keys])
    low, high = found.cells.scale
    assert low <= found.cells.value.min() and found.cells.value.max() <= high


def test_criteria_without_their_pair_are_counted_not_filled_in():
    every, _ = two_criteria()
    every = [e for e in every if not (e.criterion == "positive" and e.rater == "r0")]
    parts = [cells_of(every, name).cells for name in ("positive", "want_to_read")]
    norms = {part.criterion: norm_of(part) for part in parts}
    found = combine(parts, norms, {"positive": -1.0, "want_to_read": 3.0})
    assert found.n_incomplete == 30 and "r0" not in found.cells.raters
    low, high = found.cells.scale
    assert low < found.cells.value.min() and found.cells.value.max() < high


def test_propensities_that_differ_between_criteria_are_unknown():
    every = [
        rating(r, v, x, criterion, propensity=p)
        for criterion, ps in (("positive", (0.5, 0.2)), ("want_to_read", (0.5, 0.4)))
        for r, v, x, p in (("a", "v1", 2.0, ps[0]), ("a", "v2", 5.0, ps[1]))
    ]
    parts = [cells_of(every, name).cells for name in ("positive", "want_to_read")]
    found = combine(parts, {p.criterion: norm_of(p) for p in parts},
                    {"positive": 1.0, "want_to_read": 1.0})  # fmt: skip
    assert found.n_other_propensity == 1
    assert found.cells.propensity[0] == 0.5 and np.isnan(found.cells.propensity[1])


def test_criteria_that_cannot_be_combined_are_refused():
    same = [rating(r, "v1", 4.0) for r in "abc"]
    part = cells_of(same, "want_to_read").cells
    with pytest.raises(
        ValueError, match="every rating of 'want_to_read' is 0.5: it cannot be norm"
    ):
        norm_of(part)
    varied = cells_of([*same, rating("d", "v1", 7.0)], "want_to_read").cells
    norms = {"want_to_read": norm_of(varied)}
    with pytest.raises(ValueError, match="weights must be finite and not 0"):
        combine([varied], norms, {"want_to_read": 0.0})
    with pytest.raises(ValueError, match="norms and weights must be of the criteria"):
        combine([varied], norms, {"positive": 1.0})
    other = cells_of([rating("z", "v9", 4.0, "positive"), rating("y", "v9", 5.0, "positive")],
                     "positive").cells  # fmt: skip
    with pytest.raises(ValueError, match="no judgement has every criterion"):
        combine([varied, other], {**norms, "positive": norm_of(other)},
                {"want_to_read": 1.0, "positive": 1.0})  # fmt: skip


NOVELS = [Novel(novel=f"n{i}", author=f"Author {i // 2}") for i in range(40)]


def test_an_author_stands_in_one_part():
    parts = part_novels(NOVELS, shares=(0.5, 0.25, 0.25), seed=1)
    assert all(parts[f"n{2 * i}"] == parts[f"n{2 * i + 1}"] for i in range(20))
    assert set(parts.values()) == {"train", "validation", "test"}
    assert part_novels(NOVELS[:10], shares=(0.5, 0.25, 0.25), seed=1).items() <= parts.items()


def test_a_told_part_holds_for_all_of_an_author():
    novels = [
        Novel(novel="a", author="Woolf, Virginia", split="test"),
        Novel(novel="b", author="Virginia Woolf"),
    ]
    assert part_novels(novels, seed=0) == {"a": "test", "b": "test"}
    with pytest.raises(ValueError, match="'Virginia Woolf' must stand in one part only: 'a' is in"):
        part_novels([novels[0], Novel(novel="b", author="Virginia Woolf", split="train")], seed=0)
    with pytest.raises(ValueError, match="needs every author, novel 'c' has none"):
        part_novels([Novel(novel="c", author=None)], seed=0)
    with pytest.raises(ValueError, match="shares must be three of at least 0 that sum to 1"):
        part_novels(novels, shares=(0.5, 0.5, 0.5), seed=0)


def test_the_three_rater_sets_are_disjoint_and_nobody_moves():
    few = part_raters([f"r{i}" for i in range(50)], seed=3)
    many = part_raters([f"r{i}" for i in range(3000)], seed=3)
    assert few.items() <= many.items()
    share = sum(name == "train" for name in many.values()) / 3000
    assert abs(share - 0.7) < 0.03  # 3.6 standard errors
    assert many != part_raters(many, seed=4)


def test_split_shares_no_rater_and_no_author():
    reviews = [Review(review=f"v{i}", novel=f"n{i}", text="x") for i in range(40)]
    items = part_reviews(reviews, part_novels(NOVELS, shares=(0.5, 0.25, 0.25), seed=1))
    raters = part_raters([f"r{i}" for i in range(30)], shares=(0.5, 0.25, 0.25), seed=0)
    every = [rating(r, v, 4.0) for r in raters for v in items]
    found = split_events(every, items, raters)
    parts = (found.train, found.early_stop, found.report)
    assert all(parts) and sum(map(len, parts)) + found.n_crossed == len(every)
    refuse_shared(found.train, found.early_stop + found.report)
    refuse_shared(found.early_stop, found.report)
    with pytest.raises(ValueError, match="gold must share no rater with the training data"):
        refuse_shared(found.train, found.train[:1])
    with pytest.raises(ValueError, match="item 'lost' has no part"):
        split_events([rating("r0", "lost", 4.0)], items, raters)
    with pytest.raises(ValueError, match="rater 'lost' has no part"):
        split_events([rating("lost", "v0", 4.0)], items, raters)
    with pytest.raises(ValueError, match="review 'v0' is of novel 'n0', which is none of the 1"):
        part_reviews(reviews, {"n9": "train"})
