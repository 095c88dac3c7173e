"""DecoderState: all that a decoder remembers and that is not a parameter.

B lanes, one manuscript each
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from memformer.config import DecoderConfig
from memformer.data.tokenizer import Tokenizer
from memformer.model.attention_state import AttentionOut, AttentionState

if TYPE_CHECKING:
    from memformer.model.decoder import Decoder, DecoderOut


@dataclass
class DecoderState:
    """Windows, memories and positions of every layer and lane. Made by `Decoder.new_state`.

    Reading (`model(tokens, state)`) never changes it; only `advance` and `reset` do.
    """

    config: DecoderConfig
    layers: list[AttentionState]
    conv: list[Tensor]
    """Last conv_width - 1 inputs of each layer's convolution, (B, conv_width - 1, n_embd)."""
    is_hidden: list[bool]
    """In training: lanes whose fraction is hidden, drawn anew for each manuscript."""
    is_view: bool = False
    """A view shares another state's memories: it can be read, not advanced."""
    recurrent: Tensor | None = None
    """(B, M, n_embd): the memory tokens of the block in which each lane stands, once it is not the
    manuscript's first. With grad_segments > 1 in the autograd graph until `detach`."""
    moment: object = field(default_factory=object)
    """Another after each `advance` and `reset`. A fork in one and a view have that of their state,
    and so what was read from one of these may be remembered by another."""

    @staticmethod
    def draw_hidden(config: DecoderConfig, n: int) -> list[bool]:
        """For n manuscripts, whether u is hidden while training (`FractionConfig.p_unknown`)."""
        p = config.fraction.p_unknown
        return (torch.rand(n) < p).tolist() if p else [False] * n

    @property
    def n_read(self) -> list[int]:
        """Tokens read so far, by lane."""
        return self.layers[0].n_read

    @property
    def n_lane(self) -> int:
        """Manuscripts read side by side, `B`."""
        return len(self.n_read)

    def memory_bytes(self) -> int:
        """Bytes of all memories: pages, sums, memory tokens. Windows and sinks are not counted."""
        fixed = [] if self.recurrent is None else [self.recurrent]
        for layer in self.layers:
            fixed += layer.compressive or ()
        paged = sum(layer.memory.n_bytes for layer in self.layers if layer.memory is not None)
        return paged + sum(x.numel() * x.element_size() for x in fixed)

    def advance(self, out: "DecoderOut") -> None:
        """Remember a segment that was read from this state.

        Raises:
            ValueError: `out` was read from another place than where the state stands now, or from
                another state; or this state is a view.
        """
        if self.is_view:
            raise ValueError("advance: this state is a view; advance the state it was made from")
        if out.n_read != self.n_read:
            raise ValueError(
                f"advance: out was read at tokens {out.n_read}, the state stands at "
                f"{self.n_read}: read the segment again"
            )
        if out.moment is not self.moment:
            raise ValueError(
                "advance: out was read from another state, or from this one before a reset: read "
                "the segment from this one"
            )
        self.moment = object()
        self.remember(out.attention, out.conv)
        if out.recurrent is not None:
            with torch.inference_mode(False):
                x = out.recurrent.clone() if out.recurrent.is_inference() else out.recurrent
                self.recurrent = x if self.layers[0].grad_segments > 1 else x.detach()

    def remember(self, attention: Sequence[AttentionOut], conv: Sequence[Tensor]) -> None:
        """What `advance` does after its checks, but for memory tokens."""
        for layer, each in zip(self.layers, attention, strict=True):
            layer.advance(each)
        lengths = attention[0].lengths
        self.conv = [
            _last(before, h, lengths, keep_grad=self.layers[0].grad_segments > 1)
            for before, h in zip(self.conv, conv, strict=True)
        ]

    def detach(self) -> None:
        """Cut the autograd graph behind all that is remembered.

        With grad_segments > 1 the pairs kept in the graph depend on those kept before them, and so
        on to the beginning: sum the losses of a passage, go backward once, then detach.
        """
        for layer in self.layers:
            layer.detach()
        self.conv = [c.detach() for c in self.conv]
        self.recurrent = None if self.recurrent is None else self.recurrent.detach()

    def reset(self, lanes: Sequence[int]) -> None:
        """A new manuscript begins in these lanes; the others are untouched.

        Raises:
            ValueError: a lane does not exist, or this state is a view.
        """
        if self.is_view:
            raise ValueError("reset: this state is a view; reset the state it was made from")
        for lane in lanes:
            if not 0 <= lane < self.n_lane:
                raise ValueError(f"reset: lane must be in [0, {self.n_lane}), got {lane}")
        if lanes:
            self.moment = object()
        for layer in self.layers:
            layer.reset(lanes)
        drawn = self.draw_hidden(self.config, len(lanes))
        for lane, hidden in zip(lanes, drawn, strict=True):
            self.is_hidden = [hidden if i == lane else h for i, h in enumerate(self.is_hidden)]
        kept = torch.tensor([i not in lanes for i in range(self.n_lane)])
        self.conv = [c * kept[:, None, None].to(c) for c in self.conv]

    def fork(self, n: int) -> "DecoderState":
        """Every lane n times, lane-major; sealed pages are shared, nothing else is.

        Raises:
            ValueError: n is below 1.
        """
        if n < 1:
            raise ValueError(f"fork: n must be at least 1, got {n}")
        return self.select([lane for lane in range(self.n_lane) for _ in range(n)])

    def select(self, lanes: Sequence[int]) -> "DecoderState":
        """A state of these lanes, in this order, each going on alone.

        Raises:
            ValueError: a lane does not exist.
        """
        for lane in lanes:
            if not 0 <= lane < self.n_lane:
                raise ValueError(f"select: lane must be in [0, {self.n_lane}), got {lane}")
        return replace(
            self,
            layers=[layer.select(lanes) for layer in self.layers],
            conv=[c[list(lanes)] for c in self.conv],
            is_hidden=[self.is_hidden[i] for i in lanes],
            recurrent=None if self.recurrent is None else self.recurrent[list(lanes)],
            is_view=False,  # the memories were forked
            moment=self.moment if list(lanes) == list(range(self.n_lane)) else object(),
        )

    def save(
        self, folder: Path | str, model: "Decoder", tokenizer: Tokenizer | None = None
    ) -> None:
        """Write the state to a folder; see `saved_state.save_state`."""
        from memformer.model.saved_state import save_state

        save_state(self, Path(folder), model, tokenizer)

    @staticmethod
    def load(
        folder: Path | str,
        model: "Decoder",
        tokenizer: Tokenizer | None = None,
        *,
        check: bool = True,
    ) -> "DecoderState":
        """Read a state that `save` wrote; other weights, tokenizer or config are refused unless
        `check` is False. See `saved_state.load_state`."""
        from memformer.model.saved_state import load_state

        return load_state(Path(folder), model, tokenizer, check=check)

    def with_memory(self, other: "DecoderState") -> "DecoderState":
        """A view for the control "another book": these windows with the memories of `other`.

        Raises:
            ValueError: the states have not read equally far, their memories do not reach equally
                far, or they differ in their config.
        """
        if other.n_read != self.n_read:
            raise ValueError(
                f"with_memory: this state has read {self.n_read} tokens, the other "
                f"{other.n_read}: read both in step, or a query would see its own future"
            )
        if other.config != self.config:
            raise ValueError("with_memory: the states are of different configs")
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            if mine.n_left != theirs.n_left:
                raise ValueError(
                    f"with_memory: {mine.n_left} tokens have left this state's window, "
                    f"{theirs.n_left} the other's: read both in the same segments, with the same "
                    "grad_segments"
                )
        pairs = zip(self.layers, other.layers, strict=True)
        layers = [
            replace(mine, memory=theirs.memory, compressive=theirs.compressive)
            for mine, theirs in pairs
        ]
        return replace(self, layers=layers, recurrent=other.recurrent, is_view=True)

    def with_shuffled_values(self) -> "DecoderState":
        """A view for the control "shuffled": what is found comes with other pairs' values.

        Raises:
            ValueError: the memory is compressive or recurrent.
        """
        if self.recurrent is not None or any(x.compressive is not None for x in self.layers):
            raise ValueError(
                "with_shuffled_values: a compressive or recurrent memory holds no single pairs to "
                "shuffle; take another book's memory (with_memory) as the control"
            )
        layers = [
            layer if layer.memory is None
            else replace(layer, memory=layer.memory.with_shuffled_values())
            for layer in self.layers
        ]  # fmt: skip
        return replace(self, layers=layers, is_view=True)


def _last(before: Tensor, h: Tensor, lengths: list[int], keep_grad: bool) -> Tensor:
    """The last inputs of a convolution, (B, width - 1, n_embd), after each lane's tokens."""
    n = before.shape[1]
    whole = torch.cat((before, h), dim=1)
    whole = whole if keep_grad else whole.detach()
    return torch.stack(
        [row[length : length + n] for row, length in zip(whole, lengths, strict=True)]
    )
