"""The verb `reward tune`. Heavy imports happen inside it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from memformer.cli.tables import print_table


def tune_generator(
    run: Annotated[Path, typer.Argument(help="A run of `train`, whose decoder is tuned.")],
    reviewer: Annotated[
        Path, typer.Option(help="Folder of `reward review`, with a score head: the reward.")
    ],
    texts: Annotated[Path, typer.Option(help="Novels that prompts and passages come from.")],
    held: Annotated[Path, typer.Option(help="Other novels, of held-out prompts.")],
    out: Annotated[Path, typer.Option(help="Folder of the tuned run.")],
    method: Annotated[
        Literal["raft", "rloo", "direct"], typer.Option(help="Rung of the ladder.")
    ] = "rloo",
    gold_reviewer: Annotated[
        Path | None,
        typer.Option(help="Another reviewer, of raters and novels that REVIEWER never saw; stops."),
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
    from memformer.model.saved_state import weights_hash
    from memformer.reward.critic import Critic
    from memformer.reward.gain import gate
    from memformer.reward.saved_reviewer import load_reviewer
    from memformer.training.experiment import set_fields
    from memformer.training.review_run import REVIEWER, read_gain, refuse_shared_gold
    from memformer.training.tune_run import tune_run

    config = set_fields(TuneConfig(method=method, seed=seed), set_ or [])
    decoder, tokenizer = load_run(run)

    def critic(folder: Path) -> tuple[Critic, dict[str, Any], str]:
        loaded = load_reviewer(folder / REVIEWER, tokenizer)
        if loaded.head is None:
            raise ValueError(
                f"{folder}: the reviewer has no score head: train it with --values, or it cannot "
                "say how good a text is"
            )
        weights = weights_hash(loaded.reviewer.model)
        leave = gate(read_gain(folder), ungated=ungated, weights=weights)
        return Critic(loaded.reviewer, loaded.head, n_reviews), leave.marks(), weights

    judge, marks, judges = critic(reviewer)
    gold = None
    if gold_reviewer is not None:
        refuse_shared_gold(reviewer, gold_reviewer)
        gold, marks["gold"], weights = critic(gold_reviewer)
        judges += weights
    encoded, kept = (
        [list(tokenizer.encode(each.text).ids) for each in read_texts(path)]
        for path in (texts, held)
    )
    done = tune_run(
        decoder, tokenizer, encoded, kept, judge, config, out,
        n_prompt_token=prompt_tokens, gold=gold, marks=marks,
        judges=f"{judges} {n_reviews}",
        told=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    rows = [
        [name.replace("_", "-"), f"{before:.3f}", f"{after:.3f}"]
        for name, before, after in zip(done.before._fields, done.before, done.after, strict=True)
    ]
    print_table(("audit", "before", "after"), rows, n_first=1, n_number=2)
    typer.echo(f"stopped: {done.tuned.reason}; kept update {done.tuned.best}; run: {out}")
