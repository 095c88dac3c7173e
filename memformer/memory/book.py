"""The pages of one lane: one slot number names key, value and metadata together.

Pages of `page_len` slots are bound in slabs: contiguous tensors of 1, 1, 2, 4, ... 64 pages, so a
memory grows without copying and is still scanned in few large products. A sealed (full) page is
never written again. A fork shares the sealed pages and copies the open one.

    G key/value heads, D head_dim, n pairs
"""

from collections.abc import Iterable, Iterator, Sequence
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


class Layout(NamedTuple):
    """Where slabs begin and end; what they are has no bearing on what is held."""

    slabs: list[list[int]]
    """First slot and one past the last, ascending."""
    n_bound: int
    """Pages that the book itself has allocated; it decides how large the next slab is."""


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
        saved: the file that holds a sealed page, by page number, once it was saved or loaded.
    """

    def __init__(
        self, n_kv_head: int, head_dim: int, page_len: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.n_kv_head, self.head_dim, self.page_len = n_kv_head, head_dim, page_len
        self.dtype, self.device = dtype, device
        self.start = self.stop = self.n_write = 0
        self.groups: list[object] = []
        self.saved: dict[int, str] = {}
        self._slabs: list[_Slab] = []
        self._n_bound = 0  # pages allocated by this book itself

    @property
    def size(self) -> int:
        """Pairs held, per key/value head."""
        return self.stop - self.start

    @property
    def sealed(self) -> int:
        """One past the last slot on a full page; the slots from there on are the open page."""
        return self.stop - self.stop % self.page_len

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
        step = torch.full_like(token_index, self.n_write)
        self._write((keys, values, token_index, fraction, step), capacity)
        self.n_write += 1

    @property
    def layout(self) -> Layout:
        """How the pages are bound, for `restore`."""
        return Layout([[slab.first, slab.stop] for slab in self._slabs], self._n_bound)

    def restore(
        self, n_write: int, pages: Iterable[Sequence[Tensor]], layout: Layout | None = None
    ) -> None:
        """Go on with saved pages: keys, values, token_index, fraction and step of each in turn.

        Bound as `layout` says, they are scanned in the same products as before they were saved,
        so that going on gives the same bits.
        """
        bound = [] if layout is None else layout.slabs
        for page in pages:
            if not self._slabs or self._slabs[-1].stop == self.stop:
                fits = [(a, b) for a, b in bound if a <= self.stop < b]
                self._slabs += [self._slab(a, b - a) for a, b in fits[:1]]
            self._write(page, None)
        self.n_write = n_write
        self._n_bound = self._n_bound if layout is None else layout.n_bound

    def pages(self) -> Iterator[Run]:
        """The pages held, ascending; the last may be open."""
        for first in range(self.start, self.stop, self.page_len):
            yield from self.runs(first, first + self.page_len)

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
        rows = torch.zeros(slots.numel(), D, dtype=self.dtype, device=self.device)
        head = torch.arange(G, device=self.device)[:, None]
        for slab in self._slabs:
            inside = (slots >= slab.first) & (slots < min(slab.stop, self.stop))
            where = inside.flatten().nonzero()[:, 0]
            if len(where) == 0:
                continue
            table: Tensor = (slab.keys if of == "keys" else slab.values).reshape(-1, D)
            source = (slots + (head * slab.keys.shape[1] - slab.first)).flatten()[where]
            rows.index_copy_(0, where, table.index_select(0, source))
        return rows.view(*slots.shape, D)

    def metadata(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Token index (-1) and fraction (NaN) at slots of any shape, defaults where slot is -1."""
        runs = list(self.runs(self.start, self.stop))
        index = torch.cat([slots.new_full((1,), -1), *(run.token_index for run in runs)])
        nan = torch.full((1,), torch.nan, device=self.device)
        fraction = torch.cat([nan, *(run.fraction for run in runs)])
        place = (slots - (self.start - 1)).clamp(min=0)  # 0 for slot -1
        return index[place], fraction[place]

    def snapshot(self) -> "Book":
        """The pairs as they are now, to read from later. It shares all pages, the open one too: its
        slots below `stop` are never written again, since `rewind` copies what it cuts."""
        book = self._blank()
        book.start, book.stop, book._slabs = self.start, self.stop, list(self._slabs)
        return book

    def fork(self) -> "Book":
        """A book with the same pairs that can be written on alone: sealed pages and what was built
        over them are shared, the open page is copied."""
        book = self._blank()
        book.start, book.n_write, book.groups = self.start, self.n_write, list(self.groups)
        book.share(self, self.stop)
        return book

    def rewind(self, stop: int) -> None:
        """Drop the slots from `stop` on. Shared pages stay as they are: the page cut is copied."""
        source = self.snapshot()
        source.saved = self.saved
        self.share(source, max(stop, self.start))

    def share(self, source: "Book", stop: int) -> None:
        """Hold the pairs of `source` from the own start to `stop` and nothing else: sealed pages
        are shared, the rest is copied."""
        sealed = max(stop - stop % self.page_len, self.start)
        self._slabs = [_Slab(*run) for run in source.runs(self.start, sealed)]
        self.stop, self._n_bound = sealed, 0
        n_page = sealed // self.page_len
        self.saved = {page: name for page, name in source.saved.items() if page < n_page}
        for rest in source.runs(sealed, stop):
            self._write(rest[1:], None)

    def _write(self, columns: Sequence[Tensor], capacity: int | None) -> None:
        """Keys, values (G, n, D) and token_index, fraction, step (n,) at the end of the book."""
        done, n = 0, columns[0].shape[1]
        while done < n:
            # to the end of the page at most, so that eviction never meets a page half written
            take = min(n - done, self.page_len - self.stop % self.page_len)
            while capacity is not None and self.size + take > capacity:
                self._evict_page()
            if not self._slabs or self._slabs[-1].stop == self.stop:
                self._slabs.append(self._new_slab(capacity))
            target = self._slabs[-1].run(self.stop, self.stop + take)
            for into, column in zip(target[1:], columns, strict=True):
                part = column.narrow(-1 if column.dim() == 1 else 1, done, take)
                # .data: autograd may hold earlier slots of this slab, which stay as they are
                into.data.copy_(part.detach())
            self.stop += take
            done += take

    def _evict_page(self) -> None:
        assert self.start < self.sealed, "capacity below page_len"
        self.saved.pop(self.start // self.page_len, None)
        self.start += self.page_len
        self._slabs = [slab for slab in self._slabs if slab.stop > self.start]

    def _new_slab(self, capacity: int | None) -> _Slab:
        # as many pages as this book has allocated: a fork that writes little takes little
        n_page = min(max(self._n_bound, 1), MAX_SLAB_PAGES)
        if capacity is not None:
            # an evicted page is freed with its slab: keep slabs small against the capacity
            n_page = min(n_page, max(1, capacity // self.page_len // 8))
        self._n_bound += n_page
        return self._slab(self.stop, n_page * self.page_len)

    def _slab(self, first: int, size: int) -> _Slab:
        G, D = self.n_kv_head, self.head_dim
        # a slab made in inference mode could never be read by a training step
        with torch.inference_mode(False):
            return _Slab(
                first,
                torch.empty(G, size, D, dtype=self.dtype, device=self.device),
                torch.empty(G, size, D, dtype=self.dtype, device=self.device),
                torch.empty(size, dtype=torch.int64, device=self.device),
                torch.empty(size, dtype=torch.float32, device=self.device),
                torch.empty(size, dtype=torch.int64, device=self.device),
            )

    def _blank(self) -> "Book":
        return Book(self.n_kv_head, self.head_dim, self.page_len, self.dtype, self.device)
