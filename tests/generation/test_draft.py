"""A draft put aside and taken up again is the same draft."""

import json

import pytest
import torch

from memformer import DecoderState
from memformer.generation.draft import load_draft, new_draft, save_draft
from memformer.generation.sample import sample
from memformer.memory.storage import UnreadableSave
from tests.generation.fake import FakeTokenizer

TOKENIZER = FakeTokenizer(*[f" {i}" for i in range(50)])


def test_saved_draft_goes_on_as_if_never_put_aside(model, tmp_path):
    draft = new_draft(model)
    draft.declare(90)
    draft.read(model, range(40))
    draft.read(model, [1, 2])
    save_draft(draft, tmp_path, model, TOKENIZER)
    loaded = load_draft(tmp_path, model, TOKENIZER)
    assert (loaded.ids, loaded.length) == ([*range(40), 1, 2], 90)
    rows = [
        torch.cat(list(sample(model, each.state, each.next_logits(), 20, length=90))).tolist()
        for each in (draft, loaded)
    ]
    assert rows[0] == rows[1]


def test_folder_opens_as_a_state_and_a_states_folder_as_a_draft(model, tmp_path):
    draft = new_draft(model)
    draft.read(model, range(40))
    save_draft(draft, tmp_path / "a", model, TOKENIZER)
    assert DecoderState.load(tmp_path / "a", model).n_read == [40]
    draft.state.save(tmp_path / "b", model)
    plain = load_draft(tmp_path / "b", model, TOKENIZER)
    with pytest.raises(ValueError, match="does not know its next token: give it a prompt"):
        plain.next_logits()
    plain.read(model, [7])
    draft.read(model, [7])
    assert torch.equal(plain.next_logits(), draft.next_logits())


def test_draft_without_a_token_can_be_saved(model, tmp_path):
    save_draft(new_draft(model), tmp_path, model, TOKENIZER)
    assert load_draft(tmp_path, model, TOKENIZER).logits is None


def test_saving_again_replaces_and_leaves_no_litter(model, tmp_path):
    draft = new_draft(model)
    for _ in range(3):
        draft.read(model, range(40))
        save_draft(draft, tmp_path, model, TOKENIZER)
    assert load_draft(tmp_path, model, TOKENIZER).state.n_read == [120]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    named = {part for part in json.dumps(manifest).split('"') if part.endswith(".safetensors")}
    assert {path.name for path in tmp_path.iterdir()} == named | {"manifest.json"}


def test_other_tokenizer_several_lanes_and_bad_length_are_refused(model, tmp_path):
    save_draft(new_draft(model), tmp_path, model, TOKENIZER)
    other = FakeTokenizer("a")
    other.hash = "other"
    with pytest.raises(UnreadableSave, match="saved with tokenizer fake, this one is other"):
        load_draft(tmp_path, model, other)
    model.new_state(2).save(tmp_path / "two", model)
    with pytest.raises(ValueError, match="a draft has one lane, the state has 2"):
        load_draft(tmp_path / "two", model, TOKENIZER)
    with pytest.raises(ValueError, match="length must be at least 1 token, got 0"):
        new_draft(model).declare(0)


def test_declaring_nothing_keeps_the_length(model):
    draft = new_draft(model)
    for length, expected in ((None, None), (9, 9), (None, 9), (7, 7)):
        draft.declare(length)
        assert draft.length == expected
