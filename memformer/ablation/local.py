"""Cells in processes of this machine, several at a time."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from memformer.ablation.cell import Order
from memformer.ablation.experiment import Experiment
from memformer.ablation.jobs import Ended, order_of, run_jobs
from memformer.ablation.rows import Cell

_GRACE_S = 10


class Process:
    """A cell's process on the machine that starts it."""

    def __init__(self, order: Order, n_thread: int) -> None:
        """Start it; what it says goes to `log.txt` in the cell's folder."""
        folder = order.cell.folder(Path(order.out))
        folder.mkdir(parents=True, exist_ok=True)
        threads = {name: str(n_thread) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        with (folder / "log.txt").open("ab") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "memformer.ablation.cell", json.dumps(order._asdict())],
                env={**os.environ, **threads}, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        return self._popen.poll()

    def wait(self) -> int:
        """As `poll`, when it has ended."""
        return self._popen.wait()

    def end(self) -> None:
        """Ask it to end, and kill it if it does not."""
        self._popen.terminate()
        try:
            self._popen.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


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
        out, cells, until: as in `run_jobs`.
        n_jobs: processes at a time.
        n_thread: threads of each.
    """

    def begin(ready: Sequence[Cell]) -> list[Process]:
        return [Process(order_of(experiment, out, cell), n_thread) for cell in ready]

    return run_jobs(begin, out, cells, at_once=n_jobs, until=until)
