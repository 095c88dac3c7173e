"""The search of GPUs, on the CPU: it finds what `exact` finds, with and without rounding.

The memory's contract is tested over it as over every other backend, in `test_contract.py`.
"""

import re

import pytest
import torch

from memformer.config import MemoryConfig
from memformer.memory import PagedMemory, blocked, search, triton_scan
from memformer.memory.blocked import BlockedSearch, plain_maxima
from memformer.memory.book import Book
from memformer.memory.exact import ExactSearch
from tests.memory.conftest import D, G, fill, make, whole
from tests.memory.test_fused import assert_equal_to_exact, book

CPU = torch.device("cpu")
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])
each_page_dtype = pytest.mark.parametrize("pages", [torch.float32, torch.bfloat16, torch.int8])


@pytest.fixture
def asked(monkeypatch):
    """What was asked: (width, queries, queries answered) a call; `exact`'s have no width."""
    calls, best, scan = [], BlockedSearch._best, blocked.scan

    def seen(self, book, queries, start, stop, k, width, within):
        hits, is_complete = best(self, book, queries, start, stop, k, width, within)
        calls.append((width, queries.shape[1], int(is_complete.sum())))
        return hits, is_complete

    def scanned(book, queries, *rest):
        calls.append((None, queries.shape[1], queries.shape[1]))
        return scan(book, queries, *rest)

    monkeypatch.setattr(BlockedSearch, "_best", seen)
    monkeypatch.setattr(blocked, "scan", scanned)
    return calls


@pytest.fixture
def small_room(monkeypatch):
    """Few numbers at once, so that every loop takes several steps."""
    monkeypatch.setattr(blocked, "_room", lambda device: 1 << 10)


@each_dtype
@each_page_dtype
@pytest.mark.parametrize(
    ("n", "heads", "head_dim", "page_len", "n_query", "k", "block_len"),
    [(3000, 2, 64, 16, 13, 32, 16), (1001, 3, 18, 7, 6, 5, 8), (530, 1, 3, 1, 1, 40, 2),
     (900, 1, 256, 100, 7, 3, 32), (5, 2, 16, 16, 4, 9, 4), (2000, 1, 16, 16, 1, 1, 64)],
)  # fmt: skip
def test_finds_what_exact_finds(
    monkeypatch, asked, dtype, pages, n, heads, head_dim, page_len, n_query, k, block_len
):
    monkeypatch.setattr(blocked, "BLOCK_LEN", block_len)
    made = book(n, heads=heads, head_dim=head_dim, page_len=page_len, dtype=pages)
    queries = torch.randn(heads, n_query, head_dim)
    assert_equal_to_exact(BlockedSearch(head_dim, CPU, dtype=dtype), made, queries, k)
    assert n == 5 or asked[0][0] == 2 * k + 8  # blocks were chosen, but for the smallest


@each_dtype
@pytest.mark.parametrize("capacity", [None, 320, 325])
@pytest.mark.usefixtures("small_room")
def test_bounds_cut_groups_blocks_and_what_was_evicted(asked, dtype, capacity):
    made = book(813, page_len=7, capacity=capacity)
    start = torch.randint(made.start, made.stop, (29,))
    stop = torch.minimum(start + torch.randint(0, 190, (29,)), torch.tensor(made.stop))
    stop[3] = start[3] - 5  # nothing
    queries = torch.randn(2, 29, 16)
    backend = BlockedSearch(16, CPU, dtype=dtype)
    found = assert_equal_to_exact(backend, made, queries, 6, start, stop)
    held = found.slots >= 0
    assert (held.sum(-1) == (stop - start).clamp(0, 6)).all()
    assert ((found.slots >= start[:, None]) & (found.slots < stop[:, None]))[held].all()
    assert sum(width is not None for width, *_ in asked) > 3


@each_dtype
def test_eviction_keeps_a_group_until_all_of_it_is_gone(dtype):
    made = book(400, page_len=8, capacity=200)
    backend = BlockedSearch(16, CPU, dtype=dtype)
    backend.index(made)
    for _ in range(4):  # the first slot held, a multiple of 8, ends as none of 16
        rows = torch.randn(2, 8, 16)
        made.append(rows, rows, torch.arange(8), torch.zeros(8), 200)
        assert_equal_to_exact(backend, made, torch.randn(2, 9, 16), 4)
    firsts = [group.first for group in made.groups]
    if dtype == torch.float32:
        assert firsts == []
    else:
        assert firsts[0] == made.start - 8
        assert firsts == list(range(firsts[0], made.sealed - 15, 16))


