"""The protocol: whole, resumed, refused under other settings, and its report."""

import base64
import dataclasses
import json
import re
import shutil

import pytest

from memformer.config.goodhart import (
    DelayConfig,
    GoodhartConfig,
    IdealPointConfig,
    PolicyConfig,
)
from memformer.reward.goodhart import CONFIG, ROWS, every_group, goodhart, read_rows
from memformer.reward.goodhart_report import write_report
from memformer.reward.goodhart_rules import Results, verdicts

SMALL = GoodhartConfig(
    n_seed=4, first_seed=3, n_rating=(60, 120, 240), policy_n_rating=(60,),
    rank_n_rating=(240,), pool=1_100,
    n_best=(1, 8, 64, 1_024), n_report=60, n_reviewed=400, stop_texts=60, n_bootstrap=2,
    ridges=(30.0, 300.0), ensemble=2, width=16,
    world=IdealPointConfig(n_token=12, n_rater=40, n_calibration=1_000),
    delays=DelayConfig(n_item=20),
    policy=PolicyConfig(looks=(1, 2, 4), batch=8, n_gold=30, n_rated=20),
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("goodhart")
    told = []
    rows = goodhart(SMALL, out, progress=lambda *each: told.append(each))
    return out, rows, told


@pytest.fixture(scope="module")
def report(run):
    out, rows, _ = run
    return write_report(SMALL, rows, out)


def without_times(rows):
    return [{k: v for k, v in row.items() if k != "wall_s"} for row in rows]


def test_every_group_is_run_and_told(run):
    out, rows, told = run
    assert [k for _, k, _ in told] == list(range(1, len(every_group(SMALL)) + 1))
    assert read_rows(out) == rows
    assert {row["seed"] for row in rows} == {3, 4, 5, 6}


def test_a_run_cut_short_goes_on_to_the_same_rows(run, tmp_path):
    out, rows, _ = run
    shutil.copy(out / CONFIG, tmp_path / CONFIG)
    lines = (out / ROWS).read_text().splitlines()
    cut = max(i for i, line in enumerate(lines[:-1]) if '"part": "done"' in line) + 3
    (tmp_path / ROWS).write_text("\n".join(lines[:cut]) + '\n{"seed": 6, "par')
    again = goodhart(SMALL, tmp_path)
    assert without_times(again) == without_times(rows)
    assert without_times(read_rows(tmp_path)) == without_times(rows)


def test_a_last_line_without_its_end_is_not_joined_by_the_next(tmp_path):
    path = tmp_path / "rows.jsonl"
    row = '{"seed": 1, "group": "a", "n_of_group": 0, "part": "done"}'
    path.write_text(row)
    assert len(read_rows(tmp_path)) == 1
    with path.open("a") as file:
        file.write(row.replace('"a"', '"b"') + "\n")
    assert [each["group"] for each in read_rows(tmp_path)] == ["a", "b"]


def test_a_damaged_line_in_the_middle_is_refused(run, tmp_path):
    out, *_ = run
    shutil.copy(out / CONFIG, tmp_path / CONFIG)
    lines = (out / ROWS).read_text().splitlines()
    (tmp_path / ROWS).write_text("\n".join([lines[0], '{"seed', *lines[1:]]))
    with pytest.raises(ValueError, match="line 2 is no JSON"):
        goodhart(SMALL, tmp_path)


def test_a_folder_of_other_settings_is_refused(run):
    out, *_ = run
    with pytest.raises(ValueError, match="made with pool=1100, now it is 1200"):
        goodhart(dataclasses.replace(SMALL, pool=1_200), out)


def test_an_empty_folder_and_a_run_that_is_not_whole_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match="holds no finished group"):
        read_rows(tmp_path)
    _, rows, _ = run
    some = [r for r in rows if not (r["seed"] == 5 and r.get("n_rating") == 240)]
    with pytest.raises(ValueError, match=r"for seeds \[5\]: the run is not whole"):
        write_report(SMALL, some, tmp_path)


def test_every_rule_has_a_verdict_whichever_way_it_fell(report):
    assert [v.rule for v in report.verdicts if v.rule in "abcdef"] == [
        *"aa", *"bb", *"ccc", *"dd", "e", *"fffffff",
    ]  # fmt: skip
    assert {v.rule for v in report.verdicts} == {*"abcdef", "control", "delays"}


def test_gold_never_turns_over_and_is_its_own_truth(run):
    _, rows, _ = run
    gold = [r for r in rows if r["part"] == "proxy" and r["proxy"] == "gold"]
    assert [r["turnover"] for r in gold] == [False] * 4
    assert all(r["spearman"] == pytest.approx(1) and r["stop_loss"] >= 0 for r in gold)


def test_rules_fall_when_the_numbers_do(run):
    _, rows, _ = run
    worse = [
        {**r, "spearman": -r["n_rating"] / 1e3, "spearman_draws": []}
        if r["part"] == "proxy" and r["proxy"] == "linear"
        else r
        for r in rows
    ]
    config = dataclasses.replace(SMALL, n_bootstrap=0)
    a = [v for v in verdicts(Results(config, worse)) if v.rule == "a"]
    assert not a[0].passed and a[0].value < 0
    better = [
        {**r, "stop_loss": 0.04 * r["peak"]} if r["part"] in ("proxy", "policy") else r
        for r in rows
    ]
    d = [v for v in verdicts(Results(config, better)) if v.rule == "d"]
    assert [v.passed for v in d] == [True, True]
    assert d[0].value == pytest.approx(0.04)


def test_report_says_simulated_raters_in_every_plot_and_needs_no_other_file(report):
    page = report.html.read_text()
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    titles = re.findall(r'<figure id="[^"]+">\s*<h2>(.*?)</h2>', page)
    assert len(titles) == 7 and all("simulated raters" in title for title in titles)
    svgs = [base64.b64decode(each) for each in re.findall(r"svg\+xml;base64,([\w+/=]+)", page)]
    assert len(svgs) == 2 * len(titles)  # wide and narrow
    for svg in svgs:
        panels = len(re.findall(rb'<g id="axes_\d+">', svg))
        assert svg.count(b"simulated raters") == panels >= 1
    assert len(list((report.html.parent / "plots").glob("*.svg"))) == 7
    assert "simulated raters" in report.markdown.read_text()


def test_figures_hold_config_verdicts_and_no_nan(report):
    held = json.loads(report.figures.read_text())
    assert held["config"]["pool"] == 1_100 and held["seeds"] == [3, 4, 5, 6]
    assert len(held["verdicts"]) == len(report.verdicts)
    assert {cell["proxy"] for cell in held["proxies"]} >= {"gold", "noise", "linear", "uwo"}
    assert held["overoptimisation"][0]["form"] == "d (a - b d)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_best": (1, 4_096, 64, 1_024)}, "n_best must rise"),
        ({"n_best": (1, 4, 16, 64)}, "n_best must hold 1024"),
        ({"n_best": (1, 64, 1_024, 50_000)}, "end at most at pool=20000"),
        ({"n_rating": (100, 300)}, "n_rating must hold at least 3"),
        ({"policy_n_rating": (5,)}, r"policy_n_rating must be among n_rating, got \[5\]"),
        ({"n_best": (1, 1_024)}, "n_best must hold at least 4"),
        ({"n_seed": 1}, "n_seed must be an integer of at least 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        GoodhartConfig(**change)
