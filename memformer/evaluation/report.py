"""A run folder's report: one HTML page, one Markdown page, the plots as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from memformer.evaluation import store
from memformer.evaluation.markdown import markdown_page
from memformer.evaluation.outcome import Outcome
from memformer.evaluation.page import html_page
from memformer.evaluation.passage import choose_passage
from memformer.evaluation.plots import Chapter, all_plots
from memformer.evaluation.words import write_words


class ReportPaths(NamedTuple):
    """What was written."""

    html: Path
    """One file that needs no other. It quotes the books: keep it where they may be kept."""
    markdown: Path
    """Without text of the books; shows `plots/`."""
    plots: list[Path]


def write_report(
    folder: Path | str, *, max_passages: int = 2, chapters: Sequence[Chapter] = ()
) -> ReportPaths:
    """Write `report.html`, `report.md` and `plots/` into a folder that `evaluate` filled.

    Args:
        folder: the run folder.
        max_passages: books of which a passage is shown.
        chapters: more plots with text, shown after the passages.

    Raises:
        ValueError: no result, one of another schema, or a damaged file.
        OSError: as the file system says; each file is written whole or not at all.
    """
    folder = Path(folder)
    outcome = Outcome(folder)
    words = write_words(outcome)
    plots = all_plots(outcome)
    chosen = [choose_passage(folder, outcome, book["id"]) for book in outcome.books[:max_passages]]
    passages = [passage for passage in chosen if passage is not None]
    every = [*plots, *(chapter.plot for chapter in chapters)]
    paths = ReportPaths(
        folder / "report.html",
        folder / "report.md",
        [folder / "plots" / f"{plot.name}.svg" for plot in every],
    )
    store.write_whole(paths.html, html_page(outcome, words, plots, passages, chapters).encode())
    store.write_whole(paths.markdown, markdown_page(words, plots, chapters).encode())
    for path, plot in zip(paths.plots, every, strict=True):
        store.write_whole(path, plot.wide)
    return paths
