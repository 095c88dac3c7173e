"""Fractions as they are told, and headings in their place."""

import pytest
import torch

from memformer.plotbench.told import N_PART, Told, fraction_at
from tests.plotbench.examples import example_bench

TEXT = example_bench().stories[0].text


def test_true_and_estimated_fractions_are_clipped_to_one():
    at = torch.tensor([0, 49, 99, 130])
    assert fraction_at("true", at, 100, 2.0).tolist() == pytest.approx([0.005, 0.495, 0.995, 1])
    assert fraction_at("estimated", at, 100, 2.0)[2] == pytest.approx(0.4975)
    assert fraction_at("unknown", at, 100, 2.0).isnan().all()


def test_shuffled_fractions_are_the_true_ones_in_other_places():
    at = torch.arange(3000)
    true, told = (fraction_at(each, at, 3000, 1.5) for each in ("true", "shuffled"))
    assert torch.equal(true, told.sort().values)
    assert ((true - told).abs() > 0.01).float().mean() > 0.9
    assert torch.equal(told, fraction_at("shuffled", at, 3000, 1.5))


def test_headings_count_parts_and_offsets_find_their_way():
    told = Told(TEXT, "header")
    assert told.text.startswith(f"[Part 1 of {N_PART}]\n\nCHAPTER ONE")
    assert 3 <= told.text.count("[Part ") <= N_PART
    for word in ("eyes were", "ferry", "breakfast", "gulls"):
        start = TEXT.index(word)
        there = told.text.index(word)
        assert told.there(start) in (there, there - 1) or told.text[told.there(start) :].startswith(
            (word, "[Part")
        )
        assert told.back((there, there + 4)) == (start, start + 4)
    head = told.text.index("[Part 1 ")
    assert told.back((head + 1, head + 5)) is None
    assert told.there(len(TEXT)) == len(told.text)


def test_without_headings_the_text_is_the_same():
    told = Told(TEXT, "true")
    assert told.text == TEXT
    assert told.there(7) == 7
    assert told.back((3, 9)) == (3, 9)


def test_a_heading_is_no_number():
    with pytest.raises(ValueError, match="given as text"):
        fraction_at("header", torch.tensor([0]), 9, 1.0)
