"""Cells as an array of SLURM jobs, by submitit; the machines share the folder of the ablation."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from memformer.ablation.cell import Order
from memformer.ablation.experiment import Experiment
from memformer.ablation.jobs import Ended, order_of, run_jobs
from memformer.ablation.local import Process
from memformer.ablation.rows import Cell

_LOOK_S = 2.0


class CellTask:
    """What a SLURM job does; put in the queue again when it is preempted or runs out of time."""

    def __call__(self, order: Order, n_thread: int) -> int:
        """Run a cell and wait for it: its exit code."""
        return Process(order, n_thread).wait()

    def checkpoint(self, order: Order, n_thread: int) -> Any:
        """What submitit calls before the job is taken away: the same cell again, which goes on
        from its checkpoint."""
        import submitit  # type: ignore[import-not-found, unused-ignore]

        return submitit.helpers.DelayedSubmission(self, order, n_thread)


class _Queued:
    """A job of the array."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def poll(self) -> int | str | None:
        if not self._job.done():
            return None
        if (error := self._job.exception()) is not None:
            lines = str(error).strip().splitlines()
            return f"SLURM job {self._job.job_id}: {lines[-1] if lines else 'no message'}"
        how: int = self._job.result()
        return how

    def end(self) -> None:
        self._job.cancel()


def run_slurm(
    experiment: Experiment,
    out: Path,
    cells: Sequence[Cell],
    *,
    n_jobs: int,
    n_thread: int,
    n_gpu: int = 0,
    minutes: int = 24 * 60,
    memory_gb: int = 16,
    partition: str | None = None,
    cluster: str = "slurm",
) -> Iterator[Ended]:
    """Run cells as one job array; each as it ends, whatever came of it.

    Args:
        experiment: what they are of; its file and `out` lie where all machines see them.
        out, cells: as in `run_jobs`.
        n_jobs: jobs of the array that run at a time.
        n_thread: CPUs of each.
        n_gpu: GPUs of each.
        minutes: time limit of each; one that reaches it is queued again and goes on.
        memory_gb: memory of each.
        partition: SLURM's, its default by default.
        cluster: `slurm`, or submitit's `local`: processes of this machine, for trying out.

    Raises:
        ImportError: submitit is not installed; names the extra.
        RuntimeError: from submitit: this machine cannot submit to SLURM.
    """
    try:
        import submitit  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError(
            "executor 'slurm' needs submitit: pip install 'memformer-lm[slurm]'"
        ) from error
    executor = submitit.AutoExecutor(folder=out / "slurm", cluster=cluster)
    executor.update_parameters(
        name=f"ablate-{experiment.path.stem}", cpus_per_task=n_thread, gpus_per_node=n_gpu,
        timeout_min=minutes, mem_gb=memory_gb, slurm_array_parallelism=n_jobs,
        **({} if partition is None else {"slurm_partition": partition}),
    )  # fmt: skip

    def begin(ready: Sequence[Cell]) -> list[_Queued]:
        orders = [order_of(experiment, out, cell) for cell in ready]
        jobs = executor.map_array(CellTask(), orders, [n_thread] * len(orders))
        return [_Queued(job) for job in jobs]

    return run_jobs(begin, out, cells, at_once=max(1, len(cells)), wait_s=_LOOK_S)
