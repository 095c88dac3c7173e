"""Where the time goes: a step of training, of reading and of writing, by kind of work.

The peer's shape (`filled.py`), 65,536 pairs held at one memory layer of 8, bfloat16 autocast where
the processor has it for training and reading (2 lanes of 512 tokens), float32 for writing one
token. torch's profiler names its own operations; the search and the compiled calls of one token are
timed around. A floor is what the linear layers and the search must multiply over the rate of a
large product here, and what writing must read (weights, packed keys, window) over the rate at which
a large array is summed.

    python benchmarks/profile_steps.py benchmarks/results/profile_steps.json
    PYTHONPATH=../first python benchmarks/profile_steps.py benchmarks/results/profile_steps.json \\
        --version before     # of a checkout without the compiled search
"""

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from memformer.process import tune_process

tune_process()

import torch
from filled import filled_state, peer_shaped, segment_of
from measuring import has_bfloat16, put_row
from torch.profiler import profile
from train_step import RATE, evaluating, training

from memformer.config import DecoderConfig
from memformer.evaluation.machine import describe
from memformer.memory.pages import PagedMemory
from memformer.model.decoder import Decoder
from memformer.training.optimiser import build_optimiser
from memformer.training.step import Precision

N_PAIR, N_LANE, N_STEP = 65_536, 2, 3
KINDS = {
    "linear layers": ("aten::mm", "aten::addmm"),
    "window attention": (
        "_Window",
        "_WindowBackward",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    ),
    "other products": ("aten::bmm",),
    "pairs taken": ("_Taken", "_TakenBackward"),
    "copies and casts": ("aten::copy_", "aten::cat", "aten::clone", "aten::stack"),
    "choosing": ("aten::topk", "aten::sort", "aten::gather", "aten::scatter_", "aten::index"),
    "optimiser": ("aten::_fused_adamw_",),
}
"""What an operation of torch counts as; all others are elementwise work and sums."""
APART: list[tuple[str, Any, str]] = [("search", PagedMemory, "search")]
"""Calls of the compiled part, which torch's profiler does not see: timed around each."""
with suppress(ImportError):  # a version before has none
    from memformer.model import one_token

    APART += [("compiled blocks", one_token, "read"), ("compiled blocks", one_token, "back")]


def profiled(step: Callable[[], object]) -> dict[str, Any]:
    """Milliseconds a step, by kind; the search apart, and what is not inside torch."""
    spent: dict[str, float] = {}

    def timed(kind: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            found = work(*args, **kwargs)
            spent[kind] = spent.get(kind, 0.0) + 1e3 * (time.perf_counter() - started)
            return found

        return call

    step()
    # the profiler keeps tensors longer: without room in the heap it would time page faults
    room = [torch.zeros(1 << 26) for _ in range(6)]
    del room
    walls = []
    for _ in range(N_STEP):
        started = time.perf_counter()
        step()
        walls.append(time.perf_counter() - started)
    with ExitStack() as patched:
        for kind, owner, name in APART:
            patched.enter_context(patch.object(owner, name, timed(kind, getattr(owner, name))))
        with profile() as seen:
            step()
    kinds = dict.fromkeys((*KINDS, "elementwise and sums"), 0.0)
    for each in seen.key_averages():
        own = each.self_cpu_time_total / 1e3
        kind = next((k for k, names in KINDS.items() if each.key in names), "elementwise and sums")
        kinds[kind] += own
    kinds |= {kind: 0.0 for kind, _, _ in APART} | spent
    return {
        "milliseconds": round(1e3 * min(walls), 1),
        "kinds": {k: round(v, 1) for k, v in kinds.items()},
    }


def best(work: Callable[[], object], n: int = 5) -> float:
    """Seconds of the quickest of n."""
    times = []
    for _ in range(n):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def rates(dtype: torch.dtype) -> tuple[float, float]:
    """Multiplications and additions a second of a large product; bytes a second that are read."""
    a, b = torch.randn(1024, 2048, dtype=dtype), torch.randn(2048, 2048, dtype=dtype)
    array = torch.zeros(1 << 27)
    return 2 * 1024 * 2048 * 2048 / best(lambda: a @ b), 4 * array.numel() / best(array.sum)


def measure(config: DecoderConfig, n_pair: int) -> list[dict[str, Any]]:
    """A row a kind of step."""
    precision: Precision = "bfloat16" if has_bfloat16() else "float32"
    torch.manual_seed(0)
    model = Decoder(config)
    part, token = segment_of(config, N_LANE, seed=9), torch.zeros(1, 1, dtype=torch.int64)
    state, one = filled_state(model, n_pair, N_LANE), filled_state(model, n_pair, 1)

    @torch.inference_mode()
    def write() -> None:
        model(token, one)

    optimiser = build_optimiser(model, RATE)
    found = {
        "training": profiled(training(model, state, optimiser, part, precision)),
        "reading": profiled(evaluating(model, state, part, precision)[0]),
        "writing": profiled(write),
    }
    n_weight = sum(p.numel() for p in model.parameters())
    n_linear = sum(p.numel() for p in model.blocks.parameters()) + config.vocab_size * config.n_embd
    n_token = N_LANE * config.segment_len
    n_search = 2 * N_LANE * config.n_head * config.segment_len * n_pair * config.head_dim
    flops, bytes_ = rates(torch.bfloat16 if precision == "bfloat16" else torch.float32)
    window = 2 * 4 * config.n_layer * config.window * config.n_kv_head * config.head_dim
    read = 4 * n_weight + 2 * n_pair * config.n_kv_head * config.head_dim + window
    floors = {
        "training": (6 * n_linear * n_token + n_search) / flops,
        "reading": (2 * n_linear * n_token + n_search) / flops,
        "writing": read / bytes_,
    }
    machine = describe()
    return [
        {
            "step": what,
            "pairs": n_pair,
            **found[what],
            "floor": round(1e3 * floors[what], 1),
            "precision": "float32" if what == "writing" else precision,
            "gflops": round(flops / 1e9),
            "gigabytes_a_second": round(bytes_ / 1e9, 1),
            "threads": torch.get_num_threads(),
            "machine": machine,
        }
        for what in floors
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--version", default="now", help="what the rows are called")
    args = parser.parse_args()
    for row in measure(peer_shaped(), N_PAIR):
        row = {"version": args.version, **row}
        print({k: v for k, v in row.items() if k != "machine"}, flush=True)
        put_row(args.out, row, ["step", "version"])


if __name__ == "__main__":
    main()
