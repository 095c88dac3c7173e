"""Saving that survives a kill, a full disk and a flipped bit: safetensors and JSON, never pickle.

Tensors lie in files named by the SHA-256 of their bytes, so what was saved before is not written
again and every file proves itself when it is read. A manifest names the files and is written last,
by renaming: a folder always opens as its last complete save. One process at a time saves to it.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as bytes_from_tensors
from torch import Tensor

from memformer.config import MemoryConfig, from_json, to_json
from memformer.memory.book import Book, Layout
from memformer.memory.pages import PagedMemory

VERSION = 2
"""Of the manifest's form; a newer one than this is refused."""
MANIFEST = "manifest.json"
_COLUMNS = ("keys", "values", "token_index", "fraction", "step")
_FILE = re.compile(r"[0-9a-f]{64}\.safetensors")
_TEMPORARY = re.compile(r"\.unfinished-.*")


class SaveFailed(OSError):
    """A save could not be finished. What was saved there before is whole and opens as before."""


class UnreadableSave(ValueError):
    """A save is missing, damaged or of another kind; says which file, and what was expected."""


def write_tensors(folder: Path, tensors: dict[str, Tensor]) -> str:
    """Write tensors to one file named by its content; nothing is written if it is there already.

    Returns:
        The file's name within `folder`, for a manifest and for `read_tensors`.

    Raises:
        SaveFailed: the disk is full or cannot be written.
    """
    # clones: safetensors refuses tensors that share memory, and slices are written densely
    dense = {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }
    data = bytes_from_tensors(dense)
    name = f"{hashlib.sha256(data).hexdigest()}.safetensors"
    if not _is_there(folder / name, len(data)):
        _write(folder, name, data)
    return name


