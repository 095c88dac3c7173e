"""A memory's pages on disk: written once, shared as they are in memory, read or mapped.

Each page is one file of tensors (`storage.py`). The open page is written anew by every save.
"""

from pathlib import Path
from typing import Any

import torch

from memformer.config import MemoryConfig, from_json, to_json
from memformer.memory.book import Book, Layout
from memformer.memory.pages import PagedMemory
from memformer.memory.storage import (
    UnreadableSave,
    complete_save,
    map_tensors,
    read_manifest,
    write_tensors,
)

_COLUMNS = ("keys", "values", "token_index", "fraction", "step")
_SCALES = ("key_scales", "value_scales")


def save_memory(memory: PagedMemory, folder: Path) -> None:
    """Write a memory to a folder; pages that an earlier save wrote there are not written again.

    Raises:
        ValueError: the memory is a view with shuffled values.
        SaveFailed: the disk is full or cannot be written; the last complete save is untouched.
    """
    manifest = {"kind": "memory", "memory": write_pages(folder, memory)}
    complete_save(folder, manifest)


def load_memory(
    folder: Path, device: torch.device | str = "cpu", *, mmap: bool = False
) -> PagedMemory:
    """Read the last complete save of a memory; see `read_pages`.

    Raises:
        UnreadableSave: nothing was saved there, or a file is missing or damaged.
        ValueError: mmap, and a device that is not the CPU.
    """
    return read_pages(folder, read_manifest(folder, "memory")["memory"], device, mmap=mmap)


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
    folder: Path, entry: dict[str, Any], device: torch.device | str = "cpu", *, mmap: bool = False
) -> PagedMemory:
    """The memory that `write_pages` wrote; lanes that shared slabs share them again.

    Args:
        folder: where the files are.
        entry: what `write_pages` returned.
        device: where the pages shall lie.
        mmap: leave sealed pages in their files, mapped: they take no memory that the system cannot
            have back. Every byte is read once all the same, to compare the digests.

    Raises:
        UnreadableSave: a page is missing or damaged, or the entry does not fit its pages.
        ValueError: mmap, and a device that is not the CPU.
    """
    if mmap and torch.device(device).type != "cpu":
        raise ValueError(f"mmap keeps pages on the CPU, got device={str(device)!r}: leave it out")
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
        _read_book(folder, book, start, n_write, pages, layout, done, mmap)
        done.append((book, pages))
        memory.backend.index(book)
    return memory


def _write_book(folder: Path, book: Book, names: dict[int, str]) -> dict[str, Any]:
    pages = []
    for number, run in enumerate(book.pages(), start=book.start // book.page_len):
        address = run.keys.data_ptr()
        name = book.saved.get(number) or names.get(address)
        if name is None or not (folder / name).is_file():
            name = write_tensors(folder, dict(zip(_names(book), run.columns, strict=True)))
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
    mmap: bool,
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
    files = (map_tensors(folder, name) for name in pages[n_shared:])
    read = ([file[column] for column in _names(book)] for file in files)
    try:
        book.restore(n_write, read, None if mmap else layout, in_place=mmap)
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


def _names(book: Book) -> tuple[str, ...]:
    """Of `Run.columns`, in a page's file."""
    return _COLUMNS + _SCALES if book.dtype == torch.int8 else _COLUMNS
