"""Title, author and stars do not reach the reviewer."""

import pytest

from memformer.reward.review_leaks import strip_leaks

WELLS = dict(title="The War of the Worlds: A Tale", author="Wells, H. G.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("I loved The War of the Worlds.", "I loved this book."),
        ("I loved the war  of the worlds: a tale!", "I loved this book!"),
        ("War of the Worlds is grim.", "this book is grim."),
        ("“The War of the Worlds” is grim.", "this book is grim."),
        ("H. G. Wells at his best", "the author at his best"),
        ("HG Wells, or H.G. Wells, or Wells, H. G.", "the author, or the author, or the author"),
        ("Wells's Martians", "the author's Martians"),
        ("The wells ran dry in this world at war.", "The wells ran dry in this world at war."),
    ],
)
def test_title_and_author_are_replaced(text, told):
    assert strip_leaks(text, **WELLS).text == told


@pytest.mark.parametrize(
    "stars",
    ["★★★★☆", "⭐⭐⭐", "4 stars", "Four stars", "a half star", "4.5/5", "9/10", "4 out of 5",
     "4 out of 5 stars", "three and a half stars", "5-star", "Rating: 3", "***"],
)  # fmt: skip
def test_stars_are_removed(stars):
    found = strip_leaks(f"Grim. {stars}, and long.", title=None, author=None)
    assert found.n_stars == 1
    assert found.text in ("Grim., and long.", "Grim. a, and long.")


@pytest.mark.parametrize(
    "text",
    ["The stars shone over Mars.", "He has two sons and 3 out of those many died.", "In 1898 * it",
     "half of ten thousand men", "scored by grief", "no star-crossed lovers here"],
)  # fmt: skip
def test_words_that_are_no_rating_stay(text):
    assert strip_leaks(text, title=None, author=None) == (text, 0, 0, 0)


def test_short_titles_and_names_go_only_where_they_are_meant():
    told = strip_leaks(
        'It is "It", I say: it is by Woo, by John Woo.', title="It", author="John Woo"
    )
    assert told.text == "It is this book, I say: it is by Woo, by the author."
    assert (told.n_title, told.n_author) == (1, 1)
    assert strip_leaks("Emma, oh emma", title="Emma", author=None).text == "this book, oh emma"


def test_nothing_known_changes_nothing():
    text = "Two  spaces,\na line. The War of the Worlds by Wells."
    assert strip_leaks(text, title=None, author=None) == (text, 0, 0, 0)
    assert strip_leaks(text, title=" ", author="").n_title == 0
