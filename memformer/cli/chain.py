"""The verb `reward chain`. Heavy imports happen inside it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from memformer.cli.tables import print_table


def use_chain(
    reviewer: Annotated[
        Path | None, typer.Argument(help="Folder of `reward review`: score novels with it.")
    ] = None,
    raters: Annotated[Path | None, typer.Option(help="Folder of `reward raters`.")] = None,
    texts: Annotated[Path | None, typer.Option(help="Novels to score.")] = None,
    n_reviews: Annotated[int, typer.Option(min=2, help="Reviews written of each novel.")] = 8,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="field=value of the chain's config; repeat.")
    ] = None,
    ungated: Annotated[
        bool, typer.Option("--ungated", help="Score though the reviewer's gain is not above 0.")
    ] = False,
    certify: Annotated[
        bool, typer.Option("--certify", help="Hold every estimator against exact gradients.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of draws; of the certificate's world too.")] = 0,
    draws: Annotated[int, typer.Option(min=100, help="Updates drawn for each row.")] = 2048,
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Score novels by reviews and raters; or the gradient certificate: code 1 if a rule fails."""
    if certify:
        if reviewer is not None:
            raise ValueError("--certify is about a world of its own: give no reviewer with it")
        _certify(seed, draws, out)
        return
    if reviewer is None or raters is None or texts is None:
        raise ValueError(
            "chain: say what to do with the chain: --certify, or a reviewer with --raters and "
            "--texts"
        )
    _score(reviewer, raters, texts, n_reviews, set_ or [], ungated, seed, out)


def _score(
    reviewer: Path,
    raters: Path,
    texts: Path,
    n_reviews: int,
    changes: list[str],
    ungated: bool,
    seed: int,
    out: Path | None,
) -> None:
    from memformer.config import to_json
    from memformer.config.chain import ChainConfig
    from memformer.data.own import read_texts
    from memformer.evaluation.machine import describe
    from memformer.evaluation.store import write_json
    from memformer.interop.saved_chain import load_chain
    from memformer.reward.chain_scores import score_novels
    from memformer.training.experiment import set_fields

    config = set_fields(ChainConfig(), changes)
    chain = load_chain(reviewer, raters, ungated=ungated, config=config)
    novels = read_texts(texts)
    found = score_novels(
        chain.gated.chain, chain.reviewer, chain.tokenizer, novels, n_reviews, seed=seed,
        told=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    rows = [
        [each.novel, f"{each.score:.3f}", f"{each.error:.3f}", str(each.n_review),
         str(each.n_left_out)]
        for each in found
    ]  # fmt: skip
    head = ("novel", "score", "standard error", "reviews", "left out")
    print_table(head, rows, n_first=1, n_number=4)
    if chain.marks["ungated"]:
        typer.echo("ungated: the reviewer was not shown to say anything of a novel")
    if out is not None:
        made = {
            "reviewer": str(reviewer),
            "raters": str(raters),
            "seed": seed,
            "config": to_json(config),
        }
        scores = [each.as_json() for each in found]
        write_json(out, {**made, **chain.marks, "scores": scores, "made_with": describe()})


def _certify(seed: int, draws: int, out: Path | None) -> None:
    from memformer.config.oracle import CertificateConfig, OracleConfig
    from memformer.reward.certificate import certify as measure

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
