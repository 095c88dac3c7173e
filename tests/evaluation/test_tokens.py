import numpy as np
import pytest

from memformer.evaluation.tokens import class_names, mentions, token_classes
from tests.evaluation.story import encoded, manuscript

EDGES = (16, 64)


def names(text):
    return [mention.name for mention in mentions(text)]


def test_names_of_the_story():
    found = mentions(manuscript().text)
    assert {m.name for m in found} == {
        "Maud",
        "Tolliver",
        "Skerrin",
        "Abernathy",
        "Crispin",
        "Lowmouth",
        "Tollifer",
        "Renfrew",
    }
    assert all(manuscript().text[m.start : m.stop] == m.name for m in found)


def test_a_name_is_also_counted_where_it_begins_a_sentence():
    assert names("They met Ada. Ada sat down.") == ["Ada", "Ada"]


def test_a_word_seen_only_at_the_start_of_sentences_is_no_name():
    assert names('Rain fell. Snow came! "Hail," he said. (Fog too.) It was so: Sleet.') == []


def test_a_stop_after_a_title_does_not_end_the_sentence():
    assert names("There was Mr. Quill and St. Ives.") == ["Quill", "Ives"]


def test_a_word_that_is_often_in_lower_case_is_no_name():
    text = "He met Rose there. The rose was red. A rose is a rose."
    assert names(text) == []
    assert names(text.replace("rose", "lily")) == ["Rose"]


def test_endings_do_not_belong_to_a_name():
    text = (
        "By Ada's house stood Ines'. And Ada’s dog, and what Ada'll say; I'm sure, and I've said."
    )
    found = mentions(text)
    assert [m.name for m in found] == ["Ada", "Ines", "Ada", "Ada"]
    assert all(text[m.start : m.stop] == m.name for m in found)


def test_titles_days_peoples_and_capitals_are_no_names():
    assert names("So on Monday the English and Lady Ash saw THE END in May.") == ["Ash"]


def test_class_names_follow_the_edges():
    assert class_names((16, 64)) == [
        "other",
        "first_name",
        "again <16",
        "again 16-64",
        "again >=64",
    ]


@pytest.mark.parametrize("edges", [(), (64, 16), (5, 5), (0, 4)])
def test_edges_that_do_not_rise_are_refused(edges):
    with pytest.raises(ValueError, match="edges must be ascending"):
        class_names(edges)


def test_classes_count_tokens_since_the_last_mention():
    book = encoded(
        manuscript(text=("x " * 5 + "Ada went. " + "yes " * 30 + "and Ada sat by Ada. "))
    )
    classes = token_classes(book, EDGES)
    marked = np.flatnonzero(classes)
    texts = ["".join(book.text[slice(*book.spans[i])].split()) for i in marked]
    # tokens hold at most four letters: " Ada", and "Ada." whole
    assert texts == ["Ada", "Ada", "Ada."]
    gaps = np.diff(marked)
    assert 16 <= gaps[0] < 64 and gaps[1] < 16
    assert [class_names(EDGES)[c] for c in classes[marked]] == [
        "first_name",
        "again 16-64",
        "again <16",
    ]


def test_all_tokens_of_a_name_share_its_class():
    book = encoded(manuscript(text="We saw Abernathy there. " + "yes " * 20))
    classes = token_classes(book, EDGES)
    assert book.text[slice(*book.spans[classes == 1][[0, -1], [0, 1]])] == " Abernathy"
    assert (classes == 1).sum() == 3 and (classes > 1).sum() == 0


def test_the_gap_at_an_edge_belongs_to_the_farther_class():
    text = "We saw Ada " + "yes " * 15 + "Ada " + "yes " * 30
    classes = token_classes(encoded(manuscript(text=text), 40), EDGES)
    first, second = np.flatnonzero(classes)
    assert second - first == 16 and class_names(EDGES)[classes[second]] == "again 16-64"
