"""`memformer reward goodhart` in a small world."""

import pytest
import typer
from typer.testing import CliRunner

from memformer.cli.goodhart import goodhart_lab
from memformer.reward import goodhart_report

SMALL = (
    "world.n_token=12", "world.n_rater=60", "world.n_calibration=300", "n_rating=[40, 80, 160]",
    "policy_n_rating=[40]", "rank_n_rating=[80]", "pool=1100", "n_best=[1, 8, 64, 1024]",
    "n_report=80", "width=4", "n_reviewed=200", "stop_texts=30", "n_bootstrap=0",
    "ridges=[100.0]", "ensemble=2", "delays.n_item=12", "policy.looks=[1, 2, 3]", "policy.batch=4",
    "policy.n_gold=20", "policy.n_rated=10",
)  # fmt: skip
CHANGES = [part for each in SMALL for part in ("--set", each)]


@pytest.fixture(scope="module")
def app():
    app = typer.Typer()
    app.command("goodhart")(goodhart_lab)
    return app


def test_runs_reports_and_goes_on_from_what_is_there(app, tmp_path, monkeypatch):
    monkeypatch.setattr(goodhart_report, "every_plot", lambda *_: [])  # drawn elsewhere
    call = ["--seeds", "2", "--out", str(tmp_path), *CHANGES]
    first = CliRunner().invoke(app, call)
    assert first.exit_code == 0, first.output
    assert "10/10" in first.stderr and "simulated raters; report:" in first.stdout
    assert (tmp_path / "report.html").is_file() and (tmp_path / "goodhart.json").is_file()
    rows = (tmp_path / "rows.jsonl").read_bytes()
    again = CliRunner().invoke(app, [*call, "--report"])
    assert again.exit_code == 0
    assert (tmp_path / "rows.jsonl").read_bytes() == rows
    other = CliRunner().invoke(app, ["--seeds", "2", "--out", str(tmp_path)])
    assert isinstance(other.exception, ValueError) and "take another folder" in str(other.exception)


def test_a_misspelt_setting_is_an_error(app, tmp_path):
    found = CliRunner().invoke(app, ["--out", str(tmp_path), "--set", "pol=3"])
    assert isinstance(found.exception, TypeError)
    assert "GoodhartConfig has no field 'pol'" in str(found.exception)
