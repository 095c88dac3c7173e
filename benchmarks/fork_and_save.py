"""Forking a memory, and saving one again after it has grown, against copying and saving all of it.

One layer's memory of one manuscript, 8 key/value heads of 64, pages of 1,024 pairs in bfloat16;
the last page is half full.

fork   `fork(8)` of 262,144 pairs against one deep copy of them (eight branches would need eight):
       milliseconds, and the bytes that are newly allocated. First: a fork holds what its original
       holds, and writing to one branch shows in no other.
save   160,000 pairs, the length of a novel: a first save, a save again after 1,024 more pairs, and
       opening, against `torch.save` and `torch.load` of the same tensors. Every written file is
       flushed to the disk before the clock stops, also that of `torch.save`, which does not do so
       itself. First: what is opened, after both saves, equals what was saved.

    python benchmarks/fork_and_save.py benchmarks/results/fork_and_save.json
    python benchmarks/fork_and_save.py tiny.json --fork-pairs 2048 --save-pairs 2048 --rounds 2
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import torch
from measuring import milliseconds, put_row, ratio, take_turns, timed
from torch import Tensor

from memformer.config import MemoryConfig
from memformer.evaluation.machine import describe
from memformer.memory import PagedMemory
from memformer.memory.book import Run

N_BRANCH, N_MORE = 8, 1024
_AT_ONCE = 1 << 14


def filled(n_pair: int, dtype: str, n_kv_head: int, head_dim: int = 64) -> PagedMemory:
    """A memory of n_pair pairs and half a page of one lane."""
    config = MemoryConfig(dtype=dtype, search="exact")
    memory = PagedMemory(config, n_lane=1, n_kv_head=n_kv_head, head_dim=head_dim)
    grow(memory, n_pair - n_pair % config.page_len + config.page_len // 2, seed=0)
    return memory


def grow(memory: PagedMemory, n: int, seed: int) -> None:
    """Append n random pairs to lane 0."""
    draw = torch.Generator().manual_seed(seed)
    for token in torch.arange(memory.size(0), memory.size(0) + n).split(_AT_ONCE):
        shape = (1, memory.n_kv_head, len(token), memory.head_dim)
        keys, values = (torch.randn(shape, generator=draw) for _ in range(2))
        memory.append(keys, values, token_index=token[None], lanes=[0])


def tensors_of(memory: PagedMemory, lane: int = 0) -> dict[str, Tensor]:
    """All that a lane holds, by column, in one piece each."""
    return columns(memory.pairs(lane))


def columns(run: Run) -> dict[str, Tensor]:
    """What a run of slots holds; not all dtypes of pages have every column."""
    return {name: each for name, each in run._asdict().items() if isinstance(each, Tensor)}


def check_same(what: str, got: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Bit for bit.

    Raises:
        AssertionError: a column differs.
    """
    for name, column in wanted.items():
        if not torch.equal(got[name].nan_to_num(-1), column.nan_to_num(-1)):
            raise AssertionError(f"{what}: {name} must be what it was")


def storages(memory: PagedMemory) -> dict[int, int]:
    """Bytes of every block of main memory that holds pairs, by address."""
    found = {}
    for book in memory.books:
        for run in book.runs(book.start, book.stop):
            for column in columns(run).values():
                block = column.untyped_storage()
                found[block.data_ptr()] = block.nbytes()
    return found


def measure_fork(n_pair: int, dtype: str, n_kv_head: int, n_round: int) -> dict[str, Any]:
    """Isolation, then `fork` and a deep copy in turn."""
    memory = filled(n_pair, dtype, n_kv_head)
    before = {name: column.clone() for name, column in tensors_of(memory).items()}
    branches = memory.fork(N_BRANCH)
    held = storages(memory)
    fresh = sum(size for at, size in storages(branches).items() if at not in held)
    keys = torch.ones(1, n_kv_head, 5, memory.head_dim)
    index = torch.full((1, 5), memory.size(0))
    branches.append(keys, keys, token_index=index, lanes=[2])
    for lane in [i for i in range(N_BRANCH) if i != 2]:
        check_same(f"branch {lane}", tensors_of(branches, lane), before)
    check_same("the original", tensors_of(memory), before)
    if branches.size(2) != memory.size(0) + 5:
        raise AssertionError("the branch that was written to must have grown")
    del branches, before

    def deep_copy() -> list[Tensor]:
        book = memory.books[0]
        runs = book.runs(book.start, book.stop)
        return [column.clone() for run in runs for column in columns(run).values()]

    fork = timed(lambda: memory.fork(N_BRANCH))
    seconds = take_turns({"fork": fork, "copy": timed(deep_copy)}, n_round)
    return {
        "what": "fork",
        "pairs": memory.size(0),
        "branches": N_BRANCH,
        "fork": milliseconds(seconds["fork"]),
        "fork_bytes": fresh,
        "copy_once": milliseconds(seconds["copy"]),
        "copy_once_bytes": sum(c.numel() * c.element_size() for c in deep_copy()),
        "copy_once_times_fork": ratio(seconds["copy"], seconds["fork"]),
    }


