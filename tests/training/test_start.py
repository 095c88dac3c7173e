"""A run that begins from a trained decoder: what is refused, what is kept, what resuming needs."""

import json
import shutil

import pytest
import torch

from memformer import Decoder
from memformer.config import override
from memformer.data.sentencepiece_tokenizer import train_tokenizer
from memformer.interop.run import start_of
from memformer.model.saved_model import load_model, save_model
from memformer.model.saved_state import weights_hash
from memformer.training.predictive import PredictiveModule
from memformer.training.run import train
from tests.training.conftest import story
from tests.training.test_low_rank import trained as trained  # a run, and a config beginning from it
from tests.training.test_run import outcome


def interrupt(monkeypatch, config, folder, step):
    """A run that fails when this many steps are done."""
    real = PredictiveModule.training_step

    def failing(module, batch, i):
        if module.done == step:
            raise RuntimeError("the power went out")
        return real(module, batch, i)

    with monkeypatch.context() as patched:
        patched.setattr(PredictiveModule, "training_step", failing)
        with pytest.raises(RuntimeError, match="the power went out"):
            train(config, folder, start=start_of(config))


def test_run_json_names_the_weights_it_began_from(trained):
    folder, config = trained
    first = weights_hash(load_model(folder / "first" / "model"))
    train(config, folder / "second", start=start_of(config))
    about = json.loads((folder / "second" / "run.json").read_text())
    assert about["start_weights"] == first
    assert json.loads((folder / "first" / "run.json").read_text())["start_weights"] is None


@pytest.mark.parametrize("changes", [
    {}, {"low_rank.rank": 0, "optimiser.ema_decay": 0.9},
])  # fmt: skip
def test_interrupted_run_goes_on_without_what_it_began_from(trained, monkeypatch, changes):
    folder, config = trained
    config = override(config, changes)
    train(config, folder / "whole", start=start_of(config))
    interrupt(monkeypatch, config, folder / "cut", step=5)
    shutil.rmtree(folder / "first")
    train(config, folder / "cut", resume=True, start=start_of(config, folder / "cut"))
    assert outcome(folder / "cut") == outcome(folder / "whole")


def test_start_whose_weights_changed_is_named(trained, monkeypatch):
    folder, config = trained
    interrupt(monkeypatch, config, folder / "early", step=1)  # before the first checkpoint
    interrupt(monkeypatch, config, folder / "late", step=5)
    model = load_model(folder / "first" / "model")
    with torch.no_grad():
        model.embedding.weight[0] += 1
    save_model(model, folder / "first" / "model")
    changed = r"was begun from weights [0-9a-f]{6}, start=.*first' has [0-9a-f]{6} now: put those"
    for name in ("early", "late"):
        with pytest.raises(ValueError, match=changed):
            train(config, folder / name, resume=True, start=start_of(config))
    with pytest.raises(ValueError, match=changed):
        train(config, folder / "early", resume=True, start=start_of(config, folder / "early"))
    train(config, folder / "late", resume=True, start=start_of(config, folder / "late"))


def test_decoder_without_weights_needs_a_checkpoint(trained):
    folder, config = trained
    with torch.device("meta"):
        empty = Decoder(config.model)
    with pytest.raises(ValueError, match=r"must have weights until .*second has a checkpoint"):
        train(config, folder / "second", start=(empty, start_of(config)[1]))
    assert not (folder / "second").exists()


def test_tokenizer_larger_than_the_vocabulary_is_refused_at_once(trained):
    folder, config = trained
    larger = train_tokenizer([story(i, 60) for i in range(9)], 310)
    with pytest.raises(
        ValueError, match=r"at most model\.vocab_size=300 tokens, got 310: give the"
    ):
        train(config, folder / "second", start=(start_of(config)[0], larger))
    assert not (folder / "second").exists()
