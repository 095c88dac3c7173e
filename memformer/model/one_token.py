"""One token of each lane through a block on a CPU, by `memory/_token.cpp`.

Writing reads one token at a time, and then the calls of torch cost more than the work. `read` and
`back` name what each does in plain torch; their sums are taken in another order.

    B lanes, E n_embd, H query heads, G key/value heads, R recent pairs, D head_dim
"""

import ctypes
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from memformer.memory.compiled import address, is_built, library_or_none
from memformer.memory.rotary import table
from memformer.model.attention_state import AttentionState
from memformer.model.columns import Columns, columns_on
from memformer.model.local_attention import Part
from memformer.model.tape import with_room

if TYPE_CHECKING:
    from memformer.model.block import Block

MOST_LANES = 8
"""With more, torch's products serve better."""
_F32 = torch.float32


class Read(NamedTuple):
    """What a block does before the parts of attention meet."""

    h: Tensor
    """(B, 1, E): the norm's output, the convolution's input."""
    q: Tensor
    """(B, H, 1, D), scaled."""
    columns: Columns
    """With the token's own pair."""
    window: Part
    """See `window.window_part`."""


def is_served(x: Tensor, state: AttentionState) -> bool:
    """Whether x (B, L, E) is one token a lane, read without gradient, in float32 on a CPU, where
    the compiled part is."""
    return (
        x.shape[1] == 1
        and 1 <= len(x) <= MOST_LANES
        and len(x) == len(state.n_read)
        and not torch.is_grad_enabled()
        and type(x) is Tensor
        and x.dtype == _F32
        and x.is_cpu
        and state.keys.dtype == _F32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and is_built()
    )


def weights_of(block: "Block") -> list[Tensor] | None:
    """Of `attention_norm`, q, k, v, o, `mlp_norm`, gate, up and down, where a block is what the
    compiled part knows: float32 modules of its own kinds, and nobody's hooks; else None."""
    # by the dicts: attributes of modules are slow, and this is done for every token
    own = block._modules
    attention, mlp, conv = block.attention, own["mlp"], block.conv
    assert mlp is not None
    heads, wide = attention._modules, mlp._modules
    if block.attention_film is not None or block.mlp_film is not None or attention.fraction_dim:
        return None
    weights: list[Tensor] = []
    for module, kind in (
        (own["attention_norm"], nn.RMSNorm), (heads["q"], nn.Linear), (heads["k"], nn.Linear),
        (heads["v"], nn.Linear), (heads["o"], nn.Linear), (own["mlp_norm"], nn.RMSNorm),
        (wide["gate"], nn.Linear), (wide["up"], nn.Linear), (wide["down"], nn.Linear),
    ):  # fmt: skip
        if type(module) is not kind or module._forward_hooks or module._forward_pre_hooks:
            return None
        weight = module._parameters["weight"]
        if weight is None or weight.dtype != _F32 or not weight.is_cpu:
            return None
        if not weight.is_contiguous() or module._parameters.get("bias") is not None:
            return None
        weights.append(weight)
    for module in (attention, mlp, conv):
        if module is not None and (module._forward_hooks or module._forward_pre_hooks):
            return None
    return weights


def read(
    block: "Block",
    weights: list[Tensor],
    x: Tensor,
    before: Tensor | None,
    state: AttentionState,
    u: Tensor,
) -> Read:
    """`attention_norm`, `conv` after the inputs `before` it, `MemoryAttention.project`,
    `columns_of` and the window's part.

    Args:
        block: of which `weights` are.
        x: (B, 1, E).
        before: inputs of the convolution before, (B, width - 1, E), or None.
        state: not changed.
        u: (B, 1) fractions.
    """
    attention = block.attention
    (B, _, E), (_, G, R, D) = x.shape, state.keys.shape
    H, C = attention.n_head, R + 1
    taps = None if block.conv is None or before is None else block.conv.weight
    before = before.contiguous() if taps is not None and before is not None else None
    x = x.contiguous()
    h, q = torch.empty_like(x), torch.empty(B, H, 1, D)
    out, lse = torch.empty(B, H, 1, 1, D), torch.empty(B, H, 1, 1)
    taped = with_room(state.taped, state.keys, state.values, state.fraction)
    tape, at = taped.tape, taped.first * D * 4  # bytes of a float32
    # .data: autograd may hold earlier columns, which stay as they are
    tape.fraction.data.narrow(1, taped.first + R, 1).copy_(u)
    first = [max(R - held, C - attention.window, 0) for held in state.n_held]
    turns = table(max(C, attention.window), D, attention.rope_base)
    norm, by_q, by_k, by_v = weights[:4]
    library: Any = library_or_none()
    library.memformer_token_read(
        library.memformer_best_path(), torch.get_num_threads(), B, E, H, G, D,
        0 if before is None else before.shape[1], C, tape.keys.stride(0), tape.keys.stride(1),
        address(x, _F32), norm.data_ptr(), block.attention_norm.eps, _at(before), _at(taps),
        by_q.data_ptr(), by_k.data_ptr(), by_v.data_ptr(), _at(attention.scale),
        tape.keys.data_ptr() + at, tape.values.data_ptr() + at, (ctypes.c_int64 * B)(*first),
        turns.data_ptr(), h.data_ptr(), q.data_ptr(), out.data_ptr(), lse.data_ptr(),
    )  # fmt: skip
    return Read(h, q, columns_on(taped, state), Part(lse, out))


def back(block: "Block", weights: list[Tensor], x: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
    """What attention read, o (B, H, 1, D), through `attention.o`, `mlp_norm` and `mlp`.

    Returns:
        The block's output and what attention added, (B, 1, E) both.
    """
    project, norm, gate, up, down = weights[4:]
    B, _, E = x.shape
    x, o = x.contiguous(), o.contiguous()
    out, attended = torch.empty_like(x), torch.empty_like(x)
    library: Any = library_or_none()
    library.memformer_token_back(
        library.memformer_best_path(), torch.get_num_threads(), B, E, project.shape[1], len(gate),
        address(x, _F32), address(o, _F32), project.data_ptr(), norm.data_ptr(),
        block.mlp_norm.eps, gate.data_ptr(), up.data_ptr(), down.data_ptr(), attended.data_ptr(),
        out.data_ptr(),
    )  # fmt: skip
    return out, attended


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else address(tensor, _F32)
