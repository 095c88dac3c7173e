"""A run's config from a Python file, with fields set on the command line."""

import json
import runpy
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from memformer.config import RunConfig, from_json, to_json

T = TypeVar("T")


def read_base(path: Path) -> RunConfig:
    """The `BASE` of an experiment file, which is run as a module would be imported.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it defines no `BASE`, or one that is no `RunConfig`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no experiment {path}")
    base = runpy.run_path(str(path)).get("BASE")
    if not isinstance(base, RunConfig):
        raise ValueError(f"{path} must define BASE = RunConfig(...), got {type(base).__name__}")
    return base


def set_fields(config: T, changes: Iterable[str]) -> T:
    """A copy with `path=value` settings; values are JSON (`null`, `[1, 2]`), else plain words.

    Raises:
        ValueError: a setting without `=`, or values that the config's rules refuse.
        TypeError: a field does not exist, or the value is of another type than the field's.
    """
    whole = json.loads(json.dumps(to_json(config)))
    for change in changes:
        path, found, value = change.partition("=")
        if not found or not path:
            raise ValueError(f"a setting must be field.path=value, got {change!r}")
        *parents, leaf = path.strip().split(".")
        part = whole
        for name in parents:
            part = part.get(name) if isinstance(part, dict) else None
        if not isinstance(part, dict):
            raise TypeError(f"{type(config).__name__} has no field {path!r}")
        part[leaf] = _value(value)
    return from_json(type(config), whole)  # types are checked before the config's own rules


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
