"""Llama checkpoints from local files: a folder of safetensors, or one GGUF file.

Weights are read as they stand, without building a `transformers` model: nothing is initialised at
random where a weight is missing, nothing is unpickled, no hub is asked.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Checkpoint(NamedTuple):
    """A checkpoint whose weights are not read yet."""

    config: Any
    """A config of `transformers`."""
    tokenizer: "PreTrainedTokenizerBase"
    read: Callable[[torch.dtype], dict[str, Tensor]]
    """All weights by the names that `LlamaForCausalLM` gives them.
    ValueError where a file is damaged."""


def open_folder(folder: Path) -> Checkpoint:
    """A folder as `save_pretrained` writes it.

    Raises:
        FileNotFoundError: the folder lacks a file.
        ValueError: the config is damaged, of an architecture that `transformers` does not know, or
            of quantised weights.
    """
    from transformers import AutoConfig, AutoTokenizer

    for what, names in (
        ("config", ["config.json"]),
        ("weights", ["model.safetensors", "model.safetensors.index.json"]),
        ("tokenizer", ["tokenizer.json", "tokenizer.model"]),
    ):
        if not any((folder / name).is_file() for name in names):
            raise FileNotFoundError(f"{folder} has no {what}: put {' or '.join(names)} there")
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **options)
    except OSError as error:
        raise ValueError(f"{folder / 'config.json'} cannot be read: {error}") from error
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(f"{folder} holds quantised weights: only a GGUF file may")
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    return Checkpoint(config, tokenizer, lambda dtype: _read_safetensors(folder, dtype))


def _read_safetensors(folder: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    names = ["model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if not (folder / names[0]).is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    weights: dict[str, Tensor] = {}
    for name in names:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}, which {index.name} names")
        try:
            weights |= load_file(folder / name)
        except SafetensorError as error:
            raise ValueError(
                f"{folder / name} cannot be read ({error}): "
                "it is damaged or cut short, fetch it again"
            ) from error
    # old files hold tables of rotary frequencies, which are computed from the config here
    return {
        name: weight.to(dtype)
        for name, weight in weights.items()
        if not name.endswith("rotary_emb.inv_freq")
    }
