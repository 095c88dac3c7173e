"""Attention over a local window, the manuscript's first tokens, and what was found in memory.

    B lanes, H query heads, G key/value heads, L tokens of the segment, W window, D head_dim
    C columns: recent pairs followed by the segment's own; K retrieved pairs; S sinks

For the token t:  local = {s: 0 <= t-s < W},  sink = {s < n_sink, t-s >= W},  memory = all older;
found = the K of memory with the largest q·k. Combined by `MemoryConfig.combine`.
"""

from typing import NamedTuple, assert_never

import torch
from einops import rearrange
from torch import Tensor, nn

from memformer.config import MemoryConfig
from memformer.memory.pages import PagedMemory
from memformer.memory.search import top_k_lowest_first
from memformer.model.attention_state import AttentionOut, AttentionState, Retrieved
from memformer.model.local_attention import Part, attend, logits_of, rotary_logits
from memformer.model.positions import FractionBias, rotate_by_fraction
from memformer.model.retrieve import Selection, select_all, select_found


class _Columns(NamedTuple):
    """The recent pairs followed by the segment's own; masks are (B, 1, L, C), True where seen."""

    keys: Tensor  # (B, G, C, D)
    values: Tensor  # (B, G, C, D)
    fraction: Tensor  # (B, C)
    token_index: Tensor  # (B, C)
    local: Tensor
    sink: Tensor
    older: Tensor


