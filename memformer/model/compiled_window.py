"""Attention to the window in bfloat16 by `memory/_window.cpp`: see `window.window_part`.

B lanes, H query heads, G key/value heads, L queries, C columns, D head_dim
"""

from collections.abc import Sequence
from typing import Any

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
    float32. The mean lies by tokens, (B, L, H, D), as the output's projection wants it.

    Raises:
        TypeError: other numbers or another device.
        ValueError: shapes that do not fit each other, or more columns held than there are."""
    _check(q, k, v, n_held)
    q, k, v = _rows(q), _rows(k), _rows(v)
    B, H, L, D = q.shape
    o = q.new_empty(B, L, H, D).transpose(1, 2)
    lse = q.new_empty(B, H, L, dtype=torch.float32)
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
    """The same with channels that lie together, and rows not so far apart that 16 of them are out
    of the reach of 32 bits."""
    is_near = x.stride(-1) == 1 and x.stride(-2) < 1 << 27
    return x if is_near else x.clone(memory_format=torch.contiguous_format)


def _check(q: Tensor, k: Tensor, v: Tensor, n_held: Sequence[int]) -> None:
    """C reads where it is told to, with instructions that not every machine has."""
    if not is_served(q):
        raise TypeError(
            "bfloat16 tensors on the CPU, one with tiles, with channels in tiles of "
            f"{WIDTH} are wanted, got {q.dtype} on {q.device} of shape {tuple(q.shape)}"
        )
    B, H, L, D = q.shape
    G, C = k.shape[1:3]
    if k.shape != v.shape or k.shape != (B, G, C, D) or H % G or L > C or len(n_held) != B:
        raise ValueError(
            "q (B, H, L, D), k and v (B, G, C, D), with G a divisor of H and L <= C, and a length "
            f"a lane are wanted, got {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)} and "
            f"{len(n_held)} lengths"
        )
    if not all(0 <= held <= C - L for held in n_held):
        raise ValueError(f"n_held must be in [0, C - L={C - L}], got {list(n_held)}")


def _sizes(q: Tensor, k: Tensor, window: int) -> Any:
    B, H, L, D = q.shape
    return longs((B, H, k.shape[1], L, k.shape[2], D, window))


def _strides(*tensors: Tensor) -> Any:
    for x in tensors:
        if x.dtype != torch.bfloat16 or not x.is_cpu or x.stride(-1) != 1:
            raise TypeError(
                "bfloat16 tensors on the CPU whose channels lie together are wanted, got "
                f"{x.dtype} on {x.device} with strides {x.stride()}"
            )
    return longs([n for x in tensors for n in x.stride()[:3]])
