"""Exact search by matrix product and top-k: the definition of what a memory finds.

G key/value heads, M queries of one key/value head, n pairs in question, D head_dim
"""

import torch
from torch import Tensor

from memformer.memory.book import Book
from memformer.memory.search import Hits, Search, top_k_lowest_first

_BLOCK = 1 << 24
"""Scores held at once: 64 MiB of float32."""


class ExactSearch(Search):
    """Every key is scored against every query, on the device of the pages."""

    def index(self, book: Book) -> None:
        """Nothing to build: the pages themselves are scanned."""

    def top_k(self, book: Book, queries: Tensor, k: int, start: Tensor, stop: Tensor) -> Hits:
        return scan(book, queries, k, start, stop)


def scan(book: Book, queries: Tensor, k: int, start: Tensor, stop: Tensor) -> Hits:
    """What `Search.top_k` asks for, exactly, in blocks of queries."""
    n_query = max(1, _BLOCK // max(1, book.size * book.n_kv_head))
    shape = (*queries.shape[:2], k)
    scores = torch.full(shape, -torch.inf, dtype=torch.float32, device=queries.device)
    slots = torch.full(shape, -1, dtype=torch.int64, device=queries.device)
    for first in range(0, queries.shape[1], n_query):
        part = slice(first, first + n_query)
        values, found = _scan_block(book, queries[:, part], k, start[part], stop[part])
        scores[:, part, : values.shape[-1]] = values
        slots[:, part, : values.shape[-1]] = found
    return Hits(scores, slots)


def _scan_block(book: Book, queries: Tensor, k: int, start: Tensor, stop: Tensor) -> Hits:
    lowest, start_all = int(start.min()), int(start.max())
    stop_all, highest = int(stop.min()), int(stop.max())
    runs = list(book.runs(lowest, highest))
    n = sum(run.keys.shape[1] for run in runs)
    scores = torch.empty(*queries.shape[:2], n, dtype=torch.float32, device=queries.device)
    done = 0
    for run in runs:  # into one buffer: `topk` is far quicker on long rows than on their parts
        end = done + run.keys.shape[1]
        torch.bmm(queries, run.rows("keys").float().mT, out=scores[..., done:end])
        done = end
    first = runs[0].first if runs else 0
    # all queries may see slots [start_all, stop_all): only the strips beside it need a mask
    slots = torch.arange(first, first + n, device=queries.device)
    left, right = min(n, max(0, start_all - first)), min(n, max(0, stop_all - first))
    scores[..., :left].masked_fill_(slots[:left] < start[:, None], -torch.inf)
    scores[..., right:].masked_fill_(slots[right:] >= stop[:, None], -torch.inf)
    values, columns = top_k_lowest_first(scores, k)
    return Hits(values, (columns + first).masked_fill_(values == -torch.inf, -1))
