"""What is special about FAISS: groups, bad names, training, threads."""

import subprocess
import sys

import pytest
import torch

from memformer.memory import faiss_search
from memformer.memory.faiss_search import _blocks
from memformer.memory.recall import recall_at_k
from tests.memory.conftest import APPROXIMATE, BACKENDS, EXACT, D, G, fill, make, whole

FAISS = [name for name in BACKENDS if name not in ("exact", "blocked", "fused")]


def ranges(memory, lane=0):
    return [(group.first, group.stop) for group in memory.books[lane].groups]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("HNSV32", "FAISS has no index 'HNSV32'; try 'HNSW32', 'Flat' or 'IVF1024,Flat'"),
        ("PQ7x4fs", "cannot build 'PQ7x4fs' for inner products of head_dim=8: .*multiple"),
        ("IDMap,Flat", "leave IDMap out of 'IDMap,Flat'"),
        ("LSH", "cannot build 'LSH' for inner products"),
    ],
)
def test_index_that_cannot_be_built_is_an_error_at_once(search, message):
    with pytest.raises(ValueError, match=message):
        make(search)


def test_parameter_that_an_index_lacks_is_an_error():
    with pytest.raises(ValueError, match="nprobe: FAISS's 'Flat' has no such parameter"):
        faiss_search.FaissSearch("Flat", 8, nprobe=3)


def test_parameters_reach_the_indexes():
    memory = make("IVF16,Flat", nprobe=5)
    fill(memory, 64)
    assert {index.nprobe for index in memory.books[0].groups[0].indexes} == {5}
    memory = make("HNSW32", efSearch=77)
    fill(memory, 64)
    assert memory.books[0].groups[0].indexes[0].hnsw.efSearch == 77


def test_wider_search_finds_more():
    narrow, wide = make("IVF16,Flat", nprobe=1), make("IVF16,Flat", nprobe=16)
    keys = torch.randn(1, G, 1000, D)
    for memory in (narrow, wide):
        memory.append(keys, keys, token_index=torch.arange(1000)[None])
    queries = torch.randn(1, G, 50, D)
    assert recall_at_k(narrow, queries, 10) < recall_at_k(wide, queries, 10) == 1.0


@pytest.mark.parametrize("search", APPROXIMATE)
def test_recall_is_high_where_it_should_be(search):
    memory = make(search, 2, **({"nprobe": 16} if "IVF" in search else {}))
    keys = torch.randn(2, G, 2000, D)
    memory.append(keys, keys, token_index=torch.arange(2000).expand(2, -1))
    assert recall_at_k(memory, torch.randn(2, 4, 20, D), 10) > 0.9


@pytest.mark.parametrize("search", EXACT)
def test_exact_search_has_recall_one_also_with_ties(search):
    memory = make(search, 2)
    assert recall_at_k(memory, whole(2, 4, 20, D), 10) == 1.0  # empty
    fill(memory, 500)
    assert recall_at_k(memory, whole(2, 4, 20, D), 10) == 1.0


def test_blocks_are_aligned_and_as_large_as_can_be():
    assert list(_blocks(0, 15, 16)) == []
    assert list(_blocks(0, 40, 16)) == [(0, 16), (16, 32)]
    assert list(_blocks(0, 160, 16)) == [(0, 128), (128, 144), (144, 160)]
    assert list(_blocks(4, 300, 16))[0] == (16, 32) and list(_blocks(4, 300, 16))[7] == (128, 256)


def test_groups_are_merged_shared_and_dropped():
    memory = make("Flat", page_len=4)
    for _ in range(13):
        fill(memory, 11)
    assert ranges(memory) == [(0, 128)]
    fill(memory, 20)
    first = memory.books[0].groups[0]
    branches = memory.fork(2)
    assert all(book.groups[0] is first for book in branches.books)
    branches.rewind(lane=0, to=70)
    assert ranges(branches, 0) == [(0, 16), (16, 32), (32, 48), (48, 64)]
    assert ranges(branches, 1) == ranges(memory) == [(0, 128), (128, 144), (144, 160)]
    branches.reset([1])
    assert ranges(branches, 1) == []


def test_evicted_slots_are_in_no_group():
    memory = make("Flat", page_len=4, capacity=150)
    for _ in range(30):
        fill(memory, 13)
        assert all(first >= memory.books[0].start for first, _ in ranges(memory))


def test_too_few_keys_to_train_are_searched_exactly(monkeypatch):
    monkeypatch.setattr(faiss_search, "POINTS_PER_CENTROID", 10)
    memory = make("IVF16,Flat", nprobe=1)
    fill(memory, 159)
    assert ranges(memory) == []
    assert recall_at_k(memory, whole(1, G, 9, D), 5) == 1.0
    fill(memory, 1)
    assert ranges(memory) == [(0, 128), (128, 144), (144, 160)]


def test_index_of_1024_lists_finds_what_exact_finds():
    memory = make("IVF1024,Flat", nprobe=1024)
    fill(memory, 3000)
    assert ranges(memory)[0] == (0, 1024)
    assert recall_at_k(memory, whole(1, G, 9, D), 5) == 1.0


def test_training_is_done_once_and_shared():
    memory = make("IVF16,Flat")
    fill(memory, 64)
    trained = memory.books[0].groups[0].trained
    fill(memory, 200)
    assert all(group.trained is trained for group in memory.books[0].groups)


@pytest.mark.parametrize("search", FAISS)
def test_indexes_are_asked(search, monkeypatch):
    memory = make(search)
    fill(memory, 100)
    asked = []
    ask = faiss_search.FaissSearch._search_group
    monkeypatch.setattr(
        faiss_search.FaissSearch,
        "_search_group",
        lambda self, group, *a: asked.append(group) or ask(self, group, *a),
    )
    memory.search(whole(1, G, 2, D), 3)
    assert len(asked) == len(memory.books[0].groups) > 1
    asked.clear()
    memory.search(whole(1, G, 2, D), 3, start=torch.tensor([[17, 0]]), stop=torch.tensor([64]))
    assert [(group.first, group.stop) for group in asked] == [(32, 48), (48, 64)]


def test_threads_of_faiss_are_as_before():
    import faiss

    before = faiss.omp_get_max_threads()
    memory = make("Flat")
    fill(memory, 100)
    memory.search(whole(1, G, 2, D), 3)
    assert faiss.omp_get_max_threads() == before


def test_faiss_is_imported_only_when_configured():
    code = (
        "import sys; from memformer.config import MemoryConfig\n"
        "from memformer.memory import PagedMemory\n"
        "PagedMemory(MemoryConfig(), n_lane=1, n_kv_head=1, head_dim=2)\n"
        "assert 'faiss' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
