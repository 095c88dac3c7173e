"""Reviews and rating events as files: JSON lines, or Parquet where pyarrow is installed.

Read strictly: no field too many, none of another type, no key twice, no NaN. All wrong lines are
found, not only the first.
"""

import importlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from memformer.data.feedback import Novel, RatingEvent, Review
from memformer.data.manuscripts import decode
from memformer.data.records import from_record, to_record, write_time

T = TypeVar("T", Novel, Review, RatingEvent)
EXTRA = "install it with `pip install 'memformer-lm[rate]'`"


class RowError(NamedTuple):
    """Why a line of a file cannot be used."""

    line: int
    """From 1, as an editor counts; of a Parquet file the row, from 1."""
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


class RowErrors(ValueError):
    """A file has lines that cannot be used; `errors` has every one."""

    def __init__(self, name: str, errors: Sequence[RowError]) -> None:
        self.errors = tuple(errors)
        more = f" (and {len(errors) - 1} more lines)" if len(errors) > 1 else ""
        super().__init__(f"{name} {errors[0]}{more}")


class Scanned(NamedTuple):
    """Records of a file by line, and the lines that are none."""

    rows: list[tuple[int, Any]]
    errors: list[RowError]


def read_events(path: Path) -> list[RatingEvent]:
    """Rating events of a `.jsonl` or `.parquet` file, in its order.

    They are not yet checked against each other: `feedback_log.check_events` does that.

    Raises:
        RowErrors: a line is no event; a ValueError that names file, line and reason.
        ImportError: a Parquet file without pyarrow.
    """
    return _whole(path, RatingEvent)


def read_reviews(path: Path) -> list[Review]:
    """Reviews of a `.jsonl` or `.parquet` file; each id once. Raises as `read_events`."""
    return _distinct(path, Review, "review")


def read_novels(path: Path) -> list[Novel]:
    """Novels of a `.jsonl` or `.parquet` file; each id once. Raises as `read_events`."""
    return _distinct(path, Novel, "novel")


def scan(path: Path, kind: type[T]) -> Scanned:
    """Every line of a file, right or wrong.

    Raises:
        ValueError: the file is empty, not UTF-8, or neither `.jsonl` nor `.parquet`.
        ImportError: a Parquet file without pyarrow.
    """
    match path.suffix:
        case ".jsonl":
            lines = decode(path.read_bytes(), path.name).split("\n")
            raw: list[tuple[int, object]] = [
                (n, line) for n, line in enumerate(lines, 1) if line.strip()
            ]
        case ".parquet":
            raw = [(n, row) for n, row in enumerate(_parquet(path), 1)]
        case other:
            raise ValueError(f"{path.name} must end in .jsonl or .parquet, got {other!r}")
    found = Scanned([], [])
    for number, row in raw:
        try:
            found.rows.append((number, from_record(kind, _object(row))))
        except ValueError as error:
            found.errors.append(RowError(number, str(error)))
    return found


def write_records(path: Path, records: Iterable[T]) -> None:
    """Write events, reviews or novels as `.jsonl` or `.parquet`; what stands there is replaced at
    once when all is written.

    Raises:
        ValueError: another ending, or no record (Parquet only: it needs to know the columns).
        ImportError: Parquet without pyarrow.
    """
    every = list(records)
    part = path.with_name(f".{path.name}.part")
    match path.suffix:
        case ".jsonl":
            part.write_bytes(to_lines(every))
        case ".parquet":
            _write_parquet(part, every)
        case other:
            raise ValueError(f"{path.name} must end in .jsonl or .parquet, got {other!r}")
    os.replace(part, path)


def to_lines(records: Iterable[T]) -> bytes:
    """Records as JSON lines in UTF-8; equal records give equal bytes. Times are in UTC."""
    return "".join(
        json.dumps(to_json_values(record), ensure_ascii=False, separators=(",", ":"),
                   allow_nan=False) + "\n"
        for record in records
    ).encode()  # fmt: skip


def to_json_values(record: object) -> dict[str, Any]:
    """A record's fields as JSON holds them, times in ISO 8601."""
    return {
        name: write_time(value) if isinstance(value, datetime) else value
        for name, value in to_record(record).items()
    }


def _whole(path: Path, kind: type[T]) -> list[T]:
    found = scan(path, kind)
    if found.errors:
        raise RowErrors(path.name, found.errors)
    return [row for _, row in found.rows]


def _distinct(path: Path, kind: type[T], name: str) -> list[T]:
    found: Scanned = scan(path, kind)
    seen: dict[str, int] = {}
    twice: list[RowError] = []
    for line, row in found.rows:
        id = getattr(row, name)
        if id in seen:
            twice.append(RowError(line, f"{name} {id!r} stands on line {seen[id]} already"))
        seen.setdefault(id, line)
    if found.errors or twice:
        raise RowErrors(path.name, sorted([*found.errors, *twice]))
    return [row for _, row in found.rows]


def _object(row: object) -> object:
    if not isinstance(row, str):
        return row
    try:
        return json.loads(row, object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error}") from None
    except RecursionError:
        raise ValueError("is no record: nested too deeply") from None


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"has {next(n for n in names if names.count(n) > 1)!r} twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"has {name}, which is no JSON: write null, or leave the row out")


def _pyarrow(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ImportError(f"Parquet needs pyarrow: {EXTRA}, or use .jsonl") from None


def _parquet(path: Path) -> list[dict[str, Any]]:
    library = _pyarrow("pyarrow")
    try:
        rows: list[dict[str, Any]] = _pyarrow("pyarrow.parquet").read_table(path).to_pylist()
    except library.lib.ArrowInvalid as error:
        raise ValueError(f"{path.name} is no Parquet file: {error}") from None
    return rows


def _write_parquet(path: Path, records: Sequence[T]) -> None:
    pa = _pyarrow("pyarrow")
    if not records:
        raise ValueError("Parquet needs at least one record to know its columns, got none")
    columns = {
        "datetime": pa.timestamp("us", tz="UTC"), "float": pa.float64(), "int": pa.int64(),
        "bool": pa.bool_(), "tuple[float, float]": pa.list_(pa.float64()),
        "tuple[str, ...]": pa.list_(pa.string()),
    }  # fmt: skip
    kinds = {f.name: _written(f.type) for f in fields(records[0])}
    schema = pa.schema([(name, columns.get(kind, pa.string())) for name, kind in kinds.items()])
    table = pa.Table.from_pylist([to_record(record) for record in records], schema=schema)
    _pyarrow("pyarrow.parquet").write_table(table, path)


def _written(hint: Any) -> str:
    """A field's type as a word: `float` for `float | None`; what else there is, is text."""
    text = hint.__name__ if type(hint) is type else str(hint)
    return text.removesuffix(" | None").replace("datetime.datetime", "datetime")