def measure_save(
    n_pair: int, dtype: str, n_kv_head: int, n_round: int, folder: Path
) -> dict[str, Any]:
    """What is opened is what was saved; then each way of saving and opening in turn."""
    memory = filled(n_pair, dtype, n_kv_head)
    larger = memory.fork(1)
    grow(larger, N_MORE, seed=1)
    with _fresh(folder) as at:
        sizes = {"first save": _written(at, lambda: memory.save(at))}
        check_same("opened", tensors_of(PagedMemory.load(at)), tensors_of(memory))
        again = memory.fork(1)
        grow(again, N_MORE, seed=1)
        sizes["save again"] = _written(at, lambda: again.save(at))
        check_same("opened again", tensors_of(PagedMemory.load(at)), tensors_of(larger))
        whole = at / "whole.pt"
        sizes["torch.save"] = _written(at, lambda: _torch_save(larger, whole))
        check_same("torch", torch.load(whole, weights_only=True), tensors_of(larger))
    each = [_one_round(memory, larger, folder) for _ in range(n_round)]
    rounds = {name: [seconds[name] for seconds in each] for name in each[0]}
    return {
        "what": "save",
        "pairs": memory.size(0),
        "more_pairs": N_MORE,
        "milliseconds": {name: milliseconds(rounds[name]) for name in rounds},
        "bytes_written": sizes,
        "torch_times_first": ratio(rounds["torch.save"], rounds["first save"]),
        "torch_times_again": ratio(rounds["torch.save"], rounds["save again"]),
        "torch_load_times_open": ratio(rounds["torch.load"], rounds["open"]),
    }


def _one_round(memory: PagedMemory, larger: PagedMemory, folder: Path) -> dict[str, float]:
    """Seconds of each way; `larger` is what `memory` becomes."""
    mine = memory.fork(1)
    with _fresh(folder) as at, _fresh(folder) as other:
        whole = other / "whole.pt"
        seconds = {"first save": timed(lambda: mine.save(at))()}
        grow(mine, N_MORE, seed=1)
        seconds["save again"] = timed(lambda: mine.save(at))()
        seconds["torch.save"] = timed(lambda: _torch_save(larger, whole))()
        seconds["open"] = timed(lambda: PagedMemory.load(at))()
        seconds["torch.load"] = timed(lambda: torch.load(whole, weights_only=True))()
    return seconds


@contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        yield Path(name)


def _torch_save(memory: PagedMemory, path: Path) -> None:
    with path.open("wb") as file:
        torch.save(tensors_of(memory), file)
        file.flush()
        os.fsync(file.fileno())


def _written(folder: Path, save: Callable[[], object]) -> int:
    """Bytes of the files that `save` writes anew to a folder."""
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    time.sleep(0.02)  # file times are coarse
    save()
    new = [p for p in folder.iterdir() if before.get(p) != p.stat().st_mtime_ns]
    return sum(path.stat().st_size for path in new)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--fork-pairs", type=int, default=262_144)
    parser.add_argument("--save-pairs", type=int, default=160_000)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--dtype", default="bfloat16", help="of the pages")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    shape = {"kv_heads": args.kv_heads, "dtype": args.dtype, "rounds": args.rounds}
    size = (args.dtype, args.kv_heads, args.rounds)
    for row in (
        measure_fork(args.fork_pairs, *size),
        measure_save(args.save_pairs, *size, args.folder),
    ):
        print(row, flush=True)
        put_row(args.out, row | shape | {"machine": describe()}, ("what", "pairs", *shape))


if __name__ == "__main__":
    main()
