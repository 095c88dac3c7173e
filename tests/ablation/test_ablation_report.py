"""A report is made from rows alone and says what is missing."""

import csv

import pytest

from memformer.ablation.cell import run_cell
from memformer.ablation.experiment import load_experiment
from memformer.ablation.report import write_report
from memformer.ablation.rows import Cell, cells_of, finished
from tests.ablation.toys import write


@pytest.fixture
def made(tmp_path):
    e, out = load_experiment(write(tmp_path)), tmp_path / "out"
    for cell in cells_of(e)[:-1]:
        run_cell(e, out, cell)
    return e, out


def test_pages_plots_and_tables(made):
    e, out = made
    rows = list(finished(e, out).values())
    paths = write_report(e, rows, out)
    told = paths.markdown.read_text()
    assert told.startswith("# Does the number help?")
    assert "steep: +1.0000 [" in told and "1 cells have no row: bigger, seed 2." in told
    assert "bigger: no difference in height can be told (+0.0000" in told
    assert "![height: difference to base](plots/effect-height.svg)" in told
    html = paths.html.read_text()
    assert (
        "height: the declared metric" in html
        and "http" not in html.split("<main>")[1].split("data:image")[0]
    )
    assert (out / "plots" / "effect-height.svg").read_bytes().startswith(b"<?xml")
    tidy = list(csv.DictReader(paths.tidy.read_text().splitlines()))
    assert len(tidy) == 8 * 4 and tidy[0] == {
        "variant": "base", "seed": "0", "metric": "height", "unit": "a", "value": "1.0",
    }  # fmt: skip
    effects = {
        each["variant"]: each for each in csv.DictReader(paths.effects.read_text().splitlines())
    }
    assert float(effects["steep"]["difference"]) == pytest.approx(1.0)
    before = [p.read_bytes() for p in paths]
    assert [p.read_bytes() for p in write_report(e, rows, out)] == before


def test_without_rows_there_is_nothing_to_report(made):
    e, out = made
    with pytest.raises(ValueError, match="has no finished cell yet"):
        write_report(e, [], out)
    (Cell("base", 0).folder(out) / "row.json").unlink()
    assert len(finished(e, out)) == 7
