import pytest

from memformer.data.pg19 import raw_words, read_pg19

META = '10,"Rain, and Sun",1901,link\n9,Snow,1888,link\n'


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "validation", "test"):
        (tmp_path / part).mkdir()
    (tmp_path / "train" / "9.txt").write_text("CHAPTER I\n\nIt\nsnowed.\n")
    (tmp_path / "train" / "10.txt").write_text("It rained.")
    (tmp_path / "metadata.csv").write_text(META)
    return tmp_path


def test_books_of_one_part_carry_their_metadata_and_no_author(folder):
    snow, rain = read_pg19(folder, "train")
    assert (snow.id, snow.title, snow.year, snow.author) == ("pg19-9", "Snow", 1888, None)
    assert snow.text == "CHAPTER I\n\nIt snowed." and len(snow.chapters) == 1
    assert rain.title == "Rain, and Sun"


def test_books_are_read_lazily(folder):
    (folder / "train" / "10.txt").write_bytes(b"\xff")
    books = read_pg19(folder, "train")
    assert next(books).title == "Snow"
    with pytest.raises(ValueError, match="10.txt must be UTF-8"):
        next(books)


def test_line_of_column_names_is_skipped(folder):
    (folder / "metadata.csv").write_text("id,title,year,link\n" + META)
    assert [book.year for book in read_pg19(folder, "train")] == [1888, 1901]


def test_words_are_counted_in_the_raw_files(folder):
    assert raw_words(folder, "train") == 6


def test_bad_metadata_is_an_error_before_the_first_book(folder):
    (folder / "metadata.csv").write_text(META + "x,y\n")
    with pytest.raises(ValueError, match=r"metadata.csv:3: a row must be number, title, year"):
        read_pg19(folder, "train")


def test_book_without_a_row_is_an_error(folder):
    (folder / "train" / "8.txt").write_text("It froze.")
    with pytest.raises(ValueError, match="8.txt has no row in metadata.csv"):
        next(read_pg19(folder, "train"))


def test_missing_part_is_an_error(folder):
    (folder / "test").rmdir()
    with pytest.raises(FileNotFoundError, match="no folder .*test: PG-19 has one for each part"):
        read_pg19(folder, "test")
    with pytest.raises(ValueError, match="validation must hold .txt files"):
        read_pg19(folder, "validation")
