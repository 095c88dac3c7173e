"""Dataclasses as JSON records and back, strictly: no field too many, none of another type."""

import types
from collections.abc import Hashable
from dataclasses import MISSING, asdict, fields, is_dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_record(value: Any) -> dict[str, Any]:
    """Fields by name, nested ones too; JSON makes lists of tuples. Times stay what they are."""
    return asdict(value)


def read_time(text: str, name: str = "time") -> datetime:
    """An ISO 8601 time with its offset from UTC, as UTC: `2026-06-01T12:00:00+02:00`, or `...Z`.

    Raises:
        ValueError: it is no such time, or has no offset: nobody knows which moment it was.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{name} must be an ISO 8601 time such as 2026-06-01T12:00:00+02:00, got {text!r:.80}"
        ) from None
    return to_utc(time, name)


def to_utc(time: datetime, name: str = "time") -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: the time has no offset from UTC, or lies outside the calendar.
    """
    if time.utcoffset() is None:
        raise ValueError(
            f"{name} must say its offset from UTC, such as +02:00 or Z, got {time.isoformat()}"
        )
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{name} lies outside the calendar: {time.isoformat()}") from None


def write_time(time: datetime) -> str:
    """A time as `read_time` reads it, in UTC: `2026-06-01T10:00:00Z`."""
    return to_utc(time).isoformat().removesuffix("+00:00") + "Z"


def from_record(kind: type[T], values: object) -> T:
    """Build a dataclass from what JSON holds; lists become tuples, objects nested dataclasses, ISO
    times with an offset moments in UTC.

    Raises:
        ValueError: no object, a field missing or unknown, a value of another type; the message
            names the field.
    """
    if not isinstance(values, dict):
        raise ValueError(f"must be a JSON object, got {type(values).__name__}")
    hints, needed = _fields(cast(Hashable, kind))
    for name in values:
        if name not in hints:
            raise ValueError(f"has no field {name!r}; known are {', '.join(hints)}")
    for name in needed:
        if name not in values:
            raise ValueError(f"field {name!r} is missing")
    return kind(**{name: _read(hints[name], value, name) for name, value in values.items()})


@lru_cache(maxsize=256)
def _fields(kind: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Types of a dataclass's fields by name, and the fields that have no default."""
    hints = get_type_hints(kind)
    every = fields(kind)
    needed = [f for f in every if f.default is MISSING and f.default_factory is MISSING]
    return {f.name: hints[f.name] for f in every}, tuple(f.name for f in needed)


def _read(hint: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        try:
            return from_record(hint, value)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        (hint,) = (each for each in inner if each is not type(None))
        return _read(hint, value, where)
    if hint is datetime:
        if isinstance(value, datetime):
            return to_utc(value, where)
        if isinstance(value, str):
            return read_time(value, where)
    if origin is tuple and isinstance(value, list):
        each = inner[:1] * len(value) if inner[-1:] == (Ellipsis,) else inner
        if len(each) == len(value):
            return tuple(
                _read(part, one, f"{where}[{i}]")
                for i, (part, one) in enumerate(zip(each, value, strict=True))
            )
    elif _fits(hint, origin, inner, value):
        try:
            return float(value) if hint is float else value
        except OverflowError:
            raise ValueError(f"{where} is too large a number: {len(str(value))} digits") from None
    raise ValueError(f"{where} must be {_name(hint)}, got {value!r:.80}")


def _fits(hint: Any, origin: Any, inner: tuple[Any, ...], value: Any) -> bool:
    if origin is Literal:
        return value in inner
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint)


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
