"""Tables of other programs, read strictly: CSV cells, times, answers, people's ids."""

import csv
import hashlib
import hmac
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from memformer.config.rating import CriterionMap
from memformer.data.feedback_files import RowError
from memformer.data.manuscripts import decode
from memformer.data.records import read_time, to_utc

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")
_MIN_PEPPER = 16  # characters


class Row(NamedTuple):
    """One row of a table."""

    line: int
    """The line of the file that it begins on."""
    cells: dict[str, str]
    """By column, without spaces around."""


class Table(NamedTuple):
    """A table, and its rows that are none."""

    columns: tuple[str, ...]
    rows: list[Row]
    errors: list[RowError]


def read_table(data: bytes, name: str, delimiter: str = ",") -> Table:
    """A CSV file with a header: with or without a byte order mark, line ends within quotes, cells
    of any length.

    Raises:
        ValueError: not UTF-8, no rows, a column twice, or quotes that do not end; names the line.
    """
    text = decode(data, name)
    with _cells_of_any_length(len(text)):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        found, start = [], 1
        try:
            for cells in reader:
                if any(map(str.strip, cells)):
                    found.append((start, [cell.strip() for cell in cells]))
                start = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(
                f"{name} line {start}: {error}: quotes within a quoted cell must be doubled"
            ) from None
    if len(found) < 2:
        raise ValueError(f"{name} must have a header and at least one row, got {len(found)} rows")
    columns = found[0][1]
    named = [column for column in columns if column]
    if len(set(named)) < len(named):
        twice = next(column for column in named if named.count(column) > 1)
        raise ValueError(f"{name} has the column {twice!r} twice")
    table = Table(tuple(columns), [], [])
    for line, cells in found[1:]:
        if len(cells) == len(columns):
            table.rows.append(Row(line, dict(zip(columns, cells, strict=True))))
        else:
            reason = f"has {len(cells)} cells, the header has {len(columns)}"
            table.errors.append(RowError(line, reason))
    return table


def need_columns(table: Table, names: list[str | None], where: str) -> None:
    """Raises a ValueError that names the columns a table lacks; None needs none."""
    lost = [name for name in names if name is not None and name not in table.columns]
    if lost:
        raise ValueError(
            f"{where} has no column {', '.join(map(repr, lost))}; it has "
            f"{', '.join(table.columns)[:400]}"
        )


@contextmanager
def _cells_of_any_length(longest: int) -> Iterator[None]:
    """The limit of `csv`, 128 kB a cell, is one for the whole process: it is put back."""
    before = csv.field_size_limit(max(longest, 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_zone(name: str | None) -> tzinfo | None:
    """A time zone by name or offset.

    Raises:
        ValueError: there is none of that name.
    """
    if name is None:
        return None
    if match := _OFFSET.fullmatch(name):
        sign, hours, minutes = match.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        if offset < timedelta(hours=24):
            return timezone(-offset if sign == "-" else offset)
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(
            f"timezone must be a name such as Europe/Berlin, or an offset such as +02:00, got "
            f"{name!r}"
        ) from None


def moment(text: str, name: str, zone: tzinfo | None) -> datetime:
    """A cell's time in UTC: ISO 8601 with its offset, or without one in a zone that was told.

    Raises:
        ValueError: no such time, none that the clocks of the zone show just once, or one without
            offset where no zone was told.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return read_time(text, name)  # raises, and says what a time is
    if time.utcoffset() is not None:
        return to_utc(time, name)
    if zone is None:
        raise ValueError(
            f"{name} must say its offset from UTC, got {text!r}: if all are of one zone, give "
            "timezone in the map"
        )
    one, other = (time.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if one.utcoffset() != other.utcoffset():
        raise ValueError(f"{name} {text!r} is twice or never on the clocks of {zone}")
    return to_utc(one, name)


class Answer(NamedTuple):
    """An answer as a number, or as "cannot say"."""

    value: float | None


def answer(text: str, criterion: CriterionMap) -> Answer:
    """What an answer in words or digits says.

    Raises:
        ValueError: neither a number nor one of the labels.
    """
    word = text.strip().casefold()
    for label, value in criterion.labels:
        if word == label.strip().casefold():
            return Answer(value)
    if word in {label.strip().casefold() for label in criterion.cannot_judge}:
        return Answer(None)
    if _NUMBER.fullmatch(word):
        return Answer(float(word))
    labels = ", ".join(repr(label) for label, _ in criterion.labels) or "none"
    raise ValueError(f"{criterion.name} must be a number or a label ({labels}), got {text!r:.80}")


class Pseudonyms:
    """Makes people's ids unreadable: HMAC-SHA-256 under a secret.

    The panel is part of what is hashed, so the same person on two panels has two pseudonyms.

    Args:
        pepper: the secret, the same for every import; None: ids are pseudonyms already.
        panel: whose ids they are.

    Raises:
        ValueError: a pepper so short that it can be guessed.
    """

    def __init__(self, pepper: str | None, panel: str) -> None:
        if pepper is not None and len(pepper) < _MIN_PEPPER:
            raise ValueError(
                f"the pepper must have at least {_MIN_PEPPER} characters, got {len(pepper)}"
            )
        self._pepper, self._panel = pepper, panel

    def __call__(self, person: str) -> str:
        """The pseudonym of one person.

        Raises:
            ValueError: no id.
        """
        if not person:
            raise ValueError("rater must not be empty")
        if self._pepper is None:
            return person
        message = f"{self._panel}:{person}".encode()
        return "p_" + hmac.new(self._pepper.encode(), message, hashlib.sha256).hexdigest()[:20]
