"""A benchmark comes back as it was saved; what is wrong is named by line and id."""

import json
from dataclasses import asdict, replace

import pytest

from memformer.config.plotbench import MakeConfig
from memformer.plotbench.files import load, save
from memformer.plotbench.make import BENCH_VERSION, make
from memformer.plotbench.rows import Run, by_run, load_results, refuse_bad_rows
from memformer.plotbench.validity import faults, incomplete_groups, refuse_faults
from tests.plotbench.made_rows import rows_on

BENCH = make(MakeConfig(seeds=(0, 2), buckets=(128,), lengths=(1024,), families=("all",)))
ROWS = rows_on(BENCH, [1.0] * len(BENCH.probes))
P0 = BENCH.probes[0]


def changed_line(path, line, **changes):
    lines = path.read_text().split("\n")
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **changes})
    path.write_text("\n".join(lines))


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "pb", BENCH)
    return tmp_path / "pb"


def test_what_is_saved_comes_back_equal(folder):
    assert load(folder) == BENCH
    assert {path.name for path in folder.iterdir()} == {
        "stories.jsonl", "traces.jsonl", "probes.jsonl", "manifest.json", "text",
    }  # fmt: skip
    for name in ("stories", "traces", "probes"):
        for line in (folder / f"{name}.jsonl").read_text().split("\n")[:-1]:
            assert json.loads(line)["canary"] == BENCH.manifest["canary"]


def test_a_line_separator_within_a_text_ends_no_record(tmp_path):
    probes = tuple(replace(p, licence=f"{p.licence}\u2028") for p in BENCH.probes)
    save(tmp_path / "pb", replace(BENCH, probes=probes))
    assert load(tmp_path / "pb").probes == probes


def test_a_killed_save_leaves_no_folder(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("memformer.plotbench.files.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "pb", BENCH)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_not_written_over(folder):
    with pytest.raises(FileExistsError, match="is not empty: choose a new folder"):
        save(folder, BENCH)
    assert load(folder) == BENCH


def test_a_folder_without_manifest_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder of a benchmark"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": [" ", " b"]}, "option 0 is empty"),
        ({"options": [" a", " a"]}, "both options are ' a'"),
        ({"options": [" a"]}, r"options must be tuple\[str, str\]"),
        ({"gold": 2}, "gold must be 0 or 1, an index of the options, got 2"),
        ({"gold": "0"}, "gold must be int, got '0'"),
        ({"family": "attr.hat"}, "family must be one of attr.static, .*, got 'attr.hat'"),
        ({"insert_at_char": 99_999}, "insert_at_char must lie in the .* got 99999"),
        (
            {"support": [{"fact": "f", "span": [5, 99_999], "of": "gold"}]},
            r"support f has span \[5, 99999\)",
        ),
        ({"support": [{"fact": "f", "span": [5, 5]}]}, "must not be empty"),
        ({"story_id": "s9.A"}, "no story_id 's9.A'"),
        ({"cell": ["A", "z"]}, "cell.1. must be"),
        ({"colour": 1}, "has no field 'colour'; known are probe_id"),
    ],
    ids=str,
)
def test_a_bad_probe_is_named_with_its_line(folder, changes, message):
    changed_line(folder / "probes.jsonl", 3, **changes)
    id = BENCH.probes[2].probe_id
    with pytest.raises(ValueError, match=rf"probes.jsonl line 3 \({id}\): .*{message}"):
        load(folder)


def test_a_repeated_probe_is_named_with_its_line(folder):
    changed_line(folder / "probes.jsonl", 3, probe_id=P0.probe_id)
    with pytest.raises(ValueError, match=rf"line 3 \({P0.probe_id}\): this probe_id stands"):
        load(folder)


def test_a_cell_that_is_filled_twice_is_named():
    again = replace(P0, probe_id="other")
    (found,) = faults(replace(BENCH, probes=(*BENCH.probes, again)))
    assert (found.line, found.id) == (len(BENCH.probes) + 1, "other")
    assert "has cell Ax on an earlier line" in found.message


def test_a_missing_field_is_named(folder):
    path = folder / "probes.jsonl"
    first, rest = path.read_text().split("\n", 1)
    values = json.loads(first)
    del values["stem"]
    path.write_text(json.dumps(values) + "\n" + rest)
    with pytest.raises(ValueError, match=rf"line 1 \({P0.probe_id}\): field 'stem' is missing"):
        load(folder)


def test_half_a_line_is_named(folder):
    path = folder / "probes.jsonl"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ValueError, match=f"probes.jsonl line {len(BENCH.probes)} is no JSON"):
        load(folder)


@pytest.mark.parametrize(
    ("line", "message"), [(b"\xff\xfe", "is not UTF-8"), (b"[" * 10**5, "is no JSON")], ids=str
)
def test_what_is_no_text_or_too_deep_is_named(folder, line, message):
    path = folder / "probes.jsonl"
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(first + b"\n" + line + b"\n" + rest)
    with pytest.raises(ValueError, match=f"probes.jsonl line 2 {message}"):
        load(folder)


def test_a_changed_text_is_named_with_story_and_line(folder):
    path = folder / "text" / f"{BENCH.stories[1].story_id}.txt"
    path.write_text(path.read_text().replace("e", "a", 1))
    with pytest.raises(ValueError, match=r"stories.jsonl line 2 \(s000000.d128.B\): .*SHA-256"):
        load(folder)


