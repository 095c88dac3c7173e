"""The compiled search: every instruction set finds what `exact` finds, on odd sizes and wide norms.

The memory's contract is tested over it as over every other backend, in `test_contract.py`.
"""

import pytest
import torch

from memformer.memory import compiled, fused, search
from memformer.memory.book import Book
from memformer.memory.exact import ExactSearch
from memformer.memory.fused import PATHS, FusedSearch
from memformer.memory.rotary import Rotary
from tests.memory.conftest import D, G, fill, make, whole

needs_build = pytest.mark.skipif(not compiled.is_built(), reason="the compiled part was not built")


def paths():
    if not compiled.is_built():
        return [pytest.param("portable", marks=needs_build)]
    return PATHS[: compiled.library_or_none().memformer_best_path() + 1]


def book(n, *, heads=2, head_dim=16, page_len=16, dtype=torch.float32, capacity=None, scale=None):
    made = Book(heads, head_dim, page_len, dtype, torch.device("cpu"))
    keys = torch.randn(heads, n, head_dim)
    keys = keys if scale is None else keys * scale[:, None]
    for first in range(0, n, 37):
        part, token = keys[:, first : first + 37], torch.arange(n)[first : first + 37]
        made.append(part, part, token, token / n, capacity)
    return made


def assert_equal_to_exact(backend, made, queries, k, start=None, stop=None):
    M = queries.shape[1]
    start = torch.full((M,), made.start) if start is None else start
    stop = torch.full((M,), made.stop) if stop is None else stop
    backend.index(made)
    ours = backend.top_k(made, queries, k, start, stop)
    exact = ExactSearch().top_k(made, queries, k, start, stop)
    torch.testing.assert_close(ours.scores, exact.scores, atol=1e-5, rtol=1e-5)
    differs = ours.slots != exact.slots  # float32 sums in another order may swap near-equal scores
    gap = torch.full_like(exact.scores, torch.inf)
    gap[..., 1:] = exact.scores[..., :-1] - exact.scores[..., 1:]
    gap[..., :-1] = torch.minimum(gap[..., :-1], gap[..., 1:])
    assert not (differs & (gap > 1e-4 * exact.scores.abs().clamp(min=1))).any()
    return ours


@needs_build
@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("n", "heads", "head_dim", "page_len", "n_query", "k"),
    [(1000, 2, 64, 16, 13, 32), (501, 3, 18, 7, 6, 5), (130, 1, 2, 1, 1, 40),
     (300, 1, 256, 100, 7, 3), (5, 2, 16, 16, 4, 9), (2000, 1, 16, 16, 1, 1)],
)  # fmt: skip
def test_every_path_finds_what_exact_finds(path, dtype, n, heads, head_dim, page_len, n_query, k):
    made = book(n, heads=heads, head_dim=head_dim, page_len=page_len, dtype=dtype)
    queries = torch.randn(heads, n_query, head_dim)
    assert_equal_to_exact(FusedSearch(head_dim, path=path), made, queries, k)


@needs_build
@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("capacity", [None, 96, 100])
def test_bounds_cut_groups_blocks_and_what_was_evicted(path, capacity):
    made = book(413, page_len=7, capacity=capacity)
    start = torch.randint(made.start, made.stop, (29,))
    stop = torch.minimum(start + torch.randint(0, 90, (29,)), torch.tensor(made.stop))
    queries = torch.randn(2, 29, 16)
    found = assert_equal_to_exact(FusedSearch(16, path=path), made, queries, 6, start, stop)
    held = found.slots >= 0
    assert (held.sum(-1) == (stop - start).clamp(max=6)).all()


@needs_build
@pytest.mark.parametrize("path", paths())
def test_keys_of_very_different_norm(path):
    made = book(700, scale=torch.logspace(-6, 4, 700)[torch.randperm(700)])
    assert_equal_to_exact(FusedSearch(16, path=path), made, torch.randn(2, 20, 16) * 100, 8)


@needs_build
@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("scale", [1e-22, 1e-18, 1e15])
def test_very_small_and_large_keys_and_queries(path, scale):
    made = book(600, scale=torch.full((600,), scale))
    queries = torch.randn(2, 9, 16) * scale
    start, stop = torch.zeros(9, dtype=torch.int64), torch.full((9,), 600)
    ours = FusedSearch(16, path=path).top_k(made, queries, 8, start, stop)
    exact = ExactSearch().top_k(made, queries, 8, start, stop)
    torch.testing.assert_close(ours.scores, exact.scores, rtol=1e-4, atol=1e-37)


