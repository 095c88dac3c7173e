"""What do narrower pages cost: pairs missed, and nats?

SmolLM2-135M-Instruct reads held-out novels in a window of 256 tokens and 4 sinks, with a memory of
K = 32 pairs in every layer and true distances, three times in step: pages of float32, bfloat16 and
int8 (one float32 scale a row). All search exactly, so only what is stored differs, and with it what
later layers and tokens make of it.

Recall: of the pairs that the reading with float32 retrieves, the share that the other one retrieves
for the same token, layer and head, over the second half. `mass`: the same, each pair counted by its
weight in the attention.

Expect: bfloat16 finds .99 of the pairs and int8 .97, at a difference in nats below 0.002 either
        way, which is the noise of a passage.
Run:    OMP_NUM_THREADS=1 python experiments/page_dtypes.py experiments/results/page_dtypes.json
Result: experiments/README.md
"""

import argparse
import time
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import numpy as np
import torch
import torch.nn.functional as F
from synthetic import Rows  # beside this file

from memformer.config import MemoryConfig
from memformer.data import classics, smollm2
from memformer.data.sources import SMOLLM2_FILE
from memformer.evaluation.encoded import EncodedManuscript, encode
from memformer.evaluation.metrics import BlockDraws, estimate
from memformer.interop.transformers import load_llama
from memformer.model.attention_state import Retrieved
from memformer.model.decoder import Decoder

BOOKS = ("huxley-crome", "woolf-voyage")
LAYERS = (0, 5, 11, 17, 23, 29)
DTYPES = ("float32", "bfloat16", "int8")
N_TOKENS = 3072
MEMORY = MemoryConfig(layers="all", n_retrieved=32, positions="rotary", search="exact")


def shared(ours: Retrieved, base: Retrieved) -> tuple[float, float, int]:
    """Of base's pairs, those that are ours too: their number, their weight; and all of base's."""
    is_there = base.token_index >= 0  # (1, H, L, K)
    both = (base.token_index[..., None] == ours.token_index[..., None, :]).any(-1) & is_there
    return float(both.sum()), float((base.weight * both).sum()), int(is_there.sum())


def read(models: dict[str, Decoder], book: EncodedManuscript) -> dict[str, Any]:
    """One row: nats, recall and bytes of every dtype."""
    states = {dtype: model.new_state(batch_size=1) for dtype, model in models.items()}
    nats: dict[str, list[torch.Tensor]] = {dtype: [] for dtype in DTYPES}
    counts = {dtype: np.zeros((len(LAYERS), 4)) for dtype in DTYPES}
    ids = torch.from_numpy(book.ids)
    step = models["float32"].config.segment_len
    for start in range(0, len(ids) - 1, step):
        stop = min(start + step, len(ids) - 1)
        outs = {
            dtype: model(ids[None, start:stop], states[dtype], want_retrieved=True)
            for dtype, model in models.items()
        }
        for dtype, out in outs.items():
            target = ids[start + 1 : stop + 1]
            nats[dtype].append(F.cross_entropy(out.logits[0].float(), target, reduction="none"))
            states[dtype].advance(out)
            for row, layer in enumerate(LAYERS if start >= len(ids) // 2 else ()):
                base = outs["float32"].retrieved[layer]
                found, mass, n = shared(out.retrieved[layer], base)
                counts[dtype][row] += found, mass, n, float(base.weight.sum())
    losses = {dtype: torch.cat(each).numpy() for dtype, each in nats.items()}
    draws = BlockDraws([len(losses["float32"])], 256, 1000, seed=0)
    return {
        "book": book.id,
        "n_tokens": len(ids),
        "n_retrieved": MEMORY.n_retrieved,
        "layers": LAYERS,
        "pages": {
            dtype: {
                "nats": round(float(losses[dtype].mean()), 5),
                "nats_more_than_float32": difference(draws, losses[dtype] - losses["float32"]),
                "recall": dict(zip(LAYERS, np.round(c[:, 0] / c[:, 2], 4).tolist(), strict=True)),
                "mass": dict(zip(LAYERS, np.round(c[:, 1] / c[:, 3], 4).tolist(), strict=True)),
                "memory_bytes": states[dtype].memory_bytes(),
            }
            for dtype, c in counts.items()
        },
    }


def difference(draws: BlockDraws, nats: np.ndarray) -> list[float]:
    """Mean, and its 95 % interval over blocks of 256 tokens."""
    found = estimate(draws.sums([nats]) / len(nats), draws.n_unit)
    return [round(x, 6) for x in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--n-tokens", type=int, default=N_TOKENS)
    args = parser.parse_args()
    rows = Rows(args.out)
    torch.set_num_threads(1)
    model, tokenizer = load_llama(smollm2() / SMOLLM2_FILE, window=256, n_sink=4, memory=MEMORY)
    models = {dtype: model.reconfigure({"memory.dtype": dtype}).eval() for dtype in DTYPES}
    for book in classics():
        if book.id in BOOKS and not rows.has(book=book.id):
            started = time.time()
            with torch.inference_mode():
                rows.add(read(models, encode(book, tokenizer, args.n_tokens)), started)
            print(rows.rows[-1]["book"], rows.rows[-1]["pages"], flush=True)


if __name__ == "__main__":
    main()
