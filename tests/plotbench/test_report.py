"""A report says what the rows say, needs no other file, and puts every shortcut in its tables."""

import re
from dataclasses import replace

import numpy as np
import pytest

from memformer.config.plotbench import MakeConfig
from memformer.plotbench.controls import control_rows
from memformer.plotbench.findings import Findings
from memformer.plotbench.make import make
from memformer.plotbench.report import LIMITS, headline, write_report
from memformer.plotbench.report_tables import cell, comparison_table, every_table, family_table
from memformer.plotbench.rows import Run
from memformer.plotbench.shortcuts import SHORTCUTS, build_shortcut
from memformer.plotbench.statistics import Estimate
from memformer.plotbench.story_words import words_of
from memformer.plotbench.worked import examples
from tests.plotbench.made_rows import rows_on

FAMILIES = ("attr.static", "attr.alias", "know.secret")
BENCH = make(MakeConfig(seeds=(0, 12), buckets=(128, 512), lengths=(2048,), families=FAMILIES))
STORIES = {story.story_id: story for story in BENCH.stories}


def rows_of(condition, effect, *, has_memory=False, seed=0, bench=BENCH):
    """Rows whose margins are an effect that falls with distance, and noise."""
    rng = np.random.default_rng(seed)
    buckets = {story.story_id: story.bucket for story in bench.stories}
    margins = [effect * (128 / buckets[p.story_id]) ** 0.3 + rng.normal() for p in bench.probes]
    rows = rows_on(bench, margins, model="toy", condition=condition)
    if not has_memory:
        return rows
    chance = {"gold": 0.7, "other": 0.3}
    found = [
        [(start, stop) for start, stop, of in row.support if rng.random() < chance[of]]
        for row in rows
    ]
    return [
        replace(row, retrieved=((0, 12), *each, (40, 60)))
        for row, each in zip(rows, found, strict=True)
    ]


ON, OFF, LOCAL = rows_of("on", 2.0, has_memory=True), rows_of("off", 0.0), rows_of("local", 9.0)
FOUND = Findings(BENCH, [*OFF, *ON, *LOCAL])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    paths = write_report(folder, BENCH, [*OFF, *ON, *LOCAL], compared=("toy on", "toy off"))
    return paths, paths.html.read_text(), paths.markdown.read_text()


def test_page_needs_no_other_file(written):
    _, html, _ = written
    assert not re.findall(r'(?:src|href|srcset)="(?!data:)', html)
    assert "http" not in re.sub(r'"data:[^"]*"', "", html)


def test_markdown_links_the_plots_that_were_written(written):
    paths, html, markdown = written
    assert [path.name for path in paths.plots] == ["distance.svg", "families.svg", "retrieval.svg"]
    for path in paths.plots:
        assert path.read_bytes().startswith(b"<?xml") and f"(plots/{path.name})" in markdown
        assert f'id="{path.stem}"' in html


def test_every_shortcut_and_chance_stand_in_every_table_of_runs():
    for table in every_table(FOUND)[:3]:
        names = [row[0].main for row in table.rows]
        assert names[0] == "chance" and names[1:4] == ["toy off", "toy on", "toy local"]
        assert names[4:] == [f"baseline:{name}" for name in SHORTCUTS]
        assert all(len(row) == len(table.head) for row in table.rows)


def test_limits_and_incomplete_groups_are_said(written):
    _, html, markdown = written
    for limit in LIMITS:
        assert limit in markdown
    assert html.count("<li>") == len(LIMITS)
    cut = Findings(BENCH, ON[1:])
    assert f"1 groups lack a cell and count in no number of groups: {ON[0].group_id}." in headline(
        cut
    )


def test_headline_says_what_lies_within_the_noise():
    assert "more than it gets wrong" in headline(FOUND)[0] and "toy on gets" in headline(FOUND)[0]
    noise = Findings(BENCH, OFF)
    assert "not told apart from what it gets wrong" in headline(noise)[0]
    never = [replace(row, logprob=(0.0, 0.0)) for row in OFF]
    assert "gets 0.00" in headline(Findings(BENCH, never))[0]
    floor = [row for row in OFF if row.family == "attr.static"]
    assert "was asked no question of the families that carry" in headline(Findings(BENCH, floor))[0]


def test_table_numbers_are_those_of_the_rows():
    table = family_table(FOUND)
    row = next(row for row in table.rows if row[0].main == "toy local")
    s = FOUND.scores(Run("toy", "local", "true"), "attr.alias")
    assert row[1 + FOUND.families.index("attr.alias")] == cell(s.group)
    latest = next(r for r in table.rows if r[0].main == "baseline:latest-cooccurrence")
    assert [c.main for c in latest[1:]] == ["1.00", "0.00", "0.00"]


def test_reach_is_given_where_the_licence_was_pasted_locally():
    table = every_table(FOUND)[1]
    reach = {row[0].main: row[-1].main for row in table.rows}
    assert reach["toy off"] == "none" and reach["chance"] == reach["toy local"] == "–"
    # at its ceiling everywhere, yet all of twelve stories right only shows more than .74
    same = [replace(row, condition="on") for row in LOCAL]
    far = every_table(Findings(BENCH, [*same, *LOCAL]))[1]
    assert {row[0].main: row[-1].main for row in far.rows}["toy on"] == "none"


