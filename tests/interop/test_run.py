"""A run that begins from a Llama checkpoint, and what it leaves."""

import json
import random
import shutil
from dataclasses import replace

import pytest
import torch

from memformer.config import (
    DecoderConfig,
    FractionConfig,
    LowRankConfig,
    MemoryConfig,
    OptimiserConfig,
    RunConfig,
    StageConfig,
)
from memformer.data.own import read_texts
from memformer.interop.run import is_run, load_run, start_of, trained_on
from memformer.interop.transformers import HFTokenizer, load_llama
from memformer.model.saved_state import weights_hash
from memformer.training.predictive import PredictiveModule
from memformer.training.run import train
from tests.interop.tiny import VOCAB_SIZE, WORDS, llama, save


@pytest.fixture
def config(tmp_path):
    texts = []
    for name, n in (("train", 9), ("held", 4)):
        text = " ".join(random.Random(n).choices(WORDS[1:], k=8 * n))
        (tmp_path / f"{name}.jsonl").write_text(
            json.dumps({"id": name, "author": name, "title": name, "text": text})
        )
        texts.append(str(tmp_path / f"{name}.jsonl"))
    save(tmp_path / "llama", llama(tie_word_embeddings=True))
    return RunConfig(
        start=str(tmp_path / "llama"),
        model=DecoderConfig(
            vocab_size=VOCAB_SIZE, n_layer=3, n_head=4, n_kv_head=2, n_embd=32, head_dim=12,
            mlp_dim=48, window=5, segment_len=5, conv_width=0, qk_norm=False, rope_base=100.0,
            norm_eps=1e-6, n_sink=2,
            memory=MemoryConfig(layers=(1,), n_retrieved=3, positions="rotary"),
            fraction=FractionConfig(kind="fourier"),
        ),
        low_rank=LowRankConfig(rank=2),
        optimiser=OptimiserConfig(warmup_steps=1),
        novels=StageConfig(n_token=40, corpora=(texts[0],)),
        validation=(texts[1],),
        n_lane=2,
        validation_tokens=20,
    )  # fmt: skip


def test_start_computes_what_the_checkpoint_does(config, tmp_path):
    model, tokenizer = start_of(config)
    theirs, _ = load_llama(
        tmp_path / "llama", window=5, n_sink=2,
        memory=MemoryConfig(layers=(1,), n_retrieved=3, positions="rotary"),
    )  # fmt: skip
    ids = torch.tensor([tokenizer.encode(" ".join(WORDS[1:] * 3)).ids])
    fraction = torch.linspace(0, 1, ids.shape[1])[None]
    ours = model(ids, model.new_state(1), fraction=fraction).logits
    torch.testing.assert_close(ours, theirs(ids, theirs.new_state(1)).logits, rtol=0, atol=0)


def test_run_from_a_checkpoint_is_read_back_with_its_tokenizer(config, tmp_path):
    train(config, tmp_path / "run", start=start_of(config))
    assert is_run(tmp_path / "run")
    model, tokenizer = load_run(tmp_path / "run")
    assert isinstance(tokenizer, HFTokenizer)
    assert tokenizer.hash == start_of(config)[1].hash
    assert model.config == config.model
    assert not model.training
    before = start_of(config)[0]
    assert not torch.equal(model.blocks[0].attention.q.weight, before.blocks[0].attention.q.weight)
    assert torch.equal(model.embedding.weight, before.embedding.weight)


def test_new_weights_have_no_start(config):
    assert start_of(replace(config, start="", low_rank=LowRankConfig())) is None


def test_missing_start_is_an_error(config, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*nowhere"):
        start_of(replace(config, start=str(tmp_path / "nowhere")))


def test_run_from_a_checkpoint_goes_on_without_it(config, tmp_path, monkeypatch):
    config = replace(config, checkpoint_every=1)
    train(config, tmp_path / "whole", start=start_of(config))
    step = PredictiveModule.training_step

    def failing(module, batch, i):
        if module.done == 2:
            raise RuntimeError("the power went out")
        return step(module, batch, i)

    monkeypatch.setattr(PredictiveModule, "training_step", failing)
    with pytest.raises(RuntimeError, match="the power went out"):
        train(config, tmp_path / "cut", start=start_of(config))
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "llama")
    train(config, tmp_path / "cut", resume=True, start=start_of(config, tmp_path / "cut"))
    models = [load_run(tmp_path / name)[0] for name in ("whole", "cut")]
    assert weights_hash(models[0]) == weights_hash(models[1])


def test_decoder_of_a_run_is_no_run_and_the_way_out_is_named(config, tmp_path):
    train(config, tmp_path / "run", start=start_of(config))
    inner = tmp_path / "run" / "model"
    told = "run/model is only the decoder of a run: name the run that holds it as model/, .*/run$"
    for refused in (is_run, load_run, lambda path: start_of(replace(config, start=str(path)))):
        with pytest.raises(ValueError, match=told):
            refused(inner)


def test_run_knows_what_it_was_trained_on(config, tmp_path):
    train(config, tmp_path / "run", start=start_of(config))
    (train_book,), (held,) = (read_texts(tmp_path / f"{n}.jsonl") for n in ("train", "held"))
    edition = replace(train_book, id="edition", text="Another edition.", author="TRAIN")
    books = [held, train_book, edition]
    assert trained_on(tmp_path / "run", books) == ["train", "edition"]
    novels = replace(config.novels, corpora=(str(tmp_path / "held.jsonl"),))
    second = replace(config, start=str(tmp_path / "run"), validation=(), novels=novels)
    train(second, tmp_path / "second", start=start_of(second))
    assert trained_on(tmp_path / "second", books) == ["held", "train", "edition"]
    shutil.rmtree(tmp_path / "run" / "tokens")
    assert trained_on(tmp_path / "run", books) is None
