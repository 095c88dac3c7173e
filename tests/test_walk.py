"""docs/walk.md: its folder is made, its commands exist, and (slow) they run as written."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer.main

from memformer.cli import verbs
from memformer.data.feedback_files import read_events, read_novels, read_reviews
from memformer.data.own import read_texts
from memformer.training.experiment import read_base

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in PAGE.splitlines() if line.startswith("memformer ")]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
    exec(compile(code, "make_tiny.py", "exec"), {"__name__": "__main__"})
    return tmp_path / "tiny"


def test_folder_is_in_the_documented_formats(tiny):
    novels = read_novels(tiny / "novels.jsonl")
    reviews = read_reviews(tiny / "reviews.jsonl")
    assert {each.novel for each in novels} == {each.novel for each in reviews}
    assert {m.id for part in "ab" for m in read_texts(tiny / part)} == {n.novel for n in novels}
    assert {e.item for e in read_events(tiny / "events.jsonl")} == {r.review for r in reviews}
    read_base(tiny / "decoder.py")


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(words[1:4])[:40])
def test_command_and_its_options_exist(words):
    command, rest = typer.main.get_command(verbs.app), words[1:]
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.slow
def test_commands_run_as_written(tiny):
    assert len(COMMANDS) == 12
    start = [sys.executable, "-c", "from memformer.cli import app; app()"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for words in COMMANDS:
        done = subprocess.run(
            [*start, *words[1:]], cwd=tiny.parent, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (words, done.stderr[-2000:])
    assert (tiny / "tuned" / "result.json").is_file()
