"""Exact search that never writes a score to memory: `_fused.cpp`, called through plain pointers.

Keys of sealed pages are packed once, in bfloat16; what is not packed yet is packed for the call.
Candidates within the error of bfloat16 are scored again from the keys as stored, so the pairs found
are those of `exact`, up to the order of float32 sums.

    G key/value heads, M queries of one key/value head, D head_dim, k pairs wanted
"""

from dataclasses import dataclass, field
from operator import is_not
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from memformer.memory import compiled
from memformer.memory.book import Book, Of
from memformer.memory.compiled import address, longs, pointers
from memformer.memory.rotary import turn, turns
from memformer.memory.search import Hits, Search

GROUP_LEN = 1024
"""Pairs packed together, rounded up to whole pages."""
FEW_QUERIES = 8
"""So many of a head and fewer are compared with keys that are not packed as these are stored."""
_F32, _I64 = torch.float32, torch.int64
_KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}  # as in _fused.cpp
PATHS = ("portable", "avx2", "avx512", "avx512_bf16", "amx")
"""Instruction sets, the best last."""


class _Packed(NamedTuple):
    first: int
    n: int
    keys: Tensor  # (G, ceil(n / 16), D / 2, 16, 2) bfloat16
    largest: float  # norm of a key
    rounded: float  # norm of what rounding took from a key


class _Joined(NamedTuple):
    """Packed stretches as the calls take them; the tensors behind the pointers are in `parts`."""

    parts: list[_Packed]
    first: Any
    n: Any
    keys: Any
    largest: float
    rounded: float

    @classmethod
    def of(cls, parts: list[_Packed]) -> "_Joined":
        return cls(
            parts,
            longs([p.first for p in parts]),
            longs([p.n for p in parts]),
            pointers([p.keys for p in parts]),
            max((p.largest for p in parts), default=0.0),
            max((p.rounded for p in parts), default=0.0),
        )


@dataclass(frozen=True)
class _Group:
    """Slots whose keys are packed together, when first searched: as stored (None), and turned by
    their positions (base, shift)."""

    first: int
    stop: int
    packed: dict[tuple[float, int] | None, _Packed] = field(default_factory=dict)
    joined: dict[int, _Joined] = field(default_factory=dict)
    """As stored, with all groups before it from a first slot on: these are the same wherever this
    group is. Kept by the last group only."""


class _Slabs(NamedTuple):
    """Rows as stored, as the calls take them."""

    n: int
    first: Any
    stride: Any
    rows: Any
    scales: Any
    kind: int

    @classmethod
    def of(cls, of: Of, book: Book, start: int, stop: int) -> "_Slabs":
        runs = book.slabs(start, stop)
        rows, scales = zip(*(run.stored(of) for run in runs), strict=True)
        for row, scale in zip(rows, scales, strict=True):
            if row.device.type != "cpu" or row.dtype not in _KINDS or row.stride(1) != row.shape[2]:
                raise TypeError(f"fused: rows of {row.dtype} on {row.device}, {row.stride()} apart")
            if scale is not None and scale.stride(0) * row.shape[2] != row.stride(0):
                raise TypeError(f"fused: scales {scale.stride()} apart, rows {row.stride()}")
        return cls(
            len(runs),
            longs([run.first for run in runs]),
            longs([row.stride(0) for row in rows]),
            pointers(rows),
            None if scales[0] is None else pointers(scales),
            _KINDS[rows[0].dtype],
        )


class LaneRotary(NamedTuple):
    """`Rotary` of one lane, for the rows of each key/value head."""

    base: float
    positions: Tensor
    """(M,) int64"""
    shift: int
    table: Tensor
    """Turns by distance, (n, 2, D / 2); the last serves all beyond."""


