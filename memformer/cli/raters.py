"""The verb `reward raters`. Heavy imports happen inside it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from memformer.cli.errors import bad_input


def fit_ratings(
    events: Annotated[Path, typer.Argument(help="Rating events, .jsonl or .parquet.")],
    reviews: Annotated[Path, typer.Option(help="The reviews that were rated, likewise.")],
    features: Annotated[
        str,
        typer.Option(
            help="What reads the reviews: a folder of `reward review` or `train`, minilm, smollm2."
        ),
    ],
    exchangeable: Annotated[
        bool,
        typer.Option(
            "--exchangeable/--persons",
            help="Whether a rater's name is no person (a column of an anonymous panel).",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the raters.")],
    criterion: Annotated[
        list[str] | None,
        typer.Option(help="Question, such as want_to_read; with others name=weight. Repeat."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="LOW,HIGH that every rating must be given on.")
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="The novels: their titles and authors are taken out of the reviews."),
    ] = None,
    novels: Annotated[
        Path | None, typer.Option(help="Records of novels, for --part: who wrote which.")
    ] = None,
    part: Annotated[
        Literal["train", "early_stop", "report"] | None,
        typer.Option(help="Only raters and authors of this part; parts share none."),
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Ratings that stood then: a date, or a time with its offset.")
    ] = None,
    unreported: Annotated[
        bool, typer.Option("--unreported", help="Go on where a report needs more ratings; marked.")
    ] = False,
    next_: Annotated[
        int,
        typer.Option("--next", min=0, help="Name so many pairs of review and rater to ask next."),
    ] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="field.path=value of the config; repeat.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of folds, held-out novels and resamples.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in OUT, with the same settings and data.")
    ] = False,
) -> None:
    """Fit raters to ratings of reviews, and say by novels held out how good they are."""
    with bad_input():
        from memformer.config.reward import RaterRunConfig
        from memformer.data.feedback_files import read_events, read_novels, read_reviews
        from memformer.data.feedback_log import as_of as standing
        from memformer.data.feedback_log import read_moment
        from memformer.data.own import read_texts
        from memformer.interop.text_features import build_text_features
        from memformer.reward.event_cells import events_of_part, split_criteria
        from memformer.reward.rater_run import NEXT, RECORD, VALUES, fit_events
        from memformer.training.experiment import set_fields

        names, weights = split_criteria(criterion or ["want_to_read"])
        config = RaterRunConfig(
            criteria=names, weights=weights, seed=seed, scale=_scale(scale),
        )  # fmt: skip
        config = set_fields(config, set_ or [])
        if (part is None) != (novels is None):
            raise ValueError("--part and --novels go together: a part is of authors and raters")
        every, known = read_events(events), read_reviews(reviews)
        moment = None if as_of is None else read_moment(as_of)
        last = max((each.recorded_at for each in every), default=None)
        stood = standing(every, moment or last) if last is not None else []
        typer.echo(f"{len(stood)} of {len(every)} events stand", err=True)
        if part is not None and novels is not None:
            found = events_of_part(stood, known, read_novels(novels), part, config.split_seed)
            typer.echo(
                f"part {part}: {len(found.events)} events; {found.n_crossed} cross parts, "
                f"{found.n_other_kind} are about no review"
            )
            stood = found.events
        run = fit_events(
            stood, known, build_text_features(features), config, out, exchangeable=exchangeable,
            manuscripts=() if texts is None else read_texts(texts), as_of=moment,
            unreported=unreported, n_next=next_, resume=resume,
            told=lambda line: typer.echo(line, err=True),
        )  # fmt: skip
    cells = run.cells
    n_single = run.model.report["n_rater_single"]
    typer.echo(
        f"{cells.criterion}: {len(cells.ratings.value)} ratings of {len(cells.items)} reviews by "
        f"{len(cells.raters)} raters; {len(cells.held_novels)} novels held out"
    )
    for reason, n in cells.left_out.items():
        typer.echo(f"left out: {n} {reason}")
    if n_single:
        typer.echo(f"{n_single} raters have one rating to be fitted to: a bias and nothing else")
    for trial in run.choice.trials:
        typer.echo(f"rank {trial.config.rank}: held-out error {trial.mean:.3f}")
    typer.echo(f"rank {run.choice.config.rank} is taken")
    typer.echo("no report: marked" if run.report is None else run.report.text())
    if next_:
        typer.echo(f"what to ask next, most telling first: {out / NEXT}; ask some at random too")
    typer.echo(f"raters: {out}; their names by number in {RECORD}, novels' scores in {VALUES}")


def _scale(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"--scale must be LOW,HIGH such as 1,7, got {text!r}") from None
    return low, high
