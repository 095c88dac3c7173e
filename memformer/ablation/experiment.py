"""An experiment file: a question, a base config, variants of it, seeds, and what is measured.

A variant is the base with dotted fields changed. What it changes must be what it names: that is
checked before anything runs.
"""

import ast
import hashlib
import json
import runpy
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from memformer.ablation.metric import Metric
from memformer.ablation.trained import train_run
from memformer.config import RunConfig, differences, override, to_json
from memformer.training.experiment import set_fields


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One arm of an experiment."""

    name: str
    changes: Mapping[str, Any]
    """Dotted fields of the base and their values; empty for the base itself."""
    config: Any
    """The base with these changes, before a seed is put in."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """All that an experiment file says."""

    path: Path
    question: str
    """First line of the file's docstring."""
    variants: tuple[Variant, ...]
    """The base first."""
    seeds: tuple[int, ...]
    metrics: tuple[Metric, ...]
    """The primary one first."""
    make: Callable[[Any, Path], Any]
    """From a cell's config and folder to what the metrics are asked of."""
    settings: tuple[str, ...] = ()
    """Fields of the base that were set on the command line."""
    code: str = ""
    """Digest of what the file computes: all but `BASE`, `VARIANTS`, `SEEDS` and docstrings. What it
    imports is not in it."""

    @property
    def base(self) -> Variant:
        """What the others are compared with."""
        return self.variants[0]

    @property
    def trains(self) -> bool:
        """Whether a cell is a run of `train`."""
        return self.make is train_run

    @property
    def min_seed(self) -> int:
        """Seeds that an interval needs: two, but for files that train nothing and name one."""
        return 2 if self.trains or len(self.seeds) > 1 else 1

    def config_of(self, variant: str, seed: int) -> Any:
        """The config of one cell."""
        (found,) = (each for each in self.variants if each.name == variant)
        return replace(found.config, seed=seed)


