"""Manuscripts on disk: what memformer writes, and novels that users have.

A folder that memformer writes holds one text a manuscript and `manifest.jsonl`, one row a
manuscript with the hashes that reading verifies. It appears whole or not at all.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from memformer.data.cleaning import CLEANING, Chapter
from memformer.data.manuscripts import Manuscript, decode
from memformer.data.packages import check_hash

MANIFEST = "manifest.jsonl"


def save_manuscripts(manuscripts: Iterable[Manuscript], folder: Path) -> bool:
    """Write a folder of manuscripts; what it held before is replaced in one step.

    Returns:
        False if the folder holds exactly these already: then nothing is done.

    Raises:
        ValueError: there is no manuscript, two share an id, or the folder holds other files.
        OSError: for example when the disk is full; the folder is then as it was.
    """
    every = tuple(manuscripts)
    rows = [_row(manuscript) for manuscript in every]
    if len({row["file"].lower() for row in rows}) != len(rows) or not rows:
        raise ValueError(f"a folder needs manuscripts of different ids, got {len(rows)} of them")
    _refuse_foreign(folder)
    manifest = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if _holds(folder, manifest, rows):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for row, manuscript in zip(rows, every, strict=True):
            (partial / row["file"]).write_bytes(manuscript.text.encode())
        (partial / MANIFEST).write_text(manifest, encoding="utf-8")
        _take_place(partial, folder)
    except OSError as error:
        reason = f"{error.strerror or error}: the manuscripts were not written"
        raise OSError(error.errno, reason, str(folder)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def load_manuscripts(folder: Path) -> tuple[Manuscript, ...]:
    """Read what `save_manuscripts` wrote.

    Raises:
        FileNotFoundError: there is no such folder, or a text is missing.
        ValueError: the folder has no manifest of memformer's, a text's hash differs, or the texts
            were cleaned by another version of the cleaning.
    """
    if not is_saved(folder):
        raise ValueError(f"{folder} must hold a {MANIFEST} that memformer wrote")
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    return tuple(
        _load_row(folder, line, f"{folder / MANIFEST}:{number}")
        for number, line in enumerate(lines, start=1)
    )


def is_saved(folder: Path) -> bool:
    """Whether the folder's manifest was written by `save_manuscripts`, not by a user."""
    path = folder / MANIFEST
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline()
    try:
        return "cleaning" in json.loads(first)
    except (json.JSONDecodeError, TypeError):
        return False


def _row(manuscript: Manuscript) -> dict[str, Any]:
    return {
        "file": f"{manuscript.id}.txt",
        "id": manuscript.id,
        "author": manuscript.author,
        "title": manuscript.title,
        "source": manuscript.source,
        "raw_hash": manuscript.raw_hash,
        "hash": manuscript.hash,
        "words": manuscript.words,
        "chapters": [list(chapter) for chapter in manuscript.chapters],
        "series": manuscript.series,
        "year": manuscript.year,
        "licence": manuscript.licence,
        "cleaning": CLEANING,
    }


def _load_row(folder: Path, line: str, where: str) -> Manuscript:
    try:
        row = json.loads(line)
        if row["cleaning"] != CLEANING:
            raise ValueError(
                f"{where}: the text was cleaned by version {row['cleaning']}, this is version "
                f"{CLEANING}: fetch or read it again"
            )
        data = (folder / Path(row["file"]).name).read_bytes()
        check_hash(str(folder / row["file"]), data, row["hash"], way_out="write the folder again")
        chapters = tuple(Chapter(offset, heading) for offset, heading in row["chapters"])
        fields = ("id", "author", "title", "source", "raw_hash", "series", "year", "licence")
        known = {name: row[name] for name in fields}
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{where} is no row that memformer wrote: {error}") from None
    return Manuscript(**known, text=decode(data, str(folder / row["file"])), chapters=chapters)


def _refuse_foreign(folder: Path) -> None:
    """A folder is replaced as a whole, so it must hold nothing but what memformer wrote."""
    if not folder.exists():
        return
    held = {path.name for path in folder.iterdir()}
    own: set[str] = set()
    if is_saved(folder):
        lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
        own = {json.loads(line)["file"] for line in lines} | {MANIFEST}
    if foreign := sorted(held - own):
        raise ValueError(f"{folder} must be new, empty or memformer's own, it holds {foreign[0]!r}")


def _holds(folder: Path, manifest: str, rows: list[dict[str, Any]]) -> bool:
    path = folder / MANIFEST
    if not path.is_file() or path.read_bytes() != manifest.encode():
        return False
    try:
        load_manuscripts(folder)
    except (OSError, ValueError):
        return False
    return True


def _take_place(partial: Path, folder: Path) -> None:
    """Rename into place. A folder cannot be replaced by one rename, so for a moment it is absent;
    it is never half-written."""
    partial.chmod(0o777 & ~_umask())
    if not folder.exists():
        partial.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    folder.rename(old / "old")
    try:
        partial.rename(folder)
    except OSError:
        (old / "old").rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
