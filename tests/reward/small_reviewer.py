"""A small reviewer over a tokenizer of letters."""

import torch

from memformer import Decoder
from memformer.config.reviewer import ReviewConfig
from memformer.reward.review_text import review_vocabulary, with_review_tokens
from memformer.reward.reviewer import Reviewer
from tests.generation.fake import FakeTokenizer
from tests.model.conftest import lively, small_config

LETTERS = "abcdefghijklmnopqrstuvwxyz .,!?"
CONFIG = ReviewConfig(max_len=6, groups=("young", "old"), delay_edges=(7.0, 365.0))


def letters() -> FakeTokenizer:
    tokenizer = FakeTokenizer(*LETTERS)
    tokenizer.special_ids = frozenset({0})
    return tokenizer


def small_decoder(seed: int = 0, **changes) -> Decoder:
    torch.manual_seed(seed)
    settings = dict(
        vocab_size=len(LETTERS), window=6, segment_len=8, memory=dict(layers=(1, 2), n_retrieved=4),
        fraction=dict(kind="fourier"),
    )  # fmt: skip
    return lively(Decoder(small_config(**{**settings, **changes}))).eval()


def small_reviewer(seed: int = 0, *, max_len: int = 6, is_partial: bool = False, **changes):
    """Weights are drawn so that novels and reviews matter to what is written."""
    vocabulary = review_vocabulary(letters(), CONFIG)
    model = with_review_tokens(small_decoder(seed, **changes), vocabulary, seed=seed)
    with torch.no_grad():
        torch.manual_seed(seed)
        model.embedding.weight.normal_(std=0.2)  # logits that differ, ends that are drawn
    return Reviewer(model, vocabulary, max_len=max_len, is_partial=is_partial)


def novels(B: int, L: int, seed: int = 0):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(1, len(LETTERS), (B, L), generator=random)
