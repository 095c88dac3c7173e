"""Attention over the local window, block by block of queries, without the (L, C) logits of all.

Its result is one summary pair a query: the log of the sum of exp(logits), which is the logit that
the whole window has in a softmax with other parts, and the weighted mean of its values. The
backward pass computes the logits of each block again (Dao et al. 2022, arXiv:2205.14135, §3.1).

    B lanes, H query heads, G key/value heads, L queries, C columns, D head_dim
    logits s, weights p = exp(s - lse) where visible, o = Σ p v, n queries and w columns of a block
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple, cast

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

from memformer.model import compiled_window
from memformer.model.local_attention import Part

BLOCK = 256
"""Queries at once: their logits stay in the cache, and few masked ones are computed."""

_attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_attention_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def window_part(q: Tensor, k: Tensor, v: Tensor, n_held: list[int], window: int) -> Part:
    """The window's pairs as one pair of each query's own.

    Query l of a lane stands at column C - L + l and sees its own column and the window - 1 before
    it, as far as they are held. Equal, in a softmax with any other parts, to the part of all
    columns with the logits of the others at -inf. Under autocast the products are in its dtype.
    Gradients cannot be differentiated again. On a CPU with tiles bfloat16 is served by
    `compiled_window`, whatever else a CPU has by torch's fused attention, block by block; elsewhere
    plain products, which define both, compute the blocks.

    Args:
        q: (B, H, L, D), with position; inner products are logits.
        k, v: (B, G, C, D); the last L columns are the queries' own tokens.
        n_held: of each lane, how many of the columns before those are held; they stand last.
        window: columns a query may see.

    Returns:
        logits (B, H, L, 1), float32 or wider; values (B, H, L, 1, D).
    """
    if torch.is_autocast_enabled(q.device.type):
        dtype = torch.get_autocast_dtype(q.device.type)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    o, lse = cast(tuple[Tensor, Tensor], _Window.apply(q, k, v, tuple(n_held), window))  # type: ignore[no-untyped-call]
    return Part(lse[..., None], o[..., None, :])


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, n_held: tuple[int, ...], window: int
    ) -> tuple[Tensor, Tensor]:
        ctx.n_held, ctx.window = n_held, window
        ctx.set_materialize_grads(False)  # the logit of a window alone has no gradient
        if is_compiled(q):
            o, lse = compiled_window.read(q, k, v, n_held, window)
            ctx.save_for_backward(q, k, v, o, lse)
            return o, lse
        o = torch.empty_like(q)
        lse = torch.empty(
            q.shape[:3], dtype=torch.promote_types(q.dtype, torch.float32), device=q.device
        )
        read = _read_fused if is_fused(q) else _read_plain
        with torch.autocast(q.device.type, enabled=False):
            for rows, columns, hidden in _blocks(q, k, n_held, window):
                o[:, :, rows], lse[:, :, rows] = read(
                    q[:, :, rows], k[:, :, columns], v[:, :, columns], hidden
                )
        ctx.save_for_backward(q, k, v, o, lse)
        return o, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_o: Tensor | None, grad_lse: Tensor | None) -> Any:
        q, k, v, o, lse = ctx.saved_tensors
        grad_o = torch.zeros_like(o) if grad_o is None else grad_o
        if is_compiled(q):
            found = compiled_window.back(q, k, v, ctx.n_held, ctx.window, o, lse, grad_o, grad_lse)
            return *found, None, None
        grad_q = torch.empty_like(q)
        grad_k = torch.zeros(k.shape, dtype=lse.dtype, device=k.device)
        grad_v = torch.zeros(v.shape, dtype=lse.dtype, device=v.device)
        back = _back_fused if is_fused(q) else _back_plain
        with torch.autocast(q.device.type, enabled=False):
            for rows, columns, hidden in _blocks(q, k, ctx.n_held, ctx.window):
                grad_q[:, :, rows], by_k, by_v = back(
                    q[:, :, rows],
                    k[:, :, columns],
                    v[:, :, columns],
                    hidden,
                    o[:, :, rows],
                    lse[:, :, rows],
                    grad_o[:, :, rows],
                    None if grad_lse is None else grad_lse[:, :, rows],
                )
                grad_k[:, :, columns] += by_k
                grad_v[:, :, columns] += by_v
        return grad_q, grad_k.to(k.dtype), grad_v.to(v.dtype), None, None


class _Block(NamedTuple):
    rows: slice
    columns: slice
    hidden: Tensor
    """(B or 1, 1, n, w) in the dtype of the queries: 0 where visible, else -inf."""


def _blocks(q: Tensor, k: Tensor, n_held: tuple[int, ...], window: int) -> Iterator[_Block]:
    """Queries of each block, and the columns that one of them may see."""
    L, C = q.shape[2], k.shape[2]
    first_held = C - L - max(n_held)
    for first in range(0, L, BLOCK):
        last = min(first + BLOCK, L)
        own = C - L + first  # column of the first query itself
        columns = slice(max(first_held, own - window + 1), own + last - first)
        n, w = last - first, columns.stop - columns.start
        hidden = _outside(n, w, own - columns.start, window, q.dtype, q.device)[None, None]
        n_empty = [max(0, C - L - held - columns.start) for held in n_held]
        if any(n_empty):
            empty = (
                torch.arange(w, device=q.device) < torch.tensor(n_empty, device=q.device)[:, None]
            )
            hidden = hidden.masked_fill(empty[:, None, None], -torch.inf)
        yield _Block(slice(first, last), columns, hidden)


@lru_cache(maxsize=16)
def _outside(
    n: int, w: int, own: int, window: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(n, w): 0 where column j is in the window of query i, which stands at column own + i."""
    with torch.inference_mode(False):
        distance = torch.arange(own, own + n, device=device)[:, None] - torch.arange(
            w, device=device
        )
        is_outside = (distance < 0) | (distance >= window)
        return torch.zeros(n, w, dtype=dtype, device=device).masked_fill(is_outside, -torch.inf)