def test_a_path_out_of_the_folder_is_refused(folder):
    changed_line(folder / "stories.jsonl", 1, text_path="../../etc/passwd")
    with pytest.raises(ValueError, match="text_path must be text/<story_id>.txt"):
        load(folder)
    changed_line(folder / "stories.jsonl", 1, story_id="../x", text_path="text/../x.txt")
    with pytest.raises(ValueError, match="story_id must be fit for a file's name"):
        load(folder)


@pytest.mark.parametrize(("name", "field"), [("probes", "licence"), ("traces", "story_id")])
def test_what_was_changed_after_saving_is_found_by_its_hash(folder, name, field):
    path = folder / f"{name}.jsonl"
    path.write_text(path.read_text().replace(f'"{field}":', f'"{field}": ', 1))
    with pytest.raises(ValueError, match=f"{name}.jsonl: SHA-256 is .*, manifest.json says"):
        load(folder)


def test_another_version_is_refused_and_both_are_named(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace(f'"{BENCH_VERSION}"', '"0.0.9"'))
    with pytest.raises(ValueError, match=f"is '0.0.9', this package reads '{BENCH_VERSION}'"):
        load(folder)


def test_faults_of_stories_and_traces_are_found():
    story, trace = BENCH.stories[0], BENCH.traces[0]
    cases = [
        (replace(story, swaps=((5, 10**6),)), "swap has span"),
        (replace(story, twin_of="s9.B"), "no twin 's9.B'"),
        (replace(story, text=story.text + "e\u0301"), "normal form NFC"),
    ]
    for bad, message in cases:
        with pytest.raises(
            ValueError, match=rf"stories.jsonl line 1 \({story.story_id}\).*{message}"
        ):
            refuse_faults(replace(BENCH, stories=(bad, *BENCH.stories[1:])))
    mention = replace(trace.mentions[0], span=(-1, 4))
    bad_traces = (replace(trace, mentions=(mention,)), *BENCH.traces[1:])
    with pytest.raises(ValueError, match=r"traces.jsonl line 1 .*mention has span \[-1, 4\)"):
        refuse_faults(replace(BENCH, traces=bad_traces))
    with pytest.raises(ValueError, match="already"):
        refuse_faults(replace(BENCH, traces=(*BENCH.traces, trace)))
    with pytest.raises(ValueError, match="earlier line"):
        refuse_faults(replace(BENCH, stories=(*BENCH.stories, story)))


def test_an_incomplete_group_is_read_counted_and_named(tmp_path, caplog):
    cut = replace(BENCH, probes=BENCH.probes[1:])
    assert incomplete_groups(cut.probes) == {P0.group_id: 3}
    save(tmp_path / "pb", cut)
    assert load(tmp_path / "pb").probes == cut.probes
    assert f"1 groups have not all four cells and count in no metric of groups: {P0.group_id}" in (
        caplog.text
    )


def write_rows(path, rows):
    rows = [row if isinstance(row, dict) else asdict(row) for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_results_come_back_and_fall_into_runs(tmp_path):
    rows = ROWS + [replace(row, truncated=True) for row in ROWS[:3]]
    write_rows(tmp_path / "results.jsonl", rows)
    assert load_results(tmp_path / "results.jsonl", BENCH) == rows
    runs = by_run(rows)
    assert [*runs] == [Run("m", "on", "true"), Run("m", "on", "true", True)]
    assert [run.label for run in runs] == ["m on", "m on, cut"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logprob": (float("nan"), 0.0)}, "log-probability of option 0 is nan"),
        ({"logprob": (0.0, float("inf"))}, "log-probability of option 1 is inf"),
        (
            {"bench_sha256": "f" * 64},
            f"results are of data {BENCH_VERSION} ffffffffffff, this is {BENCH_VERSION}",
        ),
        ({"bench_version": "0.0.9"}, "results are of data 0.0.9"),
        ({"probe_id": "nobody"}, "the data has no such probe"),
        ({"group_id": "g"}, r"\): group_id is s000000.d128.g\d\d in the data, got g"),
        ({"story_id": "s"}, r"\): story_id is s000000.d128.A in the data, got s"),
        ({"family": "attr.hat"}, r"\): family is \S+ in the data, got attr.hat"),
        ({"seed": 9}, r"\): seed is 0 in the data, got 9"),
        ({"bucket": 512}, r"\): bucket is 128 in the data, got 512"),
        ({"n_bytes": [0, 4]}, r"\): n_bytes and n_tokens must be at least 1, got \(0, 4\)"),
        ({"gold": 1 - BENCH.probes[1].gold}, "gold is . in the data"),
        ({"fraction": "guessed"}, r"\): fraction must be one of true, .*, got 'guessed'"),
        ({"d_near_tokens": -1}, r"\): d_near_tokens and context_tokens must be at least 0, got -1"),
        ({"retrieved": [[4, 10**6]]}, r"\): retrieved must be spans within the \d+ characters"),
        ({"retrieved": [[9, 4]]}, r"\): retrieved must be spans within .*, got \(9, 4\)"),
        (asdict(ROWS[0]), "stands on an earlier line for m on too"),
    ],
    ids=str,
)
def test_a_bad_row_is_named_with_its_line(tmp_path, changes, message):
    rows = list(ROWS)
    rows[1] = asdict(rows[1]) | changes
    write_rows(tmp_path / "results.jsonl", rows)
    with pytest.raises(ValueError, match=rf"results.jsonl line 2\b.*{message}"):
        load_results(tmp_path / "results.jsonl", BENCH)


def test_good_rows_are_not_refused():
    refuse_bad_rows(ROWS, BENCH)


def test_a_manifest_whose_hashes_are_no_object_is_refused(folder):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "files": [1]}))
    with pytest.raises(ValueError, match=r"manifest.json: files must be an object of hashes"):
        load(folder)
