"""Running an ablation: what there is to do, what was done already, what failed."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from memformer.ablation.experiment import Experiment
from memformer.ablation.jobs import Ended
from memformer.ablation.local import run_local
from memformer.ablation.rows import Cell, Row, cells_of, finished, write_rows
from memformer.ablation.sizes import n_parameter, n_token
from memformer.evaluation.store import write_whole

Execute = Callable[[Sequence[Cell]], Iterable[Ended]]
"""Runs cells, and tells of each as it ends."""


class Outcome(NamedTuple):
    """What an ablation has come to."""

    rows: list[Row]
    """Of all finished cells, variants in the order of the file, then seeds."""
    failed: list[Ended]
    busy: list[Ended]
    """Cells that another process works at."""
    left: list[Cell]
    """Cells that were not begun, for lack of time."""


class Planned(NamedTuple):
    """One variant, before anything runs."""

    variant: str
    changes: str
    n_parameter: int
    n_token: int
    """Of one cell."""
    n_cell: int
    """Cells that are still to be made."""


def plan(experiment: Experiment, out: Path) -> list[Planned]:
    """What is to be done, by variant.

    Raises:
        ValueError: as `rows.finished`.
    """
    done = finished(experiment, out)
    return [
        Planned(
            variant.name,
            ", ".join(f"{field}={value!r}" for field, value in variant.changes.items()) or "–",
            n_parameter(variant.config),
            n_token(variant.config),
            sum(Cell(variant.name, seed) not in done for seed in experiment.seeds),
        )
        for variant in experiment.variants
    ]


def ablate(
    experiment: Experiment,
    out: Path,
    execute: Execute | None = None,
    *,
    n_jobs: int = 1,
    n_thread: int = 1,
    hours: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Run all cells that have no row yet; a cell that fails does not stop the others.

    A killed ablation goes on when it is called again: finished cells keep their rows, begun
    training runs go on from their checkpoints, failed cells are tried once more.

    Args:
        experiment: from `load_experiment`.
        out: folder, made if missing.
        execute: runs cells elsewhere (`run_ray`, `run_slurm`); by default processes here do.
        n_jobs: processes of this machine at a time.
        n_thread: threads of each.
        hours: after which no cell of this machine begins any more.
        progress: told a line whenever a cell ends.

    Raises:
        ValueError: as `rows.finished`: rows made under another config are never mixed with these.
    """
    done = finished(experiment, out)
    wanted = cells_of(experiment)
    todo = [cell for cell in wanted if cell not in done]
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "experiment.py", experiment.path.read_bytes())
    if execute is None:
        until = None if hours is None else time.monotonic() + 3600 * hours
        ended: Iterable[Ended] = run_local(
            experiment, out, todo, n_jobs=n_jobs, n_thread=n_thread, until=until
        )
    else:
        ended = execute(todo)
    failed: list[Ended] = []
    busy: list[Ended] = []
    begun: set[Cell] = set()
    for each in _told(ended, len(todo), progress):
        begun.add(each.cell)
        if each.error:
            (busy if each.is_busy else failed).append(each)
    rows = finished(experiment, out)
    order = {variant.name: i for i, variant in enumerate(experiment.variants)}
    ordered = sorted(rows, key=lambda cell: (order[cell.variant], cell.seed))
    found = [rows[cell] for cell in ordered]
    write_rows(out, found)
    return Outcome(found, failed, busy, [cell for cell in todo if cell not in begun])


def _told(
    ended: Iterable[Ended], n_todo: int, progress: Callable[[str], None] | None
) -> Iterator[Ended]:
    started = time.monotonic()
    for n, each in enumerate(ended, 1):
        if progress is not None:
            spent = time.monotonic() - started
            left = spent / n * (n_todo - n)
            state = "done"
            if each.error:
                state = each.error if each.is_busy else f"failed: {each.error}"
            progress(f"[{n}/{n_todo}] {each.cell}: {state}; about {left / 60:.0f} min left")
        yield each