def test_groups_are_shared_by_forks_and_dropped_by_rewinding(monkeypatch):
    monkeypatch.setattr(blocked, "_fastest", lambda device: torch.bfloat16)
    memory = make("blocked", dtype="bfloat16")
    fill(memory, 300)
    groups = memory.books[0].groups
    assert [group.first for group in groups] == list(range(0, 288, 16))
    storages = {run.keys.untyped_storage().data_ptr() for run in memory.books[0].runs(0, 300)}
    assert groups[-1].keys.untyped_storage().data_ptr() in storages  # bfloat16 pages: no copies
    branches = memory.fork(2)
    fill(branches, 20)
    assert all(a is b for a, b in zip(branches.books[0].groups, groups, strict=False))
    branches.rewind(lane=0, to=170)
    fill(branches, 150, [0])
    assert [group.first for group in branches.books[0].groups] == list(range(0, 320, 16))
    queries = whole(2, G, 5, D)
    found = branches.search(queries, 4)
    branches.backend = ExactSearch()
    assert found.scores.equal(branches.search(queries, 4).scores)


@each_dtype
@pytest.mark.usefixtures("small_room")
def test_keys_of_very_different_norm(dtype):
    made = book(900, scale=torch.logspace(-6, 4, 900)[torch.randperm(900)])
    backend = BlockedSearch(16, CPU, dtype=dtype)
    assert_equal_to_exact(backend, made, torch.randn(2, 20, 16) * 100, 8)


@each_dtype
@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e-18, 1e15, 1e18, 3e18])
def test_very_small_and_large_keys_and_queries(dtype, scale):
    made = book(800, scale=torch.full((800,), scale))
    queries = torch.randn(2, 9, 16) * scale
    start, stop = torch.zeros(9, dtype=torch.int64), torch.full((9,), 800)
    ours = BlockedSearch(16, CPU, dtype=dtype).top_k(made, queries, 8, start, stop)
    exact = ExactSearch().top_k(made, queries, 8, start, stop)
    torch.testing.assert_close(ours.scores, exact.scores, rtol=1e-4, atol=1e-37)


def alike(n, head_dim=16, scale=1, heads=(0, 1)):
    """Keys with a large part in common, as in a novel: bfloat16 cannot tell them apart."""
    made = Book(2, head_dim, 16, torch.float32, CPU)
    keys = torch.randn(2, n, head_dim)
    for head in heads:
        keys[head] = torch.randn(head_dim) * 10 + keys[head] * 0.02
    keys *= scale
    made.append(keys, keys, torch.arange(n), torch.zeros(n), None)
    return made


def test_what_rounding_hides_is_found_with_more_blocks_and_then_by_exact(asked):
    made = alike(4000)
    queries = torch.randn(2, 20, 16)
    assert_equal_to_exact(BlockedSearch(16, CPU, dtype=torch.bfloat16), made, queries, 4)
    assert len(asked) > 2 and asked[-1][0] is None
    assert [width for width, *_ in asked[:-1]] == [16 * 2**i for i in range(len(asked) - 1)]
    for (_, n, n_answered), (_, n_next, _) in zip(asked, asked[1:], strict=False):
        assert n - n_answered == n_next


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_small_keys_under_large_queries_and_the_other_way(scale):
    queries = torch.randn(2, 20, 16) / scale
    backend = BlockedSearch(16, CPU, dtype=torch.bfloat16)
    assert_equal_to_exact(backend, alike(4000, scale=scale), queries, 4)


def test_one_head_that_needs_more_is_enough_to_ask_again(asked):
    backend = BlockedSearch(16, CPU, dtype=torch.bfloat16)
    assert_equal_to_exact(backend, alike(4000, heads=(1,)), torch.randn(2, 20, 16), 4)
    assert len(asked) > 1


def test_without_the_bound_of_the_error_pairs_are_missed(monkeypatch):
    monkeypatch.setattr(blocked, "_error", lambda queries, *rest: torch.zeros(queries.shape[:2]))
    with pytest.raises(AssertionError):
        assert_equal_to_exact(
            BlockedSearch(16, CPU, dtype=torch.bfloat16), alike(4000), torch.randn(2, 20, 16), 4
        )