class MemoryAttention(nn.Module):
    """Causal attention with a fixed window, attention sinks and a content-addressable memory.

    Wu et al. 2022 (arXiv:2203.08913), defined per token instead of per segment. Reading and
    remembering are two calls:

        state = attention.new_state(batch_size=2)
        out = attention(x, state)      # reads
        state.advance(out)             # remembers

    Args:
        n_embd: width of input and output.
        n_head: query heads.
        n_kv_head: key/value heads; divides n_head.
        head_dim: width of a head, even.
        window: keys a query sees locally, itself included.
        memory: None for a layer without memory; `layers` in it is not used here.
        n_sink: first tokens that stay visible (arXiv:2309.17453).
        sink_distance: rotary distances to sinks are clamped to this; None for true distances.
        qk_norm: L2-normalise queries and keys, with a learned scale per query head.
        rope_base: rotary base.
        fraction_dim: channels of each head that turn with the fraction of the novel.

    Raises:
        ValueError: heads do not divide, or head_dim is odd.
    """

    def __init__(
        self,
        n_embd: int,
        *,
        n_head: int,
        n_kv_head: int,
        head_dim: int,
        window: int,
        memory: MemoryConfig | None = None,
        n_sink: int = 0,
        sink_distance: int | None = None,
        qk_norm: bool = True,
        rope_base: float = 10_000.0,
        fraction_dim: int = 0,
    ) -> None:
        super().__init__()
        if n_head % n_kv_head:
            raise ValueError(f"n_kv_head must divide n_head={n_head}, got {n_kv_head}")
        if head_dim % 2:
            raise ValueError(f"head_dim must be even to rotate in pairs, got {head_dim}")
        self.n_head, self.n_kv_head, self.head_dim = n_head, n_kv_head, head_dim
        self.window, self.n_sink, self.sink_distance = window, n_sink, sink_distance
        self.memory_config, self.rope_base, self.fraction_dim = memory, rope_base, fraction_dim
        self.q = nn.Linear(n_embd, n_head * head_dim, bias=False)
        self.k = nn.Linear(n_embd, n_kv_head * head_dim, bias=False)
        self.v = nn.Linear(n_embd, n_kv_head * head_dim, bias=False)
        self.o = nn.Linear(n_head * head_dim, n_embd, bias=False)
        # inner products of unit vectors lie in [-1, 1]; √D is the scale that RMS-normalised
        # queries and keys would have
        self.scale = nn.Parameter(torch.full((n_head,), head_dim**0.5)) if qk_norm else None
        combine = None if memory is None else memory.combine
        # sigmoid(-1) = .27: an untrained memory takes a minor part, and the gradient is not small
        self.gate = nn.Parameter(torch.full((n_head,), -1.0)) if combine == "gate" else None
        self.tanh_gate = nn.Parameter(torch.zeros(n_head)) if combine == "tanh" else None
        has_bias = memory is not None and memory.positions == "fraction"
        self.fraction_bias = FractionBias(n_head) if has_bias else None

    def new_state(self, batch_size: int, *, grad_segments: int = 1) -> AttentionState:
        """The state before a manuscript's first token, for `batch_size` lanes."""
        weight = self.k.weight
        memory = None
        if self.memory_config is not None:
            memory = PagedMemory(
                self.memory_config,
                n_lane=batch_size,
                n_kv_head=self.n_kv_head,
                head_dim=self.head_dim,
                device=weight.device,
            )
        return AttentionState.empty(
            n_lane=batch_size,
            n_kv_head=self.n_kv_head,
            head_dim=self.head_dim,
            window=self.window,
            n_sink=self.n_sink,
            memory=memory,
            grad_segments=grad_segments,
            like=weight,
        )

    def forward(
        self,
        x: Tensor,
        state: AttentionState,
        fraction: Tensor | None = None,
        lengths: list[int] | None = None,
        want_retrieved: bool = False,
    ) -> AttentionOut:
        """Read a segment; the state is not changed.

        Args:
            x: (B, L, n_embd).
            state: made by `new_state` of this layer, or of one with the same settings.
            fraction: (B, L) of the novel, NaN or None where unknown.
            lengths: real tokens of each lane, at the left; the rest is padding. All by default.
            want_retrieved: also return what was taken from memory.

        Raises:
            ValueError: x and state have different lanes.
        """
        if len(x) != len(state.n_read):
            raise ValueError(f"x has {len(x)} lanes, the state has {len(state.n_read)}")
        q, k, v = self._project(x)
        if fraction is None:
            fraction = torch.full(x.shape[:2], torch.nan, device=x.device)
        columns = self._columns(k, v, fraction, state)
        logits = self._local_logits(q, fraction, columns)
        sinks = self._sink_part(q, state)
        local = [sinks, Part(self._with_sinks(q, logits, columns), columns.values)]
        retrieved = None
        if self.memory_config is None or state.memory is None:
            o, _ = attend(local)
        else:
            found = self._found(q, fraction, columns, state, self.memory_config)
            o, weights = self._combine(local, found, columns.values, self.memory_config)
            retrieved = self._retrieved(weights, found, columns) if want_retrieved else None
        x = self.o(rearrange(o, "b h l d -> b l (h d)"))
        lengths = [x.shape[1]] * len(x) if lengths is None else lengths
        return AttentionOut(x, k, v, fraction, lengths, retrieved)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q = rearrange(self.q(x), "b l (h d) -> b h l d", d=self.head_dim)
        k = rearrange(self.k(x), "b l (g d) -> b g l d", d=self.head_dim)
        v = rearrange(self.v(x), "b l (g d) -> b g l d", d=self.head_dim)
        if self.scale is None:
            return q * self.head_dim**-0.5, k, v
        q, k = nn.functional.normalize(q, dim=-1), nn.functional.normalize(k, dim=-1)
        return q * self.scale[:, None, None], k, v

    def _columns(self, k: Tensor, v: Tensor, fraction: Tensor, state: AttentionState) -> _Columns:
        L, R = k.shape[2], state.keys.shape[2]
        column = torch.arange(R + L, device=k.device)
        distance = torch.arange(L, device=k.device)[:, None] + R - column  # (L, C), for every lane
        n_read = torch.tensor(state.n_read, device=k.device)[:, None]
        n_held = torch.tensor(state.n_held, device=k.device)[:, None]
        token = n_read - R + column  # (B, C)
        held = (column >= R - n_held)[:, None, None]  # (B, 1, 1, C)
        is_sink = (token < self.n_sink)[:, None, None]
        outside = held & (distance >= self.window)
        return _Columns(
            torch.cat((state.keys, k), dim=2),
            torch.cat((state.values, v), dim=2),
            torch.cat((state.fraction, fraction), dim=1),
            token,
            held & (distance >= 0) & (distance < self.window),
            outside & is_sink,
            outside & ~is_sink,
        )

    def _local_logits(self, q: Tensor, fraction: Tensor, columns: _Columns) -> Tensor:
        """Logits at true distances, (B, H, L, C), not yet masked."""
        k, r = columns.keys, self.fraction_dim
        q_at, k_at = _positions(q, k)
        if r == 0:
            return rotary_logits(q, k, q_at, k_at, self.rope_base)
        by_u = logits_of(
            rotate_by_fraction(q[..., :r], fraction),
            rotate_by_fraction(k[..., :r], columns.fraction),
        )
        if r == self.head_dim:
            return by_u
        return by_u + rotary_logits(q[..., r:], k[..., r:], q_at, k_at, self.rope_base)

    def _with_sinks(self, q: Tensor, logits: Tensor, columns: _Columns) -> Tensor:
        """The logits of the window and of sinks still among the columns; -inf elsewhere."""
        seen = logits.masked_fill(~(columns.local | columns.sink), -torch.inf)
        if not bool(columns.sink.any()):
            return seen
        at_sink = rotary_logits(
            q, columns.keys, *_positions(q, columns.keys), self.rope_base, self.sink_distance
        )
        return torch.where(columns.sink, at_sink, seen)

    def _sink_part(self, q: Tensor, state: AttentionState) -> Part:
        """Sinks that have left the columns; the part is empty until then."""
        n = min(self.n_sink, max(state.n_left))
        keys, values = state.sink_keys[:, :, :n], state.sink_values[:, :, :n]
        n_read = torch.tensor(state.n_read, device=q.device)[:, None]
        token = torch.arange(n, device=q.device)
        logits = q.new_empty(*q.shape[:3], 0)
        if n:
            q_at = torch.arange(q.shape[2], device=q.device)[None]
            k_at = token - n_read
            logits = rotary_logits(q, keys, q_at, k_at, self.rope_base, self.sink_distance)
            left = torch.tensor(state.n_left, device=q.device)[:, None]
            logits = logits.masked_fill((token >= left)[:, None, None], -torch.inf)
        return Part(logits, values)

    def _found(
        self,
        q: Tensor,
        fraction: Tensor,
        columns: _Columns,
        state: AttentionState,
        config: MemoryConfig,
    ) -> Selection:
        """found(t, h), with its logits as they enter the softmax."""
        assert state.memory is not None
        if config.positions == "rotary":
            at = _positions(q, columns.keys)
            recent = rotary_logits(q, columns.keys, *at, self.rope_base, config.max_distance)
        else:
            recent = logits_of(q, columns.keys)
        recent = recent.masked_fill(~columns.older, -torch.inf)
        n_candidate = max(state.n_left) + columns.keys.shape[2]
        args = (q, state.memory, state.n_read)
        if config.n_retrieved >= n_candidate:
            found = select_all(*args, config, self.rope_base, recent)
        else:
            found = select_found(*args, self.n_sink, config, self.rope_base, recent)
        if self.fraction_bias is None:
            return found
        here = fraction[:, None, :, None]  # (B, 1, L, 1)
        bias = self.fraction_bias(here - found.places.fraction)
        recent = found.recent + self.fraction_bias(here - columns.fraction[:, None, None])
        return found._replace(
            paged=Part(found.paged.logits + bias, found.paged.values), recent=recent
        )

    def _combine(
        self, local: list[Part], found: Selection, values: Tensor, config: MemoryConfig
    ) -> tuple[Tensor, list[Tensor]]:
        """The output, (B, H, L, D), and the weights of found pairs: paged and recent."""
        if config.combine == "joint":
            sinks, window = local
            # the same columns serve the window and what has just left it: one product for both
            both = Part(torch.maximum(window.logits, found.recent), values)
            o, (_, columns, paged) = attend([sinks, both, found.paged])
            return o, [paged, columns.masked_fill(found.recent.isneginf(), 0)]
        o, _ = attend(local)
        mem, weights = attend([found.paged, Part(found.recent, values)])
        match config.combine:
            case "gate":
                assert self.gate is not None
                g = self.gate.sigmoid()[:, None, None]
                nothing = torch.cat(weights, dim=-1).sum(-1, keepdim=True) == 0
                return torch.where(nothing, o, g * mem + (1 - g) * o), weights
            case "tanh":
                assert self.tanh_gate is not None
                return o + self.tanh_gate.tanh()[:, None, None] * mem, weights
            case combine:
                assert_never(combine)

    def _retrieved(self, weights: list[Tensor], found: Selection, columns: _Columns) -> Retrieved:
        """The pairs taken, heaviest first; at most n_retrieved of them carry weight."""
        shape = found.recent.shape
        paged = found.places.token_index.expand(*weights[0].shape)
        recent = columns.token_index[:, None, None].expand(shape)
        index = torch.cat((paged, recent.masked_fill(found.recent.isneginf(), -1)), dim=-1)
        weight = torch.cat(weights, dim=-1).detach()
        assert self.memory_config is not None
        key = torch.where(index < 0, -1, weight)  # a pair of weight 0 was retrieved all the same
        _, best = top_k_lowest_first(key, self.memory_config.n_retrieved)
        return Retrieved(index.gather(-1, best), weight.gather(-1, best))


def _positions(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the segment's L queries and of the C columns that end with it, (1, L), (1, C).

    They count from the segment's start, whatever the lane has read: only differences matter, and
    small numbers keep float32 angles exact.
    """
    L, C = q.shape[2], k.shape[2]
    return torch.arange(L, device=q.device)[None], torch.arange(L - C, L, device=q.device)[None]
