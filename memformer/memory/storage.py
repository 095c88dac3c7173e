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
from safetensors.torch import load_file
from safetensors.torch import save as bytes_from_tensors
from torch import Tensor

VERSION = 2
"""Of the manifest's form; a newer one than this is refused."""
MANIFEST = "manifest.json"
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
    mapped = map_tensors(folder, name)
    return {key: tensor.to(device, copy=True) for key, tensor in mapped.items()}


def map_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """What `write_tensors` wrote, mapped from the file instead of copied.

    All bytes are read once, to compare their digest; after that the system may drop them and read
    them again. The file may be removed meanwhile, but must not be changed. Writing to the tensors
    does not reach it.

    Raises:
        UnreadableSave: the file is missing, or its bytes are not those that were written.
    """
    path = folder / name
    if not _FILE.fullmatch(name):
        raise UnreadableSave(f"{folder}: the manifest names a file {name!r}, which no save wrote")
    try:
        with open(path, "rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UnreadableSave(
            f"{path} is missing: the save is incomplete, restore the file from a copy of the folder"
        ) from None
    if got != path.stem:
        raise UnreadableSave(
            f"{path} is damaged: expected SHA-256 {path.stem[:12]}, got {got[:12]} "
            f"({path.stat().st_size} bytes); restore the file from a copy of the folder"
        )
    # tensors made in inference mode could never be read by a training step
    with torch.inference_mode(False):
        return load_file(path)


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