@needs_build
@pytest.mark.parametrize("path", paths())
def test_equal_scores_go_to_the_lower_slots_however_many_there_are(path):
    made = Book(1, 4, 16, torch.float32, torch.device("cpu"))
    keys = torch.ones(1, 5000, 4)
    keys[:, ::2] *= 2
    made.append(keys, keys, torch.arange(5000), torch.zeros(5000), None)
    backend = FusedSearch(4, path=path)
    backend.index(made)
    bounds = torch.tensor([0]), torch.tensor([5000])
    found = backend.top_k(made, torch.ones(1, 1, 4), 9, *bounds)
    assert found.slots.flatten().tolist() == list(range(0, 18, 2))


@needs_build
def test_scores_below_zero_are_found():
    made = book(200)
    queries = -made.gather(torch.arange(200).expand(2, -1), "keys").mean(1, keepdim=True) * 50
    assert_equal_to_exact(FusedSearch(16), made, queries, 150)


@needs_build
def test_threads_change_nothing():
    made, queries = book(900), torch.randn(2, 300, 16)
    one = assert_equal_to_exact(FusedSearch(16), made, queries, 4)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        three = assert_equal_to_exact(FusedSearch(16), made, queries, 4)
    finally:
        torch.set_num_threads(before)
    assert three.scores.equal(one.scores) and three.slots.equal(one.slots)


@needs_build
def test_keys_are_packed_once_shared_by_forks_and_dropped_with_their_pages():
    memory = make("fused", page_len=4, capacity=160)
    fill(memory, 100)
    groups = memory.books[0].groups
    assert [(g.first, g.stop) for g in groups] == [(i, i + 16) for i in range(0, 96, 16)]
    branches = memory.fork(2)
    fill(branches, 20)
    assert all(a is b for a, b in zip(branches.books[0].groups, groups, strict=False))
    branches.rewind(lane=0, to=70)
    assert [g.first for g in branches.books[0].groups] == [0, 16, 32, 48]
    fill(memory, 100)
    assert memory.books[0].groups[0].first == memory.books[0].start // 16 * 16


def test_auto_says_what_it_chose_and_why_and_says_it_once(caplog):
    search._say_choice.cache_clear()
    with caplog.at_level("INFO"):
        make("auto")
        make("auto")
    name = "fused" if compiled.is_built() else "exact"
    assert [r.message.split(":")[0] for r in caplog.records] == [f"search 'auto' uses '{name}'"]


@pytest.mark.parametrize(
    ("arguments", "name", "why"),
    [((True, 8, "cpu"), "fused", "misses nothing"), ((False, 8, "cpu"), "exact", "not built"),
     ((True, 7, "cpu"), "exact", "odd"), ((True, 8, "cuda"), "exact", "on cuda")],
)  # fmt: skip
def test_auto_takes_fused_where_it_can(arguments, name, why):
    chosen, reason = search._choice(*arguments)
    assert chosen == name and why in reason


def test_without_the_compiled_part_auto_searches_exactly_and_fused_is_an_error(monkeypatch):
    monkeypatch.setattr(compiled, "library_or_none", lambda: None)
    monkeypatch.setattr(compiled, "is_built", lambda: False)
    memory = make("auto")
    fill(memory, 40)
    assert isinstance(memory.backend, ExactSearch)
    assert memory.search(whole(1, G, 2, D), 3).mask.all()
    with pytest.raises(ValueError, match="compiled part, which was not built: install a C\\+\\+"):
        make("fused")


@needs_build
def test_odd_head_dim_and_a_path_that_is_not_here_are_errors(monkeypatch):
    with pytest.raises(ValueError, match="path must be one of portable, .*got 'sse'"):
        FusedSearch(8, path="sse")
    with pytest.raises(ValueError, match="even head_dim, got 7"):
        FusedSearch(7)
    library = type("Old", (), {"memformer_best_path": staticmethod(lambda: 1)})
    monkeypatch.setattr(compiled, "library_or_none", lambda: library)
    with pytest.raises(ValueError, match="at most 'avx2' on this machine, got 'avx512'"):
        FusedSearch(8, path="avx512")


