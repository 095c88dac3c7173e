"""Manuscripts in tokens: one flat file, memory-mapped, with a manifest that names every part.

A folder of token files appears whole or not at all.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from memformer.data.manuscripts import Manuscript
from memformer.data.tokenizer import Tokenizer

MANIFEST, FILE = "manifest.json", "tokens.bin"
_VERSION = 1
Ids = NDArray[np.integer[Any]]


class Tokens(Protocol):
    """Manuscripts in tokens, by number."""

    @property
    def ids(self) -> Sequence[str]:
        """Ids of the manuscripts."""

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each."""

    @property
    def hash(self) -> str:
        """SHA-256 of all tokens."""

    def tokens(self, i: int) -> Ids:
        """(T,) integers."""


class TokenLists:
    """Manuscripts in tokens, held in memory.

    Raises:
        ValueError: none, two of one id, or a manuscript of fewer than two tokens.
    """

    def __init__(self, ids: Sequence[str], arrays: Sequence[Ids]) -> None:
        self.ids, self._arrays = list(ids), list(arrays)
        self.lengths = [len(array) for array in self._arrays]
        every = b"".join(np.asarray(array, np.int64).tobytes() for array in self._arrays)
        self.hash = hashlib.sha256(every).hexdigest()
        _check(self.ids, self.lengths)

    def tokens(self, i: int) -> Ids:
        """(T,) integers."""
        return self._arrays[i]


