"""The verbs `rate`, run as a user runs them."""

import json
import shutil

import pytest

from memformer.data.feedback_files import read_events, write_records
from tests.data.made_events import event
from tests.rating.test_importers import GOLDEN, PEPPER
from tests.test_cli import process as process  # the fixture that keeps verbs within this process
from tests.test_cli import run as run_verb


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    for path in GOLDEN.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMFORMER_PEPPER", PEPPER)


def run(*words):
    return run_verb("rate", *words)


def test_import_export_and_agreement(tmp_path):
    dry = run("import", "long.csv", "--map", "long.toml", "--dry-run")
    assert dry.exit_code == 0 and "dry run: nothing written" in dry.output
    assert not (tmp_path / "feedback").exists()
    done = run("import", "long.csv", "--map", "long.toml")
    assert done.exit_code == 0, done.output
    assert "long.csv: 6 rows, 5 new ratings, 0 known" in done.output
    assert "not looked up: 5 ratings of a review" in done.output and "entry 1" in done.output
    again = run("import", "long.csv", "--map", "long.toml")
    assert again.exit_code == 0 and "nothing to do: entry 1 has this file" in again.output

    now = read_events(tmp_path / "long.events.jsonl")[0].recorded_at.replace(year=2099).isoformat()
    future = run("export", "--as-of", now, "--out", "e.jsonl")
    assert future.exit_code == 1 and "as_of must not be in the future" in future.output
    naive = run("export", "--as-of", "2026-06-01T00:00:00", "--out", "e.jsonl")
    assert naive.exit_code == 1 and "as_of must say its offset from UTC" in naive.output
    early = run("export", "--as-of", "2020-01-01", "--out", "e.jsonl")
    assert early.exit_code == 1 and "no event was recorded by 2020-01-01T23:59:59" in early.output
    assert not (tmp_path / "e.jsonl").exists()

    found = run("agreement", "--criterion", "positive", "--draws", "100")
    assert found.exit_code == 0, found.output
    assert "positive: 2 ratings, 2 raters, 1 items" in found.output
    assert "left out: 1 without a value" in found.output
    assert "propensity unknown for 1 of 2 ratings" in found.output
    wrong = run("agreement", "--criterion", "mood")
    assert wrong.exit_code == 1 and "criterion 'mood' has no rating of a review" in wrong.output
    assert run("agreement", "--criterion", "positive", "--k", "3,x").exit_code == 1


def test_export_writes_what_stood(tmp_path):
    write_records(tmp_path / "in.jsonl",
                  [event("e1", 1), event("e2", 5, supersedes="e1", value=2)])  # fmt: skip
    assert run("import", "in.jsonl", "--store", "s").exit_code == 0
    done = run("export", "--as-of", "2026-01-03", "--out", "e.jsonl", "--store", "s")
    assert done.exit_code == 0, done.output
    assert "1 ratings as of 2026-01-03T23:59:59.999999Z: e.jsonl" in done.output
    assert "propensity unknown for 1 of 1 ratings" in done.output
    assert [e.event for e in read_events(tmp_path / "e.jsonl")] == ["e1"]
    other = run("export", "--as-of", "2026-01-03", "--out", "e.csv", "--store", "s")
    assert other.exit_code == 1 and "--out must end in .jsonl or .parquet" in other.output


def test_wrong_rows_end_with_exit_code_1(tmp_path):
    (tmp_path / "reviews.jsonl").write_text(
        json.dumps({"review": "v1", "novel": "n1", "text": "Rain."}) + "\n"
    )
    found = run("import", "long.csv", "--map", "long.toml", "--reviews", "reviews.jsonl")
    assert found.exit_code == 1 and not (tmp_path / "feedback").exists()
    assert "line 5: review 'v2' is none of the 1 known" in found.output
    assert found.output.endswith("nothing written: 3 rows cannot be used\n")


def test_demographics_go_to_a_file_of_their_own(tmp_path):
    files = ("import", "prolific_answers.csv", "--map", "prolific.toml", "--panel",
             "prolific_export.csv")  # fmt: skip
    without = run(*files)
    assert (
        without.exit_code == 1 and "--demographics must be given if the map asks" in without.output
    )
    done = run(*files, "--demographics", "people.jsonl")
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "people.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and all(row.keys() == {"rater", "Age"} for row in rows)
    again = run(*files, "--demographics", "people.jsonl")
    assert again.exit_code == 1 and "people.jsonl exists" in again.output
    lost = run(*files, "--demographics", "others.jsonl")
    assert lost.exit_code == 1 and "is in the store already, as entry 1" in lost.output
    (tmp_path / "file").touch()
    nowhere = run(*files, "--demographics", "file/people.jsonl", "--store", "s")
    assert nowhere.exit_code == 1 and not (tmp_path / "s").exists()


def test_a_batch_needs_a_secret(monkeypatch):
    monkeypatch.delenv("MEMFORMER_PEPPER")
    found = run("import", "mturk.csv", "--map", "mturk.toml")
    assert found.exit_code == 1 and "set MEMFORMER_PEPPER to 16 or more" in found.output
    lost = run("import", "nothing.csv", "--map", "mturk.toml")
    assert lost.exit_code == 1 and "nothing.csv" in lost.output
