"""Products with pairs taken from pages by slot, without putting the pairs together.

    inner         out[m, i] = a[m] · row[slot[m, i]]          (.., D) -> (.., k)
    weighted sum  out[m] = Σ_i a[m, i] row[slot[m, i]]        (.., k) -> (.., D)

Each is the gradient of the other, so one function of autograd serves both; pages have no gradient.
`fused.take_rows` computes them where it can, `_plain` defines them. A slot of -1 is a row of zeros.

    B lanes, H query heads, G key/value heads, L queries, M = H / G · L, k pairs, D head_dim
"""

from typing import Any, Literal, cast

import torch
from torch import Tensor

from memformer.memory.book import Book
from memformer.memory.fused import can_take, take_rows

Of = Literal["keys", "values"]

_BLOCK = 1 << 24
"""Elements of rows put together at once: 64 MiB of float32."""


def taken(a: Tensor, books: tuple[Book, ...], slots: Tensor, of: Of, *, is_sum: bool) -> Tensor:
    """Inner products or weighted sums of `a` with rows of each lane's pages.

    Args:
        a: (B, H, L, D) for inner products, (B, H, L, k) for sums.
        books: one a lane.
        slots: (B, H, L, k) int64, held by the books, or -1.
        of: which rows.
        is_sum: weighted sums, else inner products.

    Returns:
        (B, H, L, k) or (B, H, L, D), in the dtype of `a`.
    """
    out = _Taken.apply(a, books, slots, of, is_sum)  # type: ignore[no-untyped-call]
    return cast(Tensor, out)


class _Taken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, books: Any, slots: Tensor, of: Of, is_sum: bool) -> Tensor:
        ctx.books, ctx.slots, ctx.of, ctx.is_sum = books, slots, of, is_sum
        each = [_of_lane(a[lane], book, slots[lane], of, is_sum) for lane, book in enumerate(books)]
        return torch.stack(each)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        grad = taken(grads[0], ctx.books, ctx.slots, ctx.of, is_sum=not ctx.is_sum)
        return grad, None, None, None, None


def _of_lane(a: Tensor, book: Book, slots: Tensor, of: Of, is_sum: bool) -> Tensor:
    """(H, L, ·) -> (H, L, ·)"""
    H, L, k = slots.shape
    G = book.n_kv_head
    rows, places = a.reshape(G, -1, a.shape[-1]), slots.reshape(G, -1, k)  # heads are neighbours
    if can_take(book, a.dtype):
        out = take_rows(rows.float(), book, places, of, is_sum=is_sum).type_as(a)
    else:
        out = _plain(rows, book, places, of, is_sum)
    return out.view(H, L, out.shape[-1])


def _plain(a: Tensor, book: Book, slots: Tensor, of: Of, is_sum: bool) -> Tensor:
    """The definition: a (G, M, ·), slots (G, M, k) -> (G, M, ·)."""
    n_row = max(1, _BLOCK // max(1, slots.shape[0] * slots.shape[2] * book.head_dim))
    out = []
    for part, at in zip(torch.split(a, n_row, 1), torch.split(slots, n_row, 1), strict=True):
        rows = book.gather(at.flatten(1), of).view(*at.shape, book.head_dim).type_as(a)
        product = part[..., None, :] @ rows if is_sum else part[..., None, :] @ rows.mT
        out.append(product[..., 0, :])
    return torch.cat(out, dim=1)
