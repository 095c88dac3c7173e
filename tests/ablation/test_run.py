"""Cells run apart from each other; a row is there whole or not at all."""

import fcntl
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from memformer.ablation.cell import run_cell
from memformer.ablation.experiment import load_experiment
from memformer.ablation.jobs import Ended
from memformer.ablation.rows import (
    Cell,
    cells_of,
    finished,
    read_row,
    read_rows,
    strangers,
    write_row,
)
from memformer.ablation.run import ablate, plan
from tests.ablation.toys import write


def here(experiment, out):
    """Runs cells in this process."""

    def execute(cells):
        for cell in cells:
            try:
                run_cell(experiment, out, cell)
            except RuntimeError as error:
                yield Ended(cell, str(error))
            else:
                yield Ended(cell, "")

    return execute


def test_every_cell_gives_one_row_and_finished_ones_are_skipped(tmp_path):
    e, out = load_experiment(write(tmp_path)), tmp_path / "out"
    assert [p.n_cell for p in plan(e, out)] == [3, 3, 3]
    told = []
    outcome = ablate(e, out, here(e, out), progress=told.append)
    assert not outcome.failed and not outcome.left and len(told) == 9
    assert [(r.variant, r.seed) for r in outcome.rows] == [
        (v, s) for v in ("base", "steep", "bigger") for s in range(3)
    ]
    height = {"a": 2.01, "b": 3.012, "c": 4.014, "d": 5.016}
    assert outcome.rows[4].metrics["height"] == pytest.approx(height)
    assert list(read_rows(out / "rows.jsonl")) == outcome.rows
    assert [p.n_cell for p in plan(e, out)] == [0, 0, 0]
    assert ablate(e, out, lambda cells: pytest.fail("ran again") if cells else ()).rows == (
        outcome.rows
    )


def test_a_cell_that_fails_leaves_its_traceback_and_the_others_go_on(tmp_path):
    variants = 'VARIANTS = {"base": {}, "bad": {"slope": 13.0}, "steep": {"slope": 2.0}}\n'
    e, out = load_experiment(write(tmp_path, variants)), tmp_path / "out"
    outcome = ablate(e, out, here(e, out))
    assert [each.cell for each in outcome.failed] == [Cell("bad", s) for s in range(3)]
    assert len(outcome.rows) == 6 and "thirteenth slope" in outcome.failed[0].error
    error = (Cell("bad", 1).folder(out) / "error.txt").read_text()
    assert error.startswith("Traceback") and "the thirteenth slope breaks" in error


def test_rows_of_another_config_or_other_metrics_are_not_mixed(tmp_path):
    e, out = load_experiment(write(tmp_path)), tmp_path / "out"
    run_cell(e, out, Cell("steep", 0))
    other = load_experiment(write(tmp_path, 'VARIANTS = {"base": {}, "steep": {"slope": 3.0}}\n'))
    with pytest.raises(ValueError, match=r"made with slope=2.0, the experiment has 3.0 now"):
        finished(other, out)
    renamed = load_experiment(write(tmp_path, tail='METRICS = (Metric(name="x", of=value),)\n'))
    with pytest.raises(ValueError, match=r"holds metrics \['height'\], the experiment has \['x'\]"):
        finished(renamed, out)
    (Cell("steep", 0).folder(out) / "row.json").write_text('{"curve": []}\n')
    with pytest.raises(ValueError, match="is no row of an ablation"):
        finished(e, out)


def test_rows_made_before_a_field_was_are_rows_of_its_default(tmp_path):
    body = 'VARIANTS = {"base": {}, "steep": {"slope": 2.0}}\n'
    e, out = load_experiment(write(tmp_path, body)), tmp_path / "out"
    for name in ("base", "steep"):
        run_cell(e, out, Cell(name, 0))
        path = Cell(name, 0).folder(out) / "row.json"
        row = json.loads(path.read_text())
        del row["config"]["slope"]
        path.write_text(json.dumps(row))
    with pytest.raises(ValueError, match="steep.*made with slope=1.0, the experiment has 2.0 now"):
        finished(e, out)
    (Cell("steep", 0).folder(out) / "row.json").unlink()
    assert list(finished(e, out)) == [Cell("base", 0)]


