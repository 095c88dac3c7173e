"""PagedMemory: the key/value pairs of every lane at one layer, found again by content.

Wu et al. 2022, arXiv:2203.08913, §3.1, made a book of pages (`book.py`): slots stay valid whatever
is evicted, forks share what is sealed, and reading (`search`) never writes.

    B lanes, H query heads, G key/value heads, L queries per head, D head_dim, N pairs held
"""

from collections.abc import Callable, Sequence
from copy import copy
from math import gcd
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from memformer.config import MemoryConfig
from memformer.memory.book import Book, Run
from memformer.memory.checks import bound, check_distances, check_finite, check_shape
from memformer.memory.found import Found
from memformer.memory.fused import FusedSearch
from memformer.memory.int8 import largest_stored
from memformer.memory.rotary import Rotary
from memformer.memory.search import Hits, Search, build_search
from memformer.memory.taken import lane_rotary

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}


class PagedMemory:
    """The memory of `n_lane` manuscripts at one layer; search compares queries with keys as stored.

    Args:
        config: sizes, search and dtype; `layers`, `combine` and `positions` are not used here.
        n_lane: manuscripts held side by side; none ever sees another's pairs.
        n_kv_head: key/value heads, `G`.
        head_dim: width of a head, `D`.
        device: where the pages lie; queries and pairs must lie there too.

    Raises:
        ValueError: a size below 1, or a search that cannot be built.
    """

    def __init__(
        self,
        config: MemoryConfig,
        *,
        n_lane: int,
        n_kv_head: int,
        head_dim: int,
        device: torch.device | str = "cpu",
    ) -> None:
        for name, size in (("n_lane", n_lane), ("n_kv_head", n_kv_head), ("head_dim", head_dim)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        self.config, self.n_kv_head, self.head_dim = config, n_kv_head, head_dim
        self.device = torch.device(device)
        self.backend: Search = build_search(config, head_dim, self.device)
        self.books = [self._new_book() for _ in range(n_lane)]
        self._value_order: Callable[[Book, Tensor], Tensor] | None = None

    @property
    def n_lane(self) -> int:
        """Manuscripts held side by side."""
        return len(self.books)

    @property
    def n_bytes(self) -> int:
        """Bytes of all pages; sealed pages shared by forks count once in each."""
        return sum(book.n_bytes for book in self.books)

    def size(self, lane: int) -> int:
        """Pairs held in a lane, per key/value head."""
        return self.books[self._checked_lane(lane, "size")].size

    def append(
        self,
        keys: Tensor,
        values: Tensor,
        *,
        token_index: Tensor,
        fraction: Tensor | None = None,
        lanes: Sequence[int] | None = None,
    ) -> None:
        """Remember pairs; each lane's come after those it has. Copies are kept, without gradient.

        Args:
            keys, values: (len(lanes), G, n, D), finite.
            token_index: (len(lanes), n) int64, never falling within a lane.
            fraction: (len(lanes), n) in [0, 1], NaN or None where unknown.
            lanes: lanes written to; all of them, in order, by default.

        Raises:
            ValueError: a wrong shape, a lane that does not exist or is named twice, a key or value
                that is not finite (as stored), a token index below the one before. Nothing is
                written then.
        """
        lanes = list(range(self.n_lane)) if lanes is None else list(lanes)
        if len({self._checked_lane(lane, "append") for lane in lanes}) != len(lanes):
            raise ValueError(f"append: lanes must be different, got {lanes}")
        keys, values = self._to_store(keys), self._to_store(values)
        n = keys.shape[2] if keys.dim() == 4 else 0
        check_shape("append: keys", keys, (len(lanes), self.n_kv_head, n, self.head_dim))
        check_shape("append: values", values, tuple(keys.shape))
        check_shape("append: token_index", token_index, (len(lanes), n))
        if fraction is None:
            fraction = torch.full((len(lanes), n), torch.nan, device=self.device)
        check_shape("append: fraction", fraction, (len(lanes), n))
        self._check_finite("append", keys, values, lanes, token_index)
        for row, lane in enumerate(lanes):
            self._check_order(lane, token_index[row])
        for row, lane in enumerate(lanes):
            if n:
                self.books[lane].append(
                    keys[row], values[row], token_index[row], fraction[row], self.config.capacity
                )
                self.backend.index(self.books[lane])

    def extended(self, pairs: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]) -> "PagedMemory":
        """This memory, or a view that also finds pairs which are not appended yet.

        Args:
            pairs: of each lane keys, values (G, n, D), token_index, fraction (n,); n may differ.

        Raises:
            ValueError: a key or value is not finite.
        """
        if not any(keys.shape[1] for keys, *_ in pairs):
            return self
        twin = self.select(range(self.n_lane))
        for lane, (keys, values, token_index, fraction) in enumerate(pairs):
            if keys.shape[1]:
                keys, values = self._to_store(keys), self._to_store(values)
                self._check_finite("search", keys[None], values[None], [lane], token_index[None])
                twin.books[lane].append(keys, values, token_index, fraction, None)
        return twin

    def search(
        self,
        queries: Tensor,
        k: int,
        *,
        start: Tensor | None = None,
        stop: Tensor | None = None,
        rotary: Rotary | None = None,
    ) -> Found:
        """The k pairs of each query's own lane with the largest inner products of query and key.

        Args:
            queries: (B, H, L, D), B = n_lane; heads h·H/G ... (h+1)·H/G - 1 read key/value head h.
            k: pairs wanted, at least 1; where a lane holds fewer, the rest is masked.
            start, stop: slot bounds, (B,) or (B, L) int64: only slots in [start, stop) are found.
                Slots count what was ever appended to the lane, from 0.
            rotary: compare at the distance of query and key; only if `searches_by_distance`. No
                slot that is searched may be farther than its `max_distance`, or stand after the
                query: give `start` and `stop`.

        Returns:
            `Found`, without gradient: score again with `found.keys` to train queries.

        Raises:
            ValueError: a wrong shape, k below 1, queries that are not finite, a rotary that this
                search or these bounds do not serve.
        """
        if k < 1:
            raise ValueError(f"search: k must be at least 1, got {k}")
        H = queries.shape[1] if queries.dim() == 4 else 0
        L = queries.shape[2] if queries.dim() == 4 else 0
        check_shape("search: queries", queries, (self.n_lane, H, L, self.head_dim))
        if H == 0 or H % self.n_kv_head:
            raise ValueError(f"search: n_kv_head={self.n_kv_head} must divide the query heads {H}")
        check_finite("search: query", queries, range(self.n_lane), None)
        if rotary is not None:
            check_shape("search: rotary.positions", rotary.positions, (self.n_lane, L))
        queries, n_rep = queries.detach().float(), H // self.n_kv_head
        hits = [
            self._search_lane(lane, queries[lane], k, start, stop, rotary)
            for lane in range(self.n_lane)
        ]
        return Found(
            torch.stack([rearrange(h.scores, "g (r l) k -> (g r) l k", r=n_rep) for h in hits]),
            torch.stack([rearrange(h.slots, "g (r l) k -> (g r) l k", r=n_rep) for h in hits]),
            tuple(book.snapshot() for book in self.books),
            self._value_order,
        )

    def at(self, slots: Tensor) -> Found:
        """The pairs at slots (B, H, L, k) that a search returned, -1 where there is none.

        Raises:
            TypeError: slots are not int64.
            ValueError: a slot is not held by its lane.
        """
        if slots.dtype != torch.int64:
            raise TypeError(f"at: slots must be int64, got {slots.dtype}")
        for lane, (book, each) in enumerate(zip(self.books, slots, strict=True)):
            lost = (each >= book.stop) | ((each < book.start) & (each >= 0))
            if lost.any():
                raise ValueError(
                    f"at: lane {lane} holds slots [{book.start}, {book.stop}), "
                    f"got {int(each[lost][0])}"
                )
        scores = torch.full(slots.shape, torch.nan, device=slots.device)
        books = tuple(book.snapshot() for book in self.books)
        return Found(scores, slots, books, self._value_order)

    def pairs(self, lane: int, start: int = 0, stop: int | None = None) -> Run:
        """The pairs in slots [start, stop) of a lane, in one piece, as read: float32 of int8."""
        book = self.books[self._checked_lane(lane, "pairs")]
        stop = book.stop if stop is None else stop
        runs = list(book.runs(start, stop)) or [_empty_run(book)]
        whole = _joined(runs)
        if self._value_order is None or whole.keys.shape[1] == 0:
            return whole
        slots = torch.arange(whole.first, whole.first + whole.keys.shape[1], device=self.device)
        other = self._value_order(book, slots).expand(self.n_kv_head, -1)
        return whole._replace(values=book.gather(other, "values"))

    def reset(self, lanes: Sequence[int]) -> None:
        """Forget all of these lanes; slots and everything else start anew there.

        Raises:
            ValueError: a lane does not exist.
        """
        for lane in lanes:
            self._checked_lane(lane, "reset")
        for lane in lanes:
            self.books[lane] = self._new_book()

    def rewind(self, *, lane: int, to: int) -> None:
        """Forget a lane's pairs from token index `to` on. What was evicted does not come back.

        Raises:
            ValueError: the lane does not exist, `to` is negative, or all that was held at `to` was
                evicted since.
        """
        if to < 0:
            raise ValueError(f"rewind: to must be a token index of at least 0, got {to}")
        book = self.books[self._checked_lane(lane, "rewind")]
        oldest = [int(run.token_index[0]) for run in book.runs(book.start, book.start + 1)]
        if book.start and any(to < token for token in oldest):
            raise ValueError(
                f"rewind: lane {lane} has evicted all it held at token {to}, its oldest pair is "
                f"token {oldest[0]}: reset the lane and read it again"
            )
        kept = sum(int((run.token_index < to).sum()) for run in book.runs(book.start, book.stop))
        book.rewind(book.start + kept)
        self.backend.index(book)

    def fork(self, n: int) -> "PagedMemory":
        """Every lane n times, lane-major: lanes i·n ... i·n + n - 1 continue lane i on their own.

        Raises:
            ValueError: n is below 1.
        """
        if n < 1:
            raise ValueError(f"fork: n must be at least 1, got {n}")
        return self.select([lane for lane in range(self.n_lane) for _ in range(n)])

    def select(self, lanes: Sequence[int]) -> "PagedMemory":
        """A memory with these lanes, each continued on its own; sealed pages are shared.

        Raises:
            ValueError: no lane, or one that does not exist.
        """
        if not lanes:
            raise ValueError("select: name at least one lane")
        twin = copy(self)  # the settings and the search are shared, they hold no pairs
        twin.books = [self.books[self._checked_lane(lane, "select")].fork() for lane in lanes]
        return twin

    def with_shuffled_values(self) -> "PagedMemory":
        """A view for the control experiment "shuffled": keys are found as before, but each comes
        with the value of another slot of its lane: a fixed permutation of the slots held, in which
        every slot gives its value to another one as soon as there are two."""
        twin = self.select(range(self.n_lane))
        twin._value_order = _other_slot
        return twin

    @property
    def is_shuffled(self) -> bool:
        """Whether this is a view that `with_shuffled_values` made."""
        return self._value_order is not None

    def save(self, folder: Path | str) -> None:
        """Write the memory to a folder, only what is new there; see `saved_memory`."""
        from memformer.memory.saved_memory import save_memory

        save_memory(self, Path(folder))

    @classmethod
    def load(
        cls, folder: Path | str, device: torch.device | str = "cpu", *, mmap: bool = False
    ) -> "PagedMemory":
        """Read a memory that `save` wrote, or map its pages; see `saved_memory.read_pages`."""
        from memformer.memory.saved_memory import load_memory

        return load_memory(Path(folder), device, mmap=mmap)

    @property
    def searches_by_distance(self) -> bool:
        """Whether `search` can compare queries and keys at their distance."""
        return isinstance(self.backend, FusedSearch)

    def _search_lane(
        self,
        lane: int,
        queries: Tensor,
        k: int,
        start: Tensor | None,
        stop: Tensor | None,
        rotary: Rotary | None,
    ) -> Hits:
        """`queries` (H, L, D) of one lane -> hits (G, H/G · L, k)."""
        book = self.books[lane]
        rows = rearrange(queries, "(g r) l d -> g (r l) d", g=self.n_kv_head)
        L, n_rep = queries.shape[1], queries.shape[0] // self.n_kv_head
        first = bound("start", start, self.n_lane, L, lane, book.start, self.device)
        last = bound("stop", stop, self.n_lane, L, lane, book.stop, self.device)
        first, last = first.clamp(min=book.start), last.clamp(max=book.stop)
        bounds = first.repeat(n_rep), last.repeat(n_rep)
        if rotary is None:
            return self.backend.top_k(book, rows, k, *bounds)
        if not isinstance(self.backend, FusedSearch):
            raise ValueError(
                f"search: rotary needs search='fused', got {self.config.search!r}: score the pairs "
                "at their distances yourself"
            )
        turned_by = lane_rotary(rotary, lane, n_rep, book)
        check_distances(lane, rotary, first, last)
        return self.backend.top_k(book, rows, k, *bounds, turned_by)

    def _to_store(self, rows: Tensor) -> Tensor:
        """In the pages' dtype, where they may become infinite; int8 is packed when written."""
        rows = rows.detach()
        return rows if self.config.dtype == "int8" else rows.to(DTYPES[self.config.dtype])

    def _check_finite(
        self, call: str, keys: Tensor, values: Tensor, lanes: Sequence[int], token_index: Tensor
    ) -> None:
        for what, rows in (("key", keys), ("value", values)):
            stored = largest_stored(rows) if self.config.dtype == "int8" else rows
            check_finite(f"{call}: {what}", stored, lanes, token_index)

    def _new_book(self) -> Book:
        dtype = DTYPES[self.config.dtype]
        return Book(self.n_kv_head, self.head_dim, self.config.page_len, dtype, self.device)

    def _checked_lane(self, lane: int, call: str) -> int:
        if not 0 <= lane < self.n_lane:
            raise ValueError(f"{call}: lane must be in [0, n_lane={self.n_lane}), got {lane}")
        return lane

    def _check_order(self, lane: int, token_index: Tensor) -> None:
        book = self.books[lane]
        before = [run.token_index[-1:] for run in book.runs(book.stop - 1, book.stop)]
        falls = torch.cat([*before, token_index.to(self.device)]).diff() < 0
        if falls.any():
            raise ValueError(f"append: token_index must not fall within lane {lane}, but it does")


