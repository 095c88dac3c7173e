"""The study of the reviewer: its rows, and the page that shows them."""

import json
from pathlib import Path

import pytest
from reviewer_world import ARMS, CONFIG, N_REVIEW, SEEDS, WORLD, shuffled, table

ROOT = Path(__file__).parents[2]
ROWS = json.loads((ROOT / "experiments/results/reviewer_world.json").read_text())


def test_rows_are_all_there_and_each_of_a_commit():
    assert {(row["arm"], row["seed"]) for row in ROWS} == {(a, s) for a in ARMS for s in SEEDS}
    assert all(len(row["machine"]["commit"]) == 40 for row in ROWS)  # no file differed from it
    assert {row["world_bits"] for row in ROWS} == {WORLD.bits}


def test_page_shows_the_rows():
    assert table(ROWS) in (ROOT / "docs/reviewer.md").read_text()


def test_shuffled_reviews_stand_with_another_novel():
    shelf = WORLD.draw(10, N_REVIEW, seed=0)
    moved = shuffled(shelf)
    pairs = list(zip(shelf.reviews, moved.reviews, strict=True))
    assert all(a.novel != b.novel and a.ids == b.ids for a, b in pairs)
    assert {b.novel for _, b in pairs} == set(range(10))


@pytest.mark.parametrize("seed", SEEDS)
def test_world_has_what_was_said_of_it(seed):
    shelf = WORLD.draw(50, N_REVIEW, seed)
    for novel, fact in zip(shelf.novels, shelf.facts, strict=True):
        stated = [i for i, token in enumerate(novel) if token >= WORLD.n_noise]
        assert len(stated) == 4 and max(stated) < 8 and len(novel) == 96
        assert {novel[i] for i in stated} == {WORLD.n_noise + fact}
    assert all(len(each.ids) == WORLD.review_len <= CONFIG.review.max_len for each in shelf.reviews)
