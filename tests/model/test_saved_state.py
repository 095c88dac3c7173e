"""Saved states: going on after save and load equals going on."""

import json
from pathlib import Path

import pytest
import torch

from memformer import Decoder, DecoderState
from memformer.memory.storage import MANIFEST, SaveFailed, UnreadableSave
from memformer.model.saved_model import load_model, save_model
from memformer.model.saved_state import weights_hash
from tests.model.conftest import lively, read, small_config
from tests.model.test_state import same, snapshot

MEMORIES = [
    dict(layers=(1, 2), n_retrieved=5),
    dict(layers="all", n_retrieved=5, positions="rotary", dtype="bfloat16"),
    dict(layers=(1,), n_retrieved=5, search="HNSW32", capacity=24),
    dict(layers=()),
]


class Words:
    """Only its hash matters here."""

    def __init__(self, hash: str) -> None:
        self.hash = hash


@pytest.mark.parametrize("memory", MEMORIES)
def test_going_on_after_load_equals_going_on(memory, tokens, tmp_path):
    model = lively(Decoder(small_config(memory=memory, n_sink=2)))
    state = model.new_state(2)
    with torch.no_grad():
        read(model, tokens[:, :60], 11, state=state)
        state.save(tmp_path, model)
        loaded = DecoderState.load(tmp_path, model)
        assert same(snapshot(state), snapshot(loaded))
        a = read(model, tokens[:, 60:], 11, state=state)
        b = read(model, tokens[:, 60:], 11, state=loaded)
    assert torch.equal(a, b)


def test_second_save_writes_only_what_is_new(model, tokens, tmp_path):
    state = model.new_state(1)
    with torch.no_grad():
        read(model, tokens[:1, :60], 10, state=state)
        state.save(tmp_path, model)
        before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        read(model, tokens[:1, 60:], 10, state=state)
        state.save(tmp_path, model)
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    # 43 pairs of 2 layers: 5 sealed pages of 8 each stay as they were
    assert sum(after.get(name) == when for name, when in before.items()) == 2 * 5


@pytest.fixture
def saved(model, tokens, tmp_path) -> Path:
    state = model.new_state(2)
    with torch.no_grad():
        read(model, tokens[:, :60], 11, state=state)
    state.save(tmp_path, model, Words("aaaaaaaaa"))
    return tmp_path


def test_other_weights_are_refused_unless_told(model, saved):
    with torch.no_grad():
        model.norm.weight[3] += 1e-6
    with pytest.raises(UnreadableSave, match="state was saved with weights .*, this model has"):
        DecoderState.load(saved, model)
    assert DecoderState.load(saved, model, check=False).n_read == [60, 60]


def test_another_config_is_refused_by_name(model, saved):
    other = model.reconfigure({"memory.n_retrieved": 6})
    with pytest.raises(UnreadableSave, match="memory.n_retrieved=5, this model has 6"):
        DecoderState.load(saved, other)
    deeper = Decoder(small_config(n_layer=4))
    with pytest.raises(UnreadableSave, match="the state has 3 layers, the model 4"):
        DecoderState.load(saved, deeper, check=False)


def test_another_tokenizer_is_refused(model, saved):
    DecoderState.load(saved, model, Words("aaaaaaaaa"))
    with pytest.raises(UnreadableSave, match="saved with tokenizer aaaaaa, this one is bbbbbb"):
        DecoderState.load(saved, model, Words("bbbbbbbbb"))


def test_flipped_bit_is_named(model, saved):
    name = json.loads((saved / MANIFEST).read_text())["tensors"]
    data = bytearray((saved / name).read_bytes())
    data[-1] ^= 1
    (saved / name).write_bytes(data)
    with pytest.raises(UnreadableSave, match=f"{name} is damaged: expected SHA-256"):
        DecoderState.load(saved, model)


def test_truncated_or_missing_manifest_is_named(model, saved, tmp_path):
    whole = (saved / MANIFEST).read_bytes()
    (saved / MANIFEST).write_bytes(whole[:-20])
    with pytest.raises(UnreadableSave, match="is not JSON"):
        DecoderState.load(saved, model)
    (saved / MANIFEST).unlink()
    with pytest.raises(UnreadableSave, match="nothing was completely saved here"):
        DecoderState.load(saved, model)


def test_full_disk_leaves_the_last_save_whole(model, tokens, saved, monkeypatch):
    state = DecoderState.load(saved, model)
    with torch.no_grad():
        read(model, tokens[:, 60:], 11, state=state)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(SaveFailed, match="the disk is full"):
            state.save(saved, model)
    assert DecoderState.load(saved, model).n_read == [60, 60]


def test_view_cannot_be_saved(model, saved):
    state = DecoderState.load(saved, model)
    with pytest.raises(ValueError, match="this state is a view"):
        state.with_shuffled_values().save(saved, model)


def test_lanes_with_the_same_pages_load_as_they_were(tokens, tmp_path):
    model = lively(Decoder(small_config(memory=dict(layers=(1, 2), n_retrieved=5))))
    state = model.new_state(2)
    twice = tokens[:1].expand(2, -1)
    with torch.no_grad():
        read(model, twice[:, :60], 11, state=state)
        state.save(tmp_path, model)
        loaded = DecoderState.load(tmp_path, model)
        a = read(model, twice[:, 60:], 11, state=state)
        b = read(model, twice[:, 60:], 11, state=loaded)
    assert torch.equal(a, b)


def test_a_decoder_is_not_overwritten_by_a_state(model, tmp_path):
    save_model(model, tmp_path)
    with pytest.raises(ValueError, match="holds a save of kind 'decoder', which one of kind"):
        model.new_state(1).save(tmp_path, model)
    assert weights_hash(load_model(tmp_path)) == weights_hash(model)