def load_experiment(path: Path, settings: Iterable[str] = ()) -> Experiment:
    """Read an experiment file and check it.

    The file defines `BASE` (a config with a `seed`), `VARIANTS` (names to changes, one of them
    empty: the base), `SEEDS` and `METRICS`. Without `make(config, folder)` a cell is a run of
    `train`, and `BASE` a `RunConfig`.

    Args:
        path: of the file, which is run as a module would be imported.
        settings: `field.path=value` changes of the base.

    Raises:
        FileNotFoundError: no such file.
        ValueError: something is missing or of another kind; variants that are equal, that change
            nothing, or that change a field they do not name.
        TypeError: a change names a field that does not exist.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no experiment {path}")
    told = _run(path)
    settings = tuple(settings)
    base, make = told.get("BASE"), told.get("make", train_run)
    if not is_dataclass(base) or isinstance(base, type) or not hasattr(base, "seed"):
        raise ValueError(f"{path} must define BASE, a config with a seed, got {_kind(base)}")
    if make is train_run and not isinstance(base, RunConfig):
        raise ValueError(
            f"{path} must define BASE = RunConfig(...), got {_kind(base)}; for other models define "
            "make(config, folder)"
        )
    if settings:
        try:
            base = set_fields(base, settings)
        except NameError as error:
            raise ValueError(
                f"--set needs the types of {_kind(base)}, which cannot be looked up ({error}): "
                f"remove `from __future__ import annotations` from {path}"
            ) from error
    variants = _variants(path, base, told.get("VARIANTS"))
    return Experiment(
        path=path,
        question=(told.get("__doc__") or path.stem).strip().split("\n")[0],
        variants=variants,
        seeds=_seeds(path, told.get("SEEDS")),
        metrics=_metrics(path, told.get("METRICS")),
        make=make,
        settings=settings,
        code=_code(path),
    )


def _code(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    held_by_rows = {"BASE", "VARIANTS", "SEEDS"}
    tree.body = [node for node in tree.body if not _names(node) & held_by_rows]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12]


def _names(node: ast.stmt) -> set[str]:
    """What an assignment sets."""
    match node:
        case ast.Assign(targets=targets):
            return {each.id for each in targets if isinstance(each, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()


def _run(path: Path) -> dict[str, Any]:
    """What the file defines; as for a script, modules beside it can be imported."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        return runpy.run_path(str(path))
    except SyntaxError as error:
        raise ValueError(f"{path} is no Python: line {error.lineno}: {error.msg}") from error
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__)
                 if f.filename == str(path)]  # fmt: skip
        where = f" line {lines[-1]}" if lines else ""
        raise ValueError(f"{path}{where}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)


def _variants(path: Path, base: Any, told: Any) -> tuple[Variant, ...]:
    if not isinstance(told, dict) or not all(isinstance(c, dict) for c in told.values()):
        raise ValueError(f"{path} must define VARIANTS, names to changes, got {_kind(told)}")
    empty = [name for name, changes in told.items() if not changes]
    if len(empty) != 1 or len(told) < 2:
        raise ValueError(
            f"VARIANTS of {path} must hold one without changes, the base, and others beside it; "
            f"without changes are {empty or 'none'} of {len(told)}"
        )
    for name in told:
        if not _is_name(name):
            raise ValueError(
                "VARIANTS: a name must be one line of text without '/', '|' or a dot first, got "
                f"{name!r}"
            )
    made = [
        Variant(name=name, changes=changes, config=_changed(name, base, changes))
        for name, changes in sorted(told.items(), key=lambda each: bool(each[1]))
    ]
    held = [(variant.name, to_json(variant.config)) for variant in made]
    for (one, a), (other, b) in combinations(held, 2):
        if not differences(a, b):
            raise ValueError(f"VARIANTS {one!r} and {other!r} are the same config: leave one out")
    return tuple(made)


def _is_name(name: Any) -> bool:
    """Whether a variant's name can be a folder's, and stand in a table."""
    return (
        isinstance(name, str)
        and bool(name.strip())
        and name.isprintable()
        and not name.startswith(".")
        and not set("/|") & set(name)
    )


def _changed(name: str, base: Any, changes: Mapping[str, Any]) -> Any:
    """The base with changes that are what they say: no field more, none that was so before."""
    if "seed" in changes:
        raise ValueError(f"VARIANTS {name!r} sets seed, which SEEDS does: leave it out")
    try:
        config = override(base, dict(changes))
    except (TypeError, ValueError) as error:
        raise type(error)(f"VARIANTS {name!r}: {error}") from error
    changed = {
        field: (was, now)
        for field, was, now in differences(*(json.loads(json.dumps(to_json(c))) for c in
                                             (base, config)))
    }  # fmt: skip
    for field in changes:
        if not any(each == field or each.startswith(f"{field}.") for each in changed):
            raise ValueError(f"VARIANTS {name!r} sets {field} to what the base has already")
    for field, (was, now) in changed.items():
        if field not in changes:
            raise ValueError(
                f"VARIANTS {name!r} also changes {field} from {was!r} to {now!r} without naming "
                "it: change single fields by their dotted names"
            )
    return config


def _seeds(path: Path, told: Any) -> tuple[int, ...]:
    try:
        seeds = tuple(told)
    except TypeError:
        raise ValueError(f"{path} must define SEEDS such as range(3), got {_kind(told)}") from None
    if not seeds or len(set(seeds)) < len(seeds) or not all(
        isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds
    ):  # fmt: skip
        raise ValueError(f"SEEDS of {path} must be different numbers from 0 on, got {seeds}")
    return seeds


def _metrics(path: Path, told: Any) -> tuple[Metric, ...]:
    metrics = tuple(told) if isinstance(told, list | tuple) else ()
    if not metrics or not all(isinstance(each, Metric) for each in metrics):
        raise ValueError(
            f"{path} must define METRICS, a tuple of Metric, the primary one first, got {told!r}; "
            "memformer.ablation has some"
        )
    names = [each.name for each in metrics]
    if len(set(names)) < len(names):
        raise ValueError(f"METRICS of {path} must have different names, got {names}")
    return metrics


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
