"""Llama checkpoints in a GGUF file, quantised or not, read in one pass.

`transformers` reads them too, but goes through the file three times and prints bars as it does.
The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from memformer.interop.checkpoint import Checkpoint

if TYPE_CHECKING:
    from gguf import GGUFReader

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def open_gguf(path: Path) -> Checkpoint:
    """A GGUF file with a tokenizer in it.

    Raises:
        ValueError: the file is damaged, is no GGUF file, holds another architecture, or scales its
            rotary positions.
    """
    from gguf import GGUFReader
    from transformers import PreTrainedTokenizerFast

    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(f"{path} is not a GGUF file: give one, or a folder with safetensors")
    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): it is damaged or cut short, fetch it again"
        ) from error
    config = _config(reader, path)
    # AutoTokenizer would read the whole file once more to learn its architecture
    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        path.parent, gguf_file=path.name, local_files_only=True
    )
    return Checkpoint(config, tokenizer, lambda dtype: _weights(reader, config, dtype))


def _config(reader: "GGUFReader", path: Path) -> Any:
    from transformers import LlamaConfig

    family = _field(reader, path, "general.architecture")
    if family != "llama":
        raise ValueError(f"general.architecture must be 'llama', got {family!r} in {path}")
    shapes = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
    scaling = _field(reader, path, "llama.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in shapes:
        raise ValueError(f"scaled rotary positions are not supported, got {scaling!r} in {path}")
    n_embd = _field(reader, path, "llama.embedding_length")
    n_head = _field(reader, path, "llama.attention.head_count")
    return LlamaConfig(
        vocab_size=shapes["token_embd.weight"][1],
        hidden_size=n_embd,
        intermediate_size=_field(reader, path, "llama.feed_forward_length"),
        num_hidden_layers=_field(reader, path, "llama.block_count"),
        num_attention_heads=n_head,
        num_key_value_heads=_field(reader, path, "llama.attention.head_count_kv", n_head),
        head_dim=_field(reader, path, "llama.attention.key_length", n_embd // n_head),
        max_position_embeddings=_field(reader, path, "llama.context_length"),
        rms_norm_eps=_field(reader, path, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": _field(reader, path, "llama.rope.freq_base", 10_000.0),
        },
        tie_word_embeddings="output.weight" not in shapes,
    )


def _field(reader: "GGUFReader", path: Path, key: str, default: Any = None) -> Any:
    field = reader.get_field(key)
    if field is None and default is None:
        raise ValueError(f"{path} has no {key} in its metadata")
    return default if field is None else field.contents()


def _weights(reader: "GGUFReader", config: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    from gguf import dequantize

    weights = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        # a copy: what was not quantised is a read-only view of the file
        weight = torch.from_numpy(np.array(values, dtype=np.float32)).to(dtype)
        if tensor.name.endswith("attn_q.weight"):
            weight = _unpermute(weight, config.num_attention_heads)
        elif tensor.name.endswith("attn_k.weight"):
            weight = _unpermute(weight, config.num_key_value_heads)
        weights[_their_name(tensor.name)] = weight
    return weights


def _unpermute(weight: Tensor, n_head: int) -> Tensor:
    """llama.cpp rotates neighbours (d, d + 1), Llama's checkpoints (d, d + D/2): the rows of query
    and key projections are stored in the order of the former."""
    return rearrange(weight, "(h d two) n -> (h two d) n", h=n_head, two=2).contiguous()


def _their_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; unknown ones as they are,
    to be refused by name."""
    stem, _, kind = name.rpartition(".")
    prefix = ""
    if stem.startswith("blk."):
        _, depth, stem = stem.split(".", 2)
        prefix = f"model.layers.{depth}."
    return f"{prefix}{_NAMES[stem]}.{kind}" if stem in _NAMES else name
