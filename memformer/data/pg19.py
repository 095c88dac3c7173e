"""PG-19 (Rae et al. 2019, arXiv:1911.05507): a folder as downloaded, read one book at a time.

It carries no author, so its own split is kept. Its books appeared before 1919: drop books that you
test on from its training part with `without(read_pg19(folder, "train"), test_books)`.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from memformer.data.manuscripts import Manuscript, build_manuscript, decode, sha256


class _Book(NamedTuple):
    title: str
    year: int | None


def read_pg19(
    folder: Path, part: Literal["train", "validation", "test"], *, keep_headings: bool = True
) -> Iterator[Manuscript]:
    """The books of one part, lazily, in the order of their numbers.

    Args:
        folder: holds `train`, `validation` and `test` with one `<number>.txt` a book, and
            `metadata.csv` with number, title, year and link.
        part: the corpus' own split.
        keep_headings: whether chapter headings stay in the texts.

    Raises:
        FileNotFoundError: the part or the metadata is missing.
        ValueError: a row of the metadata is wrong, a book has no row, or a text is empty, binary
            or not UTF-8. The metadata is checked before the first book is read.
    """
    if not (folder / part).is_dir():
        raise FileNotFoundError(f"no folder {folder / part}: PG-19 has one for each part")
    books = _metadata(folder / "metadata.csv")
    paths = sorted((folder / part).glob("*.txt"), key=lambda path: (len(path.stem), path.stem))
    if not paths:
        raise ValueError(f"{folder / part} must hold .txt files, got none")
    return (_read(path, books, keep_headings) for path in paths)


def raw_words(folder: Path, part: Literal["train", "validation", "test"]) -> int:
    """Whitespace-separated words of the raw files: the denominator of word-level perplexity."""
    paths = (folder / part).glob("*.txt")
    return sum(len(decode(path.read_bytes(), str(path)).split()) for path in paths)


def _read(path: Path, books: dict[str, _Book], keep_headings: bool) -> Manuscript:
    if path.stem not in books:
        raise ValueError(f"{path} has no row in metadata.csv")
    data = path.read_bytes()
    book = books[path.stem]
    return build_manuscript(
        decode(data, str(path)),
        id=f"pg19-{path.stem}",
        author=None,
        title=book.title,
        source="PG-19",
        raw_hash=sha256(data),
        year=book.year,
        keep_headings=keep_headings,
    )


def _metadata(path: Path) -> dict[str, _Book]:
    books = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if number == 1 and row and not row[0].isdigit():
                continue  # some copies have a line of column names
            if len(row) < 3 or not row[0].isdigit():
                raise ValueError(f"{path}:{number}: a row must be number, title, year, got {row}")
            books[row[0]] = _Book(row[1], int(row[2]) if row[2].isdigit() else None)
    return books
