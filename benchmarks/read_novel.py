"""What reading a whole novel costs a pretrained model with memory: time, bytes and nats.

SmolLM2-135M (30 layers, 3 key/value heads of 64) reads *Pride and Prejudice* with a window of 256
tokens and 4 sinks; memory in every layer, or in those named, gives each query 32 older pairs at
their distance; distances count as 6,000 tokens at most. The novel is read once, in segments. After
each stretch of 8,192 tokens the row so far is written, so that a run that is killed still has one;
a row is replaced by the next run with the same settings.

Bytes of the pages are compared with 2 · G · D numbers (of int8: and 2 · G scales) and 20 bytes of
metadata (token, fraction, write) a token and memory layer. Before the timed reading, 2,048 tokens
are read with the search that is measured and with `exact`, distances at most 512: the mean nats
must agree.

    python benchmarks/read_novel.py benchmarks/results/read_novel.json
    python benchmarks/read_novel.py benchmarks/results/read_novel.json --layers 12 15 18 21 24 27
    python benchmarks/read_novel.py benchmarks/results/read_novel.json --tokens 16384 --search exact
"""

import argparse
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from memformer.process import tune_process

tune_process()

import torch
from measuring import put_row
from torch import Tensor

from memformer.config import MemoryConfig
from memformer.evaluation.machine import describe
from memformer.model.decoder import Decoder
from memformer.training.step import Precision

WINDOW, N_SINK, MAX_DISTANCE, K = 256, 4, 6000, 32
STRETCH = 8192
BOOK = "austen-pride"
SAME_NATS = 2e-3
"""Mean nats of two searches that find the same pairs differ by less: sums in another order decide
between near-equal pairs for the last of the K places."""
NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
SCALE_BYTES = {"int8": 4}
METADATA_BYTES = 8 + 4 + 8


class Stretch(NamedTuple):
    """What reading some tokens cost."""

    tokens: int
    seconds: float
    nats: float
    """Mean over its tokens, each given all before it."""
    page_bytes: int
    resident_bytes: int


@torch.inference_mode()
def read_stretches(
    model: Decoder, ids: Tensor, stretch: int, precision: Precision = "float32"
) -> Iterator[Stretch]:
    """Read ids (1, n) in segments; a stretch ends with the segment that completes it."""
    state, L = model.new_state(batch_size=1), model.config.segment_len
    nats, n, started = 0.0, 0, time.perf_counter()
    n_all = ids.shape[1] - 1  # the last is only predicted
    for first in range(0, n_all, L):
        part, targets = ids[:, first : min(first + L, n_all)], ids[0, first + 1 : first + 1 + L]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            out = model(part, state)
        loss = torch.nn.functional.cross_entropy(out.logits[0].float(), targets, reduction="sum")
        state.advance(out)
        nats, n = nats + float(loss), n + part.shape[1]
        if n >= stretch or first + L >= n_all:
            seconds = time.perf_counter() - started
            yield Stretch(n, seconds, nats / n, state.memory_bytes(), resident_bytes())
            nats, n, started = 0.0, 0, time.perf_counter()


def resident_bytes() -> int:
    """Bytes of this process in main memory now; 0 where the kernel does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def peak_bytes() -> int:
    """The most bytes of this process that were in main memory at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def check_search(model: Decoder, ids: Tensor, precision: Precision) -> float:
    """Difference in mean nats between the model's search and `exact`, with short distances so that
    both kinds of pairs, near and far, are searched.

    Raises:
        AssertionError: they differ.
    """
    nats = []
    for search in (model.config.memory.search, "exact"):
        changes = {"memory.max_distance": 2 * model.config.window, "memory.search": search}
        rows = list(read_stretches(model.reconfigure(changes), ids, len(ids[0]), precision))
        nats.append(rows[-1].nats)
    if not abs(nats[0] - nats[1]) < SAME_NATS:
        raise AssertionError(f"mean nats must be those of exact search, {nats[1]}, got {nats[0]}")
    return nats[0] - nats[1]


