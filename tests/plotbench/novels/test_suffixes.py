"""The next chapter's opening is told from five of the same book, by log-likelihood per token."""

import math

import pytest

from memformer.config.plotbench_novels import SuffixConfig
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.novels.suffixes import (
    CHANCE,
    Answer,
    accuracy,
    identify,
    opening,
    places,
)
from memformer.plotbench.scorers import OptionScore
from tests.plotbench.models import PieceTokenizer, decoder
from tests.plotbench.novels.made import manuscript

BOOK = manuscript(
    [f"Opening {chr(97 + i) * 3} stands here. {'More of it. ' * 6}" for i in range(13)]
)
CONFIG = SuffixConfig(n_place=12, n_words=4)


class Told:
    """Finds the opening likeliest that `wanted` chooses; longer ones by as much in total."""

    name, max_context = "told", None

    def __init__(self, wanted):
        self.wanted, self.opened = wanted, []

    def open(self, text, *, fraction="true"):
        self.opened.append(text)
        self.text, self.at = text, 0
        return self

    def advance(self, to_char):
        assert self.at <= to_char <= len(self.text)
        self.at = to_char

    def score(self, stem, options, suffix=""):
        read = self.text[: self.at]
        found = []
        for i, option in enumerate(options):
            n = 3 + i
            found.append(OptionScore(n * self.wanted(option, read), n, len(option), 9))
        return found


def test_opening_is_the_chapters_first_words_after_a_break():
    assert opening(BOOK, 2, 3) == "\n\nOpening ccc stands"


def test_strata_are_five_others_each_on_their_side():
    for place in places(BOOK, CONFIG):
        for stratum, others in place.strata.items():
            assert len(set(others)) == 5 and place.chapter not in others
            if stratum == "earlier":
                assert max(others) < place.chapter
            if stratum == "later":
                assert min(others) > place.chapter
            if stratum == "adjacent":
                assert max(abs(i - place.chapter) for i in others) <= 5
    middle = next(p for p in places(BOOK, CONFIG) if p.chapter == 6)
    assert middle.strata["adjacent"] == (4, 5, 7, 8, 9)
    assert set(middle.strata) == {"earlier", "later", "adjacent"}
    assert "earlier" not in places(BOOK, CONFIG)[0].strata


def test_places_are_spread_and_are_chapter_ends():
    found = places(BOOK, SuffixConfig(n_place=3))
    assert [place.chapter for place in found] == [3, 7, 11]
    for place in found:
        assert BOOK.text[place.end :].startswith("\n\nOpening")


@pytest.mark.parametrize("context_chars", [None, 150])
def test_who_knows_what_follows_is_always_right(context_chars):
    config = SuffixConfig(n_place=12, n_words=4, context_chars=context_chars)
    follows = Told(lambda option, read: -1.0 if BOOK.text.count(read[-95:] + option) else -2.0)
    answers = identify(follows, [BOOK], config)
    assert all(a.is_right and a.margin == 1 for a in answers)
    assert len(follows.opened) == (1 if context_chars is None else 12)


def test_who_copies_is_wrong_only_where_the_others_were_read():
    copies = Told(lambda option, read: -1.0 if option.strip() in read else -2.0)
    share = accuracy(identify(copies, [BOOK], CONFIG))
    assert share["earlier"].value == share["later"].value == 0  # later ones tie, and a tie is none
    prefers_unread = Told(lambda option, read: -2.0 if option.strip() in read else -1.0)
    assert accuracy(identify(prefers_unread, [BOOK], CONFIG))["earlier"].value == 1


def test_a_session_of_a_model_answers_finite_numbers_alike_in_one_pass_or_anew():
    scorer = MemformerScorer(decoder(), PieceTokenizer())
    answers = identify(scorer, [BOOK], SuffixConfig(n_place=2, n_words=4))
    assert all(math.isfinite(a.margin) for a in answers)
    again = identify(scorer, [BOOK], SuffixConfig(n_place=2, n_words=4, context_chars=10**6))
    assert [a.margin for a in again] == pytest.approx([a.margin for a in answers], abs=1e-4)


def test_accuracy_is_over_books_with_an_interval_from_ten_on():
    answers = [
        Answer(f"b{i}", chapter, "later", i % 2 == 0, 0.0) for i in range(12) for chapter in (1, 2)
    ]
    (found,) = accuracy(answers).values()
    assert found.value == 0.5 and found.n_stories == 12
    assert found.low < 0.5 < found.high
    assert pytest.approx(1 / 6) == CHANCE
    with pytest.raises(ValueError, match="answers must hold at least one"):
        accuracy([])


def test_a_book_with_few_chapters_is_refused():
    with pytest.raises(ValueError, match="made has 3 chapters, 6 are needed: leave it out"):
        identify(Told(len), [manuscript(["One.", "Two.", "Three."])], CONFIG)
    with pytest.raises(ValueError, match="n_words must be at least 1, got 0"):
        SuffixConfig(n_words=0)
