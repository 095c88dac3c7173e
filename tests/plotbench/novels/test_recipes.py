"""Packaged recipes hold offsets and words, no sentence; a text of another wording is refused."""

from dataclasses import replace

import pytest

from memformer.plotbench.novels.candidates import distance, precision, raw_lines
from memformer.plotbench.novels.corpus import NOVELS
from memformer.plotbench.novels.recipes import check_text, recipes
from tests.plotbench.novels.made import NOVEL, recipe, swap

ALL = recipes()


def test_each_recipe_is_of_a_known_novel_with_a_number_of_its_own():
    assert all(NOVELS[each.book] == each.source for each in ALL)
    assert len({each.number for each in ALL}) == len(ALL) == 11
    assert all(len(each.sha256) == 64 for each in ALL)


@pytest.mark.parametrize("made", ALL, ids=lambda each: each.book)
def test_every_line_stands_at_a_mention_and_asks_past_its_stem(made):
    for each in made.swaps:
        assert all(list(held) == sorted(set(held)) for held in each.mentions)
        assert not set(each.mentions[0]) & set(each.mentions[1])
        for line in each.lines:
            held = each.mentions[0 if line.side == "x" else 1]
            assert line.value in held
            assert line.insert < line.value < line.stop <= line.value + 120
            assert distance(each, line) >= 400


def test_a_recipe_holds_no_text():
    for made in ALL:
        words = [made.read_by] + [w for each in made.swaps for form in each.forms for w in form]
        words += [a for each in made.swaps for who in (each.x, each.y) for a in who.aliases]
        assert max(len(word.split()) for word in words[1:]) <= 2


def test_135_groups_in_ten_books():
    n = {
        made.book: sum(min(len(s.good("x")), len(s.good("y"))) for s in made.swaps) for made in ALL
    }
    assert sum(n.values()) == 135
    assert sum(each > 0 for each in n.values()) == 10


def test_precision_counts_what_was_read():
    found = precision([recipe(swaps=(swap(verdicts=["good", "untied", "good", "good"]),))])
    assert found["place"].n_good == 3
    assert found["place"].n_read == 4
    assert found["place"].why == {"untied": 1}


def test_another_text_is_refused_by_both_hashes():
    other = replace(NOVEL, text=NOVEL.text.replace("rain", "hail"))
    told = f"made: .* SHA-256 {NOVEL.hash[:12]} .* this one has {other.hash[:12]}"
    with pytest.raises(ValueError, match=told):
        check_text(recipe(), other)
    with pytest.raises(ValueError, match="recipe is for 'else', got manuscript 'made'"):
        check_text(recipe(book="else"), NOVEL)
    check_text(recipe(), NOVEL)


def test_an_unknown_book_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="no recipe for 'ulysses'; there are austen-emma, "):
        recipes(["ulysses"])


def test_pattern_takes_late_lines_that_name_the_person_and_follow_a_licence():
    lines = {side: raw_lines(NOVEL.text, swap(), side) for side in ("x", "y")}
    told = {
        side: [NOVEL.text[line.insert : line.stop].strip() for line in found]
        for side, found in lines.items()
    }
    assert told == {
        "x": [
            "A letter came for Mr. Orme at Ashby, and he read it twice.",
            "The dogs of Mr. Orme barked all night at Ashby; and then they slept.",
        ],
        "y": [
            "On the Monday Mrs. Vane gave a dinner at Wold, and was content.",
            "No guest was so welcome to Mrs. Vane as one who praised Wold, she said.",
        ],
    }
