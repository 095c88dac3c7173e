"""The verb `reward goodhart`. Heavy imports happen inside it."""

from pathlib import Path
from typing import Annotated

import typer

from memformer.cli.tables import print_table


def goodhart_lab(
    out: Annotated[Path, typer.Option(help="Folder of rows and report; runs that stopped go on.")],
    seeds: Annotated[int, typer.Option(min=2, help="Worlds.")] = 5,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="field.path=value of the protocol; repeat.")
    ] = None,
    report_only: Annotated[
        bool, typer.Option("--report", help="Run nothing: write the report of what is there.")
    ] = False,
) -> None:
    """Optimise learned judgements in a world of simulated raters, and see when gold turns over."""
    from memformer.config.goodhart import GoodhartConfig
    from memformer.reward.goodhart import goodhart, read_rows
    from memformer.reward.goodhart_report import write_report
    from memformer.training.experiment import set_fields

    config = set_fields(GoodhartConfig(n_seed=seeds), set_ or [])
    try:
        rows = (
            read_rows(out)
            if report_only
            else goodhart(
                config, out,
                progress=lambda told, n, of: typer.echo(f"{n}/{of}  {told}", err=True),
            )
        )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo(f"stopped: rows are kept in {out}; the same command goes on", err=True)
        raise typer.Exit(130) from None
    report = write_report(config, rows, out)
    cells = [
        [v.rule, v.claim, "passed" if v.passed else "FAILED", f"{v.value:+.3f}",
         "–" if v.low != v.low else f"[{v.low:+.3f}, {v.high:+.3f}]"]
        for v in report.verdicts
    ]  # fmt: skip
    print_table(("rule", "claim", "", "value", "95% interval"), cells, n_first=3, n_number=2)
    typer.echo(f"simulated raters; report: {report.html} and {report.markdown.name}")
