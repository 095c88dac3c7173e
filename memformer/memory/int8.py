"""Rows of int8 with one float32 scale each: little more than a quarter of the bytes of float32.

A row x is stored as q = round(x / s) with s = max |x| / 127 and read as q · s, off by at most s / 2
a component (symmetric, as in Dettmers et al. 2022, arXiv:2208.07339, §2). Zeros have s = 0.
"""

import torch
from torch import Tensor


def pack(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Finite rows (..., D) -> int8 (..., D) in [-127, 127], and scales (...) float32."""
    rows = rows.float()
    scales = rows.abs().amax(-1) / 127
    divisor = torch.where(scales > 0, scales, 1)[..., None]
    return (rows / divisor).round().clamp(-127, 127).to(torch.int8), scales


def unpack(rows: Tensor, scales: Tensor | None) -> Tensor:
    """What stored rows (..., D) stand for: float32 with scales (...), the rows themselves without.

    Searches score these, and everything that is found is made of them.
    """
    return rows if scales is None else rows.float() * scales[..., None]


def largest_stored(rows: Tensor) -> Tensor:
    """The largest component of each row once stored, (..., 1): finite only if the row stays so."""
    return rows.float().abs().amax(-1, keepdim=True) / 127 * 127
