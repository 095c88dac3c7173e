"""Attention to the window in bfloat16 by `memory/_window.cpp`: see `window.window_part`.

B lanes, H query heads, G key/value heads, L queries, C columns, D head_dim
"""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from memformer.memory.compiled import address, library_or_none, longs

WIDTH = 32
"""Channels come in tiles of so many."""


def is_served(q: Tensor) -> bool:
    """Whether the compiled part reads a window with these queries: bfloat16, on a CPU with tiles,
    and a head_dim of whole tiles."""
    library = library_or_none()
    return (
        q.dtype == torch.bfloat16
        and q.is_cpu
        and q.shape[-1] % WIDTH == 0
        and library is not None
        and bool(library.memformer_has_window())
    )


def read(
    q: Tensor, k: Tensor, v: Tensor, n_held: Sequence[int], window: int
) -> tuple[Tensor, Tensor]:
    """The mean of the values, (B, H, L, D), and the log of the sum of exp(logits), (B, H, L)
    float32. The mean lies by tokens, (B, L, H, D), as the output's projection wants it."""
    q, k, v = _rows(q), _rows(k), _rows(v)
    B, H, L, D = q.shape
    o = q.new_empty(B, L, H, D).transpose(1, 2)
    lse = torch.empty(B, H, L)
    library_or_none().memformer_window_read(
        torch.get_num_threads(), _sizes(q, k, window), longs(n_held), _strides(q, k, v, o),
        q.data_ptr(), k.data_ptr(), v.data_ptr(), o.data_ptr(), address(lse, torch.float32),
    )  # fmt: skip
    return o, lse


def back(
    q: Tensor, k: Tensor, v: Tensor, n_held: Sequence[int], window: int,
    o: Tensor, lse: Tensor, grad_o: Tensor, grad_lse: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of q, k and v in their dtype, from those of what `read` returned."""
    q, k, v, grad_o = _rows(q), _rows(k), _rows(v), _rows(grad_o)
    B, H, L, D = q.shape
    grad_q = q.new_empty(B, L, H, D).transpose(1, 2)
    grad_k, grad_v = (x.new_empty(x.shape) for x in (k, v))
    grad_lse = None if grad_lse is None else grad_lse.contiguous()
    library_or_none().memformer_window_back(
        torch.get_num_threads(), _sizes(q, k, window), longs(n_held),
        _strides(q, k, v, o, grad_o, grad_q), q.data_ptr(), k.data_ptr(), v.data_ptr(),
        o.data_ptr(), address(lse, torch.float32), grad_o.data_ptr(),
        None if grad_lse is None else address(grad_lse, torch.float32), grad_q.data_ptr(),
        address(grad_k, torch.bfloat16), address(grad_v, torch.bfloat16),
    )  # fmt: skip
    return grad_q, grad_k, grad_v


def _rows(x: Tensor) -> Tensor:
    """As bfloat16 whose channels lie together."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _sizes(q: Tensor, k: Tensor, window: int) -> "ctypes.Array[ctypes.c_int64]":
    B, H, L, D = q.shape
    return longs((B, H, k.shape[1], L, k.shape[2], D, window))  # type: ignore[no-any-return]


def _strides(*tensors: Tensor) -> "ctypes.Array[ctypes.c_int64]":
    for x in tensors:
        if x.dtype != torch.bfloat16 or not x.is_cpu or x.stride(-1) != 1:
            raise TypeError(
                "bfloat16 tensors on the CPU whose channels lie together are wanted, got "
                f"{x.dtype} on {x.device} with strides {x.stride()}"
            )
    return longs([n for x in tensors for n in x.stride()[:3]])  # type: ignore[no-any-return]
