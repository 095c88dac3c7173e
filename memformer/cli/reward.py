"""The verbs of `memformer reward`. Heavy imports happen inside them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from memformer.cli.goodhart import goodhart_lab
from memformer.cli.review import review_novels
from memformer.cli.tables import print_table
from memformer.cli.tune import tune_generator

reward = typer.Typer(no_args_is_help=True, help="A loss from reviews and ratings.")

reward.command("goodhart")(goodhart_lab)
reward.command("review")(review_novels)
reward.command("tune")(tune_generator)


@reward.command("chain")
def chain_gradients(
    certify: Annotated[
        bool, typer.Option("--certify", help="Hold every estimator against exact gradients.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of world, head and draws.")] = 0,
    draws: Annotated[int, typer.Option(min=100, help="Updates drawn for each row.")] = 2048,
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """The gradient certificate: exit code 1 if a rule does not hold."""
    from memformer.config.oracle import CertificateConfig, OracleConfig
    from memformer.reward.certificate import certify as measure

    if not certify:
        raise ValueError("chain: say what to do with the chain: --certify")
    found = measure(OracleConfig(), CertificateConfig(n_draw=draws), seed=seed)
    cells = [
        [row.scorer, row.estimator, row.route, f"{row.cosine:.2f}", f"{row.bias:.2f}",
         f"{row.sd:.1f}", f"{row.z:+.1f}" if row.rule == "unbiased" else "–",
         {True: "passed" if row.rule else "", False: "FAILED"}[row.passed]]
        for row in found.rows
    ]  # fmt: skip
    head = ("scorer", "estimator", "gradient to", "cosine", "bias", "sd", "z", "")
    print_table(head, cells, n_first=3, n_number=4)
    told = [[c.name, c.claim, "passed" if c.passed else "FAILED"] for c in found.checks]
    print_table(("check", "claim", ""), told, n_first=3, n_number=0)
    for scorer, held in found.heads.items():
        typer.echo(
            f"head, {scorer} scorer: correlation with the sampled chain {held.correlation:.2f}, "
            f"corrected for its noise {held.corrected:.2f}, on {held.n} held-out texts"
        )
    if out is not None:
        out.write_text(json.dumps(found.as_json(), indent=1) + "\n")
    typer.echo(f"certificate: {'passed' if found.passed else 'FAILED'}")
    if not found.passed:
        raise typer.Exit(1)