class TokenFolder:
    """Manuscripts in tokens that `write_tokens` wrote, read through a memory map."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        books = manifest["manuscripts"]
        self.folder, self.manifest = folder, manifest
        self.hash: str = manifest["sha256"]
        self.ids: list[str] = [book["id"] for book in books]
        self.lengths: list[int] = [book["n_token"] for book in books]
        self._starts = np.concatenate(([0], np.cumsum(self.lengths)))
        self._all = np.memmap(folder / FILE, dtype=manifest["dtype"], mode="r")

    def __len__(self) -> int:
        return len(self.ids)

    def tokens(self, i: int) -> Ids:
        """(T,) integers: a view of the file."""
        return self._all[self._starts[i] : self._starts[i + 1]]

    @classmethod
    def open(
        cls, folder: Path, tokenizer_hash: str | None = None, *, verify: bool = False
    ) -> "TokenFolder":
        """Open a folder of tokens; `verify` reads all of it and compares its SHA-256.

        Raises:
            ValueError: no such folder, a damaged one, or tokens of another tokenizer.
        """
        manifest, size = _manifest(folder)
        if tokenizer_hash is not None and manifest["tokenizer"] != tokenizer_hash:
            raise ValueError(
                f"{folder}: tokens were made with tokenizer {manifest['tokenizer'][:6]}, this one "
                f"is {tokenizer_hash[:6]}: write them again"
            )
        wanted = _size(manifest)
        if size != wanted:
            raise ValueError(
                f"{folder / FILE} must have {wanted} bytes, got {size}: write it again"
            )
        if verify and _file_hash(folder / FILE) != manifest["sha256"]:
            raise ValueError(f"{folder / FILE} is damaged (wrong SHA-256): write it again")
        return cls(folder, manifest)


def write_tokens(
    manuscripts: Iterable[Manuscript], tokenizer: Tokenizer, folder: Path
) -> TokenFolder:
    """Tokenise manuscripts one by one into a folder; what it held before is replaced in one step.

    A folder that holds exactly these already is opened as it is, after its bytes were verified; a
    damaged one is written again. Only a sequence can be compared before it is tokenised: an
    iterator that reads books one at a time is always tokenised.

    Raises:
        ValueError: no manuscript is left to write, two share an id, one has fewer than two tokens,
            or the folder holds files that are no tokens.
        OSError: for example when the disk is full; the folder is then as it was.
    """
    _refuse_foreign(folder)
    if isinstance(manuscripts, Sequence) and _holds(folder, manuscripts, tokenizer):
        return TokenFolder.open(folder, tokenizer.hash)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        with _named_failure(folder):
            shutil.rmtree(partial, ignore_errors=True)  # of a killed process of this number
            partial.mkdir(parents=True)
        manifest = _write_all(manuscripts, tokenizer, partial, folder)
        with _named_failure(folder):
            (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            _take_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return TokenFolder.open(folder, tokenizer.hash)


def _write_all(
    manuscripts: Iterable[Manuscript], tokenizer: Tokenizer, partial: Path, folder: Path
) -> dict[str, Any]:
    """Write the tokens into `partial`; returns the manifest. What fails in reading a manuscript
    passes as it is: only what fails in writing is said of `folder`."""
    dtype = "<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4"
    books: dict[str, dict[str, Any]] = {}
    with (partial / FILE).open("wb") as file:
        for book in manuscripts:
            ids = np.asarray(tokenizer.encode(book.text).ids, dtype=dtype)
            _check_one(book.id, len(ids), books)  # now, not hours later
            with _named_failure(folder):
                file.write(ids.tobytes())
            books[book.id] = _about(book, len(ids))
        with _named_failure(folder):
            file.flush()
            os.fsync(file.fileno())
    _check_some(books)
    return {
        "version": _VERSION,
        "tokenizer": tokenizer.hash,
        "vocab_size": tokenizer.vocab_size,
        "dtype": dtype,
        "sha256": _file_hash(partial / FILE),
        "manuscripts": list(books.values()),
    }


def _about(book: Manuscript, n_token: int) -> dict[str, Any]:
    return {
        "id": book.id,
        "title": book.title,
        "author": book.author,
        "text": book.hash,
        "n_token": n_token,
    }


def _refuse_foreign(folder: Path) -> None:
    """A folder is replaced as a whole, so it must hold nothing but tokens."""
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    foreign = held - {FILE, MANIFEST} if FILE in held else held
    if foreign:
        raise ValueError(
            f"{folder} must be new, empty or hold only tokens, it holds {min(foreign)!r}: choose "
            "another folder"
        )


def _take_place(partial: Path, folder: Path) -> None:
    """Rename into place. A folder cannot be replaced by one rename, so for a moment it is absent;
    it is never half-written, and what it held is put back if the rename fails."""
    if not folder.exists():
        os.replace(partial, folder)
        return
    old = partial.with_name(f"{partial.name}.old")
    os.replace(folder, old)
    try:
        os.replace(partial, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _named_failure(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}: the tokens were not written"
        raise OSError(error.errno, reason, str(folder)) from error


def _check(ids: Sequence[str], lengths: Sequence[int]) -> None:
    _check_some(ids)
    seen: set[str] = set()
    for name, n_token in zip(ids, lengths, strict=True):
        _check_one(name, n_token, seen)
        seen.add(name)


def _check_some(ids: Collection[str]) -> None:
    if not ids:
        raise ValueError(
            "the corpus is empty: no manuscript is left after filtering; check the split and paths"
        )


def _check_one(name: str, n_token: int, seen: Collection[str]) -> None:
    if name in seen:
        raise ValueError(f"manuscripts must have different ids, got {name!r} twice")
    if n_token < 2:
        raise ValueError(
            f"manuscript {name!r} must have at least 2 tokens to learn from, got {n_token}: leave "
            "it out"
        )


def _manifest(folder: Path) -> tuple[dict[str, Any], int]:
    """The manifest of a folder and the bytes of its tokens."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        size = (folder / FILE).stat().st_size
        if manifest["version"] == _VERSION:
            _ = _size(manifest), manifest["tokenizer"], manifest["sha256"]
            return manifest, size
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds no tokens ({error!r}): write them again") from None
    raise ValueError(
        f"{folder} must hold tokens of version {_VERSION}, got {manifest['version']}: write them "
        "again"
    )


def _size(manifest: dict[str, Any]) -> int:
    n_token: int = sum(book["n_token"] for book in manifest["manuscripts"])
    itemsize: int = np.dtype(manifest["dtype"]).itemsize
    return n_token * itemsize


def _holds(folder: Path, manuscripts: Sequence[Manuscript], tokenizer: Tokenizer) -> bool:
    try:
        books = TokenFolder.open(folder, tokenizer.hash, verify=True).manifest["manuscripts"]
    except ValueError:
        return False
    return [(b["id"], b["text"]) for b in books] == [(m.id, m.hash) for m in manuscripts]


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