def is_compiled(q: Tensor) -> bool:
    """Whether `compiled_window` reads a window of these queries."""
    return compiled_window.is_served(q)


def is_fused(q: Tensor) -> bool:
    """Whether torch's fused attention computes a window of these queries."""
    return q.device.type == "cpu"


def _read_fused(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    o, lse = _attention(_grouped(q, k), k, v, attn_mask=_of_rows(hidden, q, k), scale=1.0)
    return _ungrouped(o, q), lse.reshape(q.shape[:3])


def _back_fused(
    q: Tensor, k: Tensor, v: Tensor, hidden: Tensor,
    o: Tensor, lse: Tensor, grad_o: Tensor, grad_lse: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    D, shape = q.shape[-1], q.shape
    hidden = _of_rows(hidden, q, k)
    if grad_lse is not None:
        # ds = p (g · v - (g · o - grad of lse)), and torch knows no grad of lse: a channel in which
        # v is 0, g is 1 and o is -grad_lse brings it in
        q, k, v = (torch.nn.functional.pad(x, (0, 1)) for x in (q, k, v))
        o = torch.cat((o, -grad_lse[..., None].to(o.dtype)), dim=-1)
        grad_o = torch.nn.functional.pad(grad_o, (0, 1), value=1.0)
    g, queries, o = (_grouped(x, k) for x in (grad_o, q, o))
    by_q, by_k, by_v = _attention_backward(
        g, queries, k, v, o, lse.reshape(g.shape[:3]), 0.0, False, attn_mask=hidden, scale=1.0
    )
    return by_q[..., :D].reshape(shape), by_k[..., :D], by_v[..., :D]


def _of_rows(hidden: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """(B or 1, 1, n, w) -> (B or 1, 1, r n, w): query heads of one key head are rows of one."""
    return hidden.repeat(1, 1, q.shape[1] // k.shape[1], 1)


def _read_plain(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    s = _logits(q, k, hidden)
    lse = s.logsumexp(-1)
    mean = _grouped((s - lse[..., None]).exp().to(q.dtype), k) @ v
    return _ungrouped(mean, q), lse


def _back_plain(
    q: Tensor, k: Tensor, v: Tensor, hidden: Tensor,
    o: Tensor, lse: Tensor, grad_o: Tensor, grad_lse: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    p = (_logits(q, k, hidden) - lse[..., None]).exp()  # (B, H, n, w)
    offset = (grad_o.to(p.dtype) * o.to(p.dtype)).sum(-1, keepdim=True)
    offset = offset if grad_lse is None else offset - grad_lse[..., None]
    queries, g = _grouped(q, k), _grouped(grad_o, k)
    ds = _grouped(p * (_ungrouped(g @ v.mT, q).to(p.dtype) - offset), k).to(q.dtype)
    by_v = _grouped(p, k).to(q.dtype).mT @ g
    return _ungrouped(ds @ k, q), ds.mT @ queries, by_v


def _logits(q: Tensor, k: Tensor, hidden: Tensor) -> Tensor:
    """(B, H, n, w), float32 or wider, -inf where hidden."""
    s = _ungrouped(_grouped(q, k) @ k.mT, q)
    return s.to(torch.promote_types(s.dtype, torch.float32)) + hidden


def _grouped(x: Tensor, k: Tensor) -> Tensor:
    return rearrange(x, "b (g r) l d -> b g (r l) d", g=k.shape[1])


def _ungrouped(x: Tensor, q: Tensor) -> Tensor:
    r = q.shape[1] // x.shape[1]
    return rearrange(x, "b g (r l) d -> b (g r) l d", r=r)
