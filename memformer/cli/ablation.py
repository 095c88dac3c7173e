"""The verbs `ablate` and `compare`. Heavy imports happen inside them."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memformer.cli.tables import print_table

if TYPE_CHECKING:
    from memformer.ablation.experiment import Experiment
    from memformer.ablation.run import Execute


class Executor(StrEnum):
    """Where cells run."""

    LOCAL = "local"
    RAY = "ray"
    SLURM = "slurm"


def ablate_file(
    file: Annotated[Path, typer.Argument(help="A Python file: BASE, VARIANTS, SEEDS, METRICS.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of rows and report; runs/<name of the file> else.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each cell.")] = 1,
    executor: Annotated[
        Executor, typer.Option(help="This machine, a Ray cluster, or SLURM job arrays.")
    ] = Executor.LOCAL,
    address: Annotated[
        str | None, typer.Option(help="ray: of the cluster; one of this machine alone else.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, help="ray, slurm: GPUs of each cell.")] = 0,
    minutes: Annotated[
        int, typer.Option(min=1, help="slurm: time limit of a job; it is queued again after.")
    ] = 1440,
    memory_gb: Annotated[int, typer.Option(min=1, help="slurm: memory of a job.")] = 16,
    partition: Annotated[str | None, typer.Option(help="slurm: SLURM's own else.")] = None,
    hours: Annotated[
        float | None, typer.Option(help="No cell begins after this; the same command goes on.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="field.path=value of BASE; repeat.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, try a step of each variant, stop.")
    ] = False,
    report_only: Annotated[
        bool, typer.Option("--report", help="Run nothing: write the report of what is there.")
    ] = False,
) -> None:
    """Run variants x seeds of an experiment file and report; finished cells are skipped."""
    from memformer.ablation.dry import try_variants
    from memformer.ablation.experiment import load_experiment
    from memformer.ablation.report import write_report
    from memformer.ablation.rows import reported, strangers
    from memformer.ablation.run import ablate, plan

    experiment = load_experiment(file, set_ or [])
    folder = out or Path("runs") / file.stem
    if hours is not None and executor is Executor.SLURM:
        raise typer.BadParameter("--hours is for local and ray; a SLURM job has --minutes")
    execute: Execute | None = None
    if executor is Executor.RAY:
        execute = _on_ray(experiment, folder, jobs, threads, gpus, address, hours)
    elif executor is Executor.SLURM:
        execute = _on_slurm(experiment, folder, jobs, threads, gpus, minutes, memory_gb, partition)
    planned = plan(experiment, folder)
    if others := strangers(experiment, folder):
        shown = "; ".join(map(str, others[:5])) + (" …" if len(others) > 5 else "")
        typer.echo(f"left out, {len(others)} rows of no variant or seed of {file}: {shown}")
    if report_only:
        paths = write_report(experiment, reported(experiment, folder), folder)
        typer.echo(f"report: {paths.html} and {paths.markdown.name}")
        return
    fresh = [p.variant for p in planned if p.n_cell == len(experiment.seeds)]
    trials = try_variants(experiment, fresh, n_thread=threads) if experiment.trains else {}
    typer.echo(experiment.question)
    cells = []
    for each in planned:
        typer.echo(f"{each.variant}: {each.changes}")
        estimate = f"{trials[each.variant].total_s / 60:.1f}" if each.variant in trials else "–"
        cells.append([each.variant, f"{each.n_parameter:,}", f"{each.n_token:,}", estimate,
                      str(each.n_cell)])  # fmt: skip
    head = ("variant", "parameters", "tokens", "minutes a cell", "cells to run")
    print_table(head, cells, n_first=1, n_number=4)
    if dry_run:
        return
    try:
        outcome = ablate(
            experiment, folder, execute, n_jobs=jobs, n_thread=threads, hours=hours,
            progress=typer.echo,
        )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo(f"stopped: rows are kept in {folder}; the same command goes on", err=True)
        raise typer.Exit(130) from None
    for failed in outcome.failed:
        typer.secho(f"failed: {failed.cell}: {failed.error}", err=True, fg="red")
    if outcome.busy:
        cells_ = "; ".join(str(each.cell) for each in outcome.busy)
        typer.echo(f"left to the other process that works at them: {cells_}")
    if outcome.left:
        typer.echo(f"{len(outcome.left)} cells not begun for lack of time: run it again")
    if outcome.rows:
        paths = write_report(experiment, outcome.rows, folder)
        typer.echo(f"report: {paths.html}, {paths.markdown.name}, {paths.tidy.name}")
    if outcome.failed:
        raise typer.Exit(1)


def _on_ray(
    experiment: "Experiment", out: Path, jobs: int, threads: int, gpus: int, address: str | None,
    hours: float | None,
) -> "Execute":  # fmt: skip
    import time

    from memformer.ablation.ray_cluster import run_ray

    until = None if hours is None else time.monotonic() + 3600 * hours
    return lambda cells: run_ray(
        experiment, out, cells, address=address, n_jobs=jobs, n_thread=threads, n_gpu=gpus,
        until=until,
    )  # fmt: skip


def _on_slurm(
    experiment: "Experiment", out: Path, jobs: int, threads: int, gpus: int, minutes: int,
    memory_gb: int, partition: str | None,
) -> "Execute":  # fmt: skip
    from memformer.ablation.slurm import run_slurm

    return lambda cells: run_slurm(
        experiment, out, cells, n_jobs=jobs, n_thread=threads, n_gpu=gpus, minutes=minutes,
        memory_gb=memory_gb, partition=partition,
    )  # fmt: skip


def compare_two(
    a: Annotated[Path, typer.Argument(help="A run of `train`.")],
    b: Annotated[Path, typer.Argument(help="Another, with the same held-out books.")],
) -> None:
    """Two training runs: where their configs differ, and held-out nats by book, B minus A."""
    from memformer.ablation.compare import compare

    found = compare(a, b)
    for field, one, other in found.differences:
        typer.echo(f"{field}: {one!r} -> {other!r}")
    cells = [[book, f"{x:.4f}", f"{y:.4f}", f"{y - x:+.4f}"] for book, x, y in found.books]
    typer.echo(f"A: {a}\nB: {b}")
    print_table(("book", "A", "B", "B − A"), cells, n_first=1, n_number=3)
    d = found.difference
    typer.echo(f"B − A over {len(found.books)} books: {d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]")
    typer.echo("The interval is over books. Two seeds of one config differ as much: see `ablate`.")
