"""The verbs `rate`. Heavy imports happen inside them."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

rate = typer.Typer(no_args_is_help=True, help="Import, export and compare people's ratings.")

_Store = Annotated[Path, typer.Option("--store", help="Folder of all events.")]


@rate.command("import")
def import_file(
    file: Annotated[
        Path, typer.Argument(help="Ratings: CSV with --map, or events as .jsonl or .parquet.")
    ],
    map_: Annotated[
        Path | None, typer.Option("--map", help="TOML: what the columns of a CSV file mean.")
    ] = None,
    panel: Annotated[
        Path | None, typer.Option(help="Prolific's export, which answers are joined to.")
    ] = None,
    reviews: Annotated[
        Path | None, typer.Option(help="Reviews, .jsonl or .parquet: others are refused.")
    ] = None,
    novels: Annotated[
        Path | None, typer.Option(help="Novels, .jsonl or .parquet: others are refused.")
    ] = None,
    store: _Store = Path("feedback"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report every row, write nothing.")
    ] = False,
    correct: Annotated[
        bool,
        typer.Option("--correct", help="Ratings that have changed supersede the ones before."),
    ] = False,
    demographics: Annotated[
        Path | None,
        typer.Option(help="New .jsonl file for the demographics that the map asks for."),
    ] = None,
) -> None:
    """Add ratings to the store, all of a file or nothing; exit code 1 if a row cannot be used."""
    from memformer.data.feedback import ItemKind
    from memformer.data.feedback_files import read_novels, read_reviews
    from memformer.data.feedback_log import FeedbackLog
    from memformer.evaluation.store import write_whole
    from memformer.rating.importers import PEPPER, ImportReport, import_ratings
    from memformer.rating.importers_map import read_map

    mapping = None if map_ is None else read_map(map_)
    asked = mapping is not None and bool(mapping.demographics)
    if asked != (demographics is not None):
        raise ValueError("--demographics must be given if the map asks for any, and only then")
    if demographics is not None and demographics.exists():
        raise ValueError(f"{demographics} exists: --demographics must name a new file")
    items: dict[ItemKind, set[str]] = {}
    if reviews is not None:
        items["review"] = {review.review for review in read_reviews(reviews)}
    if novels is not None:
        items["novel"] = {novel.novel for novel in read_novels(novels)}

    def read(*, dry_run: bool) -> ImportReport:
        return import_ratings(
            FeedbackLog(store), file, mapping, now=datetime.now(UTC), panel=panel,
            pepper=os.environ.get(PEPPER), items=items, dry_run=dry_run, correct=correct,
        )  # fmt: skip

    report = read(dry_run=dry_run or demographics is not None)
    if demographics is not None:  # first, for the same file is not read a second time
        if report.entry is not None:
            raise ValueError(
                f"{file.name} is in the store already, as entry {report.entry}: demographics are "
                "written with the import and are not given again"
            )
        if not dry_run and not report.errors:
            rows = [{"rater": rater, **facts} for rater, facts in sorted(report.facts.items())]
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            write_whole(demographics, "".join(lines).encode())
            typer.echo(f"demographics of {len(rows)} raters: {demographics}")
            report = read(dry_run=False)
    for line in report.lines():
        typer.echo(line)
    if report.errors:
        raise typer.Exit(1)


@rate.command("export")
def export_file(
    as_of: Annotated[
        str,
        typer.Option(help="ISO time with its offset, or a date, which means its end in UTC."),
    ],
    out: Annotated[Path, typer.Option(help="The events go here: .jsonl or .parquet.")],
    store: _Store = Path("feedback"),
) -> None:
    """Write the ratings that stood at a date; the store takes none recorded before it any more."""
    from memformer.data.feedback_files import write_records
    from memformer.data.feedback_log import FeedbackLog, read_moment
    from memformer.data.records import write_time

    if out.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"--out must end in .jsonl or .parquet, got {out.name!r}")
    moment = read_moment(as_of)
    events = FeedbackLog(store).export(moment, name=out.name, at=datetime.now(UTC))
    write_records(out, events)
    unknown = sum(event.propensity is None for event in events)
    typer.echo(f"{len(events)} ratings as of {write_time(moment)}: {out}")
    typer.echo(f"propensity unknown for {unknown} of {len(events)} ratings")


@rate.command("agreement")
def show_agreement(
    criterion: Annotated[str, typer.Option(help="Which question, such as want_to_read.")],
    store: _Store = Path("feedback"),
    as_of: Annotated[
        str | None, typer.Option(help="As for export; what stands now if left out.")
    ] = None,
    item_kind: Annotated[
        Literal["review", "excerpt", "novel"], typer.Option(help="What was rated.")
    ] = "review",
    level: Annotated[
        Literal["nominal", "ordinal", "interval"],
        typer.Option(help="What differences between answers mean."),
    ] = "interval",
    k: Annotated[str, typer.Option(help="Numbers of raters, by commas.")] = "1,3,5,10",
    without_flag: Annotated[
        list[str] | None,
        typer.Option(help="Leave out ratings with this flag, such as rejected; repeat."),
    ] = None,
    draws: Annotated[int, typer.Option(min=100, help="Resamples for the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 0,
) -> None:
    """Krippendorff's alpha, the split of the variance, and how reliable a mean of k raters is."""
    from memformer.data.feedback_cells import cells_of
    from memformer.data.feedback_log import FeedbackLog, read_moment
    from memformer.data.feedback_log import as_of as standing
    from memformer.rating.agreement import agreement

    ks = k.split(",")
    if not all(each.isascii() and each.isdigit() for each in ks):
        raise ValueError(f"--k must be whole numbers by commas, got {k!r}")
    moment = datetime.now(UTC) if as_of is None else read_moment(as_of)
    found = cells_of(
        standing(FeedbackLog(store).events, moment), criterion, item_kind=item_kind,
        without_flags=without_flag or (),
    )  # fmt: skip
    for line in agreement(
        found.cells, level=level, ks=[int(each) for each in ks], n_draw=draws, seed=seed
    ).lines():
        typer.echo(line)
    for reason, n in found.left_out.items():
        typer.echo(f"left out: {n} {reason}")
    unknown = found.cells.n_unknown_propensity
    typer.echo(f"propensity unknown for {unknown} of {len(found.cells.value)} ratings")
