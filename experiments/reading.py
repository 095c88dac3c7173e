"""Cells of an ablation that read eight novels with a pretrained decoder; nothing is trained.

SmolLM2-135M-Instruct (4-bit weights, unpacked; float32) reads the first tokens of each book. It has
probably read them before: compare ways of reading, never levels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from memformer.ablation import Metric
from memformer.data import classics, smollm2
from memformer.data.sources import SMOLLM2_FILE
from memformer.evaluation.arms import Arm, Attention, Memory
from memformer.evaluation.run import evaluate
from memformer.interop.transformers import load_llama

BOOKS = (
    "austen-pride", "conrad-darkness", "eliot-jacob", "huxley-crome", "joyce-dubliners.the-dead",
    "proust-swann", "wells-moreau", "woolf-voyage",
)  # fmt: skip
"""One by each author of classics-1 who has a text of 4,096 tokens (Andersen's are translations of
many hands)."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to read them."""

    attention: Attention = "window_sinks"
    memory: Memory = "off"
    window: int = 256
    n_sink: int = 4
    n_retrieved: int = 32
    layers: tuple[int, ...] | Literal["all"] = "all"
    positions: Literal["rotary", "none"] = "rotary"
    max_distance: int | None = None
    """Clamp of the distances to retrieved pairs, and beyond the trained length to sinks as well."""
    rope_base: float = 0.0
    """Of rotary positions; 0 is the model's own."""
    search: str = "auto"
    books: tuple[str, ...] = BOOKS
    n_token: int = 4096
    seed: int = 0
    """Names the cell; reading draws nothing."""


class Read(NamedTuple):
    """What came of it: numbers of each book."""

    config: Reading
    books: dict[str, dict[str, Any]]


def arm_of(config: Reading) -> Arm:
    """The way of reading as `evaluate` takes it."""
    changes: dict[str, Any] = {"window": config.window}
    if config.rope_base:
        changes["rope_base"] = config.rope_base
    if config.attention == "full_clamped":
        changes["memory.max_distance"] = config.max_distance
    if config.attention == "window_sinks":
        changes |= {"n_sink": config.n_sink, "sink_distance": config.max_distance}
    if config.memory != "off":
        changes |= {
            "memory.layers": config.layers, "memory.n_retrieved": config.n_retrieved,
            "memory.positions": config.positions, "memory.max_distance": config.max_distance,
            "memory.search": config.search,
        }  # fmt: skip
    return Arm(
        name="cell", attention=config.attention, memory=config.memory, overrides=changes
    )  # fmt: skip


def read(config: Reading, folder: Path) -> Read:
    """Read all books, or go on with what the folder holds."""
    model, tokenizer = load_llama(
        smollm2() / SMOLLM2_FILE, window=config.window, n_sink=config.n_sink
    )
    books = [book for book in classics() if book.id in config.books]
    result = evaluate(
        model, tokenizer, books, [arm_of(config)], folder, n_tokens=config.n_token, n_passage=0
    )
    return Read(config, {b: result["metrics"][b]["arms"]["cell"] for b in config.books})


def _whole(read: Read) -> Mapping[str, float]:
    return {book: m["nats_per_token"]["value"] for book, m in read.books.items()}


def _half(read: Read) -> Mapping[str, float]:
    return {book: m["second_half"]["value"] for book, m in read.books.items()}


def of_class(name: str) -> Metric:
    """Nats of one class of tokens; books without such a token are left out."""

    def nats(read: Read) -> Mapping[str, float]:
        found = {book: m["by_class"][name]["value"] for book, m in read.books.items()}
        return {book: value for book, value in found.items() if value is not None}

    return Metric(name=f"nats, {name}", of=nats, better="lower", what="nats a token")


NATS = Metric(name="nats", of=_whole, better="lower", what="nats a token")
SECOND_HALF = Metric(name="nats, second half", of=_half, better="lower", what="nats a token")
