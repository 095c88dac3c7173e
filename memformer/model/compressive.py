"""A compressive linear memory: Infini-attention (Munkhdalai et al. 2024, arXiv:2404.07143, §2.1).

B lanes, H query heads, G key/value heads, L tokens of the segment, D head_dim
S block_len, C columns, n blocks that the segment lies in; M (D, D) matrix, z (D,) norm
"""

from typing import assert_never

import torch
from torch import Tensor, nn

from memformer.config import CompressiveConfig
from memformer.model.columns import Columns, columns_at
from memformer.model.sums import Sums, features


class CompressiveMemory(nn.Module):
    """Reads and writes `Sums` beside a window; what both give is mixed by a learned gate a head.

    The manuscript is divided into blocks of S tokens at fixed places. A token of block b reads
    what blocks 0 ... b - 1 wrote, wherever segments end:

        A_mem = σ(Q) M / σ(Q) z                                     "memory retrieval"
        M <- M + σ(K)ᵀ V,  z <- z + Σ σ(k)                          "memory update", `linear`
        M <- M + σ(K)ᵀ (V - σ(K) M / σ(K) z),  z as above           `delta`
        A = sigmoid(β) A_mem + (1 - sigmoid(β)) A_dot               "long-term context injection"

    Keys and queries have no position here, as in the paper. Departures from it: A_dot is the
    window, which slides, instead of the block alone; in the manuscript's first block, where M is
    empty, A = A_dot; query heads of one key/value head share a memory; β starts at 0 (the paper
    does not say); with normalised keys σ gets √D times the unit vector, whose components would
    else be too small to tell keys apart.

    Args:
        n_head: query heads.
        config: update rule and block_len.
        key_scale: factor of keys as they are stored.
        query_scale: factor of queries as they are scored.
    """

    def __init__(
        self, n_head: int, config: CompressiveConfig, *, key_scale: float, query_scale: float
    ) -> None:
        super().__init__()
        self.config, self.key_scale, self.query_scale = config, key_scale, query_scale
        self.gate = nn.Parameter(torch.zeros(n_head))

    def forward(
        self,
        q: Tensor,
        local: Tensor,
        columns: Columns,
        before: Sums,
        n_read: list[int],
        lengths: list[int],
    ) -> tuple[Tensor, Sums]:
        """Mix the window's output with what the memory gives, and what is in it afterwards.

        Args:
            q: (B, H, L, D), without position.
            local: (B, H, L, D), the window's output.
            columns: recent pairs, at least S - 1 of them where so many were read, and the
                segment's.
            before: what was written before the segment.
            n_read: tokens read before the segment, by lane.
            lengths: the segment's tokens that are not padding, by lane.
        """
        with torch.autocast(q.device.type, enabled=False):
            mem, after = self._through(q, columns, before, n_read, lengths)
        g = self.gate.sigmoid()[:, None, None]
        at = torch.tensor(n_read, device=q.device)[:, None] + torch.arange(
            q.shape[2], device=q.device
        )
        is_first = (at < self.config.block_len)[:, None, :, None]  # nothing was written
        return torch.where(is_first, local, g * mem + (1 - g) * local).type_as(local), after

    def _through(
        self, q: Tensor, columns: Columns, sums: Sums, n_read: list[int], lengths: list[int]
    ) -> tuple[Tensor, Sums]:
        """Block after block: A_mem, (B, H, L, D), and what was written."""
        S, L, C = self.config.block_len, q.shape[2], columns.keys.shape[2]
        before = torch.tensor([t % S for t in n_read], device=q.device)[:, None]  # of the block
        length = torch.tensor(lengths, device=q.device)[:, None]
        n = -(-(int(before.max()) + L) // S)
        place = torch.arange(n * S, device=q.device) - before  # (B, n S), from the segment's start
        column = (place + C - L).clamp(0, C - 1)
        is_padding = (place >= length)[:, None, :, None]
        wide = sums.norm.dtype
        k, v = (
            columns_at(x, column).to(wide).masked_fill(is_padding, 0)
            for x in (columns.keys, columns.values)
        )
        k = k * self.key_scale
        queries = columns_at(q, place.clamp(0, L - 1)).to(wide) * self.query_scale
        rows = []
        for b in range(n):
            part = slice(b * S, (b + 1) * S)
            rows.append(sums.read(queries[:, :, part]))
            is_whole = (before + length >= (b + 1) * S)[:, 0]
            if bool(is_whole.any()):
                sums = self._written(sums, k[:, :, part], v[:, :, part]).where(is_whole, sums)
        return columns_at(torch.cat(rows, dim=2), before + torch.arange(L, device=q.device)), sums

    def _written(self, sums: Sums, k: Tensor, v: Tensor) -> Sums:
        """The memory after a block of k, v (B, G, S, D)."""
        f = features(k)
        match self.config.update:
            case "linear":
                new = v
            case "delta":
                new = v - sums.read(k)
            case update:
                assert_never(update)
        return Sums(sums.matrix + f.mT @ new, sums.norm + f.sum(2))
