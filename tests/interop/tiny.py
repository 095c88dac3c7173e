"""Tiny random Llamas, a tiny tokenizer, and reading in pieces."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from memformer.model.decoder import Decoder

VOCAB_SIZE = 61
WORDS = ["<unk>", "the", "whale", "surfaced", "ahab", "saw", "it", "at", "dawn"]


def llama(seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    """Three layers of grouped queries; head_dim is not hidden_size / heads."""
    settings = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 12,
        "bos_token_id": None,
        "eos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
    }
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**(settings | changes))).eval()
    for weight in model.parameters():
        # large enough for attention to be far from uniform
        torch.nn.init.normal_(weight, 1.0 if weight.dim() == 1 else 0.0, 0.2)
    return model


def tokenizer(words: list[str] = WORDS) -> PreTrainedTokenizerFast:
    """One id a word."""
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")


def save(folder: Path, model: LlamaForCausalLM, words: list[str] = WORDS) -> Path:
    """As a checkpoint of safetensors, config and tokenizer."""
    model.save_pretrained(folder)
    tokenizer(words).save_pretrained(folder)
    return folder


def draw_ids(n_lane: int, n: int, seed: int = 1) -> Tensor:
    """(n_lane, n) ids."""
    return torch.randint(1, VOCAB_SIZE, (n_lane, n), generator=torch.Generator().manual_seed(seed))


def read(model: Decoder, ids: Tensor, cuts: list[int]) -> Tensor:
    """Logits of our decoder, segment by segment; cuts are where segments begin and end."""
    state = model.new_state(len(ids))
    rows = []
    for first, last in pairwise(cuts):
        out = model(ids[:, first:last], state)
        state.advance(out)
        rows.append(out.logits)
    return torch.cat(rows, dim=1)


def read_cached(model: LlamaForCausalLM, ids: Tensor, cuts: list[int]) -> Tensor:
    """Logits of a model of transformers, call by call with its cache."""
    cache, rows = None, []
    for first, last in pairwise(cuts):
        out = model(ids[:, first:last], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        rows.append(out.logits)
    return torch.cat(rows, dim=1)
