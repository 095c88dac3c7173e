"""A map of columns, written in TOML."""

import tomllib
from pathlib import Path
from typing import Any

from memformer.config.rating import ImportMap
from memformer.data.manuscripts import decode
from memformer.data.records import from_record


def read_map(path: Path) -> ImportMap:
    """The `ImportMap` that a TOML file spells out; `[[criteria]]` is a question each, and `labels`
    a table of answers in words.

    Raises:
        ValueError: no TOML, a field missing, unknown or of another type, or fields that clash; the
            message names file and field.
    """
    try:
        values = tomllib.loads(decode(path.read_bytes(), path.name))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name} is no TOML: {error}") from None
    criteria = values.get("criteria")
    for criterion in criteria if isinstance(criteria, list) else []:
        if isinstance(criterion, dict) and isinstance(criterion.get("labels"), dict):
            labels: dict[str, Any] = criterion["labels"]
            criterion["labels"] = [[label, value] for label, value in labels.items()]
    try:
        return from_record(ImportMap, values)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
