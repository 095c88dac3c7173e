"""Recall of a decoder's own searches."""

import pytest
import torch

from memformer import Decoder, DecoderConfig, MemoryConfig
from memformer.evaluation.search_recall import search_recall

SIZES = dict(
    vocab_size=60, n_layer=2, n_head=2, n_kv_head=1, n_embd=16, head_dim=8, mlp_dim=16, window=8,
    segment_len=512,
)  # fmt: skip


def model_of(**memory):
    torch.manual_seed(0)
    model = Decoder(DecoderConfig(**SIZES, memory=MemoryConfig(layers=(0, 1), **memory)))
    for name, weight in model.named_parameters():
        if name.endswith(("q.weight", "k.weight")):
            torch.nn.init.normal_(weight, std=0.5)
    return model.eval()


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(60, (1, 4700), generator=torch.Generator().manual_seed(1))


def test_recall_is_of_all_pairs_with_exact_search_and_of_fewer_with_a_coarse_one(tokens):
    assert search_recall(model_of(search="exact"), tokens) == {0: 1.0, 1: 1.0}
    coarse, finer = (
        search_recall(model_of(search="IVF64,Flat", nprobe=n), tokens) for n in (1, 16)
    )
    for depth in (0, 1):
        assert 0.05 < coarse[depth] < finer[depth] <= 1
    assert coarse[1] < 0.98


def test_recall_of_clamped_distances_is_that_of_the_far_pairs_and_of_true_ones_is_whole(tokens):
    clamped = model_of(search="IVF64,Flat", nprobe=1, positions="rotary", max_distance=20)
    assert 0.05 < search_recall(clamped, tokens)[1] < 0.98
    true = model_of(search="IVF64,Flat", nprobe=1, positions="rotary")
    assert search_recall(true, tokens[:, :600]) == {0: 1.0, 1: 1.0}


def test_models_without_pairs_have_no_recall_and_short_texts_are_refused(tokens):
    model = model_of()
    assert search_recall(model.reconfigure({"memory.layers": ()}), tokens) == {}
    with pytest.raises(ValueError, match=r"more than window \+ n_sink = 8, got 8"):
        search_recall(model, tokens[:, :8])
