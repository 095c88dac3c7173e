import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from memformer.data.cleaning import Chapter
from memformer.data.folder import is_saved, load_manuscripts, save_manuscripts
from memformer.data.manuscripts import Manuscript
from memformer.data.own import read_folder, read_texts

RAIN = Manuscript(
    id="rain",
    author="Doe, J.",
    title="R\u00e4in",
    text="I\n\nIt r\u00e4ined.",
    chapters=(Chapter(0, "I"),),
    source="test",
    raw_hash="ab",
    series="Weather",
    year=1901,
    licence="CC0",
)
SUN = Manuscript(id="sun", author=None, title="Sun", text="It shone.", source="test", raw_hash="c")


@pytest.fixture
def saved(tmp_path):
    save_manuscripts((RAIN, SUN), tmp_path / "texts")
    return tmp_path / "texts"


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_saved_is_loaded_equal(saved):
    assert load_manuscripts(saved) == (RAIN, SUN) == read_texts(saved)
    assert sorted(files(saved)) == ["manifest.jsonl", "rain.txt", "sun.txt"]


def test_manifest_says_what_the_texts_are(saved):
    row = json.loads((saved / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert row["hash"] == RAIN.hash and row["words"] == 3 and row["chapters"] == [[0, "I"]]
    assert row["cleaning"] == 1 and row["raw_hash"] == "ab"


def test_saving_the_same_twice_does_nothing(saved):
    before = (saved / "rain.txt").stat().st_ino
    assert not save_manuscripts((RAIN, SUN), saved)
    assert (saved / "rain.txt").stat().st_ino == before


def test_saving_others_replaces_the_folder_and_leaves_no_rest(saved):
    assert save_manuscripts((SUN,), saved)
    assert load_manuscripts(saved) == (SUN,)
    assert [path.name for path in saved.parent.iterdir()] == ["texts"]


def test_saving_again_mends_a_damaged_folder(saved):
    (saved / "rain.txt").write_text("I")
    assert save_manuscripts((RAIN, SUN), saved)
    assert load_manuscripts(saved) == (RAIN, SUN)


def test_changed_text_is_an_error(saved):
    (saved / "rain.txt").write_text("It snowed.")
    with pytest.raises(ValueError, match=f"rain.txt must have sha256 {RAIN.hash}, got "):
        load_manuscripts(saved)


def test_missing_text_is_an_error(saved):
    (saved / "sun.txt").unlink()
    with pytest.raises(FileNotFoundError, match="sun.txt"):
        load_manuscripts(saved)


def test_other_version_of_the_cleaning_is_an_error(saved):
    manifest = saved / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"cleaning": 1', '"cleaning": 0'))
    with pytest.raises(ValueError, match="manifest.jsonl:1: the text was cleaned by version 0"):
        load_manuscripts(saved)


def test_damaged_row_is_an_error(saved):
    (saved / "manifest.jsonl").write_text('{"cleaning": 1, "file": "rain.txt"}\n')
    with pytest.raises(ValueError, match="manifest.jsonl:1 is no row that memformer wrote: 'hash'"):
        load_manuscripts(saved)


def test_truncated_row_is_an_error(saved):
    manifest = saved / "manifest.jsonl"
    manifest.write_text(manifest.read_text()[:-9])
    with pytest.raises(ValueError, match="manifest.jsonl:2 is no row that memformer wrote"):
        load_manuscripts(saved)


@pytest.mark.parametrize("when", ["write", "rename"])
def test_disk_full_leaves_the_folder_as_it_was(saved, monkeypatch, when):
    before = files(saved)
    write, rename = Path.write_bytes, Path.rename

    def full_write(path, data):
        write(path, data[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_rename(path, target):
        if target == saved and path.name != "old":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(path, target)

    with monkeypatch.context() as patch:
        if when == "write":
            patch.setattr(Path, "write_bytes", full_write)
        else:
            patch.setattr(Path, "rename", full_rename)
        with pytest.raises(OSError, match="No space left on device: the manuscripts were not") as e:
            save_manuscripts((SUN,), saved)
    assert e.value.errno == errno.ENOSPC and e.value.filename == str(saved)
    assert files(saved) == before
    assert [path.name for path in saved.parent.iterdir()] == ["texts"]


def test_folder_with_other_files_is_not_replaced(saved):
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be new, empty or memformer's own, it holds 'notes"):
        save_manuscripts((SUN,), saved)
    assert (saved / "notes.txt").read_text() == "mine"


def test_manuscripts_of_one_id_or_none_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="manuscripts of different ids, got 2"):
        save_manuscripts((RAIN, replace(SUN, id="Rain")), tmp_path / "texts")
    with pytest.raises(ValueError, match="manuscripts of different ids, got 0"):
        save_manuscripts((), tmp_path / "texts")


def test_folder_of_the_users_own_is_not_loaded_as_saved(tmp_path):
    (tmp_path / "a.txt").write_text("It rained.")
    (tmp_path / "manifest.jsonl").write_text('{"file": "a.txt"}\n')
    assert not is_saved(tmp_path)
    with pytest.raises(ValueError, match="must hold a manifest.jsonl that memformer wrote"):
        load_manuscripts(tmp_path)


def test_saved_folder_is_not_cleaned_again(saved):
    with pytest.raises(ValueError, match="was written by memformer: its texts are cleaned already"):
        read_folder(saved)
