"""Exact search against FAISS: what 8 heads x 512 queries, or fewer, cost in a memory of N pairs.

Every way of searching gets the same keys and queries, one after the other in each round; times are
medians over rounds, ratios medians of the rounds' ratios. Recall is the share of the 32 best pairs
of `exact` that were found, over a sample of queries; it is checked before anything is timed.

    python benchmarks/search.py benchmarks/results/search.json
    python benchmarks/search.py benchmarks/results/search.json --pairs 16384 --keys novel
    python benchmarks/search.py benchmarks/results/search.json --queries 1 --pairs 1024 131072
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import faiss
import numpy as np
import torch
from measuring import put_row
from torch import Tensor

from memformer.evaluation.machine import describe
from memformer.memory.book import Book
from memformer.memory.exact import ExactSearch
from memformer.memory.fused import PATHS, FusedSearch

N_HEAD, N_QUERY, HEAD_DIM, K, PAGE_LEN = 8, 512, 64, 32, 1024
FEW = 16
"""Queries up to which slow ways are tried at any size: what decoding asks at once."""
APPROXIMATE = {  # factory: its search parameter
    "HNSW15": ("efSearch", 64),
    "IVF{sqrt},Flat": ("nprobe", 16),
    "IVF{sqrt},PQ32x4fs,RFlat": ("nprobe", 16),
    "PQ32x4fs,RFlat": ("k_factor_rf", 16),
}
Search = Callable[[], Tensor]


def synthetic(n: int, n_query: int = N_QUERY) -> tuple[Tensor, Tensor]:
    """Keys (G, n, D) around some centres, as words make them, and queries near some keys."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(N_HEAD, 500, HEAD_DIM, generator=draw)
    which = torch.randint(500, (N_HEAD, n), generator=draw)
    noise = torch.randn(N_HEAD, n, HEAD_DIM, generator=draw)
    keys = centres.gather(1, which[..., None].expand(-1, -1, HEAD_DIM)) + 0.7 * noise
    near = torch.randint(n, (N_HEAD, n_query), generator=draw)
    queries = keys.gather(1, near[..., None].expand(-1, -1, HEAD_DIM))
    return keys, queries + torch.randn(queries.shape, generator=draw)


