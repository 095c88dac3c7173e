"""The verbs make and check, run as a user runs them."""

import json
from dataclasses import asdict

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from memformer.interop import plotbench_models
from memformer.plotbench.files import load
from memformer.plotbench.generated import page
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.rows import load_results
from memformer.plotbench.shortcuts import SHORTCUTS
from tests.plotbench.made_rows import rows_on
from tests.plotbench.models import PieceTokenizer, decoder
from tests.test_cli import process as process  # the fixture that keeps verbs within this process
from tests.test_cli import run as run_verb


def words():
    """A tokenizer of whole words and stops, all of them unknown."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def run(*arguments):
    return run_verb("plotbench", *arguments)


def test_make_writes_what_check_reads(tmp_path):
    made = run("make", "--seeds", "5:8", "--lengths", "1k,2k", "--distances", "128,512",
               "--families", "attr.static,life", "--out", tmp_path / "pb")  # fmt: skip
    assert made.exit_code == 0, made.output
    bench = load(tmp_path / "pb")
    assert {story.seed for story in bench.stories} == {5, 6, 7}
    assert {story.bucket for story in bench.stories} == {128, 512}
    assert {probe.family for probe in bench.probes} <= {"attr.static", "life"}
    assert f"12 texts, {len(bench.probes)} probes" in made.output

    checked = run("check", tmp_path / "pb")
    assert checked.exit_code == 1  # three stories show nothing of shortcuts
    assert "pass  oracle: right in all" in checked.output and "not passed" in checked.output


def test_check_ends_well_where_every_rule_holds(tmp_path):
    families = "attr.static,attr.update,attr.alias"
    made = run("make", "--seeds", "0:40", "--lengths", "1k", "--distances", "128",
               "--families", families, "--out", tmp_path / "pb")  # fmt: skip
    assert made.exit_code == 0, made.output
    words().save(str(tmp_path / "tokenizer.json"))
    checked = run("check", tmp_path / "pb", "--tokenizer", tmp_path / "tokenizer.json")
    assert checked.exit_code == 0 and checked.output.endswith("\npassed\n")
    assert "pass  tokens: end at the same places" in checked.output
    unknown = run("check", tmp_path / "pb", "--tokenizer", "bert")
    assert unknown.exit_code == 1 and "tokenizer must be smollm2, a .gguf file" in unknown.output


def test_make_also_writes_tasks_for_lm_eval(tmp_path):
    tasks = tmp_path / "tasks"
    asked = ["make", "--seeds", "5:7", "--lengths", "1k", "--distances", "128", "--families",
             "attr.static", "--lm-eval", tasks]  # fmt: skip
    made = run(*asked, "--out", tmp_path / "pb")
    assert made.exit_code == 0, made.output
    assert "1 tasks of lm-eval, tag plotbench" in made.output
    assert (tasks / "plotbench_attr_static_d128.yaml").is_file()
    n = len((tasks / "plotbench_attr_static_d128.jsonl").read_text().splitlines())
    assert n == len(load(tmp_path / "pb").probes)
    again = run(*asked, "--out", tmp_path / "other")
    assert again.exit_code == 1 and "is not empty" in again.output
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --seeds or --novels, got None and None"),
        (["--seeds", "0:1", "--novels", "all"], "give either --seeds or --novels"),
        (["--seeds", "0:1", "--renamed"], "--renamed and --context-chars are of --novels"),
        (["--novels", "no-such-book"], "no-such-book"),
        (["--seeds", "5"], "--seeds must be FIRST:END, such as 1000:1200, got '5'"),
        (["--seeds", "0:2", "--lengths", "4m"], "--lengths must be numbers such as 512,4k"),
        (["--seeds", "0:2", "--families", "attr.hat"], "families must be among core, extended"),
        (["--seeds", "2:2"], "first < end, got (2, 2)"),
    ],
    ids=str,
)
def test_bad_arguments_end_with_one_line(tmp_path, arguments, message):
    found = run("make", *arguments, "--out", tmp_path / "pb")
    assert found.exit_code == 1 and message in found.output
    assert not (tmp_path / "pb").exists()


def test_a_damaged_folder_ends_with_one_line(tmp_path):
    assert run("make", "--seeds", "0:1", "--out", tmp_path / "pb").exit_code == 0
    (tmp_path / "pb" / "text" / "s000000.d512.A.txt").write_text("once")
    found = run("check", tmp_path / "pb")
    assert found.exit_code == 1 and "stories.jsonl line 1 (s000000.d512.A)" in found.output


def test_report_writes_pages_of_results_and_lists_known_runs(tmp_path):
    data, results = tmp_path / "pb", tmp_path / "results"
    assert run("make", "--seeds", "0:3", "--out", data).exit_code == 0
    bench = load(data)
    rows = [
        row
        for condition, m in (("on", 1.0), ("off", -1.0))
        for row in rows_on(bench, [m] * len(bench.probes), model="toy", condition=condition)
    ]
    results.mkdir()
    lines = "".join(json.dumps(asdict(row)) + "\n" for row in rows)
    (results / "results.jsonl").write_text(lines)
    done = run("report", results, "--data", data, "--compare", "toy on", "toy off")
    assert done.exit_code == 0, done.output
    assert "toy on minus toy off" in (results / "report.md").read_text()
    assert (results / "report.html").is_file()
    unknown = run("report", results, "--data", data, "--compare", "toy on", "toy of")
    assert unknown.exit_code == 1 and "there are: toy on, toy off" in unknown.output


def test_run_asks_all_baselines_once(tmp_path):
    data, out = tmp_path / "pb", tmp_path / "results"
    assert run("make", "--seeds", "0:1", "--out", data).exit_code == 0
    nobody = run("run", data, "--out", tmp_path / "no")
    assert nobody.exit_code == 1 and "--model or --baselines must say" in nobody.output
    done = run("run", data, "--out", out, "--baselines", "--model", "baseline:bm25")
    assert done.exit_code == 0, done.output
    bench = load(data)
    rows = load_results(out / "results.jsonl", bench)
    assert {row.model for row in rows} == {f"baseline:{name}" for name in SHORTCUTS}
    assert len(rows) == len(SHORTCUTS) * len(bench.probes)
    assert run("report", out, "--data", data).exit_code == 0


def test_run_has_models_go_on_with_the_stories(tmp_path, monkeypatch):
    data, out = tmp_path / "pb", tmp_path / "results"
    monkeypatch.setattr(page, "N_SEEDS", 2)
    monkeypatch.setattr(
        plotbench_models,
        "build_scorer",
        lambda told, **_: MemformerScorer(decoder(), PieceTokenizer(), name=told),
    )
    assert run("make", "--seeds", "0:2", "--lengths", "1k", "--distances", "128",
               "--families", "life", "--out", data).exit_code == 0  # fmt: skip
    asked = ["run", data, "--model", "toy", "--out", out, "--track", "generated", "--condition",
             "off", "--words", "5"]  # fmt: skip
    done = run(*asked, "--places", "0.5")
    assert done.exit_code == 0, done.output
    assert "2 texts: " in done.output
    told = (out / "generated.md").read_text()
    assert "the stories' own texts" in told and "## Worked examples" not in told
    assert "toy off" in told and (out / "generated.html").is_file()
    again = run(*asked, "--places", "0.5", "--resume")
    assert again.exit_code == 0 and "2 texts: " in again.output
    for wrong, message in (
        (["--places", "half"], "--places must be fractions such as 0.25,0.5, got 'half'"),
        (["--places", "2"], "places must be fractions within (0, 1)"),
        (["--labels", data / "stories.jsonl"], "must be JSON with a list `texts`"),
    ):
        found = run(*asked, *wrong)
        assert found.exit_code == 1 and message in found.output
