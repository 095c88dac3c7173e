"""Rows of an ablation: one JSON file a cell, there whole or not at all.

OUT/cells/<variant>/<seed>/row.json    what a finished cell gave
OUT/cells/<variant>/<seed>/error.txt   the traceback of one that failed
OUT/cells/<variant>/<seed>/run/        what it made
OUT/rows.jsonl                         all rows together, written anew from the cells
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from memformer.ablation.experiment import Experiment
from memformer.config import completed, differences, to_json
from memformer.evaluation.store import read_json, write_whole

ROWS = "rows.jsonl"


class Cell(NamedTuple):
    """One variant at one seed."""

    variant: str
    seed: int

    def folder(self, out: Path) -> Path:
        """Where it lives."""
        return out / "cells" / self.variant / str(self.seed)

    def __str__(self) -> str:
        return f"{self.variant}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one cell gave."""

    variant: str
    seed: int
    config: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    """Numbers by metric and unit."""
    curve: tuple[tuple[int, float], ...]
    """Steps and the mean of the held-out nats after them; none for cells that train nothing."""
    n_token: int
    """Tokens trained on."""
    n_parameter: int
    wall_s: float
    """Seconds of making and measuring, in all tries but those that were killed."""
    machine: dict[str, Any]
    code: str = ""
    """`Experiment.code` of the file as it was; empty in rows of before."""


def cells_of(experiment: Experiment) -> list[Cell]:
    """All cells, seed by seed: an experiment that is cut short has whole seeds."""
    return [
        Cell(variant.name, seed) for seed in experiment.seeds for variant in experiment.variants
    ]


def as_json(config: Any) -> dict[str, Any]:
    """A config as JSON gives it back: lists for tuples."""
    found: dict[str, Any] = json.loads(json.dumps(to_json(config)))
    return found


def config_digest(config: Any) -> str:
    """Of a config, so that a cell's process can tell that it reads what was planned."""
    return hashlib.sha256(json.dumps(to_json(config), sort_keys=True).encode()).hexdigest()[:12]


def strangers(experiment: Experiment, out: Path) -> list[Cell]:
    """Cells in the folder that have a row and are none of the experiment: renamed or taken out."""
    found = [
        Cell(path.parents[1].name, int(path.parent.name))
        for path in sorted((out / "cells").glob("*/*/row.json"))
        if path.parent.name.isdecimal()
    ]
    return [cell for cell in found if cell not in cells_of(experiment)]


def finished(experiment: Experiment, out: Path) -> dict[Cell, Row]:
    """Rows of those cells that have one.

    Raises:
        ValueError: a row was made under another config (names the field and both values) or
            measures other things, or is damaged.
    """
    found: dict[Cell, Row] = {}
    for cell in cells_of(experiment):
        path = cell.folder(out) / "row.json"
        if path.is_file():
            found[cell] = _checked(experiment, cell, read_row(path), path)
    return found


def reported(experiment: Experiment, out: Path) -> list[Row]:
    """Rows of finished cells; in a folder without cells those of its `rows.jsonl`, as others keep
    and send them.

    Raises:
        ValueError: as `finished`.
    """
    path, cells = out / ROWS, cells_of(experiment)
    if (out / "cells").is_dir() or not path.is_file():
        return list(finished(experiment, out).values())
    held = {Cell(row.variant, row.seed): row for row in read_rows(path)}
    return [_checked(experiment, cell, held[cell], path) for cell in cells if cell in held]


def _checked(experiment: Experiment, cell: Cell, row: Row, path: Path) -> Row:
    """A row of what the experiment is now."""
    config, wanted = experiment.config_of(*cell), [metric.name for metric in experiment.metrics]
    for field, was, now in differences(completed(row.config, config), as_json(config)):
        raise ValueError(
            f"{path} was made with {field}={was!r}, the experiment has {now!r} now: take "
            f"another folder, or remove {path.parent}"
        )
    if list(row.metrics) != wanted:
        raise ValueError(
            f"{path} holds metrics {list(row.metrics)}, the experiment has {wanted}: take "
            f"another folder, or remove {path} to have it measured again"
        )
    return row


def read_row(path: Path) -> Row:
    """One row. Raises ValueError for a damaged one."""
    return _row(read_json(path), str(path))


def _row(told: dict[str, Any], where: str) -> Row:
    try:
        curve = tuple((int(step), float(nats)) for step, nats in told.pop("curve"))
        return Row(**told, curve=curve)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{where} is no row of an ablation: {error}") from error


def write_row(path: Path, row: Row) -> None:
    """Put a row in its place."""
    write_whole(path, (json.dumps(asdict(row), allow_nan=False) + "\n").encode())


def write_rows(out: Path, rows: Sequence[Row]) -> Path:
    """All rows in one file."""
    lines = (json.dumps(asdict(row), allow_nan=False) + "\n" for row in rows)
    write_whole(out / ROWS, "".join(lines).encode())
    return out / ROWS


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a file that `write_rows` wrote.

    Raises:
        ValueError: a line that is no row; names it.
    """
    for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            told = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path} line {n} is no JSON: {error}") from error
        yield _row(told, f"{path} line {n}")
