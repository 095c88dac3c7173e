"""Tables in the terminal."""

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, n_first: int, n_number: int,
    markdown: bool = False,
) -> None:  # fmt: skip
    """A table; after `n_first` columns of text come `n_number` of numbers, set to the right."""
    is_number = [n_first <= i < n_first + n_number for i in range(len(head))]
    if markdown:
        rule = ["---:" if number else "---" for number in is_number]
        for row in (head, rule, *rows):
            typer.echo("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
        return
    table = Table(*head)
    for column, number in zip(table.columns, is_number, strict=True):
        column.justify = "right" if number else "left"
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*row)
    Console().print(table)
