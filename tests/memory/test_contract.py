"""The memory's contract, over every backend, page dtype and device."""

import pytest
import torch

from memformer.config import MemoryConfig
from memformer.memory import PagedMemory
from tests.memory.conftest import (
    BACKENDS,
    EXACT,
    ON_PAGES,
    D,
    G,
    PlainLane,
    assert_found,
    fill,
    make,
    whole,
)  # fmt: skip

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
GPU = pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])
each_backend = pytest.mark.parametrize("search", BACKENDS)
each_backend_and_dtype = pytest.mark.parametrize(("search", "dtype"), ON_PAGES)
each_device = pytest.mark.parametrize("device", ["cpu", GPU])


def mirrored(memory, lengths):
    """Fill lanes to ragged lengths; returns the same as plain lists."""
    plain = []
    for lane, n in enumerate(lengths):
        first = memory.books[lane].stop
        keys, values = fill(memory, n, [lane])
        mirror = PlainLane(memory.config.page_len, memory.config.capacity)
        tokens = list(range(first, first + n))
        mirror.append(keys[0], values[0], tokens, (torch.tensor(tokens) / 1000).tolist())
        plain.append(mirror)
    return plain


def on_cpu(found):
    """The same fields on the CPU."""
    names = ("scores", "slots", "mask", "keys", "values", "token_index", "fraction")
    return type("Found", (), {name: getattr(found, name).cpu() for name in names})


@each_backend_and_dtype
@each_device
@pytest.mark.parametrize("capacity", [None, 50])
def test_search_returns_stored_pairs_also_past_capacity(search, dtype, device, capacity):
    if search == "fused" and device != "cpu":
        pytest.skip("it is compiled for the CPU")
    memory = make(search, 3, device, dtype=dtype, capacity=capacity)
    plain = mirrored(memory, [131, 0, 3])
    queries = whole(3, 4, 5, D)
    found = memory.search(queries.to(device), 6)
    strict = "with ties" if search == "exact" else search in EXACT
    assert_found(on_cpu(found), plain, queries, 6, strict)


@each_backend
def test_bounds_of_each_query_are_kept(search):
    memory = make(search, 2)
    plain = mirrored(memory, [200, 90])
    start, stop = torch.randint(0, 110, (2, 7)), torch.randint(60, 230, (2, 7))
    queries = whole(2, 4, 7, D)
    bounds = [list(zip(a, b, strict=True)) for a, b in zip(start.tolist(), stop.tolist())]  # noqa: B905
    strict = "with ties" if search == "exact" else search in EXACT
    found = memory.search(queries, 5, start=start, stop=stop)
    assert_found(found, plain, queries, 5, strict, bounds)


@each_backend
def test_bounds_of_each_lane_are_kept(search):
    memory = make(search, 2)
    plain = mirrored(memory, [200, 90])
    queries = whole(2, 2, 3, D)
    found = memory.search(queries, 5, start=torch.tensor([20, 0]), stop=torch.tensor([180, 64]))
    bounds = [[(20, 180)] * 3, [(0, 64)] * 3]
    assert_found(found, plain, queries, 5, search in EXACT, bounds)


@each_backend
def test_more_than_is_held_returns_all_of_it(search):
    memory = make(search)
    (plain,) = mirrored(memory, [70])
    found = memory.search(whole(1, 2, 3, D), 100)
    assert found.mask.sum(-1).unique().tolist() == [70]
    assert found.slots[found.mask].view(6, 70).sort().values.equal(torch.arange(70).expand(6, -1))
    assert len(plain.pairs) == 70


@each_backend
def test_equal_keys_are_all_found(search):
    memory = make(search)
    keys = whole(1, G, 3, D, low=1, high=4).repeat(1, 1, 40, 1)  # three words, said 40 times
    memory.append(keys, keys, token_index=torch.arange(120)[None])
    found = memory.search(keys[:, :, :1], 40)
    own = (keys[0, :, :1] * keys[0, :, :1]).sum(-1)
    best = (keys[0] @ keys[0, :, 0, :, None])[..., 0].sort(descending=True).values[:, :40]
    assert found.mask.all()
    if search in EXACT:
        assert found.scores[0, :, 0].equal(best)
    else:
        assert (found.scores[0, :, 0] <= best.amax(-1, keepdim=True)).all() and own.shape == (G, 1)


