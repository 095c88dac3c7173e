"""What forks, rewinding and eviction copy, share and give back."""

import pytest

from tests.memory.conftest import DTYPES, D, G, fill, make


def storages(run):
    return {column.untyped_storage().data_ptr() for column in run.columns}


def addresses(book):
    return set().union(*map(storages, book._slabs))


def pair_bytes(dtype):
    """Of two rows for each head, with their scales, and the metadata."""
    row = {"float32": 4 * D, "bfloat16": 2 * D, "int8": D + 4}[dtype]
    return 2 * G * row + 8 + 4 + 8


@pytest.mark.parametrize("dtype", DTYPES)
def test_fork_copies_at_most_one_page_a_branch(dtype):
    memory = make("exact", page_len=16, dtype=dtype)
    fill(memory, 16 * 40 + 5)
    branches = memory.fork(8)
    own = addresses(memory.books[0])
    for book in branches.books:
        copied = [slab for slab in book._slabs if not storages(slab) <= own]
        assert sum(slab.keys.shape[1] for slab in copied) == 16
        assert all(not storages(slab) & own for slab in copied)
    before = branches.n_bytes
    fill(branches, 12, [3])  # past the end of the copied page: one page more, not a large slab
    assert branches.n_bytes - before == 16 * pair_bytes(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fork_of_a_full_last_page_copies_nothing(dtype):
    memory = make("exact", page_len=16, dtype=dtype)
    fill(memory, 64)
    own = addresses(memory.books[0])
    assert all(addresses(book) <= own for book in memory.fork(2).books)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("to", "n_copied"), [(16 * 20, 0), (16 * 20 + 7, 16), (16 * 40 + 2, 16)])
def test_rewind_copies_at_most_the_page_it_cuts(dtype, to, n_copied):
    memory = make("exact", page_len=16, dtype=dtype)
    fill(memory, 16 * 40 + 5)
    own, whole_before = addresses(memory.books[0]), memory.pairs(0)
    branch = memory.fork(1)
    branch.rewind(lane=0, to=to)
    copied = [s for s in branch.books[0]._slabs if not storages(s) <= own]
    assert sum(slab.keys.shape[1] for slab in copied) == n_copied
    fill(branch, 20)
    assert branch.pairs(0).token_index.tolist() == list(range(to + 20))
    after = memory.pairs(0)
    assert all(a.equal(b) for a, b in zip(after.columns, whole_before.columns, strict=True))


def test_evicted_slabs_are_given_back():
    memory = make("exact", page_len=4, capacity=64)
    for _ in range(40):
        fill(memory, 16)
    assert memory.n_bytes <= (64 + 2 * 8) * pair_bytes("float32")
