"""One token of each lane through a block on a CPU, by `memory/_token.cpp`.

Writing reads one token at a time, and then the calls of torch cost more than the work. Each function
here names what it does in plain torch; sums are taken in another order.

    B lanes, E n_embd, H query heads, G key/value heads, C columns, D head_dim
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from memformer.memory import fused
from memformer.memory.rotary import table
from memformer.model.local_attention import Part

if TYPE_CHECKING:
    from memformer.model.block import Block

MOST_LANES = 8
"""With more, torch's products serve better."""
_F32 = torch.float32


class Front(NamedTuple):
    """What a block does before attention."""

    h: Tensor
    """(B, 1, E): the norm's output, the convolution's input."""
    q: Tensor
    """(B, H, 1, D), scaled."""
    k: Tensor
    """(B, G, 1, D)"""
    v: Tensor
    """(B, G, 1, D)"""


def is_served(x: Tensor) -> bool:
    """Whether x (B, L, E) is one token a lane, read without gradient, in float32 on a CPU, where
    the compiled part is."""
    return (
        x.shape[1] == 1
        and 1 <= len(x) <= MOST_LANES
        and not torch.is_grad_enabled()
        and type(x) is Tensor
        and x.dtype == _F32
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and fused.is_built()
    )


def is_plain(block: "Block") -> bool:
    """Whether a block is what the compiled part knows: its own modules, float32, nobody's hooks."""
    attention = block.attention
    if block.attention_film is not None or block.mlp_film is not None or attention.fraction_dim:
        return False
    layers = (attention.q, attention.k, attention.v, attention.o)
    layers += (block.mlp.gate, block.mlp.up, block.mlp.down)
    known = all(type(each) is nn.Linear and each.bias is None for each in layers)
    norms = (block.attention_norm, block.mlp_norm)
    known = known and all(type(each) is nn.RMSNorm for each in norms)
    modules = (*layers, *norms, attention, block.mlp, *([] if block.conv is None else [block.conv]))
    if not known or any(m._forward_hooks or m._forward_pre_hooks for m in modules):
        return False
    weights = [each.weight for each in (*layers, *norms)]
    return all(w.dtype == _F32 and w.device.type == "cpu" and w.is_contiguous() for w in weights)


def front(block: "Block", x: Tensor, before: Tensor | None) -> Front:
    """`attention_norm`, `conv` after the inputs `before` it, and `MemoryAttention.project`."""
    attention, norm = block.attention, block.attention_norm
    B, _, E = x.shape
    H, G, D = attention.n_head, attention.n_kv_head, attention.head_dim
    has_conv = block.conv is not None and before is not None
    before = before.contiguous() if has_conv and before is not None else None
    taps = block.conv.weight if has_conv and block.conv is not None else None
    x = x.contiguous()
    h, q = torch.empty_like(x), x.new_empty(B, H, 1, D)
    k, v = x.new_empty(B, G, 1, D), x.new_empty(B, G, 1, D)
    library = fused.library_or_none()
    library.memformer_token_front(
        library.memformer_best_path(), torch.get_num_threads(), B, E, H, G, D,
        0 if before is None else before.shape[1], _at(x), _at(norm.weight), norm.eps,
        _at(before), _at(taps), _at(attention.q.weight), _at(attention.k.weight),
        _at(attention.v.weight), _at(attention.scale), _at(h), _at(q), _at(k), _at(v),
    )  # fmt: skip
    return Front(h, q, k, v)


def window_part(q: Tensor, k: Tensor, v: Tensor, n_held: list[int], window: int, base: float) -> Part:
    """`window.window_part` of queries and keys turned by their positions.

    Args:
        q: (B, H, 1, D), without position.
        k, v: (B, G, C, D), without position; a lane's rows lie together.
        n_held, window: as there.
        base: rotary base.
    """
    B, H, _, D = q.shape
    G, C = k.shape[1:3]
    if k.stride() != v.stride() or k.stride()[2:] != (D, 1):
        k, v = k.contiguous(), v.contiguous()
    first = torch.tensor([max(C - 1 - held, C - window, 0) for held in n_held])
    turns = table(max(C, window), D, base)
    out, lse = torch.empty_like(q), q.new_empty(B, H, 1)
    library = fused.library_or_none()
    library.memformer_token_window(
        library.memformer_best_path(), torch.get_num_threads(), B, H, G, D, C, k.stride(0),
        k.stride(1), _at(q.contiguous()), k.data_ptr(), v.data_ptr(),
        fused.address(first, torch.int64), _at(turns), _at(out), _at(lse),
    )  # fmt: skip
    return Part(lse[..., None], out[..., None, :])


def back(block: "Block", x: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
    """What attention read, o (B, H, 1, D), through `attention.o`, `mlp_norm` and `mlp`.

    Returns:
        The block's output and what attention added, (B, 1, E) both.
    """
    norm, mlp = block.mlp_norm, block.mlp
    B, _, E = x.shape
    x, o = x.contiguous(), o.contiguous()
    out, attended = torch.empty_like(x), torch.empty_like(x)
    library = fused.library_or_none()
    library.memformer_token_back(
        library.memformer_best_path(), torch.get_num_threads(), B, E, o[0].numel(),
        len(mlp.gate.weight), _at(x), _at(o), _at(block.attention.o.weight), _at(norm.weight),
        norm.eps, _at(mlp.gate.weight), _at(mlp.up.weight), _at(mlp.down.weight), _at(attended),
        _at(out),
    )  # fmt: skip
    return out, attended


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else fused.address(tensor, _F32)
