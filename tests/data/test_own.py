import json

import pytest

from memformer.data.own import read_folder, read_jsonl, read_texts

RAIN = "Chapter 1\n\nIt rained.\n\nChapter 2\n\nIt stopped.\n"


def jsonl(tmp_path, *rows, name="novels.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_folder_takes_author_and_title_from_the_names(tmp_path):
    (tmp_path / "Doe, Jane - The Rain.txt").write_text(RAIN)
    (tmp_path / "Sun.txt").write_text("It shone.")
    (tmp_path / "notes.md").write_text("not a novel")
    rain, sun = read_folder(tmp_path)
    assert (rain.id, rain.author, rain.title) == ("doe-jane-the-rain", "Doe, Jane", "The Rain")
    assert [c.heading for c in rain.chapters] == ["Chapter 1", "Chapter 2"]
    assert (sun.id, sun.author, sun.title, sun.text) == ("sun", None, "Sun", "It shone.")


def test_manifest_beside_the_texts_describes_them(tmp_path):
    (tmp_path / "1.txt").write_text("Dawn\n\nIt rained.\n\nDusk\n\nIt stopped.")
    row = {"file": "1.txt", "id": "r", "author": "Doe", "title": "Rain", "year": 1901}
    jsonl(tmp_path, {**row, "chapters": ["Dawn", "Dusk"]}, name="manifest.jsonl")
    (rain,) = read_texts(tmp_path, keep_headings=False)
    assert (rain.id, rain.author, rain.title, rain.year) == ("r", "Doe", "Rain", 1901)
    assert rain.text == "It rained.\n\nIt stopped."
    assert [c.heading for c in rain.chapters] == ["Dawn", "Dusk"]


def test_manifest_that_names_a_missing_file_is_an_error(tmp_path):
    jsonl(tmp_path, {"file": "1.txt"}, name="manifest.jsonl")
    with pytest.raises(FileNotFoundError, match="1.txt"):
        read_folder(tmp_path)


def test_jsonl_needs_only_text(tmp_path):
    path = jsonl(tmp_path, {"text": "It rained."}, {"text": "Sun.", "author": None, "title": "S"})
    first, second = read_texts(path)
    assert (first.id, first.author, first.title) == ("novels-1", None, "novels-1")
    assert (second.id, second.title, second.source) == ("s", "S", "novels.jsonl")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"title": "Rain"}, "text is missing"),
        ({"text": 3}, "text must be a string that is not empty, got 3"),
        ({"text": " "}, "text must be a string that is not empty"),
        ({"text": "a", "autor": "Doe"}, "unknown field 'autor'; known are author, chapters, id"),
        ({"text": "a", "year": "1901"}, "year must be a whole number, got '1901'"),
        ({"text": "a", "chapters": [3]}, r"chapters must be a list of headings, got \[3\]"),
        ({"text": "a", "chapters": ["Dawn"]}, "chapters: 'Dawn' is no paragraph"),
        ({"text": "a", "id": "a/b"}, "id must be up to 120 letters"),
        ({"text": "THE END"}, "manuscript 'novels-2' has no text"),
        (["text"], "a line must be a JSON object, got list"),
    ],
)
def test_line_that_fails_names_file_line_and_field(tmp_path, row, says):
    path = jsonl(tmp_path, {"text": "It rained."}, row)
    with pytest.raises(ValueError, match=rf"novels.jsonl:2: {says}"):
        read_jsonl(path)


def test_line_that_is_no_json_names_file_and_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"text": "It rained"\n')
    with pytest.raises(ValueError, match="a.jsonl:2: a line must be a JSON object: "):
        read_jsonl(path)


def test_id_that_stands_twice_is_an_error(tmp_path):
    path = jsonl(tmp_path, {"text": "a", "id": "x"}, {"text": "b", "id": "x"})
    with pytest.raises(ValueError, match="novels.jsonl: id 'x' stands twice"):
        read_jsonl(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"", "is empty"), (b"a\0b", "zero byte"), (b"caf\xe9", "must be UTF-8, got byte 0xe9")],
)
def test_bad_file_in_a_folder_is_named(tmp_path, data, says):
    (tmp_path / "A - B.txt").write_bytes(data)
    with pytest.raises(ValueError, match=rf"A - B.txt.* {says}"):
        read_folder(tmp_path)


def test_folder_that_is_missing_or_without_texts_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*missing"):
        read_folder(tmp_path / "missing")
    with pytest.raises(ValueError, match="must hold .txt files, got none"):
        read_folder(tmp_path)
