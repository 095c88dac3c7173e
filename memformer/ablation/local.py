"""Cells in processes of this machine, several at a time."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from memformer.ablation.cell import ALREADY, Order
from memformer.ablation.experiment import Experiment
from memformer.ablation.rows import Cell

_WAIT_S = 0.1
_GRACE_S = 10


class Ended(NamedTuple):
    """A cell whose process has ended."""

    cell: Cell
    error: str
    """What went wrong, in one line; empty if there is a row."""


def order_of(experiment: Experiment, out: Path, cell: Cell) -> Order:
    """What the process of a cell is told."""
    return Order(
        file=str(experiment.path.resolve()),
        out=str(out.resolve()),
        variant=cell.variant,
        seed=cell.seed,
        settings=experiment.settings,
    )


def run_local(
    experiment: Experiment,
    out: Path,
    cells: Sequence[Cell],
    *,
    n_jobs: int,
    n_thread: int,
    until: float | None = None,
) -> Iterator[Ended]:
    """Run cells in processes; each as it ends, whatever came of it.

    Args:
        experiment: what they are of.
        out: folder of the ablation.
        cells: in the order in which they begin.
        n_jobs: processes at a time.
        n_thread: threads of each.
        until: `time.monotonic()` after which none begins any more.
    """
    waiting, running = list(cells), dict[Cell, subprocess.Popen[bytes]]()
    try:
        while waiting or running:
            while waiting and len(running) < n_jobs:
                if until is not None and time.monotonic() > until:
                    waiting = []
                    break
                cell = waiting.pop(0)
                running[cell] = _begin(experiment, out, cell, n_thread)
            for cell, process in list(running.items()):
                if process.poll() is not None:
                    del running[cell]
                    yield Ended(cell, _error(process.returncode, cell.folder(out)))
            time.sleep(_WAIT_S)
    finally:
        for process in running.values():
            process.terminate()
        _wait(list(running.values()))


def _begin(
    experiment: Experiment, out: Path, cell: Cell, n_thread: int
) -> "subprocess.Popen[bytes]":
    folder = cell.folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    order = order_of(experiment, out, cell)
    threads = {name: str(n_thread) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "memformer.ablation.cell", json.dumps(order._asdict())],
            env={**os.environ, **threads}, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip


def _error(code: int, folder: Path) -> str:
    """In one line, why a process left no row."""
    if code == 0:
        return ""
    if code == ALREADY:
        return f"another process works at {folder}: wait for it, or end it"
    error = folder / "error.txt"
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"ended by {name}{hint}; see {folder / 'log.txt'}"
    if error.is_file():
        lines = error.read_text(encoding="utf-8").strip().splitlines()
        return f"{lines[-1] if lines else 'no message'}; see {error}"
    return f"exit code {code}; see {folder / 'log.txt'}"


def _wait(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    end = time.monotonic() + _GRACE_S
    for process in processes:
        try:
            process.wait(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
