"""Cells as tasks of a Ray cluster; its machines share the folder of the ablation."""

import logging
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from memformer.ablation.cell import Order
from memformer.ablation.experiment import Experiment
from memformer.ablation.jobs import Ended, order_of, run_jobs
from memformer.ablation.local import Process
from memformer.ablation.rows import Cell


class _Task:
    """A cell on some machine of the cluster."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self._reference = ray, reference

    def poll(self) -> int | str | None:
        if not self._ray.wait([self._reference], timeout=0)[0]:
            return None
        try:
            how: int | str = self._ray.get(self._reference)
        except self._ray.exceptions.RayError as error:
            return f"Ray: {str(error).strip().splitlines()[-1]}"
        return how

    def end(self) -> None:
        self._ray.cancel(self._reference, force=True)  # the cell's process ends with its worker


def in_process(order: Order, n_thread: int) -> int | str:
    """Run one cell in a process of the machine that this runs on, and wait for it.

    Returns:
        Its exit code, or what hinders it.
    """
    if not Path(order.file).is_file():
        return f"{socket.gethostname()} does not see {order.file}: put it into a shared folder"
    return Process(order, n_thread).wait()


def run_ray(
    experiment: Experiment,
    out: Path,
    cells: Sequence[Cell],
    *,
    address: str | None,
    n_jobs: int,
    n_thread: int,
    n_gpu: float = 0.0,
    until: float | None = None,
) -> Iterator[Ended]:
    """Run cells as tasks of a cluster; each as it ends, whatever came of it.

    A task takes `n_thread` CPUs. When a machine is lost its cells begin anew elsewhere and go on
    from their checkpoints, three times at most.

    Args:
        experiment: what they are of; its file and `out` lie where all machines see them.
        out, cells, until: as in `run_jobs`.
        address: of a running cluster; `auto` for the one that this machine belongs to; None
            starts one of this machine alone.
        n_jobs: tasks at a time.
        n_thread: threads of each.
        n_gpu: GPUs of each.

    Raises:
        ImportError: Ray is not installed; names the extra.
        ValueError: no machine of the cluster has as many CPUs or GPUs as a task takes.
        ConnectionError: no cluster answers at the address.
    """
    try:
        import ray  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError("executor 'ray' needs Ray: pip install 'memformer-lm[ray]'") from error
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    _check_size(ray, n_thread, n_gpu)
    task = ray.remote(num_cpus=n_thread, num_gpus=n_gpu, max_retries=3)(in_process)

    def begin(ready: Sequence[Cell]) -> list[_Task]:
        return [
            _Task(ray, task.remote(order_of(experiment, out, cell), n_thread)) for cell in ready
        ]

    return run_jobs(begin, out, cells, at_once=n_jobs, until=until)


def _check_size(ray: Any, n_thread: int, n_gpu: float) -> None:
    """A task that fits no machine would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(n.get("CPU", 0) >= n_thread and n.get("GPU", 0) >= n_gpu for n in nodes):
        has = ", ".join(f"{n.get('CPU', 0):g} CPUs and {n.get('GPU', 0):g} GPUs" for n in nodes)
        raise ValueError(
            f"a cell takes {n_thread} CPUs and {n_gpu:g} GPUs of one machine, the cluster's have "
            f"{has}: set --threads or --gpus lower"
        )
