"""Held-out nats while training: a reading of its own, which never touches the training state."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from memformer.evaluation.arms import Arm, Attention
from memformer.evaluation.encoded import EncodedManuscript
from memformer.evaluation.read import read
from memformer.model.decoder import Decoder

COLUMNS = ("book", "memory", "n_token", "nats")


class Held(NamedTuple):
    """One held-out manuscript read in one way."""

    book: str
    memory: str
    """`on` or `off`."""
    n_token: int
    nats: float
    """Mean nats a token."""


def arms_of(model: Decoder) -> list[Arm]:
    """As trained, and with the memory taken away."""
    attention: Attention = "window_sinks" if model.config.n_sink else "window"
    on = Arm(name="on", attention=attention, memory="on")
    off = Arm(name="off", attention=attention)
    return [on, off] if model.config.has_memory else [off]


def validate(model: Decoder, books: Sequence[EncodedManuscript]) -> list[Held]:
    """Read every book under every arm; draws no random number of the training's."""
    with torch.random.fork_rng():
        readings = [(book, arm, read(model, book, arm)) for book in books for arm in arms_of(model)]
    return [
        Held(book.id, arm.name, len(book), float(reading.nats.mean(dtype="float64")))
        for book, arm, reading in readings
    ]


def mean_nats(held: Sequence[Held], memory: str) -> float:
    """Mean over all tokens read in this way; NaN if none was."""
    found = [each for each in held if each.memory == memory]
    total = sum(each.n_token for each in found)
    return sum(each.nats * each.n_token for each in found) / total if total else float("nan")
