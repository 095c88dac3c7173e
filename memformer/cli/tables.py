"""Tables in the terminal."""

import typer
from rich.console import Console
from rich.table import Table

_NUMBERS = (
    "words", "chapters", "parameters", "tokens", "minutes a cell", "cells to run", "B − A",
)  # fmt: skip


def print_table(head: tuple[str, ...], rows: list[list[str]], markdown: bool) -> None:
    """Columns of numbers are right-aligned."""
    is_number = [name in _NUMBERS for name in head]
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
