"""The files, commands and the program of docs/feedback.md, as printed."""

import re
from pathlib import Path

import pytest

from memformer.data.feedback_files import write_records
from memformer.rating.importers_map import read_map
from tests.data.made_events import event
from tests.test_cli import process as process  # the fixture that keeps verbs within this process
from tests.test_cli import run

PAGE = (Path(__file__).parents[2] / "docs" / "feedback.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`\n\n```\w+\n(.*?)^```", PAGE, re.M | re.S))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_runs_and_says_what_is_printed():
    found = re.findall(r"^    memformer ([^\n]*)\n(?:\n```text\n(.*?)^```)?", PAGE, re.M | re.S)
    assert len(found) == 5 and sum(bool(said) for _, said in found) == 2
    for words, said in found:
        done = run(*words.split())
        assert done.exit_code == 0, done.output
        if said:
            assert done.output == said


def test_every_map_can_be_read(folder):
    maps = [name for name in FILES if name.endswith(".toml")]
    assert {read_map(folder / name).format for name in maps} == {"long", "mturk", "prolific"}


def test_program_runs_as_printed(folder, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    rows = [
        event(f"{r}{v}{criterion}", rater=f"r{r}", item=f"v{v}", value=1.0 + (r + v) % 7,
              criterion=criterion)
        for r in range(20) for v in (1, 2, 3) for criterion in ("positive", "want_to_read")
    ]  # fmt: skip
    write_records(folder / "all.jsonl", rows)
    exec(compile(code, "feedback.md", "exec"), {"__name__": "example"})
    assert "of another criterion" in capsys.readouterr().out
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 22
