"""The run folder: one npz a reading, one a book, one JSON of results; each is written whole or not.

RUN/result.json                  numbers only, fit to be kept
RUN/tokens/<book>.npz            text and spans: stays where it is
RUN/tokens/<book>--<arm>.npz     losses per token, and what was retrieved
"""

import io
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memformer.evaluation.encoded import EncodedManuscript
from memformer.evaluation.read import Reading
from memformer.evaluation.retrievals import Retrievals

RESULT = "result.json"
TOKENS = "tokens"


@dataclass(frozen=True)
class Stored:
    """A reading as found in the folder, with what it was made under."""

    reading: Reading
    settings: dict[str, Any]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that stands in its place only when complete.

    Raises:
        OSError: as the file system says; the file that stood there before still stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp makes files for the owner alone
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON without NaN (what has no value is null), a line for each outermost key."""
    lines = (
        f"{json.dumps(name)}: {json.dumps(value, allow_nan=False, ensure_ascii=False)}"
        for name, value in content.items()
    )
    write_whole(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read JSON.

    Raises:
        ValueError: the file is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a whole JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def reading_path(folder: Path, book: str, arm: str) -> Path:
    """Where a reading lies."""
    return folder / TOKENS / f"{book}--{arm}.npz"


def save_reading(path: Path, reading: Reading, settings: dict[str, Any]) -> None:
    """Write a reading and what it was made under."""
    found = {} if reading.retrieved is None else reading.retrieved.arrays()
    arrays: dict[str, NDArray[Any]] = {
        "nats": reading.nats,
        "seconds": np.array([reading.seconds]),
        "memory_bytes": np.array([reading.memory_bytes]),
        "settings": _packed(json.dumps(settings)),
        **{f"retrieved.{name}": array for name, array in found.items()},
    }
    _save(path, arrays)


def load_reading(path: Path) -> Stored:
    """Read what `save_reading` wrote.

    Raises:
        ValueError: the file is damaged.
    """
    arrays = _load(path)
    prefix = "retrieved."
    found = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    reading = Reading(
        nats=arrays["nats"],
        seconds=float(arrays["seconds"][0]),
        memory_bytes=int(arrays["memory_bytes"][0]),
        retrieved=Retrievals(**found) if found else None,
    )
    return Stored(reading, json.loads(_unpacked(arrays["settings"])))


def save_book(folder: Path, book: EncodedManuscript) -> None:
    """Write the text, for the report's excerpts."""
    facts = {
        "id": book.id,
        "author": book.author,
        "title": book.title,
        "chapters": book.chapters,
        "n_total": book.n_total,
    }
    arrays: dict[str, NDArray[Any]] = {
        "ids": book.ids,
        "spans": book.spans,
        "text": _packed(book.text),
        "facts": _packed(json.dumps(facts)),
    }
    _save(folder / TOKENS / f"{book.id}.npz", arrays)


def load_book(folder: Path, book: str) -> EncodedManuscript:
    """Read what `save_book` wrote.

    Raises:
        ValueError: the file is damaged.
    """
    arrays = _load(folder / TOKENS / f"{book}.npz")
    facts = json.loads(_unpacked(arrays["facts"]))
    facts["chapters"] = tuple((offset, heading) for offset, heading in facts["chapters"])
    return EncodedManuscript(
        **facts, text=_unpacked(arrays["text"]), ids=arrays["ids"], spans=arrays["spans"]
    )


def _save(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_whole(path, buffer.getvalue())


def _load(path: Path) -> dict[str, NDArray[Any]]:
    content = io.BytesIO(path.read_bytes())
    try:
        with np.load(content, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zip, zlib and numpy each have errors of their own
        raise ValueError(f"{path} is damaged ({error}): delete it and evaluate again") from error


def _packed(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _unpacked(array: NDArray[np.uint8]) -> str:
    return array.tobytes().decode()
