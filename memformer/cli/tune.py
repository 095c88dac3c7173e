"""The verb `reward tune`. Heavy imports happen inside it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from memformer.cli.tables import print_table


def tune_generator(
    run: Annotated[Path, typer.Argument(help="A run of `train`, whose decoder is tuned.")],
    reviewer: Annotated[
        Path, typer.Option(help="Folder of `reward review`: the reward, by its head or --raters.")
    ],
    texts: Annotated[Path, typer.Option(help="Novels that prompts and passages come from.")],
    held: Annotated[Path, typer.Option(help="Other novels, of held-out prompts.")],
    out: Annotated[Path, typer.Option(help="Folder of the tuned run.")],
    raters: Annotated[
        Path | None,
        typer.Option(help="Folder of `reward raters`: they judge the reviews, not the head."),
    ] = None,
    method: Annotated[
        Literal["raft", "rloo", "direct"], typer.Option(help="Rung of the ladder.")
    ] = "rloo",
    gold_reviewer: Annotated[
        Path | None,
        typer.Option(help="Another reviewer, of raters and novels that REVIEWER never saw; stops."),
    ] = None,
    gold_raters: Annotated[
        Path | None, typer.Option(help="Of --gold-reviewer; they share nobody with --raters.")
    ] = None,
    n_reviews: Annotated[int, typer.Option(min=1, help="Reviews written of each text.")] = 4,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a prompt.")] = 64,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="field.path=value of the config; repeat.")
    ] = None,
    ungated: Annotated[
        bool, typer.Option("--ungated", help="Tune though the reviewer's gain is not above 0.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
) -> None:
    """Train a generator on what a reviewer makes of its texts. The same command goes on."""
    from memformer.config.reward_training import TuneConfig
    from memformer.data.own import read_texts
    from memformer.interop.run import load_run
    from memformer.interop.saved_reward import load_rewards
    from memformer.training.experiment import set_fields
    from memformer.training.tune_run import tune_run

    config = set_fields(TuneConfig(method=method, seed=seed), set_ or [])
    decoder, tokenizer = load_run(run)
    judge, gold = load_rewards(
        (reviewer, raters), (gold_reviewer, gold_raters), tokenizer, n_reviews,
        ungated=ungated, max_unscorable=config.max_unscorable,
    )  # fmt: skip
    encoded, kept = (
        [list(tokenizer.encode(each.text).ids) for each in read_texts(path)]
        for path in (texts, held)
    )
    done = tune_run(
        decoder, tokenizer, encoded, kept, judge.reward, config, out,
        n_prompt_token=prompt_tokens, gold=None if gold is None else gold.reward,
        marks=judge.marks | ({} if gold is None else {"gold": gold.marks}),
        judges=f"{judge.digest} {'' if gold is None else gold.digest} {n_reviews}",
        told=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    rows = [
        [name.replace("_", "-"), f"{before:.3f}", f"{after:.3f}"]
        for name, before, after in zip(done.before._fields, done.before, done.after, strict=True)
    ]
    print_table(("audit", "before", "after"), rows, n_first=1, n_number=2)
    typer.echo(f"stopped: {done.tuned.reason}; kept update {done.tuned.best}; run: {out}")
    for name, each in (("reward", judge), ("gold", gold)):
        if each is not None and (line := each.told()):
            typer.echo(f"{name}: {line}: empty, without end, or a score that is NaN")
