"""Rows that hold several answers: which column is of which item and question."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memformer.config.rating import CriterionMap, ImportMap

_TRUE = {"true", "1", "on", "yes", "selected", "checked"}
_FALSE = {"false", "0", "off", "no", ""}


class Question(NamedTuple):
    """One question about one item of a row."""

    criterion: CriterionMap
    item_column: str | None
    """None: the map names the item."""
    columns: dict[str, str]
    """The column of each radio button by its answer; the only column of an answer under ""."""


class Given(NamedTuple):
    """An answer as it stands in the row."""

    criterion: CriterionMap
    item: str
    text: str


def plan(columns: Sequence[str], mapping: ImportMap, where: str) -> list[Question]:
    """The questions that a header has columns for, by the number of the item.

    Raises:
        ValueError: a question without columns, or a number that only an item or only an answer has.
    """
    items = _numbered(mapping.columns.item, columns)
    questions = []
    for criterion in mapping.criteria:
        assert criterion.column is not None  # ImportMap has seen to it
        found: dict[str, dict[str, str]] = {}
        for column, n, value in _matches(criterion.column, columns):
            found.setdefault(n, {})[value] = column
        if not found:
            raise ValueError(f"{where} has no column such as {criterion.column!r}")
        if mapping.columns.item is not None and found.keys() != items.keys():
            n = min(found.keys() ^ items.keys())
            shown = [p.replace("{n}", n) for p in (mapping.columns.item, criterion.column)]
            raise ValueError(f"{where} has only one of {shown[0]!r} and {shown[1]!r}")
        for n in sorted(found, key=lambda number: (len(number), number)):
            questions.append(Question(criterion, items.get(n), found[n]))
    return questions


def given(
    cells: dict[str, str], questions: Sequence[Question], item: str | None
) -> Iterator[Given | str]:
    """The answers of a row; a word instead says why a question has none.

    Raises:
        ValueError: an answer about no item, several radio buttons on, or one neither on nor off.
    """
    for question in questions:
        about = cells[question.item_column] if question.item_column is not None else item or ""
        text = _text(cells, question)
        if about and text:
            yield Given(question.criterion, about, text)
        elif text:
            raise ValueError(
                f"{question.item_column} is empty, but {question.criterion.name} is answered with "
                f"{text!r:.40}"
            )
        else:
            yield "unanswered" if about else "no item"


def _text(cells: dict[str, str], question: Question) -> str:
    if "" in question.columns:
        return cells[question.columns[""]]
    on = []
    for value, column in question.columns.items():
        state = cells[column].casefold()
        if state in _TRUE:
            on.append(value)
        elif state not in _FALSE:
            raise ValueError(f"{column} must be true or false, got {cells[column]!r:.40}")
    if len(on) > 1:
        raise ValueError(f"{question.criterion.name} has several answers: {', '.join(on)}")
    return on[0] if on else ""


def _numbered(pattern: str | None, columns: Sequence[str]) -> dict[str, str]:
    if pattern is None:
        return {}
    return {n: column for column, n, _ in _matches(pattern, columns)}


def _matches(pattern: str, columns: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Columns that fit a pattern, with what stands for {n} and {value}; "" where it has none."""
    source = re.escape(pattern).replace(r"\{n\}", r"(?P<n>\d+)", 1)
    known = re.compile(source.replace(r"\{value\}", "(?P<value>.+)", 1))
    for column in columns:
        if match := known.fullmatch(column):
            parts = match.groupdict()
            yield column, parts.get("n", ""), parts.get("value", "")
