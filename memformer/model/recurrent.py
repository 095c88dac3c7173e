"""Recurrent memory tokens (Bulatov et al. 2022, arXiv:2207.06881, §3).

B lanes, L tokens of the segment, M memory tokens, S block_len
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from memformer.config import RecurrentConfig
from memformer.model.attention_state import AttentionOut
from memformer.model.block import Block, Through, through
from memformer.model.memory_attention import Prefix
from memformer.model.state import DecoderState


class RecurrentMemory(nn.Module):
    """Memory tokens before and after every block of S tokens of the manuscript.

        [H_mem, H_block, H_mem] -> blocks of the decoder -> [H_read, H_out, H_write]
        H_mem of the next block = H_write;  H_mem of the first is learned

    The read tokens stand before a block, and each of its tokens sees them in every layer, at its
    distance from them. The write tokens stand after it and see the read tokens, the block, and one
    another backwards. Blocks lie at fixed tokens of the manuscript: a segment is read in pieces
    that end where a block of some lane ends, so how a manuscript is cut changes nothing.

    Departures from the paper: the window slides over borders of blocks (its combination with
    Transformer-XL's cache), in distances the memory tokens of earlier blocks do not count; H_write
    is taken after the last norm; memory tokens pass no short convolution, and their fraction of
    the novel is unknown. The read tokens are computed in every call, M more tokens, so that the
    weights that read are trained also where the tokens themselves have no gradient; with
    grad_segments = 1 what is written learns only from later blocks of the same call.

    Args:
        n_embd: width of the residual stream.
        config: number of memory tokens, and block_len.
    """

    def __init__(self, n_embd: int, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.start = nn.Parameter(torch.zeros(config.n_token, n_embd))

    def forward(
        self,
        blocks: Sequence[Block],
        norm: nn.Module,
        x: Tensor,
        state: DecoderState,
        u: Tensor,
        lengths: list[int],
        recompute: bool,
    ) -> tuple[Through, Tensor]:
        """Read a segment; the state is not changed.

        Args:
            blocks, norm: of the decoder.
            x: (B, L, n_embd), as embedded.
            state: with the memory tokens of each lane's block.
            u, lengths, recompute: as in `block.through`.

        Returns:
            The pass, and the memory tokens of the block in which each lane then stands, (B, M, E).
        """
        assert state.recurrent is not None
        S = self.config.block_len
        cuts = _cuts(state.n_read, lengths, x.shape[1], S)
        running, memory, pieces = _running(state, len(cuts)), state.recurrent, []
        memory = torch.where(_lanes(running.n_read, lambda t: t >= S, x), memory, self.start)
        prefixes = self._read(blocks, memory, running.n_read)
        first = 0
        for cut in cuts:
            part = slice(first, cut)
            n_real = [min(max(length - first, 0), cut - first) for length in lengths]
            pieces.append(
                through(
                    blocks, x[:, part], running.layers, running.conv, u[:, part], n_real,
                    recompute=recompute, prefixes=_at(prefixes, running.n_read, S),
                )
            )  # fmt: skip
            running.remember(pieces[-1].attention, pieces[-1].conv)
            ends = _lanes(running.n_read, lambda t: t % S == 0, x)
            ends &= torch.tensor([n > 0 for n in n_real], device=x.device)[:, None, None]
            if bool(ends.any()):
                written = norm(self._write(blocks, memory, running, prefixes))
                memory = torch.where(ends, written, memory)
                if cut < x.shape[1]:
                    prefixes = self._read(blocks, memory, running.n_read)
            first = cut
        return _joined(pieces, state, lengths), memory

    def _read(self, blocks: Sequence[Block], memory: Tensor, n_read: list[int]) -> list[Prefix]:
        """Pairs of the read tokens in each layer; they see one another backwards, nothing else."""
        B, M, _ = memory.shape
        fresh = [block.attention.new_state(B) for block in blocks]
        u = memory.new_full((B, M), torch.nan)
        place = torch.arange(-M, 0, device=memory.device).expand(B, -1)
        return [
            Prefix(out.keys[:, :, -M:], out.values[:, :, -M:], place)
            for out in through(blocks, memory, fresh, (), u, [M] * B).attention
        ]

    def _write(
        self,
        blocks: Sequence[Block],
        memory: Tensor,
        running: DecoderState,
        prefixes: list[Prefix],
    ) -> Tensor:
        """H_write, (B, M, E), before the norm; of lanes that stand at the end of a block."""
        B, M, _ = memory.shape
        S = self.config.block_len
        u = memory.new_full((B, M), torch.nan)
        seen = [each._replace(at=each.at - S) for each in prefixes]
        return through(blocks, memory, running.layers, (), u, [M] * B, prefixes=seen).x


def _cuts(n_read: list[int], lengths: list[int], L: int, S: int) -> list[int]:
    """Columns, ascending, before which some lane's block ends, and the end of the segment."""
    ends = {
        end
        for t, length in zip(n_read, lengths, strict=True)
        for end in range(S - t % S, length + 1, S)
    }
    return sorted({*ends, L})


def _running(state: DecoderState, n_piece: int) -> DecoderState:
    """A copy to read on with, in which all pieces of this segment keep their gradient."""
    layers = [
        replace(layer.snapshot(), grad_segments=layer.grad_segments + n_piece)
        for layer in state.layers
    ]
    return replace(state, layers=layers, is_view=False)


def _lanes(n_read: list[int], is_so: Callable[[int], bool], like: Tensor) -> Tensor:
    """(B, 1, 1) bool."""
    return torch.tensor([is_so(t) for t in n_read], device=like.device)[:, None, None]


def _at(prefixes: list[Prefix], n_read: list[int], S: int) -> list[Prefix]:
    """The read tokens at their distance from the first token of a piece."""
    before = torch.tensor([t % S for t in n_read], device=prefixes[0].at.device)[:, None]
    return [each._replace(at=each.at - before) for each in prefixes]


def _joined(pieces: list[Through], state: DecoderState, lengths: list[int]) -> Through:
    """The pieces as one pass from the state that was read."""
    attention = [
        AttentionOut(
            torch.cat([out.x for out in outs], dim=1),
            torch.cat([layer.keys, *(out.keys[:, :, -out.x.shape[1] :] for out in outs)], dim=2),
            torch.cat([layer.values, *(o.values[:, :, -o.x.shape[1] :] for o in outs)], dim=2),
            torch.cat([layer.fraction, *(o.fraction[:, -o.x.shape[1] :] for o in outs)], dim=1),
            lengths,
            None,
        )
        for layer, *outs in zip(state.layers, *(p.attention for p in pieces), strict=True)
    ]
    conv = [torch.cat(parts, dim=1) for parts in zip(*(p.conv for p in pieces), strict=True)]
    return Through(torch.cat([p.x for p in pieces], dim=1), attention, conv)
