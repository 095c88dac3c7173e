"""Any two training runs, beside each other."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from memformer.ablation.effects import Interval, crossed_interval
from memformer.ablation.trained import Trained
from memformer.config import RunConfig, differences, from_json, to_json
from memformer.evaluation.store import read_json


class Comparison(NamedTuple):
    """B against A."""

    differences: list[tuple[str, Any, Any]]
    """Fields of the configs that differ, with both values."""
    books: list[tuple[str, float, float]]
    """Nats a token of each held-out book that both have read, after the last step, as trained."""
    difference: Interval
    """B minus A over books: it holds no other seed."""


def compare(a: Path, b: Path) -> Comparison:
    """Compare two runs of `train`, or cells of an ablation of such runs.

    Raises:
        ValueError: a folder is no run that has been validated, or the two share no held-out book.
    """
    one, other = _run(a), _run(b)
    nats = [run.held_out("on") or run.held_out("off") for run in (one, other)]
    books = [(book, nats[0][book], nats[1][book]) for book in nats[0] if book in nats[1]]
    if not books:
        raise ValueError(
            f"{a} and {b} share no held-out book: {sorted(nats[0])} and {sorted(nats[1])}"
        )
    interval, _ = crossed_interval(np.array([[y - x for _, x, y in books]]))
    return Comparison(differences(to_json(one.config), to_json(other.config)), books, interval)


def _run(folder: Path) -> Trained:
    folder = folder / "run" if (folder / "run" / "run.json").is_file() else folder  # a cell
    if not (folder / "run.json").is_file() or not (folder / "validation.csv").is_file():
        raise ValueError(f"{folder} is no run of `memformer train` that has been validated, nor a "
                         "cell of one (OUT/cells/<variant>/<seed>)")  # fmt: skip
    return Trained(from_json(RunConfig, read_json(folder / "run.json")["config"]), folder)