def test_float32_needs_the_first_blocks_only(asked):
    made = book(4000)
    assert_equal_to_exact(BlockedSearch(16, CPU), made, torch.randn(2, 50, 16), 8)
    assert asked == [(24, 50, 50)]


@pytest.mark.parametrize("head_dim", [1, 16, 64])
def test_the_bound_holds_for_every_pair_and_is_not_much_too_wide(head_dim):
    queries, keys = torch.randn(3, 40, head_dim), torch.randn(3, 900, head_dim)
    queries[:, ::2] *= 1e3
    narrow, rounded = queries.bfloat16(), keys.bfloat16()
    off = queries.double() @ keys.double().mT - (narrow.float() @ rounded.float().mT).double()
    bound = blocked._error(
        queries, narrow, keys.norm(dim=-1).amax(-1), (keys - rounded.float()).norm(dim=-1).amax(-1)
    )
    off = off.abs().amax(-1)
    assert (off <= bound).all() and (off.amax() > bound.amax() / 10)


@each_dtype
def test_equal_scores_go_to_the_lower_slots_however_many_there_are(dtype):
    made = Book(1, 4, 16, torch.float32, CPU)
    keys = torch.ones(1, 5000, 4)
    keys[:, ::2] *= 2
    made.append(keys, keys, torch.arange(5000), torch.zeros(5000), None)
    backend = BlockedSearch(4, CPU, dtype=dtype)
    bounds = torch.tensor([0, 11]), torch.tensor([5000, 4000])
    found = backend.top_k(made, torch.ones(1, 2, 4), 9, *bounds)
    assert found.slots[0].tolist() == [list(range(0, 18, 2)), list(range(12, 30, 2))]


@each_dtype
def test_a_few_equal_keys_need_no_exact_scan_and_go_to_the_lower_slots(asked, dtype):
    made = Book(1, 8, 16, torch.float32, CPU)
    keys = torch.randn(1, 3000, 8) * 0.01
    keys[:, 2900:2906] = 1
    made.append(keys, keys, torch.arange(3000), torch.zeros(3000), None)
    backend = BlockedSearch(8, CPU, dtype=dtype)
    found = backend.top_k(made, torch.ones(1, 1, 8), 5, torch.tensor([0]), torch.tensor([3000]))
    assert found.slots.flatten().tolist() == [2900, 2901, 2902, 2903, 2904]
    assert None not in [width for width, *_ in asked]


@each_dtype
def test_fewer_pairs_than_wanted_are_all_returned(dtype):
    made = book(2000)
    start, stop = torch.tensor([0, 700, 1000]), torch.tensor([2000, 703, 1000])
    found = assert_equal_to_exact(
        BlockedSearch(16, CPU, dtype=dtype), made, torch.randn(2, 3, 16), 5, start, stop
    )
    assert found.slots[0, 1].sort().values.tolist() == [-1, -1, 700, 701, 702]
    assert (found.slots[:, 2] == -1).all() and (found.scores[:, 2] == -torch.inf).all()


@each_dtype
@each_page_dtype
def test_the_maxima_are_those_of_all_scores(dtype, pages):
    made = book(333, dtype=pages)
    keys = torch.cat([run.rows("keys") for run in made.runs(0, 333)], dim=1).to(dtype)
    queries = torch.randn(2, 7, 16).to(dtype)
    start, stop = torch.randint(0, 200, (7,)), torch.randint(150, 334, (7,))
    scores = queries.float() @ keys.float().mT
    columns = torch.arange(333)
    scores[:, (columns < start[:, None]) | (columns >= stop[:, None])] = -torch.inf
    expected = [block.amax(-1) for block in scores.split(8, dim=-1)]
    maxima = plain_maxima(queries, keys, start, stop, 8)
    torch.testing.assert_close(maxima, torch.stack(expected, dim=-1))


def test_scores_of_all_pairs_are_never_held(monkeypatch):
    room = 1 << 16
    monkeypatch.setattr(blocked, "_room", lambda device: room)
    monkeypatch.setattr(blocked, "BLOCK_LEN", 32)
    products, sizes = blocked._products, []

    def measured(queries, keys):
        scores = products(queries, keys)
        sizes.append(scores.numel())
        return scores

    monkeypatch.setattr(blocked, "_products", measured)
    made = book(20_000, page_len=1000)
    assert_equal_to_exact(BlockedSearch(16, CPU), made, torch.randn(2, 64, 16), 4)
    assert max(sizes) <= room and sum(sizes) >= 2 * 64 * 20_000


