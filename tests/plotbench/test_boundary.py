"""Scoring begins where options differ; a branch is split as the whole text would be."""

import pytest

from memformer.plotbench.boundary import StoryTokens
from tests.plotbench.examples import example_bench
from tests.plotbench.models import PieceTokenizer

TEXT = example_bench().stories[0].text
TOKENS = PieceTokenizer()


def words(n_held=4):
    return StoryTokens(TEXT, TOKENS, n_held)


def spelled(branch, i):
    """Ids of an option's whole text."""
    return [*words().ids[: branch.n_context], *branch.rows[i]]


@pytest.mark.parametrize("added", ["", " and so", "abc", "\n\nThe end", "!"])
def test_context_and_row_are_the_tokens_of_the_whole(added):
    story = words()
    for char in range(0, len(TEXT) + 1, 7):
        row = story.row(char, added)
        whole = TOKENS.encode(TEXT[:char] + added).ids
        assert [*story.ids[: story.n_context(char)], *row] == whole


def test_score_begins_where_options_differ_and_ends_with_the_suffix():
    branch = words().branch(len(TEXT), "\n\nHer eyes were", (" green", " hazel"), ", and shut.")
    assert branch.rows[0][: branch.first] == branch.rows[1][: branch.first]
    assert branch.rows[0][branch.first :] == tuple(TOKENS.encode(" green, and shut.").ids)
    for i, option in enumerate((" green", " hazel")):
        whole = TOKENS.encode(f"{TEXT}\n\nHer eyes were{option}, and shut.").ids
        assert spelled(branch, i) == whole


def test_score_begins_no_later_than_the_options_first_character():
    branch = words().branch(len(TEXT), " eyes", (" greenish", " greenery"), ".")
    assert branch.rows[0][branch.first :] == tuple(TOKENS.encode(" greenish.").ids)


def test_a_token_over_the_boundary_is_scored():
    # the space belongs to the option's token, so a cut after it would split otherwise
    branch = words().branch(len(TEXT), " were ", ("green", "hazel"), ".")
    assert branch.rows[1][branch.first] == TOKENS.encode(" hazel").ids[0]
    # letters of the stem that the option's first token swallows
    branch = words().branch(len(TEXT), " gr", ("een", "ey"), ".")
    assert branch.rows[0][branch.first] == TOKENS.encode(" green").ids[0]


def test_options_of_which_one_is_the_others_beginning_leave_something_to_score():
    branch = words().branch(len(TEXT), " were", (" green", " green hazel"), "")
    assert [len(row) - branch.first for row in branch.rows] == [1, 2]


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="options must differ in tokens"):
        words().branch(len(TEXT), " were", (" green", " green"), ".")
    with pytest.raises(ValueError, match="options must be at least two, got 1"):
        words().branch(len(TEXT), " were", (" green",), ".")
    with pytest.raises(ValueError, match="offset 0: no token stands before"):
        words().branch(0, "", ("Green", "Hazel"), ".")


class Greedy(PieceTokenizer):
    """Whatever ends in `!` is one token: a text can change all tokens before it."""

    def encode(self, text):
        if text.endswith("!"):
            return type(super().encode(text))([7], [(0, len(text))])
        return super().encode(text)


def test_a_probe_that_splits_far_context_otherwise_is_refused():
    with pytest.raises(ValueError, match=r"before the last 4 of the context .* raise n_held"):
        StoryTokens(TEXT, Greedy(), 4).row(len(TEXT), "!")
