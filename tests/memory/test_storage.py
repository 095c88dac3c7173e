"""Saved is saved: killed, full, damaged."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from memformer.memory import PagedMemory, storage
from memformer.memory.storage import SaveFailed, UnreadableSave
from tests.memory.conftest import fill, make
from tests.memory.test_saved_memory import assert_same, tensor_files


class Killed(BaseException):
    pass


def failing(monkeypatch, name, at, error):
    """Let the n-th call of os.`name` raise."""
    real, calls = getattr(os, name), []

    def call(*args, **kwargs):
        calls.append(args)
        if len(calls) == at:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("at", range(1, 8))
@pytest.mark.parametrize("error", [Killed(), OSError(errno.ENOSPC, "No space left on device")])
def test_save_stopped_anywhere_opens_as_the_last_complete_one(
    tmp_path, monkeypatch, call, at, error
):
    memory = make("exact", page_len=4)
    fill(memory, 10)
    memory.save(tmp_path)
    before = PagedMemory.load(tmp_path)
    fill(memory, 9)
    with monkeypatch.context() as patch:
        failing(patch, call, at, error)
        try:
            memory.save(tmp_path)
            is_complete = True
        except Killed:
            is_complete = False
        except SaveFailed as failed:
            assert "disk is full" in str(failed) and "last complete save" in str(failed)
            assert failed.errno == errno.ENOSPC and str(tmp_path) in str(failed)
            is_complete = False
    opened = PagedMemory.load(tmp_path)
    # only the flush of the folder comes after the manifest is in place
    assert_same(opened, memory if is_complete or opened.size(0) == 19 else before)
    assert is_complete == (at > {"fsync": 6, "replace": 4}[call])
    memory.save(tmp_path)
    assert_same(PagedMemory.load(tmp_path), memory)
    assert not list(tmp_path.glob(".unfinished*"))


def test_disk_full_while_writing_is_named_and_leaves_the_last_save(tmp_path, monkeypatch):
    class Full:
        def __init__(self, path):
            self.path = path

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, data):
            self.path.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    memory = make("exact")
    fill(memory, 10)
    memory.save(tmp_path)
    fill(memory, 10)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "open", lambda path, _: Full(path), raising=False)
        with pytest.raises(SaveFailed, match="disk is full while .*last complete save"):
            memory.save(tmp_path)
    assert PagedMemory.load(tmp_path).size(0) == 10
    assert not list(tmp_path.glob(".unfinished*"))


SAVER = """
import sys, torch
from memformer.config import MemoryConfig
from memformer.memory import PagedMemory
memory = PagedMemory(MemoryConfig(page_len=4, search="exact"), n_lane=1, n_kv_head=1, head_dim=2)
n = 0
while True:  # value of a token is its index
    index = torch.arange(n, n + 7)
    pairs = index.float()[None, None, :, None].expand(1, 1, 7, 2)
    memory.append(pairs, pairs, token_index=index[None])
    n += 7
    memory.save(sys.argv[1])
    print(n, flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.013])
