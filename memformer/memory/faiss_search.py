"""Search with FAISS indexes over sealed pages, named by FAISS's own factory strings.

Sealed pages are indexed in immutable groups, one index per key/value head, as in a log-structured
merge tree: eight neighbouring groups become one. Which slots form a group follows from the slots
held alone, so forks share groups and eviction and rewinding drop them, and nothing is deleted from
an index. The open page, and pages not yet in a group, are scanned exactly.

Bounds are honoured exactly, whatever the index: a group answers only where every query may see all
of it, and slots of a group that a bound cuts are scanned. (FAISS filters by slot in some indexes
only, and an exact scan of one group costs no more than they do.) Candidates are scored again from
the pages, so scores are inner products with the keys as stored even where an index compresses them.

    G key/value heads, M queries of one key/value head, D head_dim, C candidates
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import faiss
import numpy as np
import torch
from torch import Tensor

from memformer.memory.book import Book
from memformer.memory.exact import scan
from memformer.memory.search import Hits, Search, top_k_lowest_first

GROUP_LEN = 4096
"""Pairs in the smallest group, rounded up to whole pages; fewer are quicker scanned."""
FAN_OUT = 8
"""Neighbouring groups that become one."""
POINTS_PER_CENTROID = 39
"""Below so many keys for each centroid FAISS calls a training set too small."""
RERANKED = 8
"""Candidates per pair wanted that an index with `RFlat` scores again (FAISS's k_factor)."""
_BLOCK = 1 << 24
"""Key elements gathered at once when candidates are scored again: 64 MiB of float32."""


@dataclass(frozen=True)
class _Group:
    first: int
    stop: int
    indexes: tuple[Any, ...]  # one a head; FAISS ships no types
    trained: tuple[Any, ...]  # one a head: the empty index, trained, as bytes


class FaissSearch(Search):
    """Search through FAISS indexes made by `factory`, in the inner product metric.

    Args:
        factory: FAISS's index_factory string, such as `HNSW32` or `IVF1024,Flat`.
        head_dim: width of keys and queries.
        nprobe, efSearch: FAISS's search parameters; None leaves FAISS's default.

    Raises:
        ValueError: FAISS has no such index, or not for this head_dim, or it lacks the parameter.
    """

    def __init__(
        self,
        factory: str,
        head_dim: int,
        *,
        nprobe: int | None = None,
        efSearch: int | None = None,  # FAISS's spelling
    ) -> None:
        self.factory, self.head_dim = factory, head_dim
        given = {"nprobe": nprobe, "efSearch": efSearch}
        self.parameters = {name: value for name, value in given.items() if value is not None}
        index = _build(factory, head_dim)
        self._set_parameters(index)
        self.n_train = 0 if index.is_trained else _points_to_train(factory)

    def index(self, book: Book) -> None:
        """Group the sealed pages; too few keys to train an index leave them to the exact scan."""
        before = cast(list[_Group], book.groups)
        if not before and book.sealed - book.start < max(self.n_train, 1):
            return
        kept = {(g.first, g.stop): g for g in before}
        unit = -(-GROUP_LEN // book.page_len) * book.page_len
        wanted = list(_blocks(book.start, book.sealed, unit))
        if list(kept) == wanted:
            return
        with _threads():
            trained = before[0].trained if before else self._train(book) if wanted else ()
            book.groups = [kept.get(w) or self._group(book, *w, trained) for w in wanted]

    def top_k(self, book: Book, queries: Tensor, k: int, start: Tensor, stop: Tensor) -> Hits:
        """Groups that all queries see are searched, the slots between them scanned."""
        lowest, highest = (int(start.max()), int(stop.min())) if len(start) else (0, 0)
        groups = [
            g for g in cast(list[_Group], book.groups) if lowest <= g.first and g.stop <= highest
        ]
        if not groups:
            return scan(book, queries, k, start, stop)
        with _threads():
            found = [self._search_group(group, queries, k) for group in groups]
        parts = [_score(book, queries, torch.cat(found, dim=-1))]
        edges = [book.start, *(edge for g in groups for edge in (g.first, g.stop)), book.stop]
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            if first < last:
                bounds = start.clamp(min=first), stop.clamp(max=last)
                parts.append(scan(book, queries, k, *bounds))
        hits = _best(parts, k)
        # an index may miss pairs; it does not decide that there are fewer than k
        short = (hits.slots >= 0).sum(-1) < (stop - start).clamp(max=k)  # (G, M)
        rows = short.any(0)
        if rows.any():
            again = scan(book, queries[:, rows], k, start[rows], stop[rows])
            hits.scores[:, rows], hits.slots[:, rows] = again.scores, again.slots
        return hits

    def _train(self, book: Book) -> tuple[Any, ...]:
        trained = []
        for head in range(book.n_kv_head):
            index = _build(self.factory, self.head_dim)
            if not index.is_trained:
                index.train(_keys(book, head, book.start, book.sealed))
            trained.append(faiss.serialize_index(index))
        return tuple(trained)

    def _group(self, book: Book, first: int, stop: int, trained: tuple[Any, ...]) -> _Group:
        indexes = []
        for head, empty in enumerate(trained):
            index = faiss.deserialize_index(empty)
            self._set_parameters(index)
            index.add(_keys(book, head, first, stop))
            indexes.append(index)
        return _Group(first, stop, tuple(indexes), trained)

    def _search_group(self, group: _Group, queries: Tensor, k: int) -> Tensor:
        """Slots (G, M, k) of candidates; -1 where the index found fewer."""
        rows = [
            index.search(np.ascontiguousarray(each.numpy()), k)[1]
            for index, each in zip(group.indexes, queries.cpu(), strict=True)
        ]
        ids = torch.from_numpy(np.stack(rows)).to(queries.device)
        return torch.where(ids < 0, -1, ids + group.first)

    def _set_parameters(self, index: Any) -> None:
        if isinstance(index, faiss.IndexRefine):
            index.k_factor = float(RERANKED)
        for name, value in self.parameters.items():
            try:
                faiss.ParameterSpace().set_index_parameter(index, name, value)
            except RuntimeError as error:
                raise ValueError(
                    f"{name}: FAISS's {self.factory!r} has no such parameter; leave it None"
                ) from error


def _build(factory: str, head_dim: int) -> Any:
    try:
        index = faiss.index_factory(head_dim, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        reason = str(error).rsplit(": ", 1)[-1]
        if "parse" in reason:
            raise ValueError(
                f"search: FAISS has no index {factory!r}; try 'HNSW32', 'Flat' or 'IVF1024,Flat'"
            ) from error
        raise ValueError(
            f"search: FAISS cannot build {factory!r} for inner products of head_dim={head_dim}: "
            f"{reason}"
        ) from error
    if isinstance(index, faiss.IndexIDMap | faiss.IndexIDMap2):
        raise ValueError(f"search: leave IDMap out of {factory!r}; slots number the pairs already")
    return index


def _points_to_train(factory: str) -> int:
    """Keys that FAISS wants before it trains: some for each centroid of the largest codebook."""
    nlist = max((int(n) for n in re.findall(r"IVF(\d+)", factory)), default=1)
    bits = [int(b or 8) for b in re.findall(r"PQ\d+(?:x(\d+))?", factory)]
    return POINTS_PER_CENTROID * max(nlist, 1 << max(bits, default=0))


def _blocks(start: int, stop: int, unit: int) -> Iterator[tuple[int, int]]:
    """The largest aligned blocks of FAN_OUT^i units that lie within slots [start, stop)."""
    place = -(-start // unit) * unit
    while place + unit <= stop:
        size = unit
        while place % (size * FAN_OUT) == 0 and place + size * FAN_OUT <= stop:
            size *= FAN_OUT
        yield place, place + size
        place += size


def _keys(book: Book, head: int, start: int, stop: int) -> Any:
    rows = [run.rows("keys", head).float().cpu() for run in book.runs(start, stop)]
    return np.ascontiguousarray(torch.cat(rows).numpy())


def _score(book: Book, queries: Tensor, slots: Tensor) -> Hits:
    """The inner products of candidates, from the keys as they are read: slots (G, M, C)."""
    n_query = max(1, _BLOCK // max(1, slots.shape[0] * slots.shape[2] * book.head_dim))
    scores = []
    for q, s in zip(torch.split(queries, n_query, 1), torch.split(slots, n_query, 1), strict=True):
        keys = book.gather(s.flatten(1), "keys").float().view(*s.shape, book.head_dim)
        scores.append((keys @ q[..., None])[..., 0])  # (G, M, C)
    return Hits(torch.cat(scores, dim=1).masked_fill_(slots < 0, -torch.inf), slots)


def _best(parts: list[Hits], k: int) -> Hits:
    """The k best of candidates in any order of slots, ties to the lower slot."""
    slots, order = torch.cat([part.slots for part in parts], dim=-1).sort(dim=-1)
    scores = torch.cat([part.scores for part in parts], dim=-1).gather(-1, order)
    scores, columns = top_k_lowest_first(scores, k)
    return Hits(scores, slots.gather(-1, columns).masked_fill_(scores == -torch.inf, -1))


@contextmanager
def _threads() -> Iterator[None]:
    """FAISS brings an OpenMP runtime of its own: while it works, as many threads as torch uses."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(torch.get_num_threads())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
