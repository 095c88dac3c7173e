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
    fraction: Tensor
    """(B, R + ROOM)"""
    n_written: int


class Taped(NamedTuple):
    """A place on a tape."""

    tape: Tape
    first: int
    """Column of the first pair."""

    def columns(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, values and fractions of the n pairs from here on: views."""
        tape = self.tape
        return (
            tape.keys.narrow(2, self.first, n),
            tape.values.narrow(2, self.first, n),
            tape.fraction.narrow(1, self.first, n),
        )

    def after(self, n: int) -> "Taped":
        """The place n columns later."""
        return Taped(self.tape, self.first + n)


def with_room(taped: Taped | None, keys: Tensor, values: Tensor, fraction: Tensor) -> Taped:
    """The recent pairs on a tape, with a column behind them that is nobody else's.

    Where these lie on the tape and nothing was written behind them, on that; else on a new one.

    Args:
        taped: where the recent pairs are thought to lie; that they do is checked.
        keys, values, fraction: the recent pairs, (B, G, R, D) twice and (B, R).
    """
    if taped is None or not _is_free(taped, keys, values, fraction):
        taped = Taped(_new_tape(keys, values, fraction), 0)
    taped.tape.n_written += 1
    return taped


def write_on(
    taped: Taped | None, recent: tuple[Tensor, Tensor, Tensor], own: tuple[Tensor, Tensor, Tensor]
) -> Taped:
    """Write one token's pair behind the recent ones, without gradient.

    Args:
        taped, recent: see `with_room`.
        own: the token's keys, values (B, G, 1, D) and fraction (B, 1).

    Returns:
        Where R + 1 pairs lie now.
    """
    taped = with_room(taped, *recent)
    for into, new in zip(taped.after(recent[0].shape[2]).columns(1), own, strict=True):
        into.data.copy_(new)  # .data: autograd may hold earlier columns, which stay as they are
    return taped


def _is_free(taped: Taped, keys: Tensor, values: Tensor, fraction: Tensor) -> bool:
    tape, (B, G, R, D) = taped.tape, keys.shape
    stop = taped.first + R
    if tape.n_written != stop or stop >= tape.keys.shape[2] or tape.keys.dtype != keys.dtype:
        return False
    if (tape.keys.shape[0], tape.keys.shape[1], tape.keys.shape[3]) != (B, G, D):
        return False
    at = taped.first * D * keys.element_size()
    return (
        keys.data_ptr() == tape.keys.data_ptr() + at
        and values.data_ptr() == tape.values.data_ptr() + at
        and fraction.data_ptr() == tape.fraction.data_ptr() + taped.first * fraction.element_size()
        and keys.stride() == values.stride() == tape.keys.stride()
    )


def _new_tape(keys: Tensor, values: Tensor, fraction: Tensor) -> Tape:
    B, G, R, D = keys.shape
    # made in inference mode it could never be read by a training step
    with torch.inference_mode(False):
        both = [x.new_empty(B, G, R + ROOM, D) for x in (keys, values)]
        beside = fraction.new_empty(B, R + ROOM)
    tape = Tape(both[0], both[1], beside, R)
    for own, x in zip(Taped(tape, 0).columns(R), (keys, values, fraction), strict=True):
        own.data.copy_(x)
    return tape
