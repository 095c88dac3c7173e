"""Exact search by matrix product and top-k: the definition of what a memory finds."""

import torch
from torch import Tensor

from memformer.memory.book import Book
from memformer.memory.search import Hits, Search, merge_hits, top_k_lowest_first

_BLOCK = 1 << 24
"""Scores held at once, per key/value head and slab: 64 MiB of float32."""


class ExactSearch(Search):
    """Every key is scored against every query, on the device of the pages."""

    def index(self, book: Book) -> None:
        """Nothing to build: the pages themselves are scanned."""

    def top_k(self, book: Book, queries: Tensor, k: int, start: Tensor, stop: Tensor) -> Hits:
        n_block = max(1, _BLOCK // max(1, book.largest_slab))
        parts = [
            _scan(
                book, queries[:, i : i + n_block], k, start[i : i + n_block], stop[i : i + n_block]
            )
            for i in range(0, queries.shape[1], n_block)
        ]
        if not parts:
            return merge_hits([_none(queries)], k)
        return Hits(*(torch.cat(field, dim=1) for field in zip(*parts, strict=True)))


def _scan(book: Book, queries: Tensor, k: int, start: Tensor, stop: Tensor) -> Hits:
    lowest, highest = int(start.min()), int(stop.max())
    parts = [_none(queries)]
    for run in book.runs(lowest, highest):
        scores = queries @ run.keys.float().mT  # (G, M, n)
        if int(start.max()) > run.first or int(stop.min()) < run.first + run.keys.shape[1]:
            slots = torch.arange(run.first, run.first + run.keys.shape[1], device=scores.device)
            outside = (slots < start[:, None]) | (slots >= stop[:, None])  # (M, n)
            scores.masked_fill_(outside, -torch.inf)
        values, columns = top_k_lowest_first(scores, k)
        parts.append(Hits(values, (columns + run.first).masked_fill(values == -torch.inf, -1)))
    return merge_hits(parts[1:] or parts, k)


def _none(queries: Tensor) -> Hits:
    empty = queries.new_empty(*queries.shape[:2], 0)
    return Hits(empty, empty.long())