class FusedSearch(Search):
    """The k largest inner products, exactly, on the CPU.

    Args:
        head_dim: even.
        path: one of `PATHS`; None for the best that this machine has.

    Raises:
        ValueError: the compiled part is not here, the machine lacks the path, or head_dim is odd.
    """

    def __init__(self, head_dim: int, *, path: str | None = None) -> None:
        library = compiled.library_or_none()
        if library is None:
            raise ValueError(
                "search='fused' needs the compiled part, which was not built: install a C++ "
                "compiler and the package again, or take search='exact'"
            )
        if head_dim % 2:
            raise ValueError(f"search='fused' needs an even head_dim, got {head_dim}")
        best = library.memformer_best_path()
        if path is not None and path not in PATHS:
            raise ValueError(f"path must be one of {', '.join(PATHS)}, got {path!r}")
        self.path = best if path is None else PATHS.index(path)
        if self.path > best:
            raise ValueError(f"path must be at most {PATHS[best]!r} on this machine, got {path!r}")
        self.library = library

    def index(self, book: Book) -> None:
        """Group newly sealed pages. A group whose oldest pages were evicted is kept."""
        unit = -(-GROUP_LEN // book.page_len) * book.page_len
        kept = {group.first: group for group in cast(list[_Group], book.groups)}
        firsts = range(book.start // unit * unit, book.sealed - unit + 1, unit)
        wanted = [first for first in firsts if first >= book.start or first in kept]
        if list(kept) != wanted:
            book.groups = [kept.get(first) or _Group(first, first + unit) for first in wanted]

    def top_k(
        self,
        book: Book,
        queries: Tensor,
        k: int,
        start: Tensor,
        stop: Tensor,
        rotary: LaneRotary | None = None,
    ) -> Hits:
        """See `Search.top_k`; queries, bounds and pages lie on the CPU.

        With `rotary`, inner products are those at the distance of query and key, which the bounds
        keep at most that of the table's last row.
        """
        G, M, D = queries.shape
        scores = torch.full((G, M, k), -torch.inf, dtype=torch.float32, device="cpu")
        slots = torch.full((G, M, k), -1, dtype=torch.int64, device="cpu")
        lowest, highest = (int(start.min()), int(stop.max())) if M else (0, 0)
        if lowest >= highest:
            return Hits(scores, slots)
        parts, loose = self._parts(book, lowest, highest, rotary, is_packed=M > FEW_QUERIES)
        packed = self._joined(book, parts, rotary)
        queries, start, stop = queries.contiguous(), start.contiguous(), stop.contiguous()
        turned = None if rotary is None else turn(queries, rotary.positions, rotary.base)
        ends = [(p.first, p.first + p.n) for p in parts] + loose
        slabs = _Slabs.of("keys", book, min(a for a, _ in ends), max(b for _, b in ends))
        self.library.memformer_search(
            self.path, torch.get_num_threads(), G, M, D, k,
            address(queries, _F32), address(start, _I64), address(stop, _I64),
            len(parts), packed.first, packed.n, packed.keys,
            len(loose), longs([a for a, _ in loose]), longs([b for _, b in loose]), *slabs,
            packed.largest, packed.rounded,
            *_by_distance(rotary), None if turned is None else address(turned, _F32),
            address(scores, _F32), address(slots, _I64),
        )  # fmt: skip
        return Hits(scores, slots)

    def _joined(self, book: Book, parts: list[_Packed], rotary: LaneRotary | None) -> _Joined:
        """The parts as the calls take them: made once where they are whole groups as stored."""
        groups = cast(list[_Group], book.groups)
        last = groups[-1] if groups else None
        if (
            rotary is not None
            or last is None
            or not parts
            or parts[-1] is not last.packed.get(None)
        ):
            return _Joined.of(parts)
        kept = last.joined.get(parts[0].first)
        # the parts are compared, for those before may have been packed for one call
        if kept is None or len(kept.parts) != len(parts) or any(map(is_not, kept.parts, parts)):
            kept = last.joined[parts[0].first] = _Joined.of(parts)
            for group in groups[:-1]:
                group.joined.clear()
        return kept

    def _parts(
        self, book: Book, lowest: int, highest: int, rotary: LaneRotary | None, *, is_packed: bool
    ) -> tuple[list[_Packed], list[tuple[int, int]]]:
        """Packed keys that cover the slots [lowest, highest), which the book holds; ascending. What
        stands before the first group or after the last is packed for this call, or, if not
        `is_packed`, named apart."""
        groups = cast(list[_Group], book.groups)
        if rotary is not None:  # turned keys are searched near the queries only
            for group in groups:
                if group.stop <= lowest:
                    group.packed.pop((rotary.base, rotary.shift), None)
        parts = [
            self._of_group(book, group, rotary)
            for group in groups
            if group.stop > lowest and group.first < highest
        ]
        begin, end = (groups[0].first, groups[-1].stop) if groups else (lowest, lowest)
        around = ((lowest, min(begin, highest)), (max(end, lowest), highest))
        loose = [(first, stop) for first, stop in around if first < stop]
        if not is_packed:
            return parts, loose
        parts += [self._pack(book, first, stop, rotary) for first, stop in loose]
        return sorted(parts, key=lambda part: part.first), []

    def _of_group(self, book: Book, group: _Group, rotary: LaneRotary | None) -> _Packed:
        kind = None if rotary is None else (rotary.base, rotary.shift)
        if kind not in group.packed:
            if group.first < book.start:  # its oldest pages are gone
                return self._pack(book, book.start, group.stop, rotary)
            group.packed[kind] = self._pack(book, group.first, group.stop, rotary)
        return group.packed[kind]

    def _pack(self, book: Book, first: int, stop: int, rotary: LaneRotary | None) -> _Packed:
        rows = [run.rows("keys") for run in book.runs(first, stop)]
        keys = rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)
        G, n, D = keys.shape
        packed = torch.empty(G, -(-n // 16), D // 2, 16, 2, dtype=torch.bfloat16, device="cpu")
        turned_by = (
            None if rotary is None else turns(first + rotary.shift, n, D, rotary.base).contiguous()
        )
        norms = torch.empty(G, 2, dtype=_F32, device="cpu")
        for g in range(G):
            self.library.memformer_pack(
                address(keys[g], keys.dtype), int(keys.dtype == torch.bfloat16), n, D,
                None if turned_by is None else address(turned_by, _F32),
                address(packed[g], torch.bfloat16), address(norms[g], _F32),
            )  # fmt: skip
        largest, rounded = norms.amax(0).tolist()
        return _Packed(first, n, packed, largest, rounded)


def can_take(book: Book, dtype: torch.dtype) -> bool:
    """Whether `take_rows` serves these pages and operands of this dtype."""
    narrow = dtype in (torch.float32, torch.bfloat16)
    return narrow and book.device.type == "cpu" and compiled.library_or_none() is not None


def take_rows(
    a: Tensor,
    book: Book,
    slots: Tensor,
    of: Of,
    *,
    is_sum: bool,
    rotary: LaneRotary | None = None,
) -> Tensor:
    """Products with rows of pages taken by slot; see `taken`, whose plain twin defines them.

    Args:
        a: (G, M, D) float32 for inner products, (G, M, k) for weighted sums.
        book: pages of one lane, on the CPU.
        slots: (G, M, k) int64; -1 stands for a row of zeros.
        of: rows of keys or of values.
        is_sum: weighted sums, else inner products.
        rotary: inner products at the distance of query and key; sums of the rows turned back.

    Returns:
        (G, M, k) or (G, M, D) float32.
    """
    library = compiled.library_or_none()
    G, M, k = slots.shape
    out = torch.empty(G, M, book.head_dim if is_sum else k, dtype=torch.float32, device="cpu")
    a, slots = a.contiguous(), slots.contiguous()
    if book.size == 0 or k == 0:
        return out.zero_()
    slabs = _Slabs.of(of, book, book.start, book.stop)
    library.memformer_take(
        library.memformer_best_path(), torch.get_num_threads(), int(is_sum),
        G, M, book.head_dim, k, address(a, _F32), address(slots, _I64),
        *slabs, *_by_distance(rotary), address(out, _F32),
    )  # fmt: skip
    return out


def _by_distance(rotary: LaneRotary | None) -> tuple[Any, ...]:
    """The table of turns, its rows, the shift from slot to position, the queries' positions."""
    if rotary is None:
        return None, 0, 0, None
    table, positions = address(rotary.table, _F32), address(rotary.positions, _I64)
    return table, len(rotary.table), rotary.shift, positions
