"""Runs memorizing-transformers-pytorch in its own environment, one command at a time.

`memorizing.py` starts it with its settings as JSON in the only argument, writes one command a line
and reads one JSON line for each. Knows nothing of memformer.

B lanes, H heads, L tokens, D width of a head, n pairs
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from memorizing_transformers_pytorch import MemorizingTransformer

_AT_ONCE = 4096


class Worker:
    """The peer's model, its optimiser and its memory of one layer.

    Args:
        settings: `model` for `MemorizingTransformer`, `n_retrieved`, and a `folder` that holds
            pairs.npz (keys and values (B, n, D)), tokens.npy (B, L + 1), queries.npy (B, H, L, D).
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.folder, self.k = Path(settings["folder"]), settings["n_retrieved"]
        pairs = np.load(self.folder / "pairs.npz")
        self.keys, self.values = pairs["keys"], pairs["values"]
        B, self.n = self.keys.shape[:2]
        tokens = torch.from_numpy(np.load(self.folder / "tokens.npy"))
        self.tokens, self.targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        self.model = MemorizingTransformer(
            **settings["model"],
            num_retrieved_memories=self.k,
            max_knn_memories=self.n + _AT_ONCE,  # it would forget everything when full
            knn_memories_directory=self.folder,
            pad_id=-1,  # no token is padding
        )
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4, betas=(0.9, 0.95))
        self.memories = self.model.create_knn_memories(batch_size=B)
        if len(self.memories) != 1:
            raise AssertionError(f"one layer has a memory, got {len(self.memories)}")
        self.indexes: list[Any] = []

    def hello(self) -> dict[str, Any]:
        """Versions and size."""
        return {
            "torch": torch.__version__,
            "faiss": faiss.__version__,
            "threads": torch.get_num_threads(),
            "weights": sum(weight.numel() for weight in self.model.parameters()),
        }

    def fill(self) -> dict[str, Any]:
        """Add all pairs, in the order of their slots."""
        started = time.perf_counter()
        pairs = torch.from_numpy(np.stack((self.keys, self.values), axis=2))  # (B, n, 2, D)
        for part in pairs.split(_AT_ONCE, dim=1):
            self.memories[0].add(part)
        seconds = time.perf_counter() - started
        self.indexes = [knn.index for knn in self.memories[0].knns]
        return {"seconds": seconds}

    def search(self) -> dict[str, Any]:
        """Write the keys found for the queries, (B, H, L, k, D), to found.npy."""
        queries = torch.from_numpy(np.load(self.folder / "queries.npy"))
        found, mask = self.memories[0].search(queries, self.k)
        keys = torch.where(mask[..., None], found[..., 0, :], torch.nan)
        np.save(self.folder / "found.npy", keys.numpy())
        return {}

    def train(self) -> dict[str, Any]:
        """A step that begins with n pairs a lane: what the last one added is taken out before."""
        memory = self.memories[0]
        memory.db_offsets[:] = self.n
        for knn, index in zip(memory.knns, self.indexes, strict=True):
            knn.index, knn.ids = faiss.clone_index(index), knn.ids[: self.n]
        started = time.perf_counter()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.model(self.tokens, knn_memories=self.memories, labels=self.targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        seconds = time.perf_counter() - started
        for knn, index in zip(memory.knns, self.indexes, strict=True):
            knn.index = index
        return {"seconds": seconds, "nats": loss.item()}

    def evaluate(self) -> dict[str, Any]:
        """Read a segment and its loss; nothing is remembered."""
        started = time.perf_counter()
        with torch.inference_mode():
            loss = self.model(
                self.tokens, knn_memories=self.memories, labels=self.targets, add_knn_memory=False
            ).item()
        return {"seconds": time.perf_counter() - started, "nats": loss}


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what the peer prints is no answer
    worker = Worker(json.loads(sys.argv[1]))
    commands: dict[str, Callable[[], dict[str, Any]]] = {
        "hello": worker.hello,
        "fill": worker.fill,
        "search": worker.search,
        "train": worker.train,
        "evaluate": worker.evaluate,
    }
    for line in sys.stdin:
        print(json.dumps(commands[line.strip()]()), file=answers, flush=True)


if __name__ == "__main__":
    main()
