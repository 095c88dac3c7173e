import pytest

from memformer.data.cleaning import Chapter, Rules, clean, is_wrapped, same_words

WRAPPED = (
    "Chapter 1\r\n\r\n\r\nThe rain\r\nfell.\r\n\r\nIt stopped.\r\n\r\nChapter 2\r\n\r\nSun.\r\n"
)


def test_lines_of_a_paragraph_are_joined_and_chapters_point_at_their_headings():
    text, chapters = clean(WRAPPED)
    assert text == "Chapter 1\n\nThe rain fell.\n\nIt stopped.\n\nChapter 2\n\nSun."
    assert chapters == (Chapter(0, "Chapter 1"), Chapter(text.index("Chapter 2"), "Chapter 2"))


def test_dropped_headings_leave_offsets_at_the_bodies():
    text, chapters = clean(WRAPPED, keep_headings=False)
    assert text == "The rain fell.\n\nIt stopped.\n\nSun."
    assert [text[c.offset :][:4] for c in chapters] == ["The ", "Sun."]
    assert [c.heading for c in chapters] == ["Chapter 1", "Chapter 2"]


def test_adjacent_headings_make_one_chapter():
    text, chapters = clean("VOLUME I\n\nCHAPTER I\n\nRain.\n\nCHAPTER II\n\nSun.")
    assert [c.heading for c in chapters] == ["VOLUME I / CHAPTER I", "CHAPTER II"]
    assert text.startswith("VOLUME I\n\nCHAPTER I\n\nRain.")


def test_heading_without_text_after_it_is_no_chapter_once_dropped():
    text, chapters = clean("I\n\nRain.\n\nII\n", keep_headings=False)
    assert (text, chapters) == ("Rain.", (Chapter(0, "I"),))


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("\u201cYes,\u201d she said\u2014\u2018no\u2019\u2026", "\"Yes,\" she said--'no'..."),
        ("\u00abOui\u00bb \u2014 dit-il", '"Oui"--dit-il'),
        ("pages 3\u20134 and so \u2013 on", "pages 3-4 and so--on"),
        ("a _very good_ snake_case day", "a very good snake_case day"),
        ("It was _truly", "It was truly"),
        ("two  spaces\tand\u00a0more", "two spaces and more"),
        ("cafe\u0301", "caf\u00e9"),
        ("\ufeffsoft\u00adhyphen", "softhyphen"),
        ("Rain.\n\n* * * * *\n\nSun.", "Rain.\n\n* * *\n\nSun."),
        ("Rain.\n\n - - -\n\nSun.", "Rain.\n\n* * *\n\nSun."),
        ("before [Illustration: a cow] after", "before after"),
    ],
)
def test_typography_is_alike(raw, cleaned):
    assert clean(raw).text == cleaned


@pytest.mark.parametrize("end", ["THE END", "The End.", "FINIS", "Finis", "* * *\n\nTHE END"])
def test_end_words_are_stripped(end):
    assert clean(f"Rain.\n\n\n{end}\n").text == "Rain."


def test_title_page_is_stripped():
    rules = Rules(front=("Rain and Sun", "Jane Doe"))
    assert clean("RAIN AND SUN\n\nby\n\nJane Doe\n\nIt rained.", rules).text == "It rained."


def test_start_end_drop_and_erase_cut_what_is_no_novel():
    rules = Rules(start="I", end="A NOTE", drop=r"\[Ed\..*", erase=r"\{\d\}")
    raw = "A preface.\n\nI\n\nRain.{1}\n\n[Ed. wrote this]\n\nSun.\n\nA NOTE\n\nOn the text."
    assert clean(raw, rules).text == "I\n\nRain.\n\nSun."


def test_start_that_matches_nothing_is_an_error():
    with pytest.raises(ValueError, match="rules.start must match a whole paragraph, 'II'"):
        clean("I\n\nRain.", Rules(start="II"))


def test_text_that_is_not_hard_wrapped_has_a_paragraph_a_line():
    long = "It rained and rained, " * 10
    assert not is_wrapped(f"{long}\n{long}")
    assert clean(f"{long}\nSun.\n{long}").text.count("\n\n") == 2


@pytest.mark.parametrize("heading", ["Chapter 12", "CHAPTER THE FIRST", "Book Two", "XIV.", "IX"])
def test_usual_headings_are_found(heading):
    assert [c.heading for c in clean(f"{heading}\n\nRain.").chapters] == [heading]


@pytest.mark.parametrize("line", ["I went out.", "Part of me left.", "Chapter and verse."])
def test_sentences_are_no_headings(line):
    assert clean(f"{line}\n\nRain.").chapters == ()


def test_titles_are_compared_without_case_accents_and_stops():
    assert same_words("The M\u00e9s\u00e9glise  Way.") == same_words("THE MESEGLISE WAY")
    assert same_words("Swann's") == same_words("Swann\u2019s") == "swanns"