@pytest.fixture
def another_default_dtype(request):
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(torch.float32)


@needs_build
@pytest.mark.parametrize("another_default_dtype", [torch.bfloat16, torch.float64], indirect=True)
def test_torchs_default_dtype_changes_nothing(another_default_dtype):
    made = book(100)
    keys = torch.randn(1, G, 100, D, dtype=torch.float32)
    for name in ("fused", "exact"):
        memory = make(name)
        memory.append(keys, keys, token_index=torch.arange(100)[None])
        found = memory.search(keys[:, :, :3], 4)
        assert found.scores.dtype == torch.float32 and found.slots.dtype == torch.int64
        assert found.inner(keys[:, :, :3]).dtype == torch.float32
        torch.testing.assert_close(found.inner(keys[:, :, :3]), found.scores)
    assert made.size == 100


@pytest.mark.parametrize("search_name", ["fused", "exact"])
@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
def test_bounds_of_any_integer_dtype(search_name, dtype):
    if search_name == "fused" and not compiled.is_built():
        pytest.skip("the compiled part was not built")
    memory = make(search_name)
    fill(memory, 90)
    queries, bounds = whole(1, G, 6, D), torch.tensor([[3, 10, 20, 30, 40, 50]])
    wide = memory.search(queries, 5, start=bounds, stop=bounds + 30)
    narrow = memory.search(queries, 5, start=bounds.to(dtype), stop=(bounds + 30).to(dtype))
    assert narrow.slots.equal(wide.slots) and narrow.scores.equal(wide.scores)


def test_slots_and_positions_of_another_dtype_are_errors():
    memory = make("auto")
    fill(memory, 50)
    found = memory.search(whole(1, G, 2, D), 3)
    with pytest.raises(TypeError, match=r"slots must be int64, got torch\.int32"):
        memory.at(found.slots.int())
    with pytest.raises(TypeError, match=r"rotary\.positions must be int64"):
        found.inner(torch.randn(1, G, 2, D), Rotary(100.0, torch.tensor([[60, 61]]).int(), 0))


def test_shapes_that_do_not_belong_together_are_errors():
    memory = make("auto")
    fill(memory, 50)
    found = memory.search(whole(1, G, 4, D), 3)
    for bad in (torch.randn(1, G, 1, D), torch.randn(1, G, 4, D // 2), torch.randn(2, G, 4, D)):
        with pytest.raises(ValueError, match="queries must have shape"):
            found.inner(bad)
    with pytest.raises(ValueError, match="weights must have shape"):
        found.weighted_sum(torch.randn(1, G, 4, 2))
    with pytest.raises(ValueError, match=r"rotary\.positions must have shape \(1, 4\)"):
        found.inner(torch.randn(1, G, 4, D), Rotary(100.0, torch.tensor([[60, 61]]), 0))


@needs_build
def test_compiled_part_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(compiled, "_ABI", 999)
    with pytest.raises(ImportError, match="another version of the sources: install the package"):
        compiled.library_or_none.__wrapped__()


@needs_build
def test_few_queries_find_the_same_after_writing_forking_and_rewinding(monkeypatch):
    monkeypatch.setattr(fused, "GROUP_LEN", 8)
    memory = make("fused", page_len=4, capacity=160)
    exact = make("exact", page_len=4, capacity=160)
    queries = torch.randn(1, 2 * G, 1, D)  # few: what is not packed is scored as stored

    def agree(one, other):
        one, other = one.search(queries, 5), other.search(queries, 5)
        torch.testing.assert_close(one.scores, other.scores, atol=1e-5, rtol=1e-5)
        assert one.slots.equal(other.slots)

    for n in (3, 60, 1, 110):
        torch.manual_seed(n)
        fill(memory, n)
        torch.manual_seed(n)
        fill(exact, n)
        agree(memory, exact)
        agree(memory, exact)
    forks = memory.fork(1), exact.fork(1)
    for each in forks:
        torch.manual_seed(1)
        each.rewind(lane=0, to=150)
        fill(each, 30)
    agree(*forks)
    agree(memory, exact)
