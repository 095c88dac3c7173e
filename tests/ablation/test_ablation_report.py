"""A report is made from rows alone and says what is missing."""

import csv
import math
import re
from dataclasses import replace
from html import unescape
from types import SimpleNamespace

import pytest

from memformer.ablation.cell import run_cell
from memformer.ablation.effects import Effect, Interval
from memformer.ablation.experiment import load_experiment
from memformer.ablation.levels import levels
from memformer.ablation.metric import Metric
from memformer.ablation.pictures import _BETTER, _NONE, _WORSE, _colour, _limits, forest
from memformer.ablation.report import write_report
from memformer.ablation.rows import Cell, cells_of, finished, reported, write_rows
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
    assert "steep: +1.0015 [" in told and "Cells without a row, 1: bigger, seed 2." in told
    assert "bigger: +0.0000 in height, in all 8 pairs alike, which gives no interval." in told
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
    assert float(effects["steep"]["difference"]) == pytest.approx(1.0015)
    before = [p.read_bytes() for p in paths]
    assert [p.read_bytes() for p in write_report(e, rows, out)] == before


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_what_is_better_is_blue_and_stands_where_the_caption_says(better):
    metric = Metric(name="h", of=dict, better=better)

    def colour(low, high):
        found = Interval((low + high) / 2, low, high)
        return _colour(Effect("x", "h", 1.0, 1.0, found, 0.01, 0.01, 3, 4), metric)

    below, above = colour(-0.3, -0.1), colour(0.1, 0.3)
    assert (below, above) == ((_BETTER, _WORSE) if better == "lower" else (_WORSE, _BETTER))
    assert colour(-0.1, 0.3) == colour(math.nan, math.nan) == _NONE
    found = Effect("x", "h", 1.0, 1.0, Interval(-0.2, -0.3, -0.1), 0.01, 0.01, 3, 4)
    plot = forest(SimpleNamespace(base=SimpleNamespace(name="base")), metric, [found])
    assert plot.caption.startswith("Left" if better == "lower" else "Right")


def test_an_effect_that_dwarfs_the_others_is_an_arrow():
    def effects(*values):
        return [
            Effect(f"v{i}", "h", 1.0, 1.0, Interval(x, x - 0.01, x + 0.01), 0.01, 0.01, 3, 4)
            for i, x in enumerate(values)
        ]

    def limits(found):
        return _limits([each.difference for each in found])

    (left, right), is_cut = limits(effects(-0.1, -0.05, 0.02, 2.0))
    assert is_cut and -0.13 < left < -0.11 and 0.03 <= right < 0.05
    (left, right), is_cut = limits(effects(-0.1, -0.05, 0.02, 0.4))
    assert not is_cut and right > 0.41
    (_, right), is_cut = limits(effects(-0.1, 2.0))  # one of two is no exception
    assert not is_cut and right > 2.01
    plot = forest(
        SimpleNamespace(base=SimpleNamespace(name="base")),
        Metric(name="h", of=dict, better="lower"), effects(-0.1, -0.05, 0.02, 2.0),
    )  # fmt: skip
    assert plot.caption.endswith("with the value beside them.")


def test_both_pages_say_the_same(made):
    e, out = made
    paths = write_report(e, list(finished(e, out).values()), out)
    told = paths.markdown.read_text()
    html = unescape(re.sub(r"<[^>]+>", " ", paths.html.read_text().split("<body>")[1]))
    words = {
        where: set(re.findall(r"[\w.+−]+", text))
        for where, text in (("html", html), ("markdown", re.sub(r"plots/\S+", "", told)))
    }
    assert words["markdown"] - words["html"] == set()
    assert words["html"] - words["markdown"] == {"memformer", "ablation"}  # what stands above all


def test_what_is_not_compared_is_named(tmp_path):
    tail = """
METRICS = (
    Metric(name="h", of=lambda c: {} if c.part.size == 3 else value(c)),
    Metric(name="depth", of=lambda c: {} if c != replace(BASE, seed=c.seed) else {"a": 1.0}),
    Metric(name="width", of=lambda c: {} if c.slope == 2 else value(c)),
)
from dataclasses import replace
"""
    e, out = load_experiment(write(tmp_path, tail=tail)), tmp_path / "out"
    rows = [run_cell(e, out, cell) for cell in cells_of(e)]
    told = write_report(e, rows, out).markdown.read_text()
    head, _, tables = told.partition("## h: difference to base")
    assert "No h beside the base's: bigger." in head
    assert "No depth beside the base's: steep, bigger." in head and "width" not in head
    assert "No width beside the base's: steep." in tables


