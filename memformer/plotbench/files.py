"""A benchmark as a folder, written whole or not at all, and read back with every hash checked.

FOLDER/stories.jsonl, text/<story_id>.txt    a line a twin; its text, UTF-8 in NFC
FOLDER/traces.jsonl, probes.jsonl            the truth, and what is asked
FOLDER/manifest.json                         how it was made, SHA-256 of all this
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from memformer.data.records import from_record, to_record
from memformer.plotbench.make import BENCH_VERSION, content_hash
from memformer.plotbench.story import Bench, Probe, Story, Trace
from memformer.plotbench.validity import incomplete_groups, refuse_faults

T = TypeVar("T")
log = logging.getLogger(__name__)
MANIFEST = "manifest.json"


def save(folder: Path | str, bench: Bench) -> None:
    """Write a benchmark into a new folder, which appears when it is complete.

    The canary stands in every line, so that a corpus which took the files in can be told.

    Raises:
        ValueError: the benchmark is faulty (`validity.faults`).
        FileExistsError: the folder holds something.
        OSError: as the file system says.
    """
    folder = Path(folder)
    refuse_faults(bench)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: choose a new folder, or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        (part / "text").mkdir()
        for story in bench.stories:
            (part / _text_path(story.story_id)).write_bytes(story.text.encode())
        canary = bench.manifest.get("canary")
        files = {
            name: _write_lines(part / name, ({**each, "canary": canary} for each in records))
            for name, records in _records(bench).items()
        }
        manifest = {**bench.manifest, "files": files}
        manifest["content_sha256"] = content_hash(bench.stories, bench.probes)
        (part / MANIFEST).write_text(
            json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        part.chmod(0o755)  # mkdtemp makes folders for the owner alone
        os.replace(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def load(folder: Path | str) -> Bench:
    """Read what `save` wrote. Groups without all four cells are read, and named in the log.

    Raises:
        ValueError: another version, a damaged or changed file, a faulty record; the message names
            file, line and id.
        OSError: a file is missing.
    """
    folder = Path(folder)
    manifest = _manifest(folder)
    stories = [
        _story(folder, line, values)
        for line, values in _lines(folder / "stories.jsonl")
    ]  # fmt: skip
    traces = [
        _record(Trace, folder / "traces.jsonl", *each) for each in _lines(folder / "traces.jsonl")
    ]
    probes = [
        _record(Probe, folder / "probes.jsonl", *each) for each in _lines(folder / "probes.jsonl")
    ]
    files = manifest.pop("files", {})
    bench = Bench(
        stories=tuple(stories), traces=tuple(traces), probes=tuple(probes), manifest=manifest
    )
    refuse_faults(bench)
    for name in _records(bench):
        _compare(name, files.get(name), _sha256(folder / name))
    _compare(
        "content_sha256", manifest.get("content_sha256"), content_hash(bench.stories, bench.probes)
    )
    missing = incomplete_groups(bench.probes)
    if missing:
        log.warning(
            "%d groups have not all four cells and count in no metric of groups: %s",
            len(missing), ", ".join(missing),
        )  # fmt: skip
    return bench


def _records(bench: Bench) -> dict[str, Iterator[dict[str, Any]]]:
    return {
        "stories.jsonl": (_story_record(story) for story in bench.stories),
        "traces.jsonl": (to_record(trace) for trace in bench.traces),
        "probes.jsonl": (to_record(probe) for probe in bench.probes),
    }


def _story_record(story: Story) -> dict[str, Any]:
    values = to_record(story)
    del values["text"]
    path = _text_path(story.story_id)
    return values | {"text_path": path, "sha256": story.sha256, "n_chars": len(story.text)}


def _story(folder: Path, line: int, values: dict[str, Any]) -> Story:
    where = f"stories.jsonl line {line} ({values.get('story_id')})"
    told, n_chars = values.pop("sha256", None), values.pop("n_chars", None)
    path = values.pop("text_path", None)
    if path != _text_path(str(values.get("story_id"))):
        raise ValueError(f"{where}: text_path must be text/<story_id>.txt, got {path!r}")
    content = (folder / path).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != told:
        raise ValueError(
            f"{where}: {path} has SHA-256 {found[:12]}, the line says {str(told)[:12]}: the text "
            "was changed or damaged; take the folder anew"
        )
    text = content.decode("utf-8")
    if len(text) != n_chars:
        raise ValueError(f"{where}: {path} has {len(text)} characters, the line says {n_chars}")
    return _record(Story, folder / "stories.jsonl", line, values | {"text": text})


def _text_path(story_id: str) -> str:
    if not story_id or "/" in story_id or "\\" in story_id or story_id.startswith("."):
        raise ValueError(f"story_id must be fit for a file's name, got {story_id!r}")
    return f"text/{story_id}.txt"


def _write_lines(path: Path, records: Iterable[dict[str, Any]]) -> str:
    """Returns the SHA-256 of what was written."""
    lines = (json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in records)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return _sha256(path)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Records with their line's number, without the canary."""
    content = path.read_bytes()
    try:
        whole = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path.name} line {line} is not UTF-8: the file is damaged") from None
    for line, text in enumerate(whole.rstrip("\n").split("\n"), 1):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path.name} line {line} is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(f"{path.name} line {line} must be a JSON object")
        values.pop("canary", None)
        yield line, values


def _record(kind: type[T], path: Path, line: int, values: dict[str, Any]) -> T:
    try:
        return from_record(kind, values)
    except ValueError as error:
        id = values.get("probe_id", values.get("story_id"))
        raise ValueError(f"{path.name} line {line} ({id}): {error}") from None


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {MANIFEST}: it is no folder of a benchmark")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no whole JSON: {error}") from None
    if not isinstance(manifest, dict):
        raise ValueError(f"{path} must hold a JSON object")
    if not isinstance(manifest.get("files", {}), dict):
        raise ValueError(f"{path}: files must be an object of hashes, got {manifest['files']!r}")
    version = manifest.get("bench_version")
    if version != BENCH_VERSION:
        raise ValueError(
            f"bench_version of {folder} is {version!r}, this package reads {BENCH_VERSION!r}: "
            "make the data anew, or install the version it was made with"
        )
    return manifest


def _compare(name: str, told: object, found: str) -> None:
    if told != found:
        raise ValueError(
            f"{name}: SHA-256 is {found[:12]}, {MANIFEST} says {str(told)[:12]}: the data was "
            "changed after it was made; save it anew under another name"
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