def read_tensors(folder: Path, name: str, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Read what `write_tensors` wrote.

    Raises:
        UnreadableSave: the file is missing, or its bytes are not those that were written.
    """
    path = folder / name
    if not _FILE.fullmatch(name):
        raise UnreadableSave(f"{folder}: the manifest names a file {name!r}, which no save wrote")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UnreadableSave(
            f"{path} is missing: the save is incomplete, restore the file from a copy of the folder"
        ) from None
    got = hashlib.sha256(data).hexdigest()
    if got != path.stem:
        raise UnreadableSave(
            f"{path} is damaged: expected SHA-256 {path.stem[:12]}, got {got[:12]} "
            f"({len(data)} bytes); restore the file from a copy of the folder"
        )
    return {key: tensor.to(device) for key, tensor in tensors_from_bytes(data).items()}


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest that makes a save complete: after all its files, in one step.

    Args:
        folder: where the files are.
        manifest: what JSON holds, with its `kind` (a word that `read_manifest` asks for).

    Raises:
        ValueError: no `kind`, NaN or infinity in a number, or the folder holds a save of another
            kind.
        SaveFailed: the disk is full or cannot be written.
    """
    if not isinstance(manifest.get("kind"), str):
        raise ValueError(f"a manifest needs a kind, got {manifest.get('kind')!r}")
    if (other := _kind_of(folder / MANIFEST)) not in (None, manifest["kind"]):
        raise ValueError(
            f"{folder} holds a save of kind {other!r}, which one of kind {manifest['kind']!r} "
            "would destroy: choose another folder"
        )
    content = json.loads(json.dumps(manifest, allow_nan=False)) | {"version": VERSION}
    content["sha256"] = _digest(content)
    _sync_folder(folder)  # the files' names are on disk before the manifest relies on them
    _write(folder, MANIFEST, json.dumps(content, indent=1).encode())
    _sync_folder(folder)


def complete_save(folder: Path, manifest: dict[str, Any]) -> None:
    """End a save whose files are written: its manifest, then away with what it does not name.

    Raises:
        ValueError, SaveFailed: as `write_manifest`; nothing was removed then.
    """
    write_manifest(folder, manifest)
    sweep(folder, referenced(manifest))


def read_manifest(folder: Path, kind: str) -> dict[str, Any]:
    """Read the manifest of the last complete save.

    Raises:
        UnreadableSave: none there, not a manifest, changed since, of another kind, or newer.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UnreadableSave(f"{path} is missing: nothing was completely saved here") from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise UnreadableSave(
            f"{path} is not JSON ({error}): restore it from a copy of the folder"
        ) from None
    if not isinstance(content, dict) or "kind" not in content or "version" not in content:
        raise UnreadableSave(f"{path} is not a manifest: it has no kind and version")
    if content["kind"] != kind:
        raise UnreadableSave(f"{path} holds a save of kind {content['kind']!r}, expected {kind!r}")
    if content["version"] != VERSION:
        raise UnreadableSave(
            f"{path} has version {content['version']}, this release reads {VERSION}: "
            "read it with the release that wrote it"
        )
    expected = content.pop("sha256", None)
    if _digest(content) != expected:
        raise UnreadableSave(f"{path} was changed after it was written: restore it from a copy")
    return content


def sweep(folder: Path, keep: Iterable[str]) -> None:
    """Remove tensor files that no manifest names any more, and what killed saves left behind.

    Call it after `write_manifest`; `referenced(manifest)` gives what to keep. Files with other
    names are left alone.
    """
    kept = set(keep)
    for path in folder.iterdir():
        is_old = _FILE.fullmatch(path.name) and path.name not in kept
        if is_old or _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def referenced(manifest: Any) -> Iterator[str]:
    """The names of all tensor files that stand anywhere in a manifest."""
    match manifest:
        case dict():
            for value in manifest.values():
                yield from referenced(value)
        case list() | tuple():
            for value in manifest:
                yield from referenced(value)
        case str() if _FILE.fullmatch(manifest):
            yield manifest


def save_memory(memory: PagedMemory, folder: Path) -> None:
    """Write a memory to a folder; pages that an earlier save wrote there are not written again.

    Raises:
        ValueError: the memory is a view with shuffled values.
        SaveFailed: the disk is full or cannot be written; the last complete save is untouched.
    """
    manifest = {"kind": "memory", "memory": write_pages(folder, memory)}
    complete_save(folder, manifest)


def load_memory(folder: Path, device: torch.device | str = "cpu") -> PagedMemory:
    """Read the last complete save of a memory.

    Raises:
        UnreadableSave: nothing was saved there, or a file is missing or damaged.
    """
    return read_pages(folder, read_manifest(folder, "memory")["memory"], device)


def write_pages(folder: Path, memory: PagedMemory) -> dict[str, Any]:
    """Write a memory's pages, those shared by lanes once and those saved before not at all.

    Returns:
        What `read_pages` needs, for a manifest. The pages are safe once that is written.

    Raises:
        ValueError, SaveFailed: as `save_memory`.
    """
    if memory.is_shuffled:
        raise ValueError("save: a view with shuffled values cannot be saved; save its original")
    names: dict[int, str] = {}  # of pages written now, by address: forks share memory
    return {
        "config": to_json(memory.config),
        "n_kv_head": memory.n_kv_head,
        "head_dim": memory.head_dim,
        "lanes": [_write_book(folder, book, names) for book in memory.books],
    }


def read_pages(
    folder: Path, entry: dict[str, Any], device: torch.device | str = "cpu"
) -> PagedMemory:
    """The memory that `write_pages` wrote; lanes that shared pages share them again.

    Raises:
        UnreadableSave: a page is missing or damaged, or the entry does not fit its pages.
    """
    try:
        memory = PagedMemory(
            from_json(MemoryConfig, entry["config"]),
            n_lane=len(entry["lanes"]),
            n_kv_head=entry["n_kv_head"],
            head_dim=entry["head_dim"],
            device=device,
        )
        lanes = [
            (lane["start"], lane["n_write"], lane["pages"], Layout(*lane["layout"]))
            for lane in entry["lanes"]
        ]
    except (KeyError, TypeError) as error:
        raise UnreadableSave(f"{folder}: the manifest describes no memory ({error!r})") from None
    done: list[tuple[Book, list[str]]] = []
    for book, (start, n_write, pages, layout) in zip(memory.books, lanes, strict=True):
        _read_book(folder, book, start, n_write, pages, layout, done)
        done.append((book, pages))
        memory.backend.index(book)
    return memory


def _write_book(folder: Path, book: Book, names: dict[int, str]) -> dict[str, Any]:
    pages = []
    for number, run in enumerate(book.pages(), start=book.start // book.page_len):
        address = run.keys.data_ptr()
        name = book.saved.get(number) or names.get(address)
        if name is None or not (folder / name).is_file():
            name = write_tensors(folder, dict(zip(_COLUMNS, run[1:], strict=True)))
            names[address] = name
        if run.first + book.page_len <= book.stop:  # the open page will change
            book.saved[number] = name
        pages.append(name)
    entry = {"start": book.start, "n_write": book.n_write, "pages": pages}
    return entry | {"layout": list(book.layout)}


def _read_book(
    folder: Path,
    book: Book,
    start: int,
    n_write: int,
    pages: list[str],
    layout: Layout,
    done: list[tuple[Book, list[str]]],
) -> None:
    """Fill an empty book, from the book among `done` that has most of its first pages."""
    twins = [(_n_shared(pages, start, other, names), other) for other, names in done]
    n_shared, twin = max(twins, key=lambda each: each[0], default=(0, book))
    ends = {stop for _, stop in layout.slabs}
    while n_shared and start + n_shared * book.page_len not in ends:
        n_shared -= 1  # a slab is shared or read as a whole
    book.start = book.stop = start
    if n_shared:
        book.share(twin, start + n_shared * book.page_len)
    read = (read_tensors(folder, name, book.device) for name in pages[n_shared:])
    try:
        book.restore(n_write, ([page[column] for column in _COLUMNS] for page in read), layout)
    except (KeyError, RuntimeError) as error:
        raise UnreadableSave(f"{folder}: pages and manifest do not fit ({error})") from None
    n_sealed = book.sealed // book.page_len - start // book.page_len
    for i, name in enumerate(pages[:n_sealed]):
        book.saved[start // book.page_len + i] = name


def _n_shared(pages: list[str], start: int, other: Book, names: list[str]) -> int:
    """How many of the first `pages`, at slots from `start` on, are sealed pages of `other`."""
    if start < other.start:
        return 0
    theirs = names[(start - other.start) // other.page_len :]
    n = next((i for i, (a, b) in enumerate(zip(pages, theirs, strict=False)) if a != b), None)
    n = min(len(pages), len(theirs)) if n is None else n
    return max(0, min(n, (other.sealed - start) // other.page_len))


def _kind_of(path: Path) -> str | None:
    """What a manifest says it is; None if there is none, or nothing that can be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content.get("kind") if isinstance(content, dict) else None


def _write(folder: Path, name: str, data: bytes) -> None:
    temporary = folder / f".unfinished-{os.getpid()}-{name}"
    with _named_failure(folder, f"writing {name} ({len(data)} bytes)"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, folder / name)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _named_failure(folder: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else str(error)
        raise SaveFailed(
            error.errno,
            f"{why} while {doing} in {folder}; it still opens as its last complete save: "
            "make room or choose another folder, then save again",
        ) from error


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened to be flushed
    with _named_failure(folder, "flushing it"):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps({k: v for k, v in content.items() if k != "sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
