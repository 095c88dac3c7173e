"""What does a retrieval that misses pairs cost, from half of them found to all?

SmolLM2-135M reads the first 5,120 tokens of four novels through a window of 256 and 4 sinks, with
32 pairs in every third layer; nothing is trained. All distances beyond the window are clamped to
its edge (256), so that every retrieved pair is found by the search: inverted lists (IVF64 of FAISS)
of which few or many are visited. Loss is that of the last 768 tokens, recall that of the queries
of the last segment: the share of the 32 best pairs that comes, mean over layers. Lists hold the
oldest 4,096 pairs; the rest, a sixth at the end, is searched exactly, so that recall falls
less than with lists alone. Each book is a unit; loss against recall, by book, is in `tidy.csv`.

Expect: recall of .5 to .95 from 1 to 8 lists; half of the pairs missed costs less than a tenth of
        what the memory gains over none, for the best pair is seldom the one that is missed.
Run:    memformer ablate experiments/recall.py --out runs/recall
Result: not run yet
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from memformer.ablation import Metric
from memformer.config import NO_MEMORY
from memformer.data import classics, smollm2
from memformer.data.sources import SMOLLM2_FILE
from memformer.evaluation.encoded import encode, pick
from memformer.evaluation.search_recall import recall_of_next
from memformer.evaluation.store import read_json, write_json
from memformer.interop.transformers import load_llama
from memformer.model.decoder import Decoder


@dataclass(frozen=True, kw_only=True)
class Study:
    """One way to search."""

    search: str = "exact"
    nprobe: int | None = None
    """Lists visited of each index."""
    has_memory: bool = True
    n_retrieved: int = 32
    layers: tuple[int, ...] = tuple(range(2, 30, 3))
    window: int = 256
    n_sink: int = 4
    books: tuple[str, ...] = ("conrad-darkness", "huxley-crome", "wells-moreau", "woolf-voyage")
    n_token: int = 5120
    n_scored: int = 768
    """Last tokens, whose loss counts."""
    seed: int = 0
    """Names the cell; reading draws nothing."""


class Found(NamedTuple):
    """What came of it, by book."""

    nats: dict[str, float]
    recall: dict[str, dict[str, float]]
    """By book and layer; empty without a memory."""


def make(config: Study, folder: Path) -> Found:
    """Read all books, or those that the folder has not yet."""
    torch.set_num_threads(1)
    model, tokenizer = load_llama(
        smollm2() / SMOLLM2_FILE, window=config.window, n_sink=config.n_sink
    )
    model = model.reconfigure(changes_of(config)).eval()
    found = Found({}, {})
    for book in pick(list(classics()), config.books):
        path = folder / f"{book.id}.json"
        if not path.is_file():
            ids = torch.from_numpy(encode(book, tokenizer, config.n_token).ids)[None]
            write_json(path, read(model, ids, config.n_scored))
        told = read_json(path)
        found.nats[book.id], found.recall[book.id] = told["nats"], told["recall"]
        print(book.id, json.dumps(told), flush=True)
    return found


def changes_of(config: Study) -> dict[str, Any]:
    """Of the imported decoder."""
    changes: dict[str, Any] = {"sink_distance": config.window}
    if not config.has_memory:
        return changes | NO_MEMORY
    return changes | {
        "memory.layers": config.layers, "memory.n_retrieved": config.n_retrieved,
        "memory.positions": "rotary", "memory.max_distance": config.window,
        "memory.search": config.search, "memory.nprobe": config.nprobe,
    }  # fmt: skip


@torch.no_grad()
def read(model: Decoder, ids: torch.Tensor, n_scored: int) -> dict[str, Any]:
    """Nats a token of the last tokens of (1, n) ids, and recall of the last segment's queries."""
    state, L, n = model.new_state(1), model.config.segment_len, ids.shape[1]
    nats, recall = [], dict[int, float]()
    for start in range(0, n - 1, L):
        part, after = ids[:, start : start + L], ids[0, start + 1 : start + L + 1]
        is_scored = start + L >= n - n_scored
        if start + L >= n - 1:
            recall = recall_of_next(model, state, part)
        out = model(part, state, n_logits=None if is_scored else 0)
        if is_scored:
            nats.append(F.cross_entropy(out.logits[0, : len(after)], after, reduction="none"))
        state.advance(out)
    last = torch.cat(nats)[-n_scored:]
    return {
        "nats": float(last.mean()),
        "recall": {f"layer {i}": r for i, r in recall.items()},
    }


def _mean_recall(found: Found) -> Mapping[str, float]:
    return {
        book: sum(layers.values()) / len(layers) for book, layers in found.recall.items() if layers
    }


def _least_recall(found: Found) -> Mapping[str, float]:
    return {book: min(layers.values()) for book, layers in found.recall.items() if layers}


BASE = Study()
VARIANTS = {
    "exact": {},
    **{f"IVF64, {n} of 64": {"search": "IVF64,Flat", "nprobe": n} for n in (1, 2, 8)},
    "no memory": {"has_memory": False},
}
SEEDS = (0,)
SHARE = "share of the 32 best pairs that come"
METRICS = (
    Metric(name="nats", of=lambda found: found.nats, better="lower", what="nats a token"),
    Metric(name="recall", of=_mean_recall, better="higher", what=f"{SHARE}, mean over layers"),
    Metric(name="recall, worst layer", of=_least_recall, better="higher", what=SHARE),
)