def test_ties_go_to_the_lower_slot():
    memory = make("exact", page_len=8)
    keys = torch.ones(1, G, 50, D)
    memory.append(keys, keys, token_index=torch.arange(50)[None])
    found = memory.search(torch.ones(1, G, 2, D), 7)
    assert found.slots.unique(dim=-2)[0, 0, 0].tolist() == list(range(7))
    later = memory.search(torch.ones(1, G, 2, D), 7, start=torch.tensor([20]))
    assert later.slots[0, 1, 1].tolist() == list(range(20, 27))


@each_backend
def test_write_or_reset_of_one_lane_changes_no_bit_of_another(search):
    memory = make(search, 3)
    fill(memory, 100)
    queries = whole(3, 2, 4, D)
    before, pairs = memory.search(queries, 5), memory.pairs(1)
    fill(memory, 60, [2])
    memory.reset([0])
    after = memory.search(queries, 5)
    assert after.scores[1].equal(before.scores[1]) and after.slots[1].equal(before.slots[1])
    assert all(a.equal(b) for a, b in zip(memory.pairs(1).columns, pairs.columns, strict=True))
    assert memory.size(0) == 0 and not after.mask[0].any()


@each_backend
@pytest.mark.parametrize("change", ["evict", "rewind", "reset"])
def test_what_was_found_still_reads_as_it_was_at_the_search(search, change):
    memory = make(search, capacity=80)
    plain = mirrored(memory, [75])
    queries = whole(1, 2, 4, D)
    found = memory.search(queries, 5)
    match change:
        case "evict":
            fill(memory, 200)
        case "rewind":
            memory.rewind(lane=0, to=13)
            fill(memory, 66)
        case "reset":
            memory.reset([0])
            fill(memory, 75)
    assert_found(found, plain, queries, 5, search in EXACT)


@each_backend
def test_write_to_a_fork_shows_in_no_sibling(search):
    memory = make(search, 2)
    plain = mirrored(memory, [70, 41])
    branches = memory.fork(3)
    fill(branches, 30, [1, 4])
    branches.rewind(lane=2, to=5)
    fill(branches, 40, [2])
    fill(memory, 9)
    queries = whole(6, 2, 4, D)
    found = branches.search(queries, 5)
    for lane, source in ((0, 0), (3, 1), (5, 1)):
        assert branches.size(lane) == len(plain[source].pairs)
        assert found.token_index[lane].max() < len(plain[source].pairs)
    assert branches.size(1) == 100 and branches.size(2) == 45 and memory.size(0) == 79
    one = branches.select([0, 3])
    assert_found(one.search(queries[:2], 5), plain, queries[:2], 5, search in EXACT)


@pytest.mark.parametrize("pieces", [[1] * 23, [23], [2, 19, 2], [7, 0, 16]])
def test_what_is_held_does_not_depend_on_how_it_was_written(pieces):
    memory = make("exact", page_len=3, capacity=10)
    for n in pieces:
        fill(memory, n)
    assert memory.pairs(0).token_index.tolist() == list(range(15, 23))


def test_slots_count_on_past_eviction_and_rewind():
    memory = make("exact", page_len=4, capacity=8)
    fill(memory, 21)
    assert (memory.pairs(0).first, memory.size(0)) == (16, 5)
    memory.rewind(lane=0, to=18)
    fill(memory, 2)
    assert memory.pairs(0).first == 16
    assert memory.pairs(0).token_index.tolist() == [16, 17, 18, 19]


