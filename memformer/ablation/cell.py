"""One cell, in a process of its own: made, measured, and its row put in place.

python -m memformer.ablation.cell '{"file": ..., "out": ..., "variant": ..., "seed": ...}'
"""

import ctypes
import fcntl
import json
import math
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from memformer.ablation.experiment import Experiment, load_experiment
from memformer.ablation.metric import Metric
from memformer.ablation.rows import Cell, Row, as_json, config_digest, read_row, write_row
from memformer.ablation.sizes import n_parameter, n_token
from memformer.ablation.trained import Trained
from memformer.config import completed, differences
from memformer.evaluation.machine import describe
from memformer.evaluation.store import read_json, write_json
from memformer.process import tune_process

ALREADY = 75  # exit code: another process works at this cell (EX_TEMPFAIL of sysexits.h)
_PR_SET_PDEATHSIG = 1  # prctl.h


class Order(NamedTuple):
    """What a cell's process is told, as JSON."""

    file: str
    out: str
    variant: str
    seed: int
    settings: tuple[str, ...] = ()
    config: str = ""
    """`config_digest` of the cell when it was planned."""

    @property
    def cell(self) -> Cell:
        """Which one."""
        return Cell(self.variant, self.seed)


def run_cell(experiment: Experiment, out: Path, cell: Cell) -> Row:
    """Make and measure one cell and put its row in place; what it has made already is kept.

    A row that another process has put there meanwhile is returned as it is.

    Raises:
        BlockingIOError: another process works at it.
        Exception: whatever making or measuring raises; its traceback is in `error.txt`.
    """
    folder = cell.folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (folder / "row.json").is_file():
            return read_row(folder / "row.json")
        error = folder / "error.txt"
        error.unlink(missing_ok=True)
        try:
            row = _made(experiment, folder, cell)
        except BaseException:
            error.write_text(traceback.format_exc(), encoding="utf-8")
            raise
        write_row(folder / "row.json", row)
        return row


def _made(experiment: Experiment, folder: Path, cell: Cell) -> Row:
    config = experiment.config_of(*cell)
    _claim(folder, config)
    with _timed(folder / "seconds.json") as clock:
        made = experiment.make(config, folder / "run")
        metrics = {metric.name: _numbers(metric, made) for metric in experiment.metrics}
    return Row(
        variant=cell.variant,
        seed=cell.seed,
        config=as_json(config),
        metrics=metrics,
        curve=made.curve() if isinstance(made, Trained) else (),
        n_token=n_token(config),
        n_parameter=n_parameter(config),
        wall_s=round(clock.seconds, 1),
        machine=describe(),
        code=experiment.code,
    )


def _claim(folder: Path, config: Any) -> None:
    """Note the config that `run/` is made under, and refuse one that was made under another."""
    path, run = folder / "config.json", folder / "run"
    if path.is_file() and run.is_dir() and any(run.iterdir()):
        for field, was, now in differences(completed(read_json(path), config), as_json(config)):
            raise ValueError(
                f"{run} was begun with {field}={was!r}, the experiment has {now!r} now: take "
                f"another folder, or remove {folder}"
            )
    write_json(path, as_json(config))


class _Clock:
    """Seconds spent on a cell, those of earlier tries included that did not end by a kill."""

    seconds = 0.0


@contextmanager
def _timed(path: Path) -> Iterator[_Clock]:
    clock, started = _Clock(), time.monotonic()
    before = float(read_json(path)["seconds"]) if path.is_file() else 0.0
    try:
        yield clock
    finally:
        clock.seconds = before + time.monotonic() - started
        write_json(path, {"seconds": clock.seconds})


def _numbers(metric: Metric, made: Any) -> dict[str, float]:
    found: Mapping[str, float] = metric.of(made)
    numbers = {str(unit): float(value) for unit, value in found.items()}
    for unit, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"metric {metric.name!r} is {value} for {unit}: it must be finite")
    return numbers


def signal_name(code: int) -> str:
    """Of the signal in a process's return code, minus its number: `SIGKILL`."""
    return signal.Signals(-code).name


def die_with_parent() -> None:
    """Let the kernel end this process when the one that started it ends (Linux; else nothing)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        return


def main() -> None:
    """See the top of the file."""
    die_with_parent()
    tune_process()
    order = Order(**json.loads(sys.argv[1]))
    experiment, cell = load_experiment(Path(order.file), order.settings), order.cell
    if config_digest(experiment.config_of(*cell)) != order.config:
        sys.exit(f"{order.file} was edited while the ablation ran, and {cell} has another config "
                 "now: begin again")  # fmt: skip
    try:
        run_cell(experiment, Path(order.out), cell)
    except BlockingIOError:
        sys.exit(ALREADY)


if __name__ == "__main__":
    main()
