"""The pages of one lane: one slot number names key, value and metadata together.

Pages of `page_len` slots are bound in slabs: contiguous tensors of 1, 1, 2, 4, ... 64 pages, so a
memory grows without copying and is still scanned in few large products. A sealed (full) page is
never written again. A fork shares the sealed pages and copies the open one.

    G key/value heads, D head_dim, n pairs
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

MAX_SLAB_PAGES = 64
"""Pages bound together at most: memory evicted page by page is given back slab by slab."""


class Run(NamedTuple):
    """Consecutive slots that lie in one slab; the tensors are views."""

    first: int
    """Slot of the first pair."""
    keys: Tensor
    """(G, n, D)"""
    values: Tensor
    """(G, n, D)"""
    token_index: Tensor
    """(n,) int64: which token of the manuscript each pair came from."""
    fraction: Tensor
    """(n,) float32: the fraction of the novel there; NaN where unknown."""
    step: Tensor
    """(n,) int64: the write in which it came."""


@dataclass(frozen=True)
class _Slab:
    first: int  # slot of its first pair
    keys: Tensor  # (G, size, D)
    values: Tensor  # (G, size, D)
    token_index: Tensor  # (size,)
    fraction: Tensor  # (size,)
    step: Tensor  # (size,)

    @property
    def stop(self) -> int:
        return self.first + self.keys.shape[1]

    def run(self, start: int, stop: int) -> Run:
        part = slice(start - self.first, stop - self.first)
        return Run(
            start,
            self.keys[:, part],
            self.values[:, part],
            self.token_index[part],
            self.fraction[part],
            self.step[part],
        )


class Book:
    """Pairs of one lane at one layer, slots numbered from 0 in the order of writing.

    Attributes:
        start: first slot held; all below were evicted.
        stop: one past the last slot held.
        groups: what a search backend built over sealed pages (`Search.index` keeps it).
    """

    def __init__(
        self, n_kv_head: int, head_dim: int, page_len: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.n_kv_head, self.head_dim, self.page_len = n_kv_head, head_dim, page_len
        self.dtype, self.device = dtype, device
        self.start = self.stop = self.n_write = 0
        self.groups: list[object] = []
        self._slabs: list[_Slab] = []

    @property
    def size(self) -> int:
        """Pairs held, per key/value head."""
        return self.stop - self.start

    @property
    def sealed(self) -> int:
        """One past the last slot on a full page; the slots from there on are the open page."""
        return self.stop - self.stop % self.page_len

    @property
    def largest_slab(self) -> int:
        """Slots of the largest slab, 0 without one."""
        return max((slab.keys.shape[1] for slab in self._slabs), default=0)

    @property
    def n_bytes(self) -> int:
        """Bytes of the pages held, with what is allocated ahead for the open slab."""
        return sum(
            part.numel() * part.element_size()
            for slab in self._slabs
            for part in (slab.keys, slab.values, slab.token_index, slab.fraction, slab.step)
        )

    def append(
        self,
        keys: Tensor,
        values: Tensor,
        token_index: Tensor,
        fraction: Tensor,
        capacity: int | None,
    ) -> None:
        """Write pairs at the end; at capacity the oldest page goes first.

        Args:
            keys, values: (G, n, D).
            token_index, fraction: (n,).
            capacity: pairs held at most, at least page_len; None for no limit.
        """
        done, n = 0, keys.shape[1]
        while done < n:
            if not self._slabs or self._slabs[-1].stop == self.stop:
                self._slabs.append(self._new_slab(self._pages_to_bind(capacity)))
            slab = self._slabs[-1]
            # to the end of the page at most, so that eviction never meets a page half written
            room = self.page_len - self.stop % self.page_len
            take = min(n - done, room)
            if capacity is not None and self.size + take > capacity:
                if self.start < self.sealed:
                    self._evict_page()
                    continue
                raise AssertionError("capacity below page_len")
            run = slab.run(self.stop, self.stop + take)
            part = slice(done, done + take)
            run.keys.copy_(keys[:, part].detach())
            run.values.copy_(values[:, part].detach())
            run.token_index.copy_(token_index[part])
            run.fraction.copy_(fraction[part])
            run.step.fill_(self.n_write)
            self.stop += take
            done += take
        self.n_write += 1

    def runs(self, start: int, stop: int) -> Iterator[Run]:
        """The pairs in slots [start, stop) that are held, slab by slab, ascending."""
        start, stop = max(start, self.start), min(stop, self.stop)
        for slab in self._slabs:
            first, last = max(start, slab.first), min(stop, slab.stop)
            if first < last:
                yield slab.run(first, last)

    def gather(self, slots: Tensor, of: str) -> Tensor:
        """Keys or values at slots (G, M): (G, M, D) in the pages' dtype; slot -1 gives zeros."""
        G, D = self.n_kv_head, self.head_dim
        flat = slots.reshape(G, -1)  # (G, M)
        rows = torch.zeros(flat.numel(), D, dtype=self.dtype, device=self.device)
        head = torch.arange(G, device=self.device)[:, None].expand_as(flat)
        for slab in self._slabs:
            inside = (flat >= slab.first) & (flat < min(slab.stop, self.stop))
            where = inside.flatten().nonzero()[:, 0]
            if len(where) == 0:
                continue
            table: Tensor = (slab.keys if of == "keys" else slab.values).reshape(-1, D)
            source = (head * slab.keys.shape[1] + flat - slab.first).flatten()[where]
            rows[where] = table[source]
        return rows.view(*slots.shape, D)

    def metadata(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Token index (-1) and fraction (NaN) at slots of any shape, defaults where slot is -1."""
        index = torch.full_like(slots, -1)
        fraction = torch.full(slots.shape, torch.nan, device=self.device)
        for slab in self._slabs:
            inside = (slots >= slab.first) & (slots < min(slab.stop, self.stop))
            index[inside] = slab.token_index[slots[inside] - slab.first]
            fraction[inside] = slab.fraction[slots[inside] - slab.first]
        return index, fraction

    def snapshot(self) -> "Book":
        """The pairs as they are now, to read from later. It shares all pages, the open one too: its
        slots below `stop` are never written again, since `rewind` copies what it cuts."""
        book = Book(self.n_kv_head, self.head_dim, self.page_len, self.dtype, self.device)
        book.start, book.stop, book._slabs = self.start, self.stop, list(self._slabs)
        return book

    def fork(self) -> "Book":
        """A book with the same pairs that can be written on alone: sealed pages are shared."""
        book = Book(self.n_kv_head, self.head_dim, self.page_len, self.dtype, self.device)
        book.start, book.n_write, book.groups = self.start, self.n_write, list(self.groups)
        book._take_from(self, self.stop)
        return book

    def rewind(self, stop: int) -> None:
        """Drop the slots from `stop` on. Shared pages stay as they are: the page cut is copied."""
        slabs, self._slabs = self._slabs, []
        source = Book(self.n_kv_head, self.head_dim, self.page_len, self.dtype, self.device)
        source._slabs, source.start, source.stop = slabs, self.start, self.stop
        self.stop = self.start
        self._take_from(source, max(stop, self.start))

    def _take_from(self, source: "Book", stop: int) -> None:
        """Share the sealed pages of `source` below `stop`, copy the rest below `stop`."""
        sealed = max(stop - stop % self.page_len, source.start)
        self._slabs = [_Slab(*run) for run in source.runs(source.start, sealed)]
        self.stop = stop
        if sealed < stop:
            (rest,) = source.runs(sealed, stop)
            own = self._new_slab(1, first=sealed)
            mine = own.run(sealed, stop)
            for target, value in zip(mine[1:], rest[1:], strict=True):
                target.copy_(value)
            self._slabs.append(own)

    def _evict_page(self) -> None:
        self.start += self.page_len
        self._slabs = [slab for slab in self._slabs if slab.stop > self.start]

    def _pages_to_bind(self, capacity: int | None) -> int:
        pages = min(max(self.size // self.page_len, 1), MAX_SLAB_PAGES)
        # an evicted page is freed with its slab: keep slabs small against the capacity
        return pages if capacity is None else min(pages, max(1, capacity // self.page_len // 8))

    def _new_slab(self, n_page: int, first: int | None = None) -> _Slab:
        size, G, D = n_page * self.page_len, self.n_kv_head, self.head_dim
        # a slab made in inference mode could never be read by a training step
        with torch.inference_mode(False):
            return _Slab(
                self.stop if first is None else first,
                torch.empty(G, size, D, dtype=self.dtype, device=self.device),
                torch.empty(G, size, D, dtype=self.dtype, device=self.device),
                torch.empty(size, dtype=torch.int64, device=self.device),
                torch.empty(size, dtype=torch.float32, device=self.device),
                torch.empty(size, dtype=torch.int64, device=self.device),
            )
