"""A bar for each reading, for whoever evaluates from a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from memformer.evaluation import run


@contextmanager
def reading_bars(console: Console | None = None) -> Iterator[run.Progress]:
    """The callback to give `evaluate` as `progress`; bars stand on stderr while the block runs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tokens"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[tuple[str, str], TaskID] = {}
    with Progress(*columns, console=console or Console(stderr=True)) as bars:

        def show(book: str, arm: str, done: int, total: int) -> None:
            if (book, arm) not in tasks:
                tasks[book, arm] = bars.add_task(f"{book}  {arm}", total=total)
            bars.update(tasks[book, arm], completed=done)

        yield show
