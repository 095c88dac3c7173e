"""Novels that users have: a folder of plain text, or JSONL."""

import json
import re
from pathlib import Path
from typing import Any

from memformer.data.cleaning import Rules, tidy
from memformer.data.folder import MANIFEST, is_saved, load_manuscripts
from memformer.data.manuscripts import Manuscript, build_manuscript, decode, sha256, slug

_TEXTS = ("author", "id", "licence", "series", "title")


def read_texts(path: Path, *, keep_headings: bool = True) -> tuple[Manuscript, ...]:
    """Manuscripts from whatever stands at a path: a folder that memformer wrote, a folder of .txt
    files, or a .jsonl file.

    `keep_headings` has no effect on what memformer wrote, where it was decided. Errors are those
    of `load_manuscripts`, `read_folder` and `read_jsonl`.
    """
    if path.is_file():
        return read_jsonl(path, keep_headings=keep_headings)
    if is_saved(path):
        return load_manuscripts(path)
    return read_folder(path, keep_headings=keep_headings)


def read_folder(folder: Path, *, keep_headings: bool = True) -> tuple[Manuscript, ...]:
    """One novel a .txt file, in the order of the names.

    A file is called `Author - Title.txt` or just `Title.txt`; or a `manifest.jsonl` beside them
    has one row a novel with its `file` and any fields of `read_jsonl` but `text`.

    Raises:
        FileNotFoundError: there is no such folder, or a file of the manifest is missing.
        ValueError: there is no text, a file is empty, binary or not UTF-8, two novels share an
            id, or a row is wrong; the message names file, row and field.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    if is_saved(folder):
        raise ValueError(f"{folder} was written by memformer: its texts are cleaned already")
    manifest = folder / MANIFEST
    if manifest.is_file():
        return _read_rows(manifest, "file", keep_headings)
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".txt" and path.is_file())
    if not paths:
        raise ValueError(f"{folder} must hold .txt files, got none")
    return _unique([_read_file(path, {}, str(path), keep_headings) for path in paths], str(folder))


def read_jsonl(path: Path, *, keep_headings: bool = True) -> tuple[Manuscript, ...]:
    """One novel a line: a JSON object with `text`, and optionally `id`, `author`, `title`,
    `series`, `licence` (strings), `year` (a whole number) and `chapters` (its headings, each a
    paragraph of the text).

    Raises:
        ValueError: a line is no such object; the message names file, line and field.
    """
    return _read_rows(path, "text", keep_headings)


def _read_rows(path: Path, needed: str, keep_headings: bool) -> tuple[Manuscript, ...]:
    lines = decode(path.read_bytes(), str(path)).split("\n")
    found = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path}:{number}"
            found.append(_read_row(path, _checked(line, needed, where), where, keep_headings))
    return _unique(found, str(path))


def _read_row(path: Path, row: dict[str, Any], where: str, keep_headings: bool) -> Manuscript:
    if "file" in row:
        return _read_file(path.parent / row["file"], row, where, keep_headings)
    text = row["text"]
    number = where.rpartition(":")[2]
    return _build(
        text, row, f"{path.stem}-{number}", path.name, sha256(text.encode()), where, keep_headings
    )


def _read_file(path: Path, row: dict[str, Any], where: str, keep_headings: bool) -> Manuscript:
    data = path.read_bytes()
    author, dash, title = path.stem.partition(" - ")
    named = {"author": author, "title": title} if dash else {"title": path.stem}
    text = decode(data, str(path))
    return _build(text, named | row, path.stem, path.name, sha256(data), where, keep_headings)


def _build(
    text: str,
    row: dict[str, Any],
    default: str,
    source: str,
    raw_hash: str,
    where: str,
    keep_headings: bool,
) -> Manuscript:
    """`default` serves as title, and as id unless author and title make a better one."""
    title, author = row.get("title", default), row.get("author")
    named = slug(f"{author or ''} {title}") if "title" in row else slug(default)
    headings = [tidy(heading) for heading in row.get("chapters", ())]
    rules = Rules(heading="|".join(map(re.escape, headings))) if headings else Rules()
    try:
        manuscript = build_manuscript(
            text,
            id=row.get("id", named),
            author=author,
            title=title,
            source=source,
            raw_hash=raw_hash,
            series=row.get("series"),
            year=row.get("year"),
            licence=row.get("licence"),
            rules=rules,
            keep_headings=keep_headings,
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    _refuse_lost(headings, manuscript, where)
    return manuscript


def _refuse_lost(headings: list[str], manuscript: Manuscript, where: str) -> None:
    found = {part for c in manuscript.chapters for part in (c.heading, *c.heading.split(" / "))}
    for heading in headings:
        if heading not in found:
            raise ValueError(f"{where}: chapters: {heading!r} is no paragraph with text after it")


def _checked(line: str, needed: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: a line must be a JSON object: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: a line must be a JSON object, got {type(row).__name__}")
    row = {name: value for name, value in row.items() if value is not None}
    if needed not in row:
        raise ValueError(f"{where}: {needed} is missing")
    for name, value in row.items():
        _check_field(name, value, needed, where)
    return row


def _check_field(name: str, value: object, needed: str, where: str) -> None:
    if name in (needed, *_TEXTS):
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{where}: {name} must be a string that is not empty, got {value!r}")
    elif name == "year":
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{where}: year must be a whole number, got {value!r}")
    elif name == "chapters":
        if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value):
            raise ValueError(f"{where}: chapters must be a list of headings, got {value!r}")
    else:
        fields = ", ".join(sorted({needed, "chapters", "year", *_TEXTS}))
        raise ValueError(f"{where}: unknown field {name!r}; known are {fields}")


def _unique(manuscripts: list[Manuscript], where: str) -> tuple[Manuscript, ...]:
    seen: set[str] = set()
    for manuscript in manuscripts:
        if manuscript.id in seen:
            raise ValueError(f"{where}: id {manuscript.id!r} stands twice: give each novel its own")
        seen.add(manuscript.id)
    return tuple(manuscripts)
