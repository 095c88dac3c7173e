"""What all settings share: changed copies, JSON, and checks between fields."""

import difflib
import types
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def override(config: T, changes: dict[str, Any]) -> T:
    """Copy `config` with dotted fields changed; a field that does not exist is a TypeError.

    All changes to one dataclass land together, so its checks see the final values.

    Raises:
        TypeError: a field does not exist (names those near to it), a value is of another type than
            the field's, or is given for a field of what is no config. Annotations that cannot be
            looked up, in a file with `from __future__ import annotations`, are not checked.
        ValueError: the config's own rules refuse the result.
    """
    known = {f.name for f in fields(config)}  # type: ignore[arg-type]  # T is a dataclass
    hints = _hints(type(config))
    flat: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        name, _, rest = path.partition(".")
        if name not in known:
            raise TypeError(_no_field(type(config), name))
        if not rest:
            if name in hints and not _fits(hints[name], value):
                raise TypeError(
                    f"{type(config).__name__}.{name} must be {_told(hints[name])}, got {value!r}"
                )
            flat[name] = value
        elif is_dataclass(getattr(config, name)):
            nested.setdefault(name, {})[rest] = value
        else:
            raise TypeError(f"{type(config).__name__}.{name} is a value and has no field {rest!r}")
    deep = {name: override(getattr(config, name), inner) for name, inner in nested.items()}
    return replace(config, **flat, **deep)  # type: ignore[type-var]


def to_json(config: Any) -> dict[str, Any]:
    """The config as a dictionary that `json` can write; tuples become lists there."""
    return asdict(config)


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Where two configs in JSON differ: (dotted field, value in a, value in b), sorted; None where
    one has no such field."""
    one, other = _flat(a), _flat(b)
    names = sorted(one.keys() | other.keys())
    every = [(name, one.get(name), other.get(name)) for name in names]
    return [each for each in every if each[1] != each[2]]


def completed(saved: dict[str, Any], config: Any) -> dict[str, Any]:
    """What `to_json` wrote of such a config, with the defaults of fields that came later."""
    whole = dict(saved)
    for f in fields(config):
        now = getattr(config, f.name)
        if f.name not in saved:
            first = f.default if f.default_factory is MISSING else f.default_factory()
            if first is not MISSING:
                whole[f.name] = to_json(first) if is_dataclass(first) else first
        elif is_dataclass(now) and isinstance(saved[f.name], dict):
            whole[f.name] = completed(saved[f.name], now)
    return whole


def from_json(kind: type[T], values: dict[str, Any]) -> T:
    """Build a config from what `to_json` wrote: lists become tuples, nested parts their configs.

    Raises:
        TypeError: an unknown field, or a value of another type than the field's.
        ValueError: the config's own rules refuse the values.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - {f.name for f in fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise TypeError(_no_field(kind, unknown[0]))
    return kind(
        **{
            name: _read(hints[name], value, f"{kind.__name__}.{name}")
            for name, value in values.items()
        }
    )


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat


def _read(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise TypeError(f"{where} must be a {hint.__name__} with fields, got {value!r}")
        return from_json(hint, value)
    value = tuple(value) if isinstance(value, list) else value
    if not _fits(hint, value):
        raise TypeError(f"{where} must be {_told(hint)}, got {value!r}")
    return value


def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except NameError:
        return {}


def _told(hint: Any) -> str:
    """A type as one writes it."""
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def _no_field(kind: type, name: str) -> str:
    known = [f.name for f in fields(kind)]
    near = difflib.get_close_matches(name, known, n=3)
    way_out = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known)}"
    return f"{kind.__name__} has no field {name!r}: {way_out}"


def _fits(hint: Any, value: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(each, value) for each in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        of = inner[:1] * len(value) if inner[-1:] == (...,) else inner
        return len(of) == len(value) and all(map(_fits, of, value))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is Any or hint is None:
        return hint is Any or value is None
    return isinstance(value, origin or hint)


def check_choice(config: Any, *names: str) -> None:
    """Fields of a `Literal` type hold one of its values; a ValueError names those otherwise."""
    hints = get_type_hints(type(config))
    for name in names:
        if getattr(config, name) not in get_args(hints[name]):
            raise ValueError(
                f"{name} must be one of {', '.join(get_args(hints[name]))}, "
                f"got {getattr(config, name)!r}"
            )


def check_at_least(config: Any, least: int, *names: str) -> None:
    """Fields hold an integer of at least `least`, else a ValueError."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_depths(config: Any, name: str) -> None:
    """A field holds different depths of layers, counted from 0, or "all", else a ValueError."""
    value = getattr(config, name)
    if value == "all":
        return
    if not isinstance(value, tuple):
        raise ValueError(f"{name} must be a tuple of depths or 'all', got {value!r}")
    if len(set(value)) != len(value) or any(i < 0 for i in value):
        raise ValueError(f"{name} must be different depths counted from 0, got {value}")


def check_real(config: Any, least: float, most: float, *names: str) -> None:
    """Fields hold a real number in [least, most], else a ValueError."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number, got {value!r}")
        if not least <= value <= most:
            raise ValueError(f"{name} must be in [{least:g}, {most:g}], got {value!r}")
