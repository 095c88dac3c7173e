import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from memformer.cli import verbs as cli
from memformer.evaluation.encoded import pick
from memformer.evaluation.progress import reading_bars
from memformer.interop import transformers
from tests.evaluation.story import LetterGroups, backwards, make_model, manuscript


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [{"id": b.id, "title": b.title, "text": b.text} for b in (manuscript(), backwards())]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(cli, "tune_process", lambda: None)
    monkeypatch.setattr(
        transformers,
        "load_llama",
        lambda path, *, window, n_sink: (make_model(window=window, n_sink=n_sink), LetterGroups()),
    )
    return lambda *words: CliRunner().invoke(cli.app, [str(word) for word in words])


def test_evaluate_writes_results_and_report_and_says_where(tmp_path, texts, run):
    out = tmp_path / "run"
    options = ["--book", "ferry", "--tokens", 120, "--window", 16, "--sinks", 2, "--retrieved", 4]
    done = run("evaluate", "model.gguf", texts, "--out", out, *options)
    assert done.exit_code == 0, done.output
    assert f"results: {out / 'result.json'}" in done.stdout
    assert f"report: {out / 'report.html'} and report.md" in done.stdout
    result = json.loads((out / "result.json").read_text())
    assert [book["id"] for book in result["books"]] == ["ferry"]
    assert [arm["name"] for arm in result["arms"]] == ["full", "window", "window-sinks", "memory-4"]
    again = run("report", out)
    assert again.exit_code == 0 and "report.html" in again.stdout


def test_evaluate_names_an_unknown_book_before_the_model_is_loaded(tmp_path, texts, run):
    done = run("evaluate", "model.gguf", texts, "--out", tmp_path / "run", "--book", "fery")
    assert done.exit_code == 1
    assert "no manuscript has the id 'fery'; there are ferry, quay" in done.stderr
    assert not (tmp_path / "run").exists()


def test_report_of_an_empty_folder_is_one_line(tmp_path, run):
    done = run("report", tmp_path)
    assert done.exit_code == 1 and "holds no result.json" in done.stderr


def test_pick_keeps_the_order_asked_for():
    books = [manuscript(), backwards()]
    assert [book.id for book in pick(books, ["quay", "ferry"])] == ["quay", "ferry"]
    assert pick(books, []) == books


def test_bars_show_each_reading():
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with reading_bars(console) as show:
        show("ferry", "full", 50, 100)
        show("ferry", "full", 100, 100)
        show("ferry", "window", 30, 100)
    written = console.file.getvalue()
    assert "ferry  full" in written and "100/100" in written and "30/100" in written