@each_dtype
def test_every_tensor_is_made_on_the_device_of_the_pages(monkeypatch, dtype):
    """What is made without naming a device is made on "meta" here, where it can be used by none."""
    monkeypatch.setattr(triton_scan, "is_here", lambda: True)
    monkeypatch.setattr(triton_scan, "block_maxima", plain_maxima)
    made = book(2000, capacity=1000)
    queries, start, stop = torch.randn(2, 5, 16), torch.arange(5) + 1100, torch.full((5,), 2000)
    with torch.device("meta"):
        backend = BlockedSearch(16, CPU, dtype=dtype)
        backend.index(made)
        found = backend.top_k(made, queries, 6, start, stop)
        assert blocked._why_no_kernel.__wrapped__(CPU, 16, dtype) == ""
    assert found.slots.device == CPU and (found.slots >= 0).all()


def test_another_dtype_is_an_error():
    with pytest.raises(ValueError, match=r"dtype must be float32 or bfloat16, got torch\.float16"):
        BlockedSearch(8, CPU, dtype=torch.float16)


def test_on_a_gpu_it_says_once_why_no_kernel_serves(monkeypatch, caplog):
    monkeypatch.setattr(blocked, "_fastest", lambda device: torch.bfloat16)
    monkeypatch.setattr(triton_scan, "_kernel", None)
    for cached in (blocked._say_maxima, blocked._why_no_kernel):
        cached.cache_clear()
    with caplog.at_level("INFO"):
        for _ in range(2):
            backend = search.build_search(MemoryConfig(search="blocked"), 8, torch.device("cuda"))
    assert isinstance(backend, BlockedSearch) and backend.maxima is plain_maxima
    assert [record.message for record in caplog.records] == [
        "search 'blocked' takes maxima by torch, without Triton's kernel: triton is not installed",
    ]
    blocked._why_no_kernel.cache_clear()


class Refuses:
    """In place of a kernel that cannot be built."""

    def __getitem__(self, grid):
        raise RuntimeError("Failed to find C compiler")


@pytest.mark.parametrize(
    ("replaced", "by", "why"),
    [("_kernel", Refuses(), r"cannot be built or run here \(RuntimeError: Failed to find C comp"),
     ("block_maxima", lambda *a: plain_maxima(*a) + 1, "computes something else here"),
     ("block_maxima", lambda *a: plain_maxima(*a).clamp(min=-1e30), "computes something else"),
     ("block_maxima", lambda *a: plain_maxima(*a) * torch.nan, "computes something else here"),
     ("block_maxima", lambda *a: plain_maxima(*a) * (1 + 1e-6), "^$")],
)  # fmt: skip
@each_dtype
def test_the_kernel_is_tried_before_it_is_used(monkeypatch, replaced, by, why, dtype):
    monkeypatch.setattr(triton_scan, "is_here", lambda: True)
    monkeypatch.setattr(triton_scan, replaced, by)
    said = blocked._why_no_kernel.__wrapped__(CPU, 16, dtype)
    assert re.search(why, said), said


@pytest.mark.gpu
@NO_GPU
@each_page_dtype
def test_on_a_gpu_it_finds_what_exact_finds_there(pages):
    name = {v: k for k, v in {"float32": torch.float32, "bfloat16": torch.bfloat16,
                              "int8": torch.int8}.items()}[pages]  # fmt: skip
    config = MemoryConfig(search="auto", dtype=name, page_len=64)
    memory = PagedMemory(config, n_lane=1, n_kv_head=2, head_dim=64, device="cuda")
    keys = torch.randn(1, 2, 20_000, 64, device="cuda")
    memory.append(keys, keys, token_index=torch.arange(20_000, device="cuda")[None])
    queries = torch.randn(1, 4, 100, 64, device="cuda")
    found = memory.search(queries, 32)
    assert isinstance(memory.backend, BlockedSearch)
    memory.backend = ExactSearch()
    exact = memory.search(queries, 32)
    torch.testing.assert_close(found.scores, exact.scores, atol=1e-4, rtol=1e-5)
    assert (found.slots == exact.slots).float().mean() > 0.99
