"""The verbs `ablate` and `compare`. Heavy imports happen inside them."""

from pathlib import Path
from typing import Annotated

import typer

from memformer.cli.tables import print_table


def ablate_file(
    file: Annotated[Path, typer.Argument(help="A Python file: BASE, VARIANTS, SEEDS, METRICS.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of rows and report; runs/<name of the file> else.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each cell.")] = 1,
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
    from memformer.ablation.rows import finished
    from memformer.ablation.run import ablate, plan

    experiment = load_experiment(file, set_ or [])
    folder = out or Path("runs") / file.stem
    planned = plan(experiment, folder)
    if report_only:
        paths = write_report(experiment, list(finished(experiment, folder).values()), folder)
        typer.echo(f"report: {paths.html} and {paths.markdown.name}")
        return
    trials = try_variants(experiment, n_thread=threads) if experiment.trains else {}
    typer.echo(experiment.question)
    cells = []
    for each in planned:
        typer.echo(f"{each.variant}: {each.changes}")
        minutes = f"{trials[each.variant].total_s / 60:.1f}" if each.variant in trials else "–"
        cells.append([each.variant, f"{each.n_parameter:,}", f"{each.n_token:,}", minutes,
                      str(each.n_cell)])  # fmt: skip
    head = ("variant", "parameters", "tokens", "minutes a cell", "cells to run")
    print_table(head, cells, n_first=1, n_number=4)
    if dry_run:
        return
    try:
        outcome = ablate(
            experiment, folder, n_jobs=jobs, n_thread=threads, hours=hours, progress=typer.echo
        )
    except KeyboardInterrupt:
        typer.echo(f"stopped: rows are kept in {folder}; the same command goes on", err=True)
        raise typer.Exit(130) from None
    for failed in outcome.failed:
        typer.secho(f"failed: {failed.cell}: {failed.error}", err=True, fg="red")
    if outcome.left:
        typer.echo(f"{len(outcome.left)} cells not begun for lack of time: run it again")
    if outcome.rows:
        paths = write_report(experiment, outcome.rows, folder)
        typer.echo(f"report: {paths.html}, {paths.markdown.name}, {paths.tidy.name}")
    if outcome.failed:
        raise typer.Exit(1)


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
    print_table(("book", str(a), str(b), "B − A"), cells, n_first=1, n_number=3)
    d = found.difference
    typer.echo(f"B − A over {len(found.books)} books: {d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]")
