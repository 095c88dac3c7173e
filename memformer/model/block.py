"""One block of the decoder, and a pass through all of them.

B lanes, L tokens of the segment
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.utils.checkpoint import checkpoint

from memformer.config import DecoderConfig
from memformer.model import one_token
from memformer.model.attention_state import AttentionOut, AttentionState
from memformer.model.convolution import ShortConvolution
from memformer.model.memory_attention import MemoryAttention, Prefix
from memformer.model.positions import FractionModulation

MANY = 128
"""Shapes and ways of reading that are compiled at most."""


class Feedforward(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv:2002.05202, eq. 6): down(silu(gate x) · up x)."""

    def __init__(self, n_embd: int, mlp_dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(n_embd, mlp_dim, bias=False)
        self.up = nn.Linear(n_embd, mlp_dim, bias=False)
        self.down = nn.Linear(mlp_dim, n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, n_embd) -> (B, L, n_embd)."""
        y: Tensor = self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        return y


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each added to the residual stream.

    Args:
        config: of the decoder.
        depth: of this block, counted from 0.
    """

    def __init__(self, config: DecoderConfig, depth: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.n_embd, eps=config.norm_eps)
        self.mlp_norm = nn.RMSNorm(config.n_embd, eps=config.norm_eps)
        self.conv = (
            ShortConvolution(config.n_embd, config.conv_width) if config.conv_width else None
        )
        self.attention = MemoryAttention(
            config.n_embd,
            n_head=config.n_head,
            n_kv_head=config.n_kv_head,
            head_dim=config.head_dim,
            window=config.window,
            memory=config.memory_of(depth),
            n_sink=config.n_sink,
            sink_distance=config.sink_distance,
            qk_norm=config.qk_norm,
            rope_base=config.rope_base,
            fraction_dim=config.fraction.rotary_dim if config.fraction.kind == "rotary" else 0,
        )
        self.mlp = Feedforward(config.n_embd, config.mlp_dim)
        is_modulated = config.fraction.kind == "modulation"
        n = config.fraction.n_frequency
        self.attention_film = FractionModulation(config.n_embd, n) if is_modulated else None
        self.mlp_film = FractionModulation(config.n_embd, n) if is_modulated else None
        self.segment_len = config.segment_len
        self.is_compiled = False

    def forward(
        self,
        x: Tensor,
        state: AttentionState,
        before: Tensor | None,
        u: Tensor,
        lengths: list[int],
        want_retrieved: bool = False,
        prefix: Prefix | None = None,
    ) -> tuple[Tensor, AttentionOut, Tensor]:
        """x (B, L, n_embd) -> the same, what attention did, and the convolution's input.

        Without the inputs `before` it there is no convolution.
        """
        if prefix is None and one_token.is_served(x, state):
            weights = one_token.weights_of(self)
            if weights is not None:
                one = one_token.read(self, weights, x, before, state, u)
                o, out = self.attention.read(
                    one.q, one.columns, one.window, state, u, lengths, want_retrieved
                )
                x, attended = one_token.back(self, weights, x, o)
                return x, out._replace(x=attended), one.h
        if self._is_compiled_for(x):
            front, back = _compiled()
            with _many():
                h, q, k, v = front(self, x, before, u)
            o, out = self.attention.attend(q, k, v, state, u, lengths, want_retrieved, prefix)
            with _many():
                x, attended = back(self, x, o, u)
            return x, out._replace(x=attended), h
        h, mixed = self._mixed(x, before, u)
        out = self.attention(mixed, state, u, lengths, want_retrieved, prefix)
        return self._finished(x, out.x, u), out, h

    def _mixed(self, x: Tensor, before: Tensor | None, u: Tensor) -> tuple[Tensor, Tensor]:
        """The convolution's input, and what attention is given."""
        h = self.attention_norm(x)
        h = h if self.attention_film is None else self.attention_film(h, u)
        return h, h if self.conv is None or before is None else self.conv(h, before)

    def _finished(self, x: Tensor, attended: Tensor, u: Tensor) -> Tensor:
        x = x + attended
        y = self.mlp_norm(x)
        y = y if self.mlp_film is None else self.mlp_film(y, u)
        out: Tensor = x + self.mlp(y)
        return out

    def _is_compiled_for(self, x: Tensor) -> bool:
        """Whole segments, so that few shapes are compiled; and nobody's hooks, which torch would
        leave out, nor changed matrices. (No public name of torch tells hooks on all modules.)"""
        return (
            self.is_compiled
            and x.shape[1] == self.segment_len
            and not torch.compiler.is_compiling()
            and not _has_any_global_hook()  # type: ignore[no-untyped-call]
            and not any(
                part._forward_hooks
                or part._forward_pre_hooks
                or part._backward_hooks
                or part._backward_pre_hooks
                or "parametrizations" in part._modules
                for part in self.modules()
            )
        )


def _front(
    block: Block, x: Tensor, before: Tensor | None, u: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x (B, L, n_embd) -> the convolution's input, and queries, keys and values."""
    h, mixed = block._mixed(x, before, u)
    return (h, *block.attention.project(mixed))


def _back(block: Block, x: Tensor, o: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """x (B, L, n_embd), what was read (B, H, L, D) -> the block's output, what attention adds."""
    attended = block.attention.unite(o)
    return block._finished(x, attended, u), attended


@cache
def _compiled() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two above by `torch.compile`: one pass over memory where torch alone makes five."""
    return torch.compile(_front, dynamic=False), torch.compile(_back, dynamic=False)


def _many() -> AbstractContextManager[Any]:
    """After 8 shapes and ways of reading, of all decoders of a process, torch would compile no
    more and only log it."""
    patch: AbstractContextManager[Any] = torch._dynamo.config.patch(recompile_limit=MANY)
    return patch


def check_compiler() -> None:
    """Look for the compiler of `torch.compile` on a CPU, before a long job begins.

    Raises:
        ValueError: there is none.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ValueError(
            "compile: torch.compile finds no C++ compiler: install one, name it in the environment "
            "variable CXX, or leave blocks as they are"
        ) from error


class Through(NamedTuple):
    """A pass through all blocks."""

    x: Tensor
    """(B, L, n_embd), before the last norm."""
    attention: list[AttentionOut]
    """One a layer."""
    conv: list[Tensor]
    """(B, L, n_embd) inputs of each convolution; an empty list without one."""


def through(
    blocks: Iterable[nn.Module],
    x: Tensor,
    layers: Sequence[AttentionState],
    conv: Sequence[Tensor],
    u: Tensor,
    lengths: list[int],
    *,
    want_retrieved: bool = False,
    recompute: bool = False,
    prefixes: Sequence[Prefix] | None = None,
) -> Through:
    """Read a segment in all blocks; no state is changed.

    Args:
        blocks: of a decoder.
        x: (B, L, n_embd), as embedded.
        layers: the state of each block's attention.
        conv: inputs before the segment of each convolution; empty for no convolution.
        u: (B, L) of the novel, NaN where unknown.
        lengths: tokens of each lane that are not padding.
        want_retrieved, recompute: see `Decoder.forward`.
        prefixes: pairs that all tokens see besides, one a layer.
    """
    outs: list[AttentionOut] = []
    convs: list[Tensor] = []
    for depth, (block, layer) in enumerate(zip(blocks, layers, strict=True)):
        before = conv[depth] if conv else None
        prefix = None if prefixes is None else prefixes[depth]
        if recompute:  # going backward comes after `advance`: it needs the state as it is now
            args = (x, layer.snapshot(), before, u, lengths, want_retrieved, prefix)
            x, out, h = checkpoint(block, *args, use_reentrant=False)
        else:
            x, out, h = block(x, layer, before, u, lengths, want_retrieved, prefix)
        outs.append(out)
        convs += [h] if before is not None else []
    return Through(x, outs, convs)
