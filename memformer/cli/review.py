"""The verb `reward review`. Heavy imports happen inside it."""

from pathlib import Path
from typing import Annotated

import typer

from memformer.cli.tables import print_table


def review_novels(
    run: Annotated[
        Path, typer.Argument(help="A run of `train` to start from, or a reviewer to measure.")
    ],
    reviews: Annotated[Path, typer.Option(help="A .jsonl or .parquet file of reviews.")],
    texts: Annotated[Path, typer.Option(help="Their novels: a folder, or a .jsonl file.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the reviewer that is trained from RUN.")
    ] = None,
    values: Annotated[
        Path | None,
        typer.Option(help="JSON of novel ids with numbers, for the score head; none without it."),
    ] = None,
    readers: Annotated[
        Path | None, typer.Option(help="JSON of reviewers' pseudonyms with their groups.")
    ] = None,
    gain: Annotated[
        bool, typer.Option("--gain", help="Measure the information gain of the reviewer in RUN.")
    ] = False,
    ungated: Annotated[
        bool, typer.Option("--ungated", help="End well though the gain is not above 0.")
    ] = False,
    as_of: Annotated[
        str | None, typer.Option(help="Use no later reviews: a date, or a time with its offset.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="field.path=value of the config; repeat.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")
    ] = False,
) -> None:
    """Train a reviewer on reviews of novels, or measure whether it says anything of a novel."""
    from memformer.config.reviewer import ReviewerConfig
    from memformer.data.feedback_files import read_reviews
    from memformer.data.feedback_log import read_moment
    from memformer.data.own import read_texts
    from memformer.evaluation.store import read_json
    from memformer.interop.run import load_run, load_tokenizer
    from memformer.reward.gain import gate
    from memformer.training.experiment import set_fields
    from memformer.training.review_run import (
        REVIEWER,
        is_reviewer,
        measure_gain,
        train_on_reviews,
    )
    from memformer.training.reviewer import Update

    found, manuscripts = read_reviews(reviews), read_texts(texts)
    until = None if as_of is None else read_moment(as_of)
    groups = None if readers is None else read_json(readers)
    if gain:
        if not is_reviewer(run):
            raise ValueError(f"{run} holds no reviewer: train one first, with --out")
        tokenizer = load_tokenizer(run / REVIEWER)
        measured = measure_gain(
            run, tokenizer, manuscripts, found, groups=groups, as_of=until, seed=seed
        )
        rows = [
            [name, f"{each.value:.3f}", f"{each.low:.3f}", f"{each.high:.3f}"]
            for name, each in (
                ("novel", measured.gain.own),
                ("another novel", measured.gain.shuffled),
                ("novel beyond another", measured.gain.beyond_shuffled),
            )
        ]
        print_table(("bits a token from the", "gain", "low", "high"), rows, n_first=1, n_number=3)
        typer.echo(
            f"{measured.gain.n_review} reviews of {measured.gain.n_novel} novels; 95% intervals "
            f"over novels; {measured.n_known} left out, of texts or authors trained on; "
            f"{measured.counts.told()}"
        )
        passed = gate(measured.gain, ungated=ungated)
        typer.echo("gate: not passed, results are marked" if passed.is_ungated else "gate: passed")
        return
    if out is None:
        raise ValueError("give --out, the folder of the reviewer to train, or --gain")
    decoder, tokenizer = load_run(run)
    config = set_fields(ReviewerConfig(n_head=0 if values is None else 500), set_ or [])
    config = set_fields(config, [f"seed={seed}"])

    def watch(update: Update) -> None:
        if update.step % 50 == 0:
            error = "" if update.squared_error is None else f", head {update.squared_error:.3f}"
            typer.echo(f"{update.stage} {update.step}: {update.nats:.3f} nats{error}", err=True)

    done = train_on_reviews(
        decoder, tokenizer, manuscripts, found, config, out,
        values=None if values is None else read_json(values), groups=groups, as_of=until,
        resume=resume, watch=watch,
    )  # fmt: skip
    typer.echo(f"reviewer: {out}; {done.counts.told()}")
