"""Cells as jobs, wherever they run: begun, looked after, and told of as they end."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from memformer.ablation.cell import ALREADY, Order, signal_name
from memformer.ablation.experiment import Experiment
from memformer.ablation.rows import Cell, config_digest


class Job(Protocol):
    """A begun cell."""

    def poll(self) -> int | str | None:
        """None while it runs, then its exit code, or in one line why there is none."""

    def end(self) -> None:
        """End it, and wait until it has."""


class Ended(NamedTuple):
    """A cell whose job has ended."""

    cell: Cell
    error: str
    """What went wrong, in one line; empty if there is a row."""
    is_busy: bool = False
    """Another process works at it."""


Begin = Callable[[Sequence[Cell]], Sequence[Job]]
"""Begins cells together, a job each."""


def order_of(experiment: Experiment, out: Path, cell: Cell) -> Order:
    """What the process of a cell is told."""
    return Order(
        file=str(experiment.path.resolve()),
        out=str(out.resolve()),
        variant=cell.variant,
        seed=cell.seed,
        settings=experiment.settings,
        config=config_digest(experiment.config_of(*cell)),
    )


def run_jobs(
    begin: Begin,
    out: Path,
    cells: Sequence[Cell],
    *,
    at_once: int,
    until: float | None = None,
    wait_s: float = 0.1,
) -> Iterator[Ended]:
    """Run cells as jobs; each as it ends, whatever came of it.

    Whoever stops listening ends the jobs that still run.

    Args:
        begin: from cells to their jobs.
        out: folder of the ablation.
        cells: in the order in which they begin.
        at_once: how many may run at a time.
        until: `time.monotonic()` after which none begins any more.
        wait_s: seconds between two looks.
    """
    waiting, running = list(cells), dict[Cell, Job]()
    try:
        while waiting or running:
            if until is not None and time.monotonic() > until:
                waiting = []
            if ready := waiting[: at_once - len(running)]:
                waiting = waiting[len(ready) :]
                running.update(zip(ready, begin(ready), strict=True))
            for cell, job in list(running.items()):
                if (how := job.poll()) is not None:
                    del running[cell]
                    yield Ended(cell, _error(how, cell.folder(out)), how == ALREADY)
            if running:
                time.sleep(wait_s)
    finally:
        for job in running.values():
            job.end()


def _error(how: int | str, folder: Path) -> str:
    """In one line, why a job left no row."""
    if isinstance(how, str):
        return how
    if how == 0:
        if (folder / "row.json").is_file():
            return ""
        return f"it ended well, but {folder} shows no row: all machines must share that folder"
    if how == ALREADY:
        return f"another process works at {folder}"
    error = folder / "error.txt"
    if how < 0:
        hint = " (out of memory?)" if signal_name(how) == "SIGKILL" else ""
        return f"ended by {signal_name(how)}{hint}; see {folder / 'log.txt'}"
    lines = error.read_text(encoding="utf-8").strip().splitlines() if error.is_file() else []
    if lines:  # none on a full disk
        return f"{lines[-1]}; see {error}"
    return f"exit code {how}; see {folder / 'log.txt'}"