def test_utilisation_is_the_share_of_the_local_effect_at_each_distance():
    table = next(t for t in every_table(FOUND) if t.title.startswith("Contextual"))
    shares = {row[0].main: [float(c.main.replace("−", "-")) for c in row[1:]] for row in table.rows}
    assert [*shares] == ["chance", "toy off", "toy on"]
    assert shares["toy on"] == pytest.approx([2 / 9] * 2, abs=0.08)
    assert shares["toy off"] == pytest.approx([0, 0], abs=0.08)


def test_shortcuts_that_were_run_are_not_computed_again():
    held = rows_on(BENCH, [1.0] * len(BENCH.probes), model="baseline:bm25", condition="shortcut")
    found = Findings(BENCH, [*held, *ON])
    assert [run.model for run in found.models] == ["toy"]
    assert sorted(run.model for run in found.shortcuts) == sorted(
        f"baseline:{name}" for name in SHORTCUTS
    )
    assert found.scores(Run("baseline:bm25", "shortcut", "true")).group.value == 1  # as told
    assert "baseline:bm25) has a net of +1.00" in " ".join(headline(found))
    alone = Findings(BENCH, held)
    assert alone.lead.model == "baseline:bm25" and len(alone.shortcuts) == len(SHORTCUTS) - 1


def test_the_oracle_knows_the_truth_and_is_called_no_shortcut():
    oracle = Run("baseline:oracle", "shortcut", "true")
    assert FOUND.scores(oracle).group.value == 1
    assert oracle in FOUND.shortcuts and oracle not in FOUND.rivals
    assert "oracle" not in " ".join(headline(FOUND))


def test_comparison_names_the_declared_cells_and_pairs_by_group():
    table = comparison_table(FOUND, FOUND.models[1], FOUND.models[0])
    assert table.title == "toy on minus toy off"
    assert {row[0].small for row in table.rows} == {"looked at"}  # no 8K here
    assert all(row[2].main.startswith("+") for row in table.rows if row[1].main == "128")


def test_an_unknown_label_lists_the_known(tmp_path):
    with pytest.raises(ValueError, match="no run is called 'toy of'; there are: toy on"):
        write_report(tmp_path, BENCH, ON, compared=("toy on", "toy of"))


def test_results_of_other_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match="results are of data"):
        write_report(tmp_path, BENCH, [replace(ON[0], bench_sha256="0" * 64)])
    with pytest.raises(ValueError, match="results hold no row"):
        write_report(tmp_path, BENCH, [])


def test_worked_examples_show_right_and_wrong_with_their_spans():
    shown = examples(FOUND)
    assert len(shown) == 3 and len({each.title for each in shown}) == 3
    assert shown[0].verdict.endswith("right.") and shown[1].verdict.endswith("wrong.")
    for each in shown:
        id = each.title.split(", ")[1]
        probe = next(p for p in BENCH.probes if p.probe_id == id)
        text = STORIES[probe.story_id].text
        told = [" ".join(text[s.span[0] : s.span[1]].split()) for s in probe.support]
        assert [fact.marked for fact in each.facts] == told
        assert [option[2] for option in each.options] == [i == probe.gold for i in (0, 1)]
        assert each.retrieved is not None and len(each.retrieved) <= 5
        touching = [e for e in each.retrieved if e.note.startswith("touches")]
        assert all(e.marked in told for e in touching)
    assert all(e.retrieved is None for e in examples(Findings(BENCH, OFF)))


def test_what_a_story_holds_cannot_break_the_page(tmp_path):
    probes = tuple(replace(p, suffix='<script>"|&') for p in BENCH.probes)
    page = write_report(tmp_path, replace(BENCH, probes=probes), ON).html.read_text()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_same_rows_give_the_same_files(tmp_path):
    one, other = (write_report(tmp_path / name, BENCH, ON) for name in "ab")
    assert one.html.read_bytes() == other.html.read_bytes()


def test_estimates_are_written_with_their_interval():
    assert cell(Estimate(-0.126, -0.2, 0.1, 20), sign=True) == ("−0.13", "[−0.20, +0.10]")
    nan = float("nan")
    assert cell(Estimate(0.5, nan, nan, 4)) == ("0.50", "")
    assert cell(Estimate(nan, nan, nan, 0)).main == "–"


def test_shortcuts_are_rows_of_the_same_probes():
    rows = control_rows(BENCH, build_shortcut("bm25"))
    assert [row.probe_id for row in rows] == [p.probe_id for p in BENCH.probes]
    assert {(row.model, row.condition) for row in rows} == {("baseline:bm25", "shortcut")}
    for row, p in zip(rows, BENCH.probes, strict=True):
        text = STORIES[p.story_id].text
        assert row.context_tokens == len(words_of(text[: p.insert_at_char] + p.stem))
        near = words_of(text[p.insert_at_char - p.d_near_chars : p.insert_at_char] + p.stem)
        assert row.d_near_tokens == len(near)


def test_markdown_may_lie_elsewhere_and_still_links_the_plots(tmp_path):
    paths = write_report(tmp_path / "run", BENCH, ON, markdown=tmp_path / "docs" / "pb.md")
    assert paths.markdown == tmp_path / "docs" / "pb.md"
    assert "](../run/plots/distance.svg)" in paths.markdown.read_text()
    assert not (tmp_path / "run" / "report.md").exists()
