"""Room behind the recent pairs, so that a token's pair is written without copying the window.

B lanes, G key/value heads, R recent pairs, D head_dim
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

ROOM = 128
"""Tokens that are written before the window is copied again."""


@dataclass
class Tape:
    """Columns in the order of reading. What was written is never written again: a column belongs to
    whoever came first, and states and outputs that look at columns before it may share the tape.
    """

    keys: Tensor
    """(B, G, R + ROOM, D)"""
    values: Tensor
    """(B, G, R + ROOM, D)"""
    n_written: int

    def pairs(self, first: int, n: int) -> tuple[Tensor, Tensor]:
        """Keys and values of n columns, views (B, G, n, D)."""
        return self.keys.narrow(2, first, n), self.values.narrow(2, first, n)


class Taped(NamedTuple):
    """A place on a tape."""

    tape: Tape
    first: int
    """Column of the first pair."""

    def columns(self, n: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the n pairs from here on."""
        return self.tape.pairs(self.first, n)

    def after(self, n: int) -> "Taped":
        """The place n columns later."""
        return Taped(self.tape, self.first + n)


def write_on(taped: Taped | None, keys: Tensor, values: Tensor, k: Tensor, v: Tensor) -> Taped:
    """Write one token's pair (B, G, 1, D) behind the recent pairs (B, G, R, D), without gradient.

    In place where these lie on the tape and nothing was written behind them; else on a new tape.

    Args:
        taped: where the recent pairs are thought to lie; that they do is checked.
        keys, values: the recent pairs.
        k, v: the token's.

    Returns:
        Where R + 1 pairs lie now.
    """
    R = keys.shape[2]
    if taped is None or not _is_free(taped, keys, values):
        taped = Taped(_new_tape(keys, values), 0)
    tape, at = taped.tape, taped.first + R
    # .data: autograd may hold earlier columns, which stay as they are
    for own, new in zip(tape.pairs(at, 1), (k, v), strict=True):
        own.data.copy_(new)
    tape.n_written = at + 1
    return taped


def _is_free(taped: Taped, keys: Tensor, values: Tensor) -> bool:
    tape, R = taped.tape, keys.shape[2]
    if tape.n_written != taped.first + R or tape.n_written >= tape.keys.shape[2]:
        return False
    return all(
        own.data_ptr() == x.data_ptr() and own.shape == x.shape and own.stride() == x.stride()
        for own, x in zip(taped.columns(R), (keys, values), strict=True)
    )


def _new_tape(keys: Tensor, values: Tensor) -> Tape:
    B, G, R, D = keys.shape
    # made in inference mode it could never be read by a training step
    with torch.inference_mode(False):
        both = [x.new_empty(B, G, R + ROOM, D) for x in (keys, values)]
    for own, x in zip(both, (keys, values), strict=True):
        own[:, :, :R].data.copy_(x)
    return Tape(both[0], both[1], R)
