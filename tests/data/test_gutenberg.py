import pytest

from memformer.data.gutenberg import cut_gutenberg, drop_contents, read_gutenberg

BOOK = """\ufeffThe Project Gutenberg eBook of Rain, by Jane Doe

Title: Rain

Author: Jane Doe

*** START OF {this} PROJECT GUTENBERG EBOOK RAIN ***

Produced by A. Volunteer
and B. Volunteer

RAIN

By Jane Doe

CONTENTS

 CHAPTER I. The First Drops ....... 1
 CHAPTER II. Sun                   9

CHAPTER I.
The First Drops

It rained.

CHAPTER II.
Sun

It stopped.

THE END

{end} PROJECT GUTENBERG EBOOK RAIN ***

The licence follows.
"""


@pytest.mark.parametrize(
    ("this", "end"),
    [("THE", "*** END OF THE"), ("THIS", "End of the Project Gutenberg's\n*** END OF THIS")],
)
def test_header_credits_title_contents_and_footer_are_cut(tmp_path, this, end):
    path = tmp_path / "pg1234.txt"
    path.write_bytes(BOOK.format(this=this, end=end).replace("\n", "\r\n").encode())
    book = read_gutenberg(path)
    assert book.text == (
        "CHAPTER I. The First Drops\n\nIt rained.\n\nCHAPTER II. Sun\n\nIt stopped."
    )
    assert (book.id, book.author, book.title) == ("pg1234", "Jane Doe", "Rain")
    assert [c.heading for c in book.chapters] == ["CHAPTER I. The First Drops", "CHAPTER II. Sun"]


def test_arguments_replace_what_the_header_says(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(BOOK.format(this="THE", end="*** END OF THE"), encoding="utf-8")
    book = read_gutenberg(path, id="x", author="Doe, J.", title="R", keep_headings=False)
    assert (book.id, book.author, book.title) == ("x", "Doe, J.", "R")
    assert "It rained.\n\nIt stopped." in book.text


@pytest.mark.parametrize("line", ["START", "END"])
def test_file_without_its_start_or_end_line_is_an_error(line):
    text = BOOK.format(this="THE", end="*** END OF THE").replace(f"*** {line} OF", "***")
    with pytest.raises(ValueError, match=rf"a.txt must have a line `\*\*\* {line} OF"):
        cut_gutenberg(text, "a.txt")


def test_contents_list_without_its_chapters_is_kept_and_warned_about(caplog):
    text = "Contents\n\nI. Rain\n\nIt rained."
    assert drop_contents(text, "a.txt") == text
    assert "a.txt: the contents list's first entry is no heading" in caplog.text


def test_text_without_a_contents_list_is_left_alone():
    assert drop_contents("CHAPTER I\n\nIt rained.", "a.txt") == "CHAPTER I\n\nIt rained."


def test_contents_list_with_column_titles_is_dropped():
    text = "Contents.\n\nCHAPTER   PAGE\n\nI.  9\n\nII.  19\n\nI.\n\nRain."
    assert drop_contents(text, "a.txt") == "I.\n\nRain."