def test_killed_save_opens_as_the_last_complete_one(tmp_path, delay_s):
    saver = subprocess.Popen(
        [sys.executable, "-c", SAVER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(storage.__file__).parents[2],
    )
    with saver:
        told = [int(saver.stdout.readline()) for _ in range(5)]
        time.sleep(delay_s)
        saver.send_signal(signal.SIGKILL)
        told += [int(line) for line in saver.stdout]
    memory = PagedMemory.load(tmp_path)
    assert memory.size(0) in (told[-1], told[-1] + 7)
    assert memory.pairs(0).values[0, :, 0].tolist() == list(range(memory.size(0)))


@pytest.fixture
def saved(tmp_path):
    memory = make("exact")
    fill(memory, 10)
    memory.save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("where", [0, 7, 100, -1])
def test_flipped_bit_is_a_named_error(saved, where, mmap):
    path = tensor_files(saved)[1]
    data = bytearray(path.read_bytes())
    data[where] ^= 4
    path.write_bytes(data)
    with pytest.raises(UnreadableSave, match=f"{path.name} is damaged: expected SHA-256 .*, got"):
        PagedMemory.load(saved, mmap=mmap)


def test_truncated_and_missing_pages_are_named_errors(saved):
    first, second, _ = tensor_files(saved)
    first.write_bytes(first.read_bytes()[:-9])
    with pytest.raises(UnreadableSave, match=f"{first.name} is damaged"):
        storage.read_tensors(saved, first.name)
    second.unlink()
    with pytest.raises(UnreadableSave, match=f"{second.name} is missing"):
        storage.read_tensors(saved, second.name)


def test_a_page_damaged_by_truncation_is_written_again_by_the_next_save(saved):
    memory = PagedMemory.load(saved)
    first = tensor_files(saved)[0]
    first.write_bytes(first.read_bytes()[:-9])
    fresh = make("exact")
    run = memory.pairs(0)
    fresh.append(
        run.keys[None],
        run.values[None],
        token_index=run.token_index[None],
        fraction=run.fraction[None],
    )
    fresh.save(saved)
    assert_same(PagedMemory.load(saved), memory)


@pytest.mark.parametrize("n_byte", [0, 1, 40, -3])
def test_truncated_manifest_is_a_named_error(saved, n_byte):
    path = saved / "manifest.json"
    path.write_bytes(path.read_bytes()[:n_byte])
    with pytest.raises(UnreadableSave, match="manifest.json is not JSON"):
        PagedMemory.load(saved)


def test_changed_manifest_is_a_named_error(saved):
    path = saved / "manifest.json"
    path.write_text(path.read_text().replace('"n_write": 1', '"n_write": 3'))
    with pytest.raises(UnreadableSave, match="manifest.json was changed after it was written"):
        PagedMemory.load(saved)


def test_other_folders_are_named_errors(tmp_path):
    with pytest.raises(UnreadableSave, match="nothing was completely saved here"):
        PagedMemory.load(tmp_path / "nowhere")
    storage.write_manifest(tmp_path, {"kind": "bread"})
    with pytest.raises(UnreadableSave, match="kind 'bread', expected 'memory'"):
        PagedMemory.load(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(UnreadableSave, match="not a manifest"):
        PagedMemory.load(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "memory", "version": 3}))
    with pytest.raises(UnreadableSave, match="has version 3, this release reads 2"):
        PagedMemory.load(tmp_path)
    storage.write_manifest(tmp_path, {"kind": "memory", "memory": {"lanes": []}})
    with pytest.raises(UnreadableSave, match="the manifest describes no memory"):
        PagedMemory.load(tmp_path)


def test_manifest_needs_a_kind_and_finite_numbers(tmp_path):
    with pytest.raises(ValueError, match="a manifest needs a kind"):
        storage.write_manifest(tmp_path, {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_manifest(tmp_path, {"kind": "x", "loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_names_from_outside_the_folder_are_refused(tmp_path):
    with pytest.raises(UnreadableSave, match="which no save wrote"):
        storage.read_tensors(tmp_path, "../secrets.safetensors")


def test_tensors_come_back_as_they_were(tmp_path):
    grown = torch.randn(3, 4, requires_grad=True)
    tensors = {
        "a": grown,
        "part": grown[1:, ::2],  # shares memory with the first
        "half": torch.randn(2).bfloat16(),
        "flags": torch.tensor([True, False]),
        "none": torch.empty(0, 3),
    }
    name = storage.write_tensors(tmp_path / "new", tensors)
    assert storage.write_tensors(tmp_path / "new", tensors) == name
    back = storage.read_tensors(tmp_path / "new", name)
    assert all(back[key].equal(value) for key, value in tensors.items())
    assert back["half"].dtype == torch.bfloat16


def test_tensors_read_are_apart_from_their_file_and_mapped_ones_do_not_reach_it(tmp_path):
    name = storage.write_tensors(tmp_path, {"x": torch.zeros(2000)})
    read, mapped = storage.read_tensors(tmp_path, name), storage.map_tensors(tmp_path, name)
    mapped["x"] += 1
    assert not read["x"].any() and not storage.read_tensors(tmp_path, name)["x"].any()
    (tmp_path / name).unlink()
    assert mapped["x"].equal(torch.ones(2000)) and not read["x"].any()


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveFailed, match="while .*last complete save"):
        make("exact").save(tmp_path / "file" / "folder")
