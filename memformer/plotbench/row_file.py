"""Rows on disk: written a story at a time, so that a run which was killed goes on from there."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from memformer.data.records import from_record, to_record

T = TypeVar("T")


class RowFile(Generic[T]):
    """A file of JSON lines such as `results.jsonl`, open for appending.

    A line that a kill cut off is dropped when the file is opened.

    Args:
        path: made with the first row.
        kind: the dataclass of a row.

    Raises:
        ValueError: a damaged line or record before the last line; names it.
    """

    def __init__(self, path: Path, kind: type[T]) -> None:
        self.path, self.rows = path, read_rows(path, kind)
        content = path.read_bytes() if path.exists() else b""
        if content and not content.endswith(b"\n"):
            self.keep(self.rows)

    def keep(self, rows: Sequence[T]) -> None:
        """Hold these rows and no others; the file is replaced at once."""
        part = self.path.with_suffix(".part")
        part.write_bytes(_lines(rows))
        os.replace(part, self.path)
        self.rows = list(rows)

    def append(self, rows: Sequence[T]) -> None:
        """Add rows, safe on disk when this returns."""
        with self.path.open("ab") as file:
            file.write(_lines(rows))
            file.flush()
            os.fsync(file.fileno())
        self.rows += rows


def read_rows(path: Path, kind: type[T]) -> list[T]:
    """Rows of a file, changing nothing; none if there is no file. A last line without its end is
    left out.

    Raises:
        ValueError: as `RowFile`.
    """
    content = path.read_bytes() if path.exists() else b""
    try:
        whole = content[: content.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path.name} line {line} is not UTF-8: the file is damaged") from None
    return [
        _read(kind, f"{path.name} line {line}", text)
        for line, text in enumerate(whole.split("\n")[:-1], 1)
    ]


def _lines(rows: Sequence[Any]) -> bytes:
    return "".join(
        json.dumps(to_record(row), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        + "\n"
        for row in rows
    ).encode()


def _read(kind: type[T], where: str, text: str) -> T:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is no JSON: {error}") from None
    try:
        return from_record(kind, values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
