"""Texts to train on and texts held out, by the names that a run's config gives them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from memformer.data.manuscripts import Manuscript
from memformer.data.own import read_texts
from memformer.data.sources import austen, classics, moby_dick
from memformer.data.splits import Split, classics_1, distinct


def texts_named(name: str, part: Literal["train", "validation"]) -> tuple[Manuscript, ...]:
    """`classics`, `austen` or `moby-dick`: that part of the split classics-1; else the folder or
    .jsonl file of that path, all of it.

    Raises:
        ValueError: nothing is left in that part, or a text cannot be read.
        FileNotFoundError: no such path.
        FetchError: the package is out of reach.
    """
    match name:
        case "classics":
            found = classics_1(classics()).part(part)
        case "austen":
            found = classics_1(austen()).part(part)
        case "moby-dick":
            found = classics_1(moby_dick()).part(part)
        case path:
            if not Path(path).exists():
                raise FileNotFoundError(
                    f"no texts {path!r}: name classics, austen, moby-dick, a folder or a .jsonl"
                )
            found = read_texts(Path(path))
    if not found:
        raise ValueError(f"corpus {name!r} is empty: it has no {part} part in classics-1")
    return found


def check_apart(
    train: Iterable[Manuscript],
    held_out: Iterable[Manuscript],
    by: Literal["author", "manuscript"],
) -> Split:
    """Training and held-out texts as a split, which refuses a shared work and, by author, a shared
    author.

    Raises:
        ValueError: see `Split`.
    """
    return Split(
        name="run",
        train=tuple(distinct(train)),
        validation=tuple(distinct(held_out)),
        test=(),
        by=by,
    )
