"""What one attention layer remembers: the most recent pairs, the sinks, and the paged memory.

B lanes, G key/value heads, R recent pairs at most, L tokens of a segment, D head_dim
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.memory.pages import PagedMemory
from memformer.model.sums import Sums
from memformer.model.tape import Taped


class Retrieved(NamedTuple):
    """What a layer's queries took from memory."""

    token_index: Tensor
    """(B, H, L, K) int64: the tokens of the manuscript; -1 where fewer than K exist."""
    weight: Tensor
    """(B, H, L, K): attention weight of each; under `joint` a share of the whole softmax."""


class AttentionOut(NamedTuple):
    """One layer's reading of a segment."""

    x: Tensor
    """(B, L, n_embd): the layer's output."""
    keys: Tensor
    """(B, G, R + L, D), without position: the recent ones of the state, then the segment's."""
    values: Tensor
    """(B, G, R + L, D)"""
    fraction: Tensor
    """(B, R + L), NaN where unknown."""
    lengths: list[int]
    """Tokens of each lane that are not padding."""
    retrieved: Retrieved | None
    compressive: Sums | None = None
    """What a compressive memory holds after the segment."""
    taped: Taped | None = None
    """Where keys and values lie, if there is room behind them."""


@dataclass
class AttentionState:
    """The state of one attention layer. No tensor is ever written in place: copies may share.

    Pairs leave `keys` at the left, oldest first: the manuscript's first `n_sink` become sinks, the
    others go to `memory`, or are forgotten without one. So slot i of the memory is token
    n_sink + i.
    """

    window: int
    n_sink: int
    grad_segments: int
    """Segments, the running one included, whose pairs stay in the autograd graph."""
    n_read: list[int]
    """Tokens read so far, by lane."""
    n_held: list[int]
    """Recent pairs held, by lane; they stand at the right of `keys`."""
    keys: Tensor
    """(B, G, R, D): the recent keys, without position, newest last."""
    values: Tensor
    """(B, G, R, D)"""
    fraction: Tensor
    """(B, R), NaN where unknown."""
    sink_keys: Tensor
    """(B, G, n_sink, D): the manuscript's first pairs, once they have left `keys`."""
    sink_values: Tensor
    """(B, G, n_sink, D)"""
    memory: PagedMemory | None
    recent_lengths: list[list[int]]
    """Lengths, by lane, of the last grad_segments - 1 segments."""
    compressive: Sums | None = None
    """What a compressive memory holds: all whole blocks read. With grad_segments > 1 all of it
    stays in the autograd graph until `detach`."""
    taped: Taped | None = None
    """Where keys and values lie, if there is room behind them for the next token's."""

    @classmethod
    def empty(
        cls,
        *,
        n_lane: int,
        n_kv_head: int,
        head_dim: int,
        window: int,
        n_sink: int,
        memory: PagedMemory | None,
        grad_segments: int,
        like: Tensor,
        is_compressive: bool = False,
    ) -> "AttentionState":
        """Before the first token; tensors have the dtype and device of `like`.

        Raises:
            ValueError: n_lane or grad_segments below 1.
        """
        for name, value in (("batch_size", n_lane), ("grad_segments", grad_segments)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        recent = like.new_zeros(n_lane, n_kv_head, window - 1, head_dim)
        sinks = like.new_zeros(n_lane, n_kv_head, n_sink, head_dim)
        fraction = torch.full((n_lane, window - 1), torch.nan, device=like.device)
        zero = [0] * n_lane
        return cls(
            window, n_sink, grad_segments, zero, zero, recent, recent, fraction, sinks, sinks,
            memory, [], Sums.empty(n_lane, n_kv_head, head_dim, like) if is_compressive else None,
        )  # fmt: skip

    @property
    def n_left(self) -> list[int]:
        """Tokens that have left the recent pairs, by lane; the first n_sink of them are sinks."""
        return [read - held for read, held in zip(self.n_read, self.n_held, strict=True)]

    def advance(self, out: AttentionOut) -> None:
        """Remember a segment that was read from this state: the window slides, and what leaves it
        goes to the sinks or to the memory."""
        if out.taped is not None and self._steps_on(out, out.taped):
            return
        # what is remembered in inference mode must still serve a training step
        with torch.inference_mode(False):
            keys, values, fraction = (
                x.clone() if x.is_inference() else x for x in (out.keys, out.values, out.fraction)
            )
            self._slide(keys, values, fraction, out.lengths, out.taped)
            if out.compressive is not None:
                sums = Sums(*(x.clone() if x.is_inference() else x for x in out.compressive))
                self.compressive = sums if self.grad_segments > 1 else sums.detach()

    def _steps_on(self, out: AttentionOut, taped: Taped) -> bool:
        """What `_slide` does after one token of each lane that lies on a tape, with full windows
        and without live segments, where it only looks one column on; whether it was so."""
        R = self.window - 1
        if (
            self.grad_segments > 1
            or out.compressive is not None
            or self.keys.shape[2] != R
            or any(n != 1 for n in out.lengths)
            or any(n != R for n in self.n_held)
        ):
            return False
        for lane in range(len(out.lengths)):
            if self.memory is not None or self.n_read[lane] - R < self.n_sink:
                gone = out.keys[lane, :, :1], out.values[lane, :, :1], out.fraction[lane, :1]
                self._let_go(lane, *gone)
        self.taped = taped.after(1)
        self.keys, self.values, self.fraction = self.taped.columns(R)
        self.n_read = [n + 1 for n in self.n_read]
        return True

    def _slide(
        self,
        keys: Tensor,
        values: Tensor,
        fraction: Tensor,
        lengths: list[int],
        out_taped: Taped | None,
    ) -> None:
        live = [*self.recent_lengths, lengths] if self.grad_segments > 1 else []
        self.recent_lengths = live[-(self.grad_segments - 1) :] if live else []
        n_live = [sum(each) for each in zip(*self.recent_lengths, strict=True)] or [0] * len(keys)
        R = max(self.window - 1, *n_live)
        before = self.keys.shape[2]
        for lane, n in enumerate(lengths):
            n_leave = max(0, self.n_held[lane] + n - R)
            first = before - self.n_held[lane]  # column of the oldest pair held
            gone = slice(first, first + n_leave)
            self._let_go(lane, keys[lane, :, gone], values[lane, :, gone], fraction[lane, gone])
        self.taped = None if out_taped is None else out_taped.after(lengths[0])
        self.keys = _last(keys, lengths, R, before, n_live)
        self.values = _last(values, lengths, R, before, n_live)
        self.fraction = _last(fraction[:, None, :, None], lengths, R, before, n_live)[:, 0, :, 0]
        self.n_held = [min(h + n, R) for h, n in zip(self.n_held, lengths, strict=True)]
        self.n_read = [t + n for t, n in zip(self.n_read, lengths, strict=True)]

    def _let_go(self, lane: int, keys: Tensor, values: Tensor, fraction: Tensor) -> None:
        """Keep (G, n, D) pairs that leave the recent ones of a lane."""
        first = self.n_left[lane]
        n = keys.shape[1]
        n_to_sink = min(max(self.n_sink - first, 0), n)
        if n_to_sink:
            place = slice(first, first + n_to_sink)
            self.sink_keys, self.sink_values = self.sink_keys.clone(), self.sink_values.clone()
            self.sink_keys[lane, :, place] = keys[:, :n_to_sink].detach()
            self.sink_values[lane, :, place] = values[:, :n_to_sink].detach()
        if self.memory is not None and n > n_to_sink:
            index = torch.arange(first + n_to_sink, first + n, device=keys.device)
            self.memory.append(
                keys[None, :, n_to_sink:],
                values[None, :, n_to_sink:],
                token_index=index[None],
                fraction=fraction[None, n_to_sink:],
                lanes=[lane],
            )

    def detach(self) -> None:
        """Cut the autograd graph behind all that is remembered."""
        self.keys, self.values = self.keys.detach(), self.values.detach()
        if self.compressive is not None:
            self.compressive = self.compressive.detach()

    def reset(self, lanes: Sequence[int]) -> None:
        """A new manuscript begins in these lanes."""
        self.n_read = [0 if i in lanes else t for i, t in enumerate(self.n_read)]
        self.n_held = [0 if i in lanes else n for i, n in enumerate(self.n_held)]
        self.recent_lengths = [
            [0 if i in lanes else n for i, n in enumerate(each)] for each in self.recent_lengths
        ]
        if self.memory is not None:
            self.memory.reset(lanes)
        if self.compressive is not None:
            kept = torch.tensor([i not in lanes for i in range(len(self.n_read))])
            nothing = Sums(*(torch.zeros_like(x) for x in self.compressive))
            self.compressive = self.compressive.where(kept.to(self.keys.device), nothing)

    def snapshot(self) -> "AttentionState":
        """This state as it is now, whatever the original does later."""
        return replace(self, memory=None if self.memory is None else self.memory.fork(1))

    def select(self, lanes: Sequence[int]) -> "AttentionState":
        """A state with these lanes, each going on alone; sealed pages are shared."""
        at = torch.tensor(list(lanes), device=self.keys.device)
        return replace(
            self,
            n_read=[self.n_read[i] for i in lanes],
            n_held=[self.n_held[i] for i in lanes],
            keys=self.keys[at],
            values=self.values[at],
            fraction=self.fraction[at],
            sink_keys=self.sink_keys[at],
            sink_values=self.sink_values[at],
            memory=None if self.memory is None else self.memory.select(lanes),
            recent_lengths=[[each[i] for i in lanes] for each in self.recent_lengths],
            compressive=None if self.compressive is None else self.compressive.select(at),
        )


def _last(x: Tensor, lengths: list[int], R: int, before: int, n_live: list[int]) -> Tensor:
    """The last R real columns of x (B, G, before + L, D), older ones than n_live detached."""
    if before == R and len(set(lengths)) == 1 and not any(n_live):
        return x[:, :, lengths[0] : lengths[0] + R].detach()
    rows = []
    for lane, n in enumerate(lengths):
        row = x[lane, :, : before + n]
        if row.shape[1] < R:
            row = torch.nn.functional.pad(row, (0, 0, R - row.shape[1], 0))
        row = row[:, row.shape[1] - R :]
        cut = R - n_live[lane]
        # an empty part with gradient would give it to the whole
        live = [row[:, cut:]] if n_live[lane] else []
        rows.append(torch.cat((row[:, :cut].detach(), *live), dim=1))
    return torch.stack(rows)
