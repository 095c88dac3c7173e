"""Vectors of short texts by two pretrained models, kept in the cache once computed.

    decoder  SmolLM2-135M-Instruct in our own decoder, without memory: mean of its last hidden
             states over a text's tokens, in bfloat16; 576 numbers
    minilm   all-MiniLM-L6-v2 through `transformers`: mean of its last hidden states, divided by
             its length; 384 numbers

What a cached file holds is named by model and texts, so that other texts make another file.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from memformer.data import smollm2
from memformer.data.packages import arriving, cache_folder
from memformer.data.rating_sources import MINILM, minilm
from memformer.data.sources import SMOLLM2, SMOLLM2_FILE
from memformer.interop.transformers import load_llama

Model = Literal["decoder", "minilm"]
MAX_TOKENS = 256
"""A longer text is cut, and the cut is counted."""
Embed = Callable[[list[list[int]]], Tensor]


def text_features(texts: Sequence[str], model: Model, *, batch_size: int = 32) -> Tensor:
    """(m, d) float32, from the cache if they were computed before."""
    path = _place(texts, model)
    if not path.exists():
        with torch.inference_mode():
            found = _compute(texts, model, batch_size)
        with arriving(path) as partial:
            save_file({"features": found.contiguous()}, partial)
    return load_file(path)["features"]


def _place(texts: Sequence[str], model: Model) -> Path:
    pin = SMOLLM2 if model == "decoder" else MINILM
    digest = hashlib.sha256("\0".join([pin.sha256, *texts]).encode()).hexdigest()
    return cache_folder() / "features" / f"{model}-{digest[:16]}.safetensors"


def _compute(texts: Sequence[str], model: Model, batch_size: int) -> Tensor:
    embed, ids = _decoder(texts) if model == "decoder" else _minilm(texts)
    n_cut = sum(len(row) > MAX_TOKENS for row in ids)
    print(f"{model}: {len(ids)} texts, {sum(map(len, ids))} tokens, {n_cut} cut", flush=True)
    ids = [row[:MAX_TOKENS] for row in ids]
    out: list[Tensor | None] = [None] * len(ids)
    start = time.perf_counter()
    for n, batch in enumerate(batches_by_length(ids, batch_size)):
        for i, vector in zip(batch, embed([ids[i] for i in batch]), strict=True):
            out[i] = vector
        if n % 20 == 0:
            done = sum(each is not None for each in out)
            print(f"{model}: {done} texts, {time.perf_counter() - start:.0f} s", flush=True)
    return torch.stack([each for each in out if each is not None])


def batches_by_length(ids: list[list[int]], size: int) -> Iterator[list[int]]:
    """Texts of about one length together, so that little is padding."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def padded(rows: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    mask = torch.arange(longest)[None] < torch.tensor([len(row) for row in rows])[:, None]
    return tokens, mask


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weight = mask[..., None].float()
    return (hidden.float() * weight).sum(1) / weight.sum(1)


def _decoder(texts: Sequence[str]) -> tuple[Embed, list[list[int]]]:
    model, tokenizer = load_llama(
        smollm2() / SMOLLM2_FILE, window=MAX_TOKENS, n_sink=4, dtype=torch.bfloat16
    )

    def embed(rows: list[list[int]]) -> Tensor:
        tokens, mask = padded(rows, 0)
        state = model.new_state(batch_size=len(rows))
        hidden = model(tokens, state, mask=mask, want_hidden=True, n_logits=0).hidden
        return masked_mean(hidden, mask)

    return embed, [list(tokenizer.encode(text).ids) for text in texts]


def _minilm(texts: Sequence[str]) -> tuple[Embed, list[list[int]]]:
    from transformers import AutoModel, AutoTokenizer

    folder = minilm()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()

    def embed(rows: list[list[int]]) -> Tensor:
        tokens, mask = padded(rows, tokenizer.pad_token_id)
        hidden = model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        return torch.nn.functional.normalize(masked_mean(hidden, mask), dim=-1)

    return embed, [tokenizer(text)["input_ids"] for text in texts]
