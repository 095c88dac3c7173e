"""Llama-family models with a window and a memory (extra `hf`).

`load_llama` reads a checkpoint into our decoder; `attach_memory` changes a `transformers` model in
place. Both compute the same function.
"""

from pathlib import Path

import torch

from memformer.config import FractionConfig, MemoryConfig
from memformer.interop.llama import MODEL_TYPES, decoder_config, decoder_of, from_transformers
from memformer.interop.tokenizer import HFTokenizer
from memformer.model.decoder import Decoder

try:
    from memformer.interop.attach import attach_memory, detach_memory
    from memformer.interop.checkpoint import open_folder
    from memformer.interop.gguf_file import open_gguf
except ImportError as error:
    raise ImportError(
        f"models of transformers need the extra 'hf' ({error}): pip install 'memformer-lm[hf]'"
    ) from error

__all__ = [
    "MODEL_TYPES",
    "HFTokenizer",
    "attach_memory",
    "decoder_config",
    "detach_memory",
    "from_transformers",
    "load_llama",
]


def load_llama(
    path: Path | str,
    *,
    window: int = 256,
    n_sink: int = 4,
    sink_distance: int | None = None,
    segment_len: int | None = None,
    memory: MemoryConfig | None = None,
    fraction: FractionConfig | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Decoder, HFTokenizer]:
    """A Llama-family checkpoint as our decoder, with a window and a memory, without training.

    With `memory.combine="tanh"` the memory starts switched off; with "joint" it works at once
    (Memorizing Transformers needed training; one softmax over true keys does not).

    Args:
        path: a GGUF file with its tokenizer in it, or a folder as `save_pretrained` writes it
            (safetensors, config, tokenizer). Local files only: no hub is asked.
        window, n_sink, sink_distance, segment_len, memory, fraction: see `DecoderConfig`;
            no memory by default; segment_len is the window by default.
        dtype: of the parameters.

    Returns:
        The decoder, in evaluation mode, and its tokenizer.

    Raises:
        FileNotFoundError: nothing is at `path`, or the folder lacks a file.
        ValueError: the checkpoint is of another family, uses a feature that is not Llama's, is
            damaged, or its tokenizer has ids that the model has not.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path}: give a GGUF file or a folder")
    source = open_folder(path) if path.is_dir() else open_gguf(path)
    config = decoder_config(
        source.config,
        window=window,
        n_sink=n_sink,
        sink_distance=sink_distance,
        segment_len=window if segment_len is None else segment_len,
        memory=memory or MemoryConfig(),
        fraction=fraction or FractionConfig(),
    )
    tokenizer = HFTokenizer(source.tokenizer)
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f"the tokenizer has ids up to {tokenizer.vocab_size - 1}, the model's vocab_size is "
            f"{config.vocab_size}: they do not belong together"
        )
    return decoder_of(config, source.read(dtype)), tokenizer