def test_rewind_to_what_was_evicted_is_an_error():
    memory = make("exact", page_len=4, capacity=8)
    fill(memory, 21)
    with pytest.raises(ValueError, match="lane 0 has evicted all it held at token 15.*token 16"):
        memory.rewind(lane=0, to=15)
    memory.rewind(lane=0, to=16)
    assert memory.size(0) == 0


@pytest.mark.parametrize("of", ["key", "value"])
@pytest.mark.parametrize(
    ("bad", "dtype", "kind"),
    [
        (torch.nan, "float32", "NaN"),
        (torch.inf, "float32", "infinite"),
        (3.4e38, "bfloat16", "infinite"),  # finite until it is stored
        (torch.nan, "int8", "NaN"),
        (-torch.inf, "int8", "infinite"),
        (1e39, "int8", "infinite"),
    ],
)
def test_pairs_that_are_not_finite_are_refused_and_nothing_is_written(of, bad, dtype, kind):
    memory = make("exact", 3, dtype=dtype)
    pairs = {"key": whole(2, G, 4, D), "value": whole(2, G, 4, D)}
    pairs[of] = pairs[of].double() if bad == 1e39 else pairs[of]
    pairs[of][1, 1, 2, 3] = bad
    index = torch.arange(81202, 81206).expand(2, 4)
    with pytest.raises(ValueError, match=f"append: {of} is {kind} at lane 2, head 1, token 81204"):
        memory.append(pairs["key"], pairs["value"], token_index=index, lanes=[0, 2])
    assert [memory.size(lane) for lane in range(3)] == [0, 0, 0]


def test_large_finite_pairs_are_kept():
    memory = make("exact")
    keys = torch.full((1, G, 4, D), 3e38)  # their sum is infinite, they are not
    memory.append(keys, keys, token_index=torch.arange(4)[None])
    assert memory.size(0) == 4


BAD_CALLS = {
    "lane must be in \\[0, n_lane=2\\), got 2": lambda m: fill_at(m, lanes=[0, 2]),
    "lanes must be different": lambda m: fill_at(m, lanes=[1, 1]),
    "append: keys must have shape \\(2, 2, 3, 8\\)": lambda m: fill_at(m, D=7),
    "append: token_index must have shape": lambda m: fill_at(m, index=torch.arange(3)),
    "token_index must not fall within lane 0": lambda m: fill_at(
        m, index=torch.tensor([[2, 1, 0]] * 2)
    ),
    "k must be at least 1, got 0": lambda m: m.search(whole(2, 2, 1, 8), 0),
    "n_kv_head=2 must divide the query heads 3": lambda m: m.search(whole(2, 3, 1, 8), 1),
    "search: queries must have shape": lambda m: m.search(whole(1, 2, 1, 8), 1),
    "search: query is NaN at lane 0, head 0": lambda m: m.search(whole(2, 2, 1, 8) / 0, 1),
    "search: stop must have shape": lambda m: m.search(
        whole(2, 2, 1, 8), 1, stop=torch.zeros(3, dtype=torch.int64)
    ),
    "to must be a token index of at least 0, got -1": lambda m: m.rewind(lane=0, to=-1),
    "fork: n must be at least 1, got 0": lambda m: m.fork(0),
    "select: name at least one lane": lambda m: m.select([]),
    "select: lane must be in": lambda m: m.select([2]),
    "reset: lane must be in": lambda m: m.reset([0, 2]),
    "at: lane 1 holds slots \\[0, 0\\), got 3": lambda m: m.at(
        torch.tensor([-1, 3]).view(2, 1, 1, 1)
    ),
}


def fill_at(memory, lanes=(0, 1), D=8, index=None):
    keys = whole(len(lanes), G, 3, D)
    index = torch.arange(3).expand(len(lanes), 3) if index is None else index
    memory.append(keys, keys, token_index=index, lanes=list(lanes))


@pytest.mark.parametrize("message", BAD_CALLS)
def test_bad_call_says_what_was_wrong_and_changes_nothing(message):
    memory = make("exact", 2)
    with pytest.raises(ValueError, match=message):
        BAD_CALLS[message](memory)
    assert [memory.size(0), memory.size(1)] == [0, 0]


