"""A manuscript in tokens, cut to what is read: what every arm of an evaluation shares."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memformer.data.manuscripts import Manuscript
from memformer.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class EncodedManuscript:
    """The first `n` tokens of a manuscript, with what the numbers about them need.

    Attributes:
        ids: (n,) int64.
        spans: (n, 2) int64: half-open range of characters of `text` that each token stands for.
        n_total: tokens of the whole manuscript, `T`: the fraction u = (t + 0.5) / T needs it.
        text: the characters that the n tokens cover, from the manuscript's first one on.
        chapters: (offset, heading) of the chapters that begin in `text`.
    """

    id: str
    author: str
    title: str
    text: str
    chapters: tuple[tuple[int, str], ...]
    ids: NDArray[np.int64]
    spans: NDArray[np.int64]
    n_total: int

    def __len__(self) -> int:
        return len(self.ids)


def encode(
    manuscript: Manuscript, tokenizer: Tokenizer, n_tokens: int | None = None
) -> EncodedManuscript:
    """Tokenise the whole manuscript and keep its first `n_tokens` (None: all).

    Raises:
        ValueError: the manuscript has fewer than `n_tokens` tokens.
    """
    ids, spans = tokenizer.encode(manuscript.text)
    n = len(ids) if n_tokens is None else n_tokens
    if n < 1 or n > len(ids):
        raise ValueError(
            f"n_tokens must be in [1, {len(ids)}], the length of manuscript {manuscript.id!r}, "
            f"got {n_tokens}: lower it, or leave the manuscript out"
        )
    stop = max(end for _, end in spans[:n])
    return EncodedManuscript(
        id=manuscript.id,
        author=manuscript.author or "",
        title=manuscript.title,
        text=manuscript.text[:stop],
        chapters=tuple((c.offset, c.heading) for c in manuscript.chapters if c.offset < stop),
        ids=np.asarray(ids[:n], dtype=np.int64),
        spans=np.asarray(spans[:n], dtype=np.int64).reshape(-1, 2),
        n_total=len(ids),
    )


def pick(manuscripts: Sequence[Manuscript], ids: Sequence[str]) -> list[Manuscript]:
    """The manuscripts of these ids, in this order; all of them if no id is given.

    Raises:
        ValueError: there is no manuscript of an id.
    """
    by_id = {manuscript.id: manuscript for manuscript in manuscripts}
    missing = [name for name in ids if name not in by_id]
    if missing:
        known = ", ".join(sorted(by_id)[:20])
        raise ValueError(f"no manuscript has the id {missing[0]!r}; there are {known}")
    return [by_id[name] for name in ids] if ids else list(manuscripts)