def _joined(runs: list[Run]) -> Run:
    if len(runs) == 1:
        keys, values = runs[0].rows("keys"), runs[0].rows("values")
        return runs[0]._replace(keys=keys, values=values, key_scales=None, value_scales=None)
    return Run(
        runs[0].first,
        torch.cat([run.rows("keys") for run in runs], dim=1),
        torch.cat([run.rows("values") for run in runs], dim=1),
        torch.cat([run.token_index for run in runs]),
        torch.cat([run.fraction for run in runs]),
        torch.cat([run.step for run in runs]),
    )


def _empty_run(book: Book) -> Run:
    none = torch.empty(book.n_kv_head, 0, dtype=torch.int64, device=book.device)
    pairs = book.gather(none, "keys")
    whole = torch.empty(0, dtype=torch.int64, device=book.device)
    return Run(book.stop, pairs, pairs, whole, whole.float(), whole)


def _other_slot(book: Book, slots: Tensor) -> Tensor:
    """A permutation of the slots held that moves every one (if there are two); -1 stays -1."""
    if book.size < 2:
        return slots
    # i -> i·stride + odd modulo an even n: with an odd stride, i·(stride - 1) is even, so it never
    # meets its start again; an odd last slot changes places with the first
    n = book.size - book.size % 2
    stride = int(n * 0.618) | 1
    while gcd(stride, n) != 1:
        stride += 2
    shift = (n // 2) | 1
    place = slots - book.start
    moved = (place * stride + shift) % n
    if n < book.size:
        moved = torch.where(place == 0, n, torch.where(place == n, shift % n, moved))
    return torch.where(slots < 0, slots, moved + book.start)
