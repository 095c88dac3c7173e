"""Rotary positions for searching keys that are stored without one.

Su et al. 2021, arXiv:2104.09864, §3.2.2. A key turned by its position once, when it is packed,
meets a query turned by its own at their distance. Channel d is paired with d + D/2.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK = 4096
"""Positions whose turns are computed together."""


class Rotary(NamedTuple):
    """Compare queries and keys at the distance of their positions, in tokens."""

    base: float
    """The longest wavelength is 2π·base^(1-2/D) tokens."""
    positions: Tensor
    """(B, L) int64 of the queries."""
    shift: int
    """The key in slot i stands at position i + shift, at most at its query's."""
    max_distance: int | None = None
    """Larger distances count as this; None keeps them."""


def frequencies(head_dim: int, base: float, device: torch.device | None = None) -> Tensor:
    """Angle a token of each channel pair, (head_dim / 2,) float32."""
    pair = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device)
    # 1 / base**x, not base**-x: a third of the float32 values differ, and checkpoints were trained
    # with these
    return 1.0 / base ** (pair / head_dim)


def turn_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn channel d together with d + D/2: x (..., D), cos and sin (..., D / 2) -> as x.

    Without gradient: `model.positions` gives it one."""
    x1, x2 = x.float().chunk(2, dim=-1)
    out = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    y1, y2 = out.chunk(2, dim=-1)
    torch.mul(x1, cos, out=y1).addcmul_(x2, sin, value=-1)
    torch.mul(x1, sin, out=y2).addcmul_(x2, cos)
    return out.type_as(x)


def turns(first: int, n: int, head_dim: int, base: float) -> Tensor:
    """cos and sin of the angles at positions first ... first + n - 1: (n, 2, head_dim / 2) float32.

    Angles are computed in float64, since positions in a novel have six digits.
    """
    start, stop = first // _BLOCK, -(-(first + n) // _BLOCK)
    blocks = [_turns_of(block, head_dim, base) for block in range(start, stop)]
    whole = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
    return whole[first - start * _BLOCK :][:n]


@lru_cache(maxsize=128)
def _turns_of(block: int, head_dim: int, base: float) -> Tensor:
    with torch.inference_mode(False):
        frequency = frequencies(head_dim, base)
        position = torch.arange(block * _BLOCK, (block + 1) * _BLOCK, dtype=torch.float64)
        angle = position[:, None] * frequency.double()
        return torch.stack((angle.cos(), angle.sin()), dim=1).float()


@lru_cache(maxsize=8)
def table(n: int, head_dim: int, base: float) -> Tensor:
    """Turns by distances 0 ... n - 1, in one piece."""
    return turns(0, n, head_dim, base).contiguous()


def turn(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Rotate x (..., L, D) by positions (L,) int64."""
    first, last = int(positions.min()), int(positions.max())
    cos, sin = turns(first, last - first + 1, x.shape[-1], base)[positions - first].unbind(1)
    return turn_pairs(x, cos, sin)