@torch.no_grad()
def of_novel(n: int) -> tuple[Tensor, Tensor]:
    """Keys and queries of SmolLM2-135M reading *The Voyage Out*: 8 key/value heads of 3 layers."""
    from memformer.config import MemoryConfig
    from memformer.data import classics, smollm2
    from memformer.data.sources import SMOLLM2_FILE
    from memformer.interop.transformers import load_llama

    layers = (9, 15, 21)
    memory = MemoryConfig(layers=layers, n_retrieved=1, positions="rotary", max_distance=1)
    model, tokenizer = load_llama(smollm2() / SMOLLM2_FILE, window=256, memory=memory)
    text = next(book.text for book in classics() if book.id == "woolf-voyage")
    n_token = -(-(n + 256 + 4) // N_QUERY) * N_QUERY  # window and sinks hold some; whole segments
    ids = torch.tensor(tokenizer.encode(text).ids[:n_token])[None]
    state, queries = model.new_state(1), {}
    for layer in layers:
        q = model.blocks[layer].attention.q
        q.register_forward_hook(lambda _, __, out, layer=layer: queries.update({layer: out}))
    for start in range(0, ids.shape[1], N_QUERY):
        state.advance(model(ids[:, start : start + N_QUERY], state))
    keys = [state.layers[layer].memory.pairs(0).keys for layer in layers]
    asked = [queries[layer].view(-1, 9, HEAD_DIM).transpose(0, 1)[::3] for layer in layers]
    found = torch.cat(asked)[:N_HEAD] * HEAD_DIM**-0.5
    return torch.cat(keys)[:N_HEAD, :n].contiguous(), found.contiguous()


def searches(keys: Tensor, queries: Tensor) -> dict[str, Search]:
    """Each way of searching, built over the keys; a call gives slots (G, M, K)."""
    n, n_query = keys.shape[1], queries.shape[1]
    book = Book(N_HEAD, HEAD_DIM, PAGE_LEN, torch.float32, torch.device("cpu"))
    index = torch.arange(n)
    for part in torch.split(index, 1 << 14):
        book.append(keys[:, part], keys[:, part], part, part / n, None)
    first, last = torch.zeros(n_query, dtype=torch.int64), torch.full((n_query,), n)
    found: dict[str, Search] = {}
    fused = FusedSearch(HEAD_DIM)
    # beside the best instructions of this machine, the next best
    for name, path in [("fused", None), *[(f"fused {p}", p) for p in PATHS[3 : fused.path]]]:
        one = FusedSearch(HEAD_DIM, path=path)
        one.index(book)
        found[name] = lambda one=one: one.top_k(book, queries, K, first, last).slots
    found["exact"] = lambda: ExactSearch().top_k(book, queries, K, first, last).slots
    factories: dict[str, tuple[str, int] | None] = {"Flat": None}
    if not is_large(n, n_query):
        factories |= APPROXIMATE
    for factory, parameter in factories.items():
        name = factory.replace("{sqrt}", str(1 << (n.bit_length() // 2)))
        indexes = []
        for head in keys.numpy():
            made = faiss.index_factory(HEAD_DIM, name, faiss.METRIC_INNER_PRODUCT)
            made.train(head)
            made.add(head)
            if parameter is not None:
                faiss.ParameterSpace().set_index_parameter(made, *parameter)
            indexes.append(made)

        def ask(indexes: list[Any] = indexes) -> Tensor:
            rows = [i.search(q, K)[1] for i, q in zip(indexes, queries.numpy(), strict=True)]
            return torch.from_numpy(np.stack(rows))

        found[f"FAISS {name}"] = ask
    return found


def recall(found: Tensor, true: Tensor) -> float:
    """Share of the true slots (G, M, K) that were found."""
    hits = (found[..., :, None] == true[..., None, :]).any(-2)
    return float(hits.float().mean())


def is_large(n: int, n_query: int) -> bool:
    """Whether the slow ways would take minutes a round."""
    return n > 100_000 and n_query > FEW


def measure(n: int, kind: str, n_round: int, n_query: int = N_QUERY) -> dict[str, Any]:
    """Recall, then interleaved times of every way at N pairs."""
    keys, queries = synthetic(n, n_query) if kind == "synthetic" else of_novel(n)
    queries = queries[:, :n_query]
    ways = searches(keys, queries)
    true, sample = ways["exact"](), slice(None, None, 8 if n_query > FEW else 1)
    recalls = {name: recall(way()[:, sample], true[:, sample]) for name, way in ways.items()}
    if recalls["fused"] < 0.9999:
        raise AssertionError(f"fused must find what exact finds, recall {recalls['fused']}")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(n_round):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - started)
    ours = times["fused"]
    return {
        "pairs": n,
        "keys": kind,
        "heads": N_HEAD,
        "queries": n_query,
        "head_dim": HEAD_DIM,
        "k": K,
        "rounds": n_round,
        "threads": torch.get_num_threads(),
        "path": PATHS[FusedSearch(HEAD_DIM).path],
        "ways": {
            name: {
                "milliseconds": round(1e3 * statistics.median(each), 3),
                "recall": round(recalls[name], 4),
                "times_fused": round(
                    statistics.median(a / b for a, b in zip(each, ours, strict=True)), 2
                ),
            }
            for name, each in times.items()
        },
        "machine": describe(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, nargs="+", default=[4096, 16_384, 65_536, 262_144])
    parser.add_argument("--keys", choices=("synthetic", "novel"), default="synthetic")
    parser.add_argument("--queries", type=int, default=N_QUERY, help="a head")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    faiss.omp_set_num_threads(torch.get_num_threads())
    for n in args.pairs:
        n_round = 3 if is_large(n, args.queries) else args.rounds
        row = measure(n, args.keys, n_round, args.queries)
        print(n, args.keys, json.dumps(row["ways"]), flush=True)
        put_row(args.out, row, ("pairs", "keys", "queries"))


if __name__ == "__main__":
    main()
