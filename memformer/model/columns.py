"""The recent pairs of a lane followed by those of the segment it reads: what is not in memory yet.

B lanes, H query heads, G key/value heads, L tokens of the segment, R recent pairs, C = R + L
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from memformer.memory.pages import PagedMemory
from memformer.model.attention_state import AttentionState
from memformer.model.tape import Taped, write_on


class Columns(NamedTuple):
    """Keys and values without position."""

    keys: Tensor
    """(B, G, C, D)"""
    values: Tensor
    """(B, G, C, D)"""
    fraction: Tensor
    """(B, C)"""
    n_read: list[int]
    """Tokens of each lane before the segment."""
    n_query: int
    """The last `L` columns are the segment's own."""
    n_leaving: int
    """Columns, the oldest, that are outside the window of some query."""
    taped: Taped | None
    """Where keys and values lie, if there is room behind them."""

    @property
    def token_index(self) -> Tensor:
        """(B, C)"""
        first = self.n_query - self.keys.shape[2]
        n_read = torch.tensor(self.n_read, device=self.keys.device)[:, None]
        return n_read + torch.arange(first, self.n_query, device=self.keys.device)

    def positions(self) -> tuple[Tensor, Tensor]:
        """Positions of the segment's queries and of the columns, (1, L) and (1, C).

        They count from the segment's start, whatever the lane has read: only differences matter,
        and small numbers keep float32 angles exact.
        """
        L, C = self.n_query, self.keys.shape[2]
        column = torch.arange(L - C, L, device=self.keys.device)[None]
        return column[:, C - L :], column


class ColumnValues(NamedTuple):
    """Values of columns that each query chose, with gradient: see `OwnValues`."""

    values: Tensor
    """(B, G, C, D)"""
    place: Tensor
    """(B, H, L, k) int64 in [0, C)."""

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """(B, H, L, k) -> (B, H, L, D) in the values' dtype: one product with a matrix of mostly
        zeros, whose gradients are products too."""
        weights = weights.type_as(self.values)
        spread = weights.new_zeros(*weights.shape[:3], self.values.shape[2])
        spread = spread.scatter_add(-1, self.place, weights)
        grouped = rearrange(spread, "b (g r) l c -> b g (r l) c", g=self.values.shape[1])
        return rearrange(grouped @ self.values, "b g (r l) d -> b (g r) l d", l=weights.shape[2])


def columns_of(k: Tensor, v: Tensor, fraction: Tensor, state: AttentionState) -> Columns:
    """The columns of a segment's keys and values (B, G, L, D) and fractions (B, L)."""
    L, R = k.shape[2], state.keys.shape[2]
    if L == 1 and not torch.is_grad_enabled():  # else they may be kept for going backward
        recent = state.keys, state.values, state.fraction
        return columns_on(write_on(state.taped, recent, (k, v, fraction)), state)
    return Columns(
        torch.cat((state.keys, k), dim=2),
        torch.cat((state.values, v), dim=2),
        torch.cat((state.fraction, fraction), dim=1),
        state.n_read,
        L,
        max(0, R + L - state.window),
        None,
    )


def columns_on(taped: Taped, state: AttentionState) -> Columns:
    """The columns of one token whose pair was written on a tape, behind those of the state."""
    R = state.keys.shape[2]
    return Columns(*taped.columns(R + 1), state.n_read, 1, max(0, R + 1 - state.window), taped)


def columns_at(x: Tensor, place: Tensor) -> Tensor:
    """Columns of x (B, G, C, D) at place (B, n)."""
    return x.gather(2, place[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3]))


def is_older(columns: Columns, state: AttentionState, n_sink: int) -> Tensor:
    """(B, 1, L, C): True outside the query's window and of no sink, as the pairs in memory are."""
    token = columns.token_index
    distance = token[:, -columns.n_query :, None] - token[:, None]  # (B, L, C)
    first = torch.tensor([max(n_sink, left) for left in state.n_left], device=token.device)
    return ((distance >= state.window) & (token >= first[:, None])[:, None])[:, None]


def first_slot_in_window(columns: Columns, state: AttentionState, n_sink: int) -> Tensor:
    """The slot of the oldest token in each query's window, (B, L): its memory is below."""
    return (columns.token_index[:, -columns.n_query :] - state.window + 1 - n_sink).clamp(min=0)


def with_leaving(
    memory: PagedMemory, columns: Columns, state: AttentionState, n_sink: int
) -> PagedMemory:
    """The memory and the columns that are outside the window of some query."""
    R = state.keys.shape[2]
    leaving = []
    for lane, (held, left) in enumerate(zip(state.n_held, state.n_left, strict=True)):
        first = R - held + max(0, n_sink - left)  # sinks never go to memory
        part = slice(first, max(first, columns.n_leaving))
        leaving.append(
            (
                columns.keys[lane, :, part],
                columns.values[lane, :, part],
                columns.token_index[lane, part],
                columns.fraction[lane, part],
            )
        )
    return memory.extended(leaving)
