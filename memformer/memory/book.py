"""The pages of one lane: one slot number names key, value and metadata together.

Pages of `page_len` slots are bound in slabs: contiguous tensors of 1, 1, 2, 4, ... 64 pages, so a
memory grows without copying and is still scanned in few large products. A sealed (full) page is
never written again. A fork shares the sealed pages and copies the open one.

    G key/value heads, D head_dim, n pairs
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from memformer.memory.int8 import pack, unpack

Of = Literal["keys", "values"]

MAX_SLAB_PAGES = 64
"""Pages bound together at most: memory evicted page by page is given back slab by slab."""


class Run(NamedTuple):
    """Consecutive slots that lie in one slab, or a slab itself; the tensors are views."""

    first: int
    """Slot of the first pair."""
    keys: Tensor
    """(G, n, D) as stored; `rows` reads them."""
    values: Tensor
    """(G, n, D) as stored"""
    token_index: Tensor
    """(n,) int64: which token of the manuscript each pair came from."""
    fraction: Tensor
    """(n,) float32: the fraction of the novel there; NaN where unknown."""
    step: Tensor
    """(n,) int64: the write in which it came."""
    key_scales: Tensor | None = None
    """(G, n) float32, of int8 pages only: what a key's components are multiplied by."""
    value_scales: Tensor | None = None
    """(G, n) float32, of int8 pages only"""

    @property
    def stop(self) -> int:
        """One past the slot of the last pair."""
        return self.first + self.keys.shape[1]

    @property
    def columns(self) -> list[Tensor]:
        """The tensors there are, in order; pairs are their second axis, or their only one."""
        return [column for column in self[1:] if isinstance(column, Tensor)]

    def rows(self, of: Of, heads: int | slice = slice(None)) -> Tensor:
        """Keys or values of some heads as they are read: (G, n, D) in the pages' dtype, float32 if
        that is int8."""
        rows, scales = self.stored(of)
        return unpack(rows[heads], None if scales is None else scales[heads])

    def stored(self, of: Of) -> tuple[Tensor, Tensor | None]:
        """Keys or values as stored, with their scales."""
        if of == "keys":
            return self.keys, self.key_scales
        return self.values, self.value_scales

    def part(self, start: int, stop: int) -> "Run":
        """The pairs in slots [start, stop), all of which must be here."""
        at = slice(start - self.first, stop - self.first)
        per_head = (self.keys, self.values, self.key_scales, self.value_scales)
        keys, values, *scales = (None if t is None else t[:, at] for t in per_head)
        assert keys is not None and values is not None
        pair = self.token_index[at], self.fraction[at], self.step[at]
        return Run(start, keys, values, *pair, *scales)


