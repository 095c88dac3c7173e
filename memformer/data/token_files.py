"""Manuscripts in tokens: one flat file, memory-mapped, with a manifest that names every part.

A folder of token files appears whole or not at all.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
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
        _check(self.ids, self.lengths)

    def tokens(self, i: int) -> Ids:
        """(T,) integers."""
        return self._arrays[i]


class TokenFolder:
    """Manuscripts in tokens that `write_tokens` wrote, read through a memory map."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        books = manifest["manuscripts"]
        self.folder, self.manifest = folder, manifest
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
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            size = (folder / FILE).stat().st_size
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder} holds no tokens ({error}): write them again") from None
        if manifest.get("version") != _VERSION:
            raise ValueError(
                f"{folder}: tokens of version {manifest.get('version')}, not {_VERSION}"
            )
        if tokenizer_hash is not None and manifest["tokenizer"] != tokenizer_hash:
            raise ValueError(
                f"{folder}: tokens were made with tokenizer {manifest['tokenizer'][:6]}, this one "
                f"is {tokenizer_hash[:6]}: write them again"
            )
        wanted = sum(b["n_token"] for b in manifest["manuscripts"])
        wanted *= np.dtype(manifest["dtype"]).itemsize
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

    A folder that holds exactly these already is opened as it is.

    Raises:
        ValueError: no manuscript is left to write, two share an id, one has fewer than two tokens.
        OSError: for example when the disk is full; the folder is then as it was.
    """
    every = list(manuscripts) if isinstance(manuscripts, Sequence) else manuscripts
    if isinstance(every, list) and _holds(folder, every, tokenizer):
        return TokenFolder.open(folder, tokenizer.hash)
    dtype = "<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4"
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        books = _write_all(every, tokenizer, partial / FILE, dtype)
        _check([book["id"] for book in books], [book["n_token"] for book in books])
        manifest = {
            "version": _VERSION,
            "tokenizer": tokenizer.hash,
            "vocab_size": tokenizer.vocab_size,
            "dtype": dtype,
            "sha256": _file_hash(partial / FILE),
            "manuscripts": books,
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        if folder.exists():
            TokenFolder.open(folder)  # refuses to replace what is no folder of tokens
            shutil.rmtree(folder)
        os.replace(partial, folder)
    except OSError as error:
        reason = f"{error.strerror or error}: the tokens were not written"
        raise OSError(error.errno, reason, str(folder)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return TokenFolder.open(folder, tokenizer.hash)


def _write_all(
    manuscripts: Iterable[Manuscript], tokenizer: Tokenizer, path: Path, dtype: str
) -> list[dict[str, Any]]:
    books = []
    with path.open("wb") as file:
        for manuscript in manuscripts:
            ids = np.asarray(tokenizer.encode(manuscript.text).ids, dtype=dtype)
            file.write(ids.tobytes())
            about = {"id": manuscript.id, "title": manuscript.title, "author": manuscript.author}
            books.append({**about, "text": manuscript.hash, "n_token": len(ids)})
        file.flush()
        os.fsync(file.fileno())
    return books


def _check(ids: Sequence[str], lengths: Sequence[int]) -> None:
    if not ids:
        raise ValueError(
            "the corpus is empty: no manuscript is left after filtering; check the split and paths"
        )
    twice = (
        sorted(name for name in set(ids) if list(ids).count(name) > 1)
        if (len(set(ids)) < len(ids))
        else []
    )
    if twice:
        raise ValueError(f"manuscripts must have different ids, got {twice[0]!r} twice")
    for name, n in zip(ids, lengths, strict=True):
        if n < 2:
            raise ValueError(
                f"manuscript {name!r} must have at least 2 tokens to learn from, got {n}: leave it "
                "out"
            )


def _holds(folder: Path, manuscripts: list[Manuscript], tokenizer: Tokenizer) -> bool:
    try:
        books = TokenFolder.open(folder, tokenizer.hash).manifest["manuscripts"]
    except ValueError:
        return False
    return [(b["id"], b["text"]) for b in books] == [(m.id, m.hash) for m in manuscripts]


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
