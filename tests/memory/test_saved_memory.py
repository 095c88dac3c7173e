"""A memory on disk: it goes on as it was, what is new is written and nothing else, and mapped pages
are the same pages."""

import pytest
import torch

from memformer.memory import PagedMemory, saved_memory
from memformer.memory.storage import UnreadableSave
from tests.memory.conftest import DTYPES, ON_PAGES, D, fill, make, whole


def tensor_files(folder):
    return sorted(folder.glob("*.safetensors"))


def assert_same(a, b):
    assert a.n_lane == b.n_lane
    for lane in range(a.n_lane):
        mine, theirs = a.pairs(lane), b.pairs(lane)
        assert mine.first == theirs.first
        assert mine.keys.equal(theirs.keys) and mine.values.equal(theirs.values)
        assert mine.token_index.equal(theirs.token_index) and mine.step.equal(theirs.step)
        assert mine.fraction.equal(theirs.fraction)


@pytest.mark.parametrize(("search", "dtype"), ON_PAGES)
@pytest.mark.parametrize("mmap", [False, True])
def test_save_load_go_on_equals_going_on(tmp_path, search, dtype, mmap):
    memory = make(search, 3, capacity=70, dtype=dtype)
    fill(memory, 90, [0])
    fill(memory, 33, [2])
    memory.save(tmp_path)
    loaded = PagedMemory.load(tmp_path, mmap=mmap)
    assert loaded.config == memory.config
    assert_same(memory, loaded)
    torch.manual_seed(3)
    fill(memory, 37)
    torch.manual_seed(3)
    fill(loaded, 37)
    assert_same(memory, loaded)
    assert loaded.search(whole(3, 4, 2, D), 5).mask.all()


def test_empty_memory_is_saved_too(tmp_path):
    make("exact", 2).save(tmp_path)
    assert [PagedMemory.load(tmp_path).size(lane) for lane in (0, 1)] == [0, 0]


def test_a_page_is_written_once(tmp_path, monkeypatch):
    memory = make("exact", page_len=4)
    fill(memory, 10)
    memory.save(tmp_path)
    written = []
    write = saved_memory.write_tensors
    monkeypatch.setattr(saved_memory, "write_tensors", lambda *a: written.append(a) or write(*a))
    fill(memory, 4)
    memory.fork(8).save(tmp_path)
    # the page sealed since, shared by nobody's name yet, is known by its address; 8 open pages
    assert len(written) == 1 + 8
    assert len(tensor_files(tmp_path)) == 4
    written.clear()
    memory.save(tmp_path / "elsewhere")
    assert len(written) == 4


@pytest.mark.parametrize("mmap", [False, True])
def test_lanes_that_shared_pages_share_them_when_loaded(tmp_path, mmap):
    memory = make("exact", page_len=4)
    fill(memory, 22)
    branches = memory.fork(3)
    fill(branches, 9, [1])
    branches.rewind(lane=2, to=14)
    fill(branches, 7, [2])
    branches.save(tmp_path)
    loaded = PagedMemory.load(tmp_path, mmap=mmap)
    assert_same(branches, loaded)
    first = [book._slabs[0].keys.data_ptr() for book in loaded.books]
    assert len(set(first)) == 1
    fill(loaded, 5, [1])
    assert_same(loaded.select([0, 2]), branches.select([0, 2]))


def test_what_is_no_longer_held_is_swept_and_nothing_else(tmp_path):
    memory = make("exact", page_len=4)
    fill(memory, 18)
    memory.save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".unfinished-1-x").write_text("left by a killed save")
    memory.rewind(lane=0, to=6)
    memory.save(tmp_path)
    assert len(tensor_files(tmp_path)) == 2
    left = {path.name for path in tmp_path.iterdir()} - {p.name for p in tensor_files(tmp_path)}
    assert left == {"manifest.json", "notes.txt"}


def test_view_with_shuffled_values_is_not_saved(tmp_path):
    memory = make("exact")
    fill(memory, 10)
    with pytest.raises(ValueError, match="shuffled values cannot be saved"):
        memory.with_shuffled_values().save(tmp_path)


