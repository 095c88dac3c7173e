"""The report in Markdown, its plots as files beside it."""

from collections.abc import Sequence

from memformer.evaluation.plots import Chapter, Plot
from memformer.evaluation.tables import Cell, Table
from memformer.evaluation.words import LIMITS, Words


def markdown_page(words: Words, plots: Sequence[Plot], chapters: Sequence[Chapter] = ()) -> str:
    """The whole page; plots are linked as `plots/<name>.svg`."""
    parts = [f"# {words.title}", words.subtitle, " ".join(words.headline), f"> {LIMITS[0]}"]
    parts += [_figure(plot) for plot in plots]
    for chapter in chapters:
        parts += [_figure(chapter.plot), *(f"> {each}" for each in chapter.paragraphs)]
    parts += ["## The numbers", *(markdown_table(t) for t in [*words.tables, *words.more_tables])]
    parts += ["## What this does not say", "\n".join(f"- {line}" for line in LIMITS)]
    parts += ["## How it was made", "\n".join(f"- {k}: {v}" for k, v in words.machine)]
    return "\n\n".join(parts) + "\n"


def _figure(plot: Plot) -> str:
    return f"## {plot.title}\n\n![{plot.title}](plots/{plot.name}.svg)\n\n{plot.caption}"


def markdown_table(table: Table) -> str:
    lines = [
        f"| {' | '.join(_escaped(name) for name in table.head)} |",
        "|" + "---|" * table.n_text + "---:|" * (len(table.head) - table.n_text),
    ]
    for i, row in enumerate(table.rows):
        cells = [_cell(cell, i in table.strong) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return f"**{table.title}**\n\n" + "\n".join(lines) + f"\n\n{table.caption}"


def _cell(cell: Cell, is_strong: bool) -> str:
    main = f"**{_escaped(cell.main)}**" if is_strong and cell.main else _escaped(cell.main)
    return f"{main} {_escaped(cell.small)}".strip()


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
