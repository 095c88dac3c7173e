"""Products with pairs taken from pages by slot, without putting the pairs together.

    inner         out[m, i] = a[m] · row[slot[m, i]]          (.., D) -> (.., k)
    weighted sum  out[m] = Σ_i a[m, i] row[slot[m, i]]        (.., k) -> (.., D)

Each is the gradient of the other, so one function of autograd serves both; pages have no gradient.
`fused.take_rows` computes them where it can, `_plain` defines them. A slot of -1 is a row of zeros.

    B lanes, H query heads, G key/value heads, L queries, M = H / G · L, k pairs, D head_dim
"""

from typing import Any, cast

import torch
from torch import Tensor

from memformer.memory.book import Book, Of
from memformer.memory.checks import check_shape
from memformer.memory.fused import LaneRotary, can_take, take_rows
from memformer.memory.rotary import Rotary, table

_FEW = 1 << 14
"""Distances by which tables grow."""
_BLOCK = 1 << 24
"""Elements of rows put together at once: 64 MiB of float32."""


def taken(
    a: Tensor,
    books: tuple[Book, ...],
    slots: Tensor,
    of: Of,
    *,
    is_sum: bool,
    rotary: Rotary | None = None,
) -> Tensor:
    """Inner products or weighted sums of `a` with rows of each lane's pages.

    Args:
        a: (B, H, L, D) for inner products, (B, H, L, k) for sums.
        books: one a lane.
        slots: (B, H, L, k) int64, held by the books, or -1.
        of: which rows.
        is_sum: weighted sums, else inner products.
        rotary: inner products at the distance of query and row, a row's position being its slot
            plus the shift; for sums, rows are turned back by that distance.

    Returns:
        (B, H, L, k) or (B, H, L, D), in the dtype of `a`.

    Raises:
        ValueError: shapes that do not belong together.
    """
    width = slots.shape[3] if is_sum else books[0].head_dim
    check_shape("weights" if is_sum else "queries", a, (*slots.shape[:3], width))
    if rotary is not None:
        check_shape("rotary.positions", rotary.positions, (slots.shape[0], slots.shape[2]))
    out = _Taken.apply(a, books, slots, of, is_sum, rotary)  # type: ignore[no-untyped-call]
    return cast(Tensor, out)


class _Taken(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, a: Tensor, books: Any, slots: Tensor, of: Of, is_sum: bool, rotary: Rotary | None
    ) -> Tensor:
        ctx.books, ctx.slots, ctx.of, ctx.is_sum, ctx.rotary = books, slots, of, is_sum, rotary
        n_rep = slots.shape[1] // books[0].n_kv_head
        each = []
        for lane, book in enumerate(books):
            turned_by = lane_rotary(rotary, lane, n_rep, book)
            each.append(_of_lane(a[lane], book, slots[lane], of, is_sum, turned_by))
        return torch.stack(each)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        grad = taken(
            grads[0], ctx.books, ctx.slots, ctx.of, is_sum=not ctx.is_sum, rotary=ctx.rotary
        )
        return grad, None, None, None, None, None


def _of_lane(
    a: Tensor, book: Book, slots: Tensor, of: Of, is_sum: bool, rotary: LaneRotary | None
) -> Tensor:
    """(H, L, ·) -> (H, L, ·)"""
    H, L, k = slots.shape
    G = book.n_kv_head
    rows, places = a.reshape(G, -1, a.shape[-1]), slots.reshape(G, -1, k)  # heads are neighbours
    if can_take(book, a.dtype):
        out = take_rows(rows.float(), book, places, of, is_sum=is_sum, rotary=rotary).type_as(a)
    else:
        out = _plain(rows, book, places, of, is_sum, rotary)
    return out.view(H, L, out.shape[-1])


def _plain(
    a: Tensor, book: Book, slots: Tensor, of: Of, is_sum: bool, rotary: LaneRotary | None
) -> Tensor:
    """The definition: a (G, M, ·), slots (G, M, k) -> (G, M, ·)."""
    n_row = max(1, _BLOCK // max(1, slots.shape[0] * slots.shape[2] * book.head_dim))
    out = []
    for first in range(0, max(1, a.shape[1]), n_row):
        part, at = a[:, first : first + n_row], slots[:, first : first + n_row]
        rows = book.gather(at.flatten(1), of).view(*at.shape, book.head_dim).type_as(a)
        if rotary is not None:
            rows = _turned_back(rows, at, rotary.positions[first : first + n_row], rotary)
        product = part[..., None, :] @ rows if is_sum else part[..., None, :] @ rows.mT
        out.append(product[..., 0, :])
    return torch.cat(out, dim=1)


def _turned_back(rows: Tensor, slots: Tensor, positions: Tensor, rotary: LaneRotary) -> Tensor:
    """Rows (G, M, k, D) turned by minus their distance: q · R(s - t) k = R(t - s) q · k."""
    distance = (positions[:, None] - slots - rotary.shift).clamp(0, len(rotary.table) - 1)
    cos, sin = rotary.table.to(rows)[distance].unbind(-2)  # (G, M, k, D / 2) each
    x, y = rows.chunk(2, dim=-1)
    return torch.cat((cos * x + sin * y, cos * y - sin * x), dim=-1)


def lane_rotary(rotary: Rotary | None, lane: int, n_rep: int, book: Book) -> LaneRotary | None:
    """One lane's, for rows of `n_rep` query heads one after the other."""
    if rotary is None:
        return None
    if rotary.positions.dtype != torch.int64:
        raise TypeError(f"rotary.positions must be int64, got {rotary.positions.dtype}")
    positions = rotary.positions[lane]
    if rotary.max_distance is None:  # few tables, however far the manuscript goes
        n = (int(positions.max()) // _FEW + 1) * _FEW if len(positions) else 1
    else:
        n = rotary.max_distance + 1
    by_distance = table(n, book.head_dim, rotary.base)
    return LaneRotary(rotary.base, positions.repeat(n_rep), rotary.shift, by_distance)