def bytes_written(folder, before):
    return sum(path.stat().st_size for path in tensor_files(folder) if path.name not in before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_second_save_writes_what_is_new_and_the_open_page(tmp_path, dtype):
    memory = make("exact", page_len=1024, dtype=dtype)
    fill(memory, 10 * 1024 + 100)
    memory.save(tmp_path)
    before = {path.name for path in tensor_files(tmp_path)}
    assert len(before) == 11
    fill(memory, 1024)
    memory.save(tmp_path)
    row = {"float32": 4 * D, "bfloat16": 2 * D, "int8": D + 4}[dtype]
    pairs = (1024 + 100) * (2 * memory.n_kv_head * row + 8 + 4 + 8)
    n_header = 1024
    assert pairs < bytes_written(tmp_path, before) <= pairs + 2 * n_header
    assert len(tensor_files(tmp_path)) == 12


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_page_takes_on_disk_what_it_takes_in_memory(tmp_path, dtype):
    memory = make("exact", page_len=1024, dtype=dtype)
    fill(memory, 1024)
    memory.save(tmp_path)
    (path,) = tensor_files(tmp_path)
    assert memory.n_bytes < path.stat().st_size <= memory.n_bytes + 1024


@pytest.mark.parametrize("dtype", DTYPES)
def test_mapped_pages_are_not_copied_and_can_be_written_after(tmp_path, dtype):
    memory = make("exact", 2, capacity=70, dtype=dtype)
    fill(memory, 55)
    fill(memory, 15, [1])
    memory.save(tmp_path)
    mapped = PagedMemory.load(tmp_path, mmap=True)
    assert all(slab.keys.shape[1] == 4 for book in mapped.books for slab in book._slabs)
    assert_same(mapped, memory)
    names = {path: path.read_bytes() for path in tensor_files(tmp_path)}
    for each in (mapped, memory):
        torch.manual_seed(1)
        fill(each, 30)
        each.rewind(lane=0, to=83)
        fill(each.fork(2), 3)
        fill(each, 9)
    assert_same(mapped, memory)
    assert all(path.read_bytes() == data for path, data in names.items())
    mapped.save(tmp_path)  # sweeps files that are mapped
    assert_same(PagedMemory.load(tmp_path), memory)
    assert_same(mapped, memory)


@pytest.mark.parametrize("mmap", [False, True])
def test_opened_in_inference_mode_is_read_with_gradient(tmp_path, mmap):
    memory = make("exact")
    fill(memory, 10)
    memory.save(tmp_path)
    with torch.inference_mode():
        opened = PagedMemory.load(tmp_path, mmap=mmap)
        fill(opened, 3)
    keys = opened.pairs(0, stop=4).keys
    query = whole(2, 3, D).requires_grad_()
    (query @ keys.mT).square().sum().backward()
    assert query.grad.shape == query.shape


def test_a_missing_page_is_a_named_error_when_it_is_mapped(tmp_path):
    memory = make("exact")
    fill(memory, 20)
    memory.save(tmp_path)
    gone = tensor_files(tmp_path)[2]
    gone.unlink()
    with pytest.raises(UnreadableSave, match=f"{gone.name} is missing"):
        PagedMemory.load(tmp_path, mmap=True)


def test_pages_are_not_mapped_for_another_device(tmp_path):
    make("exact").save(tmp_path)
    with pytest.raises(ValueError, match="mmap keeps pages on the CPU, got device='cuda'"):
        PagedMemory.load(tmp_path, "cuda", mmap=True)


def test_a_page_without_its_scales_is_a_named_error(tmp_path, monkeypatch):
    memory = make("exact", dtype="int8")
    fill(memory, 9)
    monkeypatch.setattr(saved_memory, "_SCALES", ("scales_a", "scales_b"))
    memory.save(tmp_path)
    monkeypatch.undo()
    with pytest.raises(UnreadableSave, match="pages and manifest do not fit \\('key_scales'\\)"):
        PagedMemory.load(tmp_path)