def test_what_was_made_under_another_config_is_not_measured_as_this_one(tmp_path):
    """A cell that was killed after making and before its row."""
    tail = """
def make(config, folder):
    if not (folder / "made").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "made").write_text(str(config.slope))
    return float((folder / "made").read_text())


def height(slope):
    if slope == 2.0 and not STEEP:
        raise RuntimeError("killed")
    return {"a": slope}


STEEP = False
METRICS = (Metric(name="height", of=height),)
"""
    out, cell = tmp_path / "out", Cell("steep", 0)
    with pytest.raises(RuntimeError, match="killed"):
        run_cell(load_experiment(write(tmp_path, tail=tail)), out, cell)
    other = 'VARIANTS = {"base": {}, "steep": {"slope": 3.0}}\n'
    fixed = tail.replace("STEEP = False", "STEEP = True")
    with pytest.raises(ValueError, match=r"run was begun with slope=2.0, the experiment has 3.0"):
        run_cell(load_experiment(write(tmp_path, other, fixed)), out, cell)
    row = run_cell(load_experiment(write(tmp_path, tail=fixed)), out, cell)  # it goes on
    assert row.metrics == {"height": {"a": 2.0}}


def test_a_file_edited_while_cells_run_stops_those_that_it_changes(tmp_path):
    e, out = load_experiment(write(tmp_path)), tmp_path / "out"
    write(
        tmp_path, 'VARIANTS = {"base": {}, "steep": {"slope": 3.0}, "bigger": {"part.size": 3}}\n'
    )
    outcome = ablate(replace(e, seeds=(0,)), out, n_jobs=2)
    assert [r.variant for r in outcome.rows] == ["base", "bigger"]
    (failed,) = outcome.failed
    assert failed.cell == Cell("steep", 0) and "exit code 1; see " in failed.error
    log = (failed.cell.folder(out) / "log.txt").read_text()
    assert "was edited while the ablation ran, and steep, seed 0 has another config now" in log


def test_rows_of_variants_that_are_gone_are_named(tmp_path):
    e, out = load_experiment(write(tmp_path)), tmp_path / "out"
    for cell in (Cell("base", 0), Cell("steep", 2)):
        run_cell(e, out, cell)
    assert strangers(e, out) == []
    renamed = load_experiment(write(tmp_path, 'VARIANTS = {"base": {}, "high": {"slope": 2.0}}\n'))
    assert strangers(renamed, out) == [Cell("steep", 2)]


def test_a_row_that_is_there_already_is_not_made_again(tmp_path):
    e, out = load_experiment(write(tmp_path)), tmp_path / "out"
    row = run_cell(e, out, Cell("base", 0))
    assert run_cell(e, out, Cell("base", 0)) == row  # a second runner gets the lock after the first


def test_seconds_of_a_failed_try_are_counted(tmp_path, monkeypatch):
    tail = """
from pathlib import Path

def make(config, folder):
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "made").exists():
        (folder / "made").touch()
        raise RuntimeError("first try")
    return config
"""
    e, out = load_experiment(write(tmp_path, tail=tail)), tmp_path / "out"
    now = iter([0.0, 30.0, 100.0, 105.0])
    monkeypatch.setattr("memformer.ablation.cell.time.monotonic", lambda: next(now))
    with pytest.raises(RuntimeError, match="first try"):
        run_cell(e, out, Cell("base", 0))
    assert run_cell(e, out, Cell("base", 0)).wall_s == 35.0


def test_a_number_that_is_none_is_an_error_of_the_cell(tmp_path):
    tail = 'METRICS = (Metric(name="h", of=lambda c: {"a": float("nan")}),)\n'
    e = load_experiment(write(tmp_path, tail=tail))
    with pytest.raises(ValueError, match="metric 'h' is nan for a: it must be finite"):
        run_cell(e, tmp_path / "out", Cell("base", 0))
    assert not (Cell("base", 0).folder(tmp_path / "out") / "row.json").exists()


def test_processes_run_cells_side_by_side_and_time_can_run_out(tmp_path):
    variants = 'VARIANTS = {"base": {}, "bad": {"slope": 13.0}}\n'
    e, out = load_experiment(write(tmp_path, variants, "SEEDS = (0,)\n")), tmp_path / "out"
    late = ablate(e, out, hours=-1)
    assert not late.rows and late.left == [Cell("base", 0), Cell("bad", 0)]
    outcome = ablate(e, out, n_jobs=2)
    assert [row.variant for row in outcome.rows] == ["base"]
    (failed,) = outcome.failed
    assert failed.error.startswith("RuntimeError: the thirteenth slope breaks; see ")


