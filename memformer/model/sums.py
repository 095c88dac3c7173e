"""What a compressive linear memory holds (Munkhdalai et al. 2024, arXiv:2404.07143, §2.1).

B lanes, H query heads, G key/value heads, S tokens, D head_dim
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn


class Sums(NamedTuple):
    """What a compressive memory holds, in float32 or wider."""

    matrix: Tensor
    """(B, G, D, D): the M of the paper, keys by values."""
    norm: Tensor
    """(B, G, D): its z."""

    @classmethod
    def empty(cls, n_lane: int, n_kv_head: int, head_dim: int, like: Tensor) -> "Sums":
        """Nothing written yet, on the device of `like`."""
        wide = torch.promote_types(like.dtype, torch.float32)
        matrix = torch.zeros(n_lane, n_kv_head, head_dim, head_dim, dtype=wide, device=like.device)
        return cls(matrix, torch.zeros_like(matrix[..., 0]))

    def detach(self) -> "Sums":
        """The same, cut from the graph."""
        return Sums(*(x.detach() for x in self))

    def where(self, chosen: Tensor, other: "Sums") -> "Sums":
        """These in the lanes `chosen` (B,) bool, `other` in the rest."""
        return Sums(
            torch.where(chosen[:, None, None, None], self.matrix, other.matrix),
            torch.where(chosen[:, None, None], self.norm, other.norm),
        )

    def select(self, lanes: Tensor) -> "Sums":
        """These lanes, (n,) int64, in this order."""
        return Sums(*(x[lanes] for x in self))

    def read(self, x: Tensor) -> Tensor:
        """σ(x) M / σ(x) z, the paper's "memory retrieval"; zeros where nothing was written.

        Args:
            x: (B, H, S, D); query heads are grouped by key/value head.
        """
        f = features(rearrange(x, "b (g r) s d -> b g (r s) d", g=self.norm.shape[1]))
        total = f @ self.norm[..., None]  # (B, G, r S, 1), above 0 unless nothing was written
        mean = f @ self.matrix / torch.where(total == 0, 1, total)
        return rearrange(mean, "b g (r s) d -> b (g r) s d", s=x.shape[2])


def features(x: Tensor) -> Tensor:
    """σ(x) = ELU(x) + 1 (Katharopoulos et al. 2020, arXiv:2006.16236, eq. 7)."""
    return nn.functional.elu(x) + 1