def bytes_a_token(model: Decoder) -> int:
    """Of the pages, by arithmetic."""
    config, dtype = model.config, model.config.memory.dtype
    row = config.head_dim * NUMBER_BYTES[dtype] + SCALE_BYTES.get(dtype, 0)
    return len(config.memory_layers) * (2 * config.n_kv_head * row + METADATA_BYTES)


def row_of(model: Decoder, stretches: list[Stretch], resident_before: int) -> dict[str, Any]:
    """What is known after some stretches."""
    n, seconds = sum(s.tokens for s in stretches), sum(s.seconds for s in stretches)
    n_held = max(n - (model.config.window - 1) - model.config.n_sink, 1)
    last = stretches[-1]
    return {
        "tokens": n,
        "seconds": round(seconds, 1),
        "tokens_a_second": round(n / seconds, 2),
        "nats": round(sum(s.tokens * s.nats for s in stretches) / n, 4),
        "page_bytes_a_token": round(last.page_bytes / n_held),
        "page_bytes_a_token_by_arithmetic": bytes_a_token(model),
        "page_mib": round(last.page_bytes / 2**20),
        "resident_before_mib": round(resident_before / 2**20),
        "resident_peak_mib": round(peak_bytes() / 2**20),
        "stretches": [
            {
                "tokens": s.tokens,
                "tokens_a_second": round(s.tokens / s.seconds, 2),
                "nats": round(s.nats, 4),
                "resident_mib": round(s.resident_bytes / 2**20),
            }
            for s in stretches
        ],
    }


def measure(
    model: Decoder,
    ids: Tensor,
    settings: dict[str, Any],
    written: Callable[[dict[str, Any]], None],
    *,
    stretch: int = STRETCH,
    n_check: int = 2048,
) -> None:
    """Check, then read; `written` gets the row so far after each stretch.

    Raises:
        AssertionError: the search does not find what `exact` finds, or a loss is not finite.
    """
    precision = settings["precision"]
    settings |= {"differs_from_exact": round(check_search(model, ids[:, :n_check], precision), 6)}
    before, made, stretches = resident_bytes(), describe(), []
    for each in read_stretches(model, ids, stretch, precision):
        if not math.isfinite(each.nats):
            raise AssertionError(f"the loss must be finite, got {each.nats}")
        stretches.append(each)
        written(settings | row_of(model, stretches, before) | {"machine": made})


def main() -> None:
    from memformer.data import classics, smollm2
    from memformer.data.sources import SMOLLM2_FILE
    from memformer.interop.transformers import load_llama

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokens", type=int, help="read only so many")
    parser.add_argument("--layers", type=int, nargs="+", help="with memory; all by default")
    parser.add_argument("--dtype", default="bfloat16", help="of the pages")
    parser.add_argument("--search", default="auto")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--segment", type=int, default=256, help="tokens read in one call")
    args = parser.parse_args()
    memory = MemoryConfig(
        layers=tuple(args.layers) if args.layers else "all",
        n_retrieved=K,
        positions="rotary",
        max_distance=MAX_DISTANCE,
        search=args.search,
        dtype=args.dtype,
    )
    model, tokenizer = load_llama(
        smollm2() / SMOLLM2_FILE,
        window=WINDOW,
        n_sink=N_SINK,
        sink_distance=MAX_DISTANCE,
        segment_len=args.segment,
        memory=memory,
    )
    text = next(book.text for book in classics() if book.id == BOOK)
    ids = torch.tensor(tokenizer.encode(text).ids[: args.tokens and args.tokens + 1])[None]
    settings = {"book": BOOK, "wanted": args.tokens, "layers": args.layers or "all"}
    settings |= {"dtype": args.dtype, "search": args.search, "precision": args.precision}
    settings |= {"segment": args.segment, "window": WINDOW, "k": K, "max_distance": MAX_DISTANCE}
    keys = list(settings)

    def written(row: dict[str, Any]) -> None:
        put_row(args.out, row, keys)
        print(row["tokens"], row["tokens_a_second"], row["stretches"][-1], flush=True)

    measure(model, ids, settings, written)


if __name__ == "__main__":
    main()
