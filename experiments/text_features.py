"""Vectors of short texts by two pretrained models, kept in the cache once computed.

    decoder  SmolLM2-135M-Instruct in our own decoder, without memory: mean of its last hidden
             states over a text's tokens, in bfloat16; 576 numbers
    minilm   all-MiniLM-L6-v2 through `transformers`: mean of its last hidden states, divided by
             its length; 384 numbers

What a cached file holds is named by model and texts, so that other texts make another file.
"""

import hashlib
import time
from collections.abc import Sequence
from typing import Literal

from safetensors.torch import load_file, save_file
from torch import Tensor

from memformer.data.packages import arriving, cache_folder
from memformer.data.rating_sources import MINILM
from memformer.data.sources import SMOLLM2
from memformer.interop.text_features import build_text_features

Model = Literal["decoder", "minilm"]


def text_features(texts: Sequence[str], model: Model, *, batch_size: int = 32) -> Tensor:
    """(m, d) float32, from the cache if they were computed before."""
    digest = (SMOLLM2 if model == "decoder" else MINILM).sha256
    named = hashlib.sha256("\0".join([digest, *texts]).encode()).hexdigest()
    path = cache_folder() / "features" / f"{model}-{named[:16]}.safetensors"
    if not path.exists():
        features = build_text_features("smollm2" if model == "decoder" else "minilm")
        start = time.perf_counter()

        def told(n: int, of: int) -> None:
            if n % (20 * batch_size) == 0 or n == of:
                print(f"{model}: {n} texts, {time.perf_counter() - start:.0f} s", flush=True)

        found = features(texts, batch_size=batch_size, progress=told)
        print(f"{model}: {len(texts)} texts, {features.n_cut} cut", flush=True)
        with arriving(path) as partial:
            save_file({"features": found.contiguous()}, partial)
    return load_file(path)["features"]