def test_bounds_that_are_not_integers_are_refused():
    with pytest.raises(TypeError, match="search: stop must hold integers, got torch.float32"):
        make("exact").search(whole(1, 2, 1, D), 1, stop=torch.tensor([3.0]))


def test_search_of_no_queries_and_of_an_empty_memory():
    memory = make("exact", 2)
    assert memory.search(whole(2, 4, 0, D), 3).scores.shape == (2, 4, 0, 3)
    found = memory.search(whole(2, 4, 2, D), 3)
    assert not found.mask.any() and found.keys.shape == (2, 4, 2, 3, D)
    assert (found.token_index == -1).all() and found.fraction.isnan().all()


def test_written_in_inference_mode_is_read_with_gradient():
    memory = make("exact")
    with torch.inference_mode():
        keys, _ = fill(memory, 10)
        memory = memory.fork(1)
        fill(memory, 10)
    query = whole(1, G, 2, D).requires_grad_()
    found = memory.search(query, 20)
    assert found.mask.all()
    (found.keys @ query[..., None]).sum().backward()
    assert query.grad.equal(found.keys.sum(-2))


def test_pairs_read_before_a_write_keep_their_gradient():
    memory = make("exact", page_len=64)
    fill(memory, 10)
    query = whole(G, 3, D).requires_grad_()
    keys = memory.pairs(0).keys
    loss = (query @ keys.mT).square().sum()
    fill(memory, 10)  # into the slab that autograd holds, at other slots
    loss.backward()
    assert query.grad.shape == query.shape


def test_pairs_are_stored_without_gradient():
    memory = make("exact")
    keys = whole(1, G, 5, D).requires_grad_()
    memory.append(keys, keys * 2, token_index=torch.arange(5)[None])
    found = memory.search(whole(1, G, 1, D), 2)
    assert not (
        found.scores.requires_grad or found.keys.requires_grad or found.values.requires_grad
    )


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 16, 97, 98, 100, 128])
def test_shuffled_values_are_a_permutation_that_moves_every_slot(n):
    memory = make("exact", page_len=8)
    keys = torch.eye(128, D)[:n].expand(1, G, n, D)
    values = torch.arange(n).float()[None, None, :, None].expand(1, G, n, D)
    memory.append(keys, values, token_index=torch.arange(n)[None])
    view = memory.with_shuffled_values()
    found = view.search(whole(1, G, 1, D), n)
    assert (found.values[0, 0, 0, :, 0] != found.slots[0, 0, 0]).all()
    assert found.values[0, 0, 0, :, 0].sort().values.tolist() == list(range(n))
    by_slot = found.values[0, 0, 0, :, 0][found.slots[0, 0, 0].argsort()]
    assert view.pairs(0).values[0, :, 0].equal(by_slot)
    assert memory.pairs(0).values[0, :, 0].tolist() == list(range(n))


def test_shuffled_values_keep_keys_scores_and_empty_places():
    memory = make("exact", capacity=20)
    fill(memory, 33)
    queries = whole(1, 4, 3, D)
    view, plain = memory.with_shuffled_values().search(queries, 30), memory.search(queries, 30)
    assert view.slots.equal(plain.slots) and view.keys.equal(plain.keys)
    assert not view.values[~view.mask].any()


def test_at_reads_what_search_returned():
    memory = make("exact", 2)
    fill(memory, 40)
    found = memory.search(whole(2, 4, 3, D), 6)
    again = memory.at(found.slots)
    assert again.values.equal(found.values) and again.token_index.equal(found.token_index)


@pytest.mark.parametrize("name", ["n_lane", "n_kv_head", "head_dim"])
def test_sizes_below_one_are_refused(name):
    sizes = {"n_lane": 1, "n_kv_head": 1, "head_dim": 1, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        PagedMemory(MemoryConfig(), **sizes)