def test_seeds_are_whole_when_an_experiment_is_cut_short(tmp_path):
    cells = cells_of(load_experiment(write(tmp_path)))
    assert [cell.seed for cell in cells] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_two_runners_never_work_at_one_cell(tmp_path):
    e, out, cell = load_experiment(write(tmp_path)), tmp_path / "out", Cell("base", 0)
    cell.folder(out).mkdir(parents=True)
    with (cell.folder(out) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as the other holds it
        with pytest.raises(BlockingIOError):
            run_cell(e, out, cell)
        outcome = ablate(replace(e, seeds=(0,)), out, n_jobs=3)
    assert [each.cell for each in outcome.busy] == [cell] and not outcome.failed
    assert len(outcome.rows) == 2
    assert run_cell(e, out, cell).variant == "base"


def test_a_cell_has_the_threads_it_was_given(tmp_path):
    tail = """
import torch

METRICS = (Metric(name="threads", of=lambda config: {"a": torch.get_num_threads()}),)
"""
    e = load_experiment(write(tmp_path, tail=tail))
    outcome = ablate(replace(e, variants=e.variants[:1], seeds=(0,)), tmp_path / "out", n_thread=2)
    assert outcome.rows[0].metrics == {"threads": {"a": 2.0}}


FILES = {"open", "open_code", "write", "flush", "fsync", "close", "__exit__", "chmod", "replace"}
"""Calls of C that a file is written with."""


def is_killed_in_writing(n, e, out, cell):
    """Run a cell in a fork that is killed before the n-th of `FILES` while it writes its row."""
    pid = os.fork()
    if pid:
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    calls = itertools.count(1)

    def look(frame, event, arg):
        if event == "c_call" and arg.__name__ in FILES and next(calls) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(path, row):
        sys.setprofile(look)
        write_row(path, row)
        sys.setprofile(None)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("memformer.ablation.cell.write_row", write)
            run_cell(e, out, cell)
    finally:
        os._exit(0)


def test_killed_at_any_call_of_writing_a_row_it_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr("memformer.ablation.cell.describe", dict)
    e, out, cell = load_experiment(write(tmp_path)), tmp_path / "out", Cell("base", 0)
    path, states = cell.folder(out) / "row.json", []
    for n in itertools.count(1):
        if not is_killed_in_writing(n, e, out, cell):
            break
        states.append(path.is_file())
        if path.is_file():
            assert len(read_row(path).metrics["height"]) == 4
            path.unlink()
    assert n > 5 and states == sorted(states) and not states[0]
    assert read_row(path).metrics == run_cell(e, out, cell).metrics


SLOW = """
import time


def make(config, folder):
    folder.mkdir(parents=True, exist_ok=True)
    time.sleep(0.05)
    return config
"""
RUNNER = """
import sys
from pathlib import Path
from memformer.ablation.experiment import load_experiment
from memformer.ablation.run import ablate
ablate(load_experiment(Path(sys.argv[1])), Path(sys.argv[2]), n_jobs=2)
"""


@pytest.mark.slow
def test_killed_ten_times_no_row_is_lost_doubled_or_half_written(tmp_path):
    path = write(tmp_path, tail=SLOW + "SEEDS = range(6)\n")
    e, out = load_experiment(path), tmp_path / "out"
    rng, held = random.Random(0), {}
    for _ in range(10):
        runner = subprocess.Popen(
            [sys.executable, "-c", RUNNER, str(path), str(out)], start_new_session=True
        )
        time.sleep(rng.uniform(3, 12))
        os.killpg(runner.pid, signal.SIGKILL)
        runner.wait()
        now = finished(e, out)  # raises if one is half-written
        assert all(now[cell] == row for cell, row in held.items())
        held = now
    outcome = ablate(e, out, n_jobs=2)
    assert len(outcome.rows) == len(cells_of(e)) and not outcome.failed
    lines = (out / "rows.jsonl").read_text().splitlines()
    made = [(json.loads(line)["variant"], json.loads(line)["seed"]) for line in lines]
    assert len(made) == len(set(made)) == 18
