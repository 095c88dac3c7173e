"""The folder of a run, to which models, conditions and fractions may be added later.

FOLDER/config.json     the data; of each model its settings, and a hash of both
FOLDER/results.jsonl   a row a probe, model, condition and fraction told
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from memformer.config import differences
from memformer.evaluation.store import write_whole
from memformer.plotbench.results import Result
from memformer.plotbench.row_file import RowFile
from memformer.plotbench.story import Bench

CONFIG, RESULTS = "config.json", "results.jsonl"


class HasRun(Protocol):
    """A row that says of which story and run it is."""

    @property
    def story_id(self) -> str:
        """Of the story that was read."""

    @property
    def model(self) -> str:
        """Name of the scorer."""

    @property
    def condition(self) -> str:
        """Under which it read."""

    @property
    def fraction(self) -> str:
        """How it was told the place in the story."""

    @property
    def config_sha256(self) -> str:
        """Of the data and the model's settings."""


R = TypeVar("R", bound=HasRun)


class RunFolder:
    """A folder that belongs to one benchmark, with what each model was when it was asked.

    Args:
        path: made if missing.
        bench: the data.
        settings: of each model of this run by its name, all that its scores depend on; JSON.
        resume: go on with what the folder holds, or add to it.

    Raises:
        ValueError: results of other data, of one of these models under other settings (names what
            changed), or rows that are of no model in `config.json`.
        FileExistsError: the folder holds results, and `resume` is not set; results without
            `config.json`.
    """

    def __init__(
        self, path: Path, bench: Bench, settings: Mapping[str, Any], *, resume: bool
    ) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        data = {name: bench.manifest[name] for name in ("bench_version", "content_sha256")}
        before = self._before(data)
        held: dict[str, Any] = before["models"] if before else {}
        now = {name: _model(data, each) for name, each in settings.items()}
        for name in now.keys() & held.keys():
            for field, old, new in differences(held[name]["settings"], now[name]["settings"])[:1]:
                raise ValueError(
                    f"{path} holds rows of {name} with {field}={_short(old)}, it now has "
                    f"{_short(new)}: choose another folder, or give the model another name"
                )
        if before and not resume:
            raise FileExistsError(
                f"{path} holds results of these data: give --resume (resume=True) to go on or "
                "to add to them, or choose another folder"
            )
        models = {**held, **now}
        self.hashes: dict[str, str] = {name: each["sha256"] for name, each in models.items()}
        self.results = self.rows(RESULTS, Result)
        if models != held:
            told = json.dumps({"data": data, "models": models}, indent=1, ensure_ascii=False)
            write_whole(path / CONFIG, f"{told}\n".encode())

    def rows(self, name: str, kind: type[R]) -> RowFile[R]:
        """A file of rows in the folder, each of a model that `config.json` knows as it was."""
        file = RowFile(self.path / name, kind)
        for line, row in enumerate(file.rows, 1):
            known = self.hashes.get(row.model)
            if row.config_sha256 != known:
                raise ValueError(
                    f"{file.path} line {line}: {row.model} has config_sha256 "
                    f"{row.config_sha256[:12]}, {CONFIG} says {str(known)[:12]}: one of the files "
                    "was changed; choose another folder"
                )
        return file

    def _before(self, data: dict[str, Any]) -> dict[str, Any] | None:
        path = self.path / CONFIG
        if not path.exists():
            if (self.path / RESULTS).exists():
                raise FileExistsError(
                    f"{self.path} holds {RESULTS} without {CONFIG}: choose another folder"
                )
            return None
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON ({error}): choose another folder") from None
        if not isinstance(before, dict) or set(before) != {"data", "models"}:
            raise ValueError(f"{path} must be an object of data and models: choose another folder")
        models = before["models"]
        is_whole = (
            isinstance(before["data"], dict)
            and isinstance(models, dict)
            and all(
                isinstance(each, dict) and set(each) == {"settings", "sha256"}
                for each in models.values()
            )
        )
        if not is_whole:
            raise ValueError(
                f"{path}: data must be an object, and each of models one of settings and sha256: "
                "choose another folder"
            )
        for field, old, new in differences(before["data"], data)[:1]:
            raise ValueError(
                f"{self.path} holds results of data with {field}={_short(old)}, these have "
                f"{_short(new)}: choose another folder"
            )
        return before


def finished(file: RowFile[R], run: tuple[str, str, str], n_rows: Mapping[str, int]) -> set[str]:
    """Stories of which a run has all rows; the rows of stories begun are dropped from the file.

    Args:
        file: rows of any run.
        run: model, condition and fraction.
        n_rows: rows that a story has when it is finished, by story_id.
    """
    found: dict[str, int] = {}
    for row in file.rows:
        if _run_of(row) == run:
            found[row.story_id] = found.get(row.story_id, 0) + 1
    held = {story for story, n in found.items() if n == n_rows.get(story)}
    kept = [row for row in file.rows if _run_of(row) != run or row.story_id in held]
    if len(kept) < len(file.rows):
        file.keep(kept)
    return held


def config_hash(data: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """SHA-256 of data and settings as JSON with sorted keys."""
    told = json.dumps({"data": data, "settings": settings}, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _model(data: dict[str, Any], settings: Any) -> dict[str, Any]:
    settings = json.loads(json.dumps(settings))  # as it is read back
    return {"settings": settings, "sha256": config_hash(data, settings)}


def _run_of(row: HasRun) -> tuple[str, str, str]:
    return row.model, row.condition, row.fraction


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
