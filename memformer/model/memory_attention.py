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

from memformer.config import CompressiveConfig, MemoryConfig
from memformer.memory.pages import PagedMemory
from memformer.memory.search import top_k_lowest_first
from memformer.model.attention_state import AttentionOut, AttentionState, Retrieved
from memformer.model.columns import (
    Columns,
    ColumnValues,
    columns_at,
    columns_of,
    first_slot_in_window,
    is_older,
    with_leaving,
)
from memformer.model.compressive import CompressiveMemory
from memformer.model.local_attention import Part, attend, logits_of, rotary_logits
from memformer.model.positions import FractionBias, rotate, rotate_by_fraction
from memformer.model.retrieve import PlacesOf, Selected, select_all, select_found
from memformer.model.window import window_part


class Prefix(NamedTuple):
    """Pairs that every token of a segment sees besides, at their distance: M read tokens."""

    keys: Tensor
    """(B, G, M, D), without position."""
    values: Tensor
    """(B, G, M, D)"""
    at: Tensor
    """(B, M) positions in tokens, counted from the segment's first token."""


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
        memory: paged or compressive; None for a layer without memory. `layers` in it is not used
            here.
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
        memory: MemoryConfig | CompressiveConfig | None = None,
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
        self.rope_base, self.fraction_dim = rope_base, fraction_dim
        self.memory_config = paged = memory if isinstance(memory, MemoryConfig) else None
        self.q = nn.Linear(n_embd, n_head * head_dim, bias=False)
        self.k = nn.Linear(n_embd, n_kv_head * head_dim, bias=False)
        self.v = nn.Linear(n_embd, n_kv_head * head_dim, bias=False)
        self.o = nn.Linear(n_head * head_dim, n_embd, bias=False)
        # inner products of unit vectors lie in [-1, 1]; √D is the scale that RMS-normalised
        # queries and keys would have
        self.scale = nn.Parameter(torch.full((n_head,), head_dim**0.5)) if qk_norm else None
        combine = None if paged is None else paged.combine
        # sigmoid(-1) = .27: an untrained memory takes a minor part, and the gradient is not small
        self.gate = nn.Parameter(torch.full((n_head,), -1.0)) if combine == "gate" else None
        self.tanh_gate = nn.Parameter(torch.zeros(n_head)) if combine == "tanh" else None
        has_bias = paged is not None and paged.positions == "fraction"
        self.fraction_bias = FractionBias(n_head) if has_bias else None
        wide = head_dim**0.5
        key_scale, query_scale = (wide, 1.0) if qk_norm else (1.0, wide)
        self.compressive = (
            CompressiveMemory(n_head, memory, key_scale=key_scale, query_scale=query_scale)
            if isinstance(memory, CompressiveConfig)
            else None
        )

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
            is_compressive=self.compressive is not None,
        )

    def forward(
        self,
        x: Tensor,
        state: AttentionState,
        fraction: Tensor | None = None,
        lengths: list[int] | None = None,
        want_retrieved: bool = False,
        prefix: Prefix | None = None,
    ) -> AttentionOut:
        """Read a segment; the state is not changed.

        Args:
            x: (B, L, n_embd).
            state: made by `new_state` of this layer, or of one with the same settings.
            fraction: (B, L) of the novel, NaN or None where unknown.
            lengths: real tokens of each lane, at the left; the rest is padding. All by default.
            want_retrieved: also return what was taken from memory.
            prefix: pairs that all tokens see besides.

        Raises:
            ValueError: x and state have different lanes.
        """
        if len(x) != len(state.n_read):
            raise ValueError(f"x has {len(x)} lanes, the state has {len(state.n_read)}")
        if fraction is None:
            fraction = torch.full(x.shape[:2], torch.nan, device=x.device)
        lengths = [x.shape[1]] * len(x) if lengths is None else lengths
        o, out = self.attend(*self.project(x), state, fraction, lengths, want_retrieved, prefix)
        return out._replace(x=self.unite(o))

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        state: AttentionState,
        fraction: Tensor,
        lengths: list[int],
        want_retrieved: bool = False,
        prefix: Prefix | None = None,
    ) -> tuple[Tensor, AttentionOut]:
        """What the queries of `project` read, (B, H, L, D), before `unite`; see `forward`."""
        columns = columns_of(k, v, fraction, state)
        window = self._window_part(q, fraction, columns, state)
        return self.read(q, columns, window, state, fraction, lengths, want_retrieved, prefix)

    def read(
        self,
        q: Tensor,
        columns: Columns,
        window: Part,
        state: AttentionState,
        fraction: Tensor,
        lengths: list[int],
        want_retrieved: bool = False,
        prefix: Prefix | None = None,
    ) -> tuple[Tensor, AttentionOut]:
        """What queries read, (B, H, L, D), before it is projected; see `forward`.

        Args:
            q: (B, H, L, D), of `project`.
            columns: the recent pairs and the segment's.
            window: the part of the window.
        """
        local = [window]
        if self.n_sink:
            local.append(self._sink_part(q, columns, state))
        if prefix is not None:
            q_at = torch.arange(q.shape[2], device=q.device)[None]
            logits = rotary_logits(q, prefix.keys, q_at, prefix.at, self.rope_base)
            local.append(Part(logits, prefix.values))
        retrieved = compressive = None
        if self.compressive is not None and state.compressive is not None:
            o, compressive = self.compressive(
                q, _attend_locally(local), columns, state.compressive, state.n_read, lengths
            )
        elif self.memory_config is None or state.memory is None:
            o = _attend_locally(local)
        else:
            found = self._found(q, fraction, columns, state, self.memory_config)
            o, weights = self._combine(local, [each.part for each in found], self.memory_config)
            if want_retrieved:
                retrieved = _retrieved(weights, found, self.memory_config.n_retrieved)
        return o.type_as(q), AttentionOut(
            q, columns.keys, columns.values, columns.fraction, lengths, retrieved, compressive,
            columns.taped,
        )  # fmt: skip

    def queries(self, x: Tensor) -> Tensor:
        """x (B, L, n_embd) -> (B, H, L, D): what the memory is asked with, without position."""
        return self.project(x)[0]

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, L, n_embd) -> queries (B, H, L, D), keys and values (B, G, L, D), all without
        position; queries are scaled so that inner products are logits."""
        q = rearrange(self.q(x), "b l (h d) -> b h l d", d=self.head_dim)
        k = rearrange(self.k(x), "b l (g d) -> b g l d", d=self.head_dim)
        v = rearrange(self.v(x), "b l (g d) -> b g l d", d=self.head_dim)
        if self.scale is None:
            return q * self.head_dim**-0.5, k, v
        q, k = nn.functional.normalize(q, dim=-1), nn.functional.normalize(k, dim=-1)
        return q * self.scale[:, None, None], k, v

    def unite(self, o: Tensor) -> Tensor:
        """What all heads read, (B, H, L, D) -> (B, L, n_embd)."""
        x: Tensor = self.o(rearrange(o, "b h l d -> b l (h d)"))
        return x

    def _window_part(
        self, q: Tensor, fraction: Tensor, columns: Columns, state: AttentionState
    ) -> Part:
        """The window, at true distances."""
        k, r = columns.keys, self.fraction_dim
        q_at, k_at = columns.positions()
        turned_q = rotate(q[..., r:], q_at, self.rope_base)
        turned_k = rotate(k[..., r:], k_at, self.rope_base)
        if r:
            turned_q = torch.cat((rotate_by_fraction(q[..., :r], fraction), turned_q), dim=-1)
            by_u = rotate_by_fraction(k[..., :r], columns.fraction)
            turned_k = torch.cat((by_u, turned_k), dim=-1)
        return window_part(turned_q, turned_k, columns.values, state.n_held, self.window)

    def _sink_part(self, q: Tensor, columns: Columns, state: AttentionState) -> Part:
        """Sinks outside the window, at clamped distances, wherever their pairs lie."""
        token = torch.arange(self.n_sink, device=q.device)
        n_read = torch.tensor(state.n_read, device=q.device)[:, None]
        has_left = token < torch.tensor(state.n_left, device=q.device)[:, None]  # (B, n_sink)
        q_at, k_at = torch.arange(q.shape[2], device=q.device)[None], token - n_read
        place = (k_at + state.keys.shape[2]).clamp(0, columns.keys.shape[2] - 1)  # among columns
        keys, values = (
            torch.where(has_left[:, None, :, None], apart, columns_at(among, place))
            for apart, among in (
                (state.sink_keys, columns.keys),
                (state.sink_values, columns.values),
            )
        )
        logits = rotary_logits(q, keys, q_at, k_at, self.rope_base, self.sink_distance)
        is_outside = q_at[:, :, None] - k_at[:, None] >= self.window  # (B, L, n_sink)
        return Part(logits.masked_fill(~is_outside[:, None], -torch.inf), values)

    def _found(
        self,
        q: Tensor,
        fraction: Tensor,
        columns: Columns,
        state: AttentionState,
        config: MemoryConfig,
    ) -> list[Selected]:
        """found(t, h), with its logits as they enter the softmax."""
        assert state.memory is not None
        n_candidate = max(state.n_left) + columns.keys.shape[2]
        if config.n_retrieved >= n_candidate:
            every = select_all(q, state.memory, state.n_read, config, self.rope_base)
            logits = self._column_logits(q, columns, config)
            logits = logits.masked_fill(~is_older(columns, state, self.n_sink), -torch.inf)
            places = PlacesOf(columns.token_index[:, None, None], columns.fraction[:, None, None])
            found = [every, Selected(Part(logits, columns.values), places)]
        else:
            found = self._best(q, columns, state, config)
        if self.fraction_bias is None:
            return found
        here = fraction[:, None, :, None]  # (B, 1, L, 1)
        return [
            Selected(
                Part(part.logits + self.fraction_bias(here - places.fraction), part.values), places
            )
            for part, places in found
        ]

    def _best(
        self, q: Tensor, columns: Columns, state: AttentionState, config: MemoryConfig
    ) -> list[Selected]:
        """The K best: those in pages and, if they are kept apart, those among the columns."""
        assert state.memory is not None
        memory = with_leaving(state.memory, columns, state, self.n_sink)
        stop = first_slot_in_window(columns, state, self.n_sink)
        logits, slots = select_found(
            q, memory, state.n_read, self.n_sink, config, self.rope_base, stop
        )
        R = state.keys.shape[2]
        kept, own = (state.keys, state.values), (columns.keys, columns.values)
        has_gradient = torch.is_grad_enabled() and (
            any(x.requires_grad for x in kept)
            or (columns.n_leaving > R and any(x.requires_grad for x in own))
        )
        # pages have no gradient; values of a shuffled memory are those of other slots
        if columns.n_leaving == 0 or not (has_gradient or memory.is_shuffled):
            pairs = memory.at(slots)
            return [Selected(Part(logits, pairs), pairs)]
        n_left = torch.tensor(state.n_left, device=q.device)[:, None, None, None]
        n_read = torch.tensor(state.n_read, device=q.device)[:, None, None, None]
        is_column = slots >= (n_left - self.n_sink).clamp(min=0)
        pairs = state.memory.at(slots.masked_fill(is_column, -1))
        paged = Part(logits.masked_fill(is_column, -torch.inf), pairs)
        place = (slots + self.n_sink - n_read + R).masked_fill(~is_column, 0)
        live = self._column_logits(q, columns, config).gather(-1, place)
        values = ColumnValues(columns.values, place)
        places = PlacesOf(
            torch.where(is_column, slots + self.n_sink, -1),
            columns.fraction.gather(1, place.flatten(1)).view(place.shape),
        )
        recent = Part(live.masked_fill(~is_column, -torch.inf), values)
        return [Selected(paged, pairs), Selected(recent, places)]

    def _column_logits(self, q: Tensor, columns: Columns, config: MemoryConfig) -> Tensor:
        """Logits of the columns as retrieved pairs, (B, H, L, C), not yet masked."""
        if config.positions == "rotary":
            at = columns.positions()
            return rotary_logits(q, columns.keys, *at, self.rope_base, config.max_distance)
        return logits_of(q, columns.keys)

    def _combine(
        self, local: list[Part], found: list[Part], config: MemoryConfig
    ) -> tuple[Tensor, list[Tensor]]:
        """The output, (B, H, L, D), and the weights of the found pairs."""
        if config.combine == "joint":
            o, weights = attend([*found, *local])
            return o, weights[: len(found)]
        o = _attend_locally(local)
        mem, weights = attend(found)
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


def _attend_locally(local: list[Part]) -> Tensor:
    """The window's own mean where there are no sinks beside it: every query sees itself."""
    if len(local) == 1 and isinstance(local[0].values, Tensor):
        return local[0].values[..., 0, :]
    return attend(local)[0]


def _retrieved(weights: list[Tensor], found: list[Selected], K: int) -> Retrieved:
    """The pairs taken, heaviest first; at most K of them carry weight."""
    index = torch.cat(
        [
            each.places.token_index.expand(*w.shape).masked_fill(each.part.logits.isneginf(), -1)
            for w, each in zip(weights, found, strict=True)
        ],
        dim=-1,
    )
    weight = torch.cat(weights, dim=-1).detach()
    key = torch.where(index < 0, -1, weight)  # a pair of weight 0 was retrieved all the same
    _, best = top_k_lowest_first(key, K)
    return Retrieved(index.gather(-1, best), weight.gather(-1, best))
