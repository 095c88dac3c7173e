"""Attention over the local window, block by block of queries, without the (L, C) logits of all.

Its result is one summary pair a query: the log of the sum of exp(logits), which is the logit that
the whole window has in a softmax with other parts, and the weighted mean of its values. The
backward pass computes the logits of each block again (Dao et al. 2022, arXiv:2205.14135, §3.1).

    B lanes, H query heads, G key/value heads, L queries, C columns, D head_dim
    logits s, weights p = exp(s - lse) where visible, o = Σ p v
"""

from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

from memformer.model.local_attention import Part

BLOCK = 128
"""Queries at once: their logits stay in the second cache, and few masked ones are computed."""


def window_part(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, window: int) -> Part:
    """The window's pairs as one pair of each query's own.

    Equal, in a softmax with any other parts, to `Part(logits_of(q, k).masked_fill(~visible,
    -torch.inf), v)`. Under autocast the products are in its dtype, as there. Gradients cannot be
    differentiated again.

    Args:
        q: (B, H, L, D), with position; inner products are logits.
        k, v: (B, G, C, D); the last L columns are the queries' own tokens.
        visible: (B, 1, L, C) bool; nowhere beyond the last `window` columns up to the query's own.
        window: columns a query may see.

    Returns:
        logits (B, H, L, 1), float32 or wider, -inf where nothing is visible; values
        (B, H, L, 1, D).
    """
    if torch.is_autocast_enabled(q.device.type):
        dtype = torch.get_autocast_dtype(q.device.type)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    o, lse = cast(tuple[Tensor, Tensor], _Window.apply(q, k, v, visible, window))  # type: ignore[no-untyped-call]
    return Part(lse[..., None], o[..., None, :])


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, visible: Tensor, window: int
    ) -> tuple[Tensor, Tensor]:
        ctx.window = window
        wide = torch.promote_types(q.dtype, torch.float32)
        o = torch.empty_like(q)
        lse = torch.empty(q.shape[:3], dtype=wide, device=q.device)
        with torch.autocast(q.device.type, enabled=False):
            for rows, columns in _blocks(q.shape[2], k.shape[2], window):
                s, _ = _logits(q, k, visible, rows, columns, wide)
                most = s.amax(-1, keepdim=True).clamp(min=torch.finfo(wide).min)
                p = s.sub_(most).exp_()
                total = p.sum(-1, keepdim=True)
                # a query that sees nothing has p = 0: any divisor gives 0
                mean = (
                    p.div_(total.clamp(min=torch.finfo(wide).tiny)).to(q.dtype) @ v[:, :, columns]
                )
                o[:, :, rows] = _ungrouped(mean, q)
                lse[:, :, rows] = _ungrouped(most + total.log(), q)[..., 0]
        ctx.save_for_backward(q, k, v, visible, o, lse)
        return o, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_o: Tensor, grad_lse: Tensor) -> Any:
        q, k, v, visible, o, lse = ctx.saved_tensors
        wide = lse.dtype
        # ds = p (g · v - g · o + grad of lse)
        offset = grad_lse - (grad_o.to(wide) * o.to(wide)).sum(-1)
        lse = lse.masked_fill(lse.isneginf(), torch.inf)  # p = 0 where nothing is visible
        grad_q = torch.empty_like(q)
        grad_k = torch.zeros(k.shape, dtype=wide, device=k.device)
        grad_v = torch.zeros(v.shape, dtype=wide, device=v.device)
        with torch.autocast(q.device.type, enabled=False):
            for rows, columns in _blocks(q.shape[2], k.shape[2], ctx.window):
                s, queries = _logits(q, k, visible, rows, columns, wide)
                p = s.sub_(_grouped(lse[:, :, rows, None], k)).exp_()
                g = _grouped(grad_o[:, :, rows], k)
                ds = (g @ v[:, :, columns].mT).to(wide)
                ds = ds.add_(_grouped(offset[:, :, rows, None], k)).mul_(p).to(q.dtype)
                grad_q[:, :, rows] = _ungrouped(ds @ k[:, :, columns], q)
                grad_k[:, :, columns] += ds.mT @ queries
                grad_v[:, :, columns] += p.to(q.dtype).mT @ g
        return grad_q, grad_k.to(k.dtype), grad_v.to(v.dtype), None, None


def _blocks(L: int, C: int, window: int) -> list[tuple[slice, slice]]:
    """Queries of each block, and the columns that one of them may see."""
    blocks = []
    for first in range(0, L, BLOCK):
        last = min(first + BLOCK, L)
        own = C - L + first  # column of the first query itself
        blocks.append((slice(first, last), slice(max(0, own - window + 1), own + last - first)))
    return blocks


def _logits(
    q: Tensor, k: Tensor, visible: Tensor, rows: slice, columns: slice, wide: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(B, G, H/G · n, columns) of a block, -inf where not visible; and its grouped queries."""
    queries = _grouped(q[:, :, rows], k)
    s = (queries @ k[:, :, columns].mT).to(wide)
    hidden = ~visible[:, :, rows, columns]
    n = hidden.shape[2]
    s.view(*s.shape[:2], -1, n, s.shape[3]).masked_fill_(hidden[:, :, None], -torch.inf)
    return s, queries


def _grouped(x: Tensor, k: Tensor) -> Tensor:
    return rearrange(x, "b (g r) l d -> b g (r l) d", g=k.shape[1])


def _ungrouped(x: Tensor, q: Tensor) -> Tensor:
    r = q.shape[1] // x.shape[1]
    return rearrange(x, "b g (r l) d -> b (g r) l d", r=r)
