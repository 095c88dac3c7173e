"""A run that begins from a Llama checkpoint, and what it leaves."""

import json
import random
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
from memformer.interop.run import is_run, load_run, start_of
from memformer.interop.transformers import HFTokenizer, load_llama
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