def test_a_small_p_is_not_told_as_none_and_is_adjusted_over_all_variants(tmp_path):
    e, out = load_experiment(write(tmp_path)), tmp_path / "out"
    rows = [run_cell(e, out, cell) for cell in cells_of(e) if cell.variant != "bigger"]
    paths = write_report(e, rows, out)
    assert "(p after Holm < 0.001)" in paths.markdown.read_text()
    (steep,) = csv.DictReader(paths.effects.read_text().splitlines())
    assert float(steep["p_holm"]) == pytest.approx(2 * float(steep["p"]))  # bigger is still to come


def test_rows_made_by_other_code_are_counted(tmp_path):
    path, out = write(tmp_path), tmp_path / "out"
    rows = [run_cell(load_experiment(path), out, Cell("base", s)) for s in range(2)]
    whole = path.read_text()
    more = whole.replace("SEEDS = range(3)", "SEEDS = range(4)").replace("help?", "help?\n\nYes.")
    path.write_text(more.replace('"steep"', '"steeper"'))
    assert load_experiment(path).code == rows[0].code  # nothing that a cell computes
    path.write_text(whole.replace("config.slope + n", "9 * config.slope + n"))
    e = load_experiment(path)
    rows.append(run_cell(e, out, Cell("base", 2)))
    told = write_report(e, rows, out).markdown.read_text()
    assert "Rows made by other code of toy.py than it holds now: 2." in told


def test_without_rows_there_is_nothing_to_report(made):
    e, out = made
    with pytest.raises(ValueError, match="has no finished cell yet"):
        write_report(e, [], out)
    (Cell("base", 0).folder(out) / "row.json").unlink()
    assert len(finished(e, out)) == 7


def test_a_metric_that_the_base_has_not_is_told_of_the_variants_alone(tmp_path):
    tail = """
METRICS = (
    Metric(name="h", of=value),
    Metric(name="gain", of=lambda c: {} if c == replace(BASE, seed=c.seed) else
           {"a": c.seed - 0.5, "b": c.seed + 0.5}),
)
from dataclasses import replace
"""
    e, out = load_experiment(write(tmp_path, tail=tail)), tmp_path / "out"
    rows = [run_cell(e, out, cell) for cell in cells_of(e)]
    paths = write_report(e, rows, out)
    told, lines = paths.markdown.read_text(), paths.levels.read_text().splitlines()
    assert "gain: of variants alone" in told and "No gain" not in told
    seeds = list(e.seeds)
    steep = next(line.split(",") for line in lines if line.startswith("steep,gain"))
    mean, low, high = map(float, steep[2:5])
    assert mean == pytest.approx(sum(seeds) / len(seeds)) and low < mean < high
    assert steep[-2:] == [str(len(seeds)), "2"]
    assert [line.split(",")[0] for line in lines[1:]] == ["steep", "bigger"]


def test_levels_take_the_units_that_all_seeds_have_and_no_interval_of_too_few_seeds(tmp_path):
    e, out = load_experiment(write(tmp_path)), tmp_path / "out"
    rows = [run_cell(e, out, cell) for cell in cells_of(e) if cell.variant == "steep"]
    values = [{"a": 1.0, "b": 2.0}, {"a": 3.0}, {"c": 9.0, "a": 5.0}]
    rows = [replace(r, metrics={"g": v}) for r, v in zip(rows, values, strict=False)]
    (found,) = levels(rows, "g", min_seed=len(rows) + 1)
    assert found.n_unit == 1 and found.n_seed == len(rows)
    assert found.level.value == pytest.approx(sum(v["a"] for v in values[: len(rows)]) / len(rows))
    assert math.isnan(found.level.low) and math.isnan(found.p)
    assert levels(rows, "other") == []


def test_rows_of_a_file_alone_give_the_same_report(made, tmp_path):
    e, out = made
    rows = list(finished(e, out).values())
    other = tmp_path / "sent"
    other.mkdir()
    write_rows(other, rows)
    assert reported(e, other) == reported(e, out) == rows
    of_cells, of_file = (write_report(e, reported(e, each), each) for each in (out, other))
    assert of_cells.markdown.read_text() == of_file.markdown.read_text()
    write_rows(other, [replace(rows[0], metrics={"other": {}})])
    with pytest.raises(ValueError, match="rows.jsonl holds metrics"):
        reported(e, other)