class Layout(NamedTuple):
    """Where slabs begin and end; what they are has no bearing on what is held."""

    slabs: list[list[int]]
    """First slot and one past the last, ascending."""
    n_bound: int
    """Pages that the book itself has allocated; it decides how large the next slab is."""


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
        self._slabs: list[Run] = []
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
            column.numel() * column.element_size()
            for slab in self._slabs
            for column in slab.columns
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
            keys, values: (G, n, D), finite once stored.
            token_index, fraction: (n,).
            capacity: pairs held at most, at least page_len; None for no limit.
        """
        columns = [keys, values, token_index, fraction, torch.full_like(token_index, self.n_write)]
        if self.dtype == torch.int8:
            (columns[0], key_scales), (columns[1], value_scales) = pack(keys), pack(values)
            columns += [key_scales, value_scales]
        self._write(columns, capacity)
        self.n_write += 1

    @property
    def layout(self) -> Layout:
        """How the pages are bound, for `restore`."""
        return Layout([[slab.first, slab.stop] for slab in self._slabs], self._n_bound)

    def restore(
        self,
        n_write: int,
        pages: Iterable[Sequence[Tensor]],
        layout: Layout | None = None,
        *,
        in_place: bool = False,
    ) -> None:
        """Go on with saved pages.

        Args:
            n_write: writes so far.
            pages: `Run.columns` of each in turn; the last may be open.
            layout: bound in this way, pages are scanned in the same products as before they were
                saved, so that going on gives the same bits.
            in_place: keep the tensors of sealed pages, each a slab, instead of copies.
        """
        bound = [] if layout is None else layout.slabs
        for page in pages:
            if in_place and page[0].shape[1] == self.page_len:
                self._slabs.append(Run(self.stop, *page))
                self.stop += self.page_len
                continue
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
                yield slab.part(first, last)

    def slabs(self, start: int, stop: int) -> list[Run]:
        """The slabs that hold slots of [start, stop), whole: with slots before and after."""
        start, stop = max(start, self.start), min(stop, self.stop)
        return [slab for slab in self._slabs if slab.first < stop and slab.stop > start]

    def gather(self, slots: Tensor, of: Of) -> Tensor:
        """Keys or values at slots (G, M), as they are read: (G, M, D); slot -1 gives zeros."""
        G, D = self.n_kv_head, self.head_dim
        dtype = torch.float32 if self.dtype == torch.int8 else self.dtype
        rows = torch.zeros(slots.numel(), D, dtype=dtype, device=self.device)
        head = torch.arange(G, device=self.device)[:, None]
        for slab in self._slabs:
            inside = (slots >= slab.first) & (slots < min(slab.stop, self.stop))
            where = inside.flatten().nonzero()[:, 0]
            if len(where) == 0:
                continue
            stored, scales = slab.stored(of)
            source = (slots + (head * stored.shape[1] - slab.first)).flatten()[where]
            taken = stored.reshape(-1, D).index_select(0, source)
            rows.index_copy_(
                0, where, unpack(taken, None if scales is None else scales.flatten()[source])
            )
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
        self._slabs = list(source.runs(self.start, sealed))
        self.stop, self._n_bound = sealed, 0
        n_page = sealed // self.page_len
        self.saved = {page: name for page, name in source.saved.items() if page < n_page}
        for rest in source.runs(sealed, stop):
            self._write(rest.columns, None)

    def _write(self, columns: Sequence[Tensor], capacity: int | None) -> None:
        """Write `Run.columns` at the end of the book."""
        done, n = 0, columns[0].shape[1]
        while done < n:
            # to the end of the page at most, so that eviction never meets a page half written
            take = min(n - done, self.page_len - self.stop % self.page_len)
            while capacity is not None and self.size + take > capacity:
                self._evict_page()
            if not self._slabs or self._slabs[-1].stop == self.stop:
                self._slabs.append(self._new_slab(capacity))
            target = self._slabs[-1].part(self.stop, self.stop + take)
            for into, column in zip(target.columns, columns, strict=True):
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

    def _new_slab(self, capacity: int | None) -> Run:
        # as many pages as this book has allocated: a fork that writes little takes little
        n_page = min(max(self._n_bound, 1), MAX_SLAB_PAGES)
        if capacity is not None:
            # an evicted page is freed with its slab: keep slabs small against the capacity
            n_page = min(n_page, max(1, capacity // self.page_len // 8))
        self._n_bound += n_page
        return self._slab(self.stop, n_page * self.page_len)

    def _slab(self, first: int, size: int) -> Run:
        pairs = (self.n_kv_head, size, self.head_dim)
        columns: list[tuple[tuple[int, ...], torch.dtype]] = [(pairs, self.dtype)] * 2
        columns += [((size,), torch.int64), ((size,), torch.float32), ((size,), torch.int64)]
        if self.dtype == torch.int8:
            columns += [(pairs[:2], torch.float32)] * 2
        # a slab made in inference mode could never be read by a training step
        with torch.inference_mode(False):
            made = [torch.empty(shape, dtype=t, device=self.device) for shape, t in columns]
        return Run(first, *made)

    def _blank(self) -> "Book":
        return Book(self.n_kv_head, self.head_dim, self.page_len, self.dtype, self.device)
