"""MiniLM trained along with the raters' shared opinion: vectors of texts that know what is rated.

All weights of all-MiniLM-L6-v2 and a linear map are trained on the mean rating of the training
texts (squared error, AdamW, linear warm-up and decay, bfloat16). The held-out ratings are
never read. What comes back are the mean-pooled last hidden states of all texts.
"""

import hashlib
import json
import time
from collections.abc import Sequence

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from memformer.data.packages import arriving, cache_folder
from memformer.data.rating_sources import MINILM, minilm
from memformer.interop.text_features import batches_by_length, masked_mean, padded

SETTINGS = {"epochs": 2, "batch": 32, "rate": 1e-4, "head_rate": 1e-2, "warm_up": 0.1, "clip": 1.0}


def trained_features(
    texts: Sequence[str], train: Tensor, means: Tensor, *, epochs: int, seed: int
) -> Tensor:
    """(m, 384) float32 of all texts, from the cache if they were computed before.

    Args:
        texts: all of them.
        train: (t,) int64, which of them are trained on.
        means: (t,) their mean ratings.
        epochs: passes over the training texts.
        seed: of the batches' order, dropout and the map's start.
    """
    settings = SETTINGS | {"epochs": epochs}
    key = json.dumps([MINILM.sha256, settings, seed, train.tolist(), means.tolist(), list(texts)])
    path = cache_folder() / "features" / (
        f"minilm-trained-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    )  # fmt: skip
    if not path.exists():
        torch.manual_seed(seed)
        found = _train(texts, train, means, epochs)
        with arriving(path) as partial:
            save_file({"features": found.contiguous()}, partial)
    return load_file(path)["features"]


def _train(texts: Sequence[str], train: Tensor, means: Tensor, epochs: int) -> Tensor:
    folder = minilm()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    head = nn.Linear(model.config.hidden_size, 1)
    ids = [tokenizer(text)["input_ids"] for text in texts]
    aim = (means - means.mean()) / means.std()
    optimiser = torch.optim.AdamW(
        [
            {"params": model.parameters(), "lr": SETTINGS["rate"]},
            {"params": head.parameters(), "lr": SETTINGS["head_rate"]},
        ],
        weight_decay=0.01,
    )
    batches = list(batches_by_length([ids[i] for i in train.tolist()], SETTINGS["batch"]))
    n_step = epochs * len(batches)
    warm = SETTINGS["warm_up"] * n_step
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda t: min((t + 1) / warm, (n_step - t) / (n_step - warm))
    )

    def embed(rows: list[list[int]]) -> Tensor:
        tokens, mask = padded(rows, tokenizer.pad_token_id)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        return masked_mean(hidden, mask)

    start, step = time.perf_counter(), 0
    model.train()
    for _ in range(epochs):
        for number in torch.randperm(len(batches)).tolist():
            batch = batches[number]
            loss = (
                (head(embed([ids[int(train[i])] for i in batch]))[:, 0] - aim[batch]) ** 2
            ).mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["clip"])
            optimiser.step()
            schedule.step()
            step += 1
            if step % 20 == 0:
                took = time.perf_counter() - start
                print(f"step {step}/{n_step}, loss {loss:.3f}, {took:.0f} s", flush=True)
    model.eval()
    out = torch.zeros(len(ids), model.config.hidden_size)
    with torch.inference_mode():
        for batch in batches_by_length(ids, 64):
            out[batch] = embed([ids[i] for i in batch])
    return out
