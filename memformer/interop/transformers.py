"""Llama-family checkpoints in our decoder: `load_llama` (extra `hf`)."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from memformer.config import DecoderConfig, FractionConfig, MemoryConfig
from memformer.data.tokenizer import Encoding
from memformer.model.decoder import Decoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODEL_TYPES = ("llama", "mistral")
"""Architectures that are Llama's, as `transformers` names them."""


class HFTokenizer:
    """A fast tokenizer of `transformers` behind the library's protocol.

    Args:
        tokenizer: any fast tokenizer; special tokens are never added.

    Raises:
        ValueError: the tokenizer is not a fast one, so that it cannot tell character offsets.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        if not tokenizer.is_fast:
            raise ValueError(f"tokenizer must be a fast one, got {type(tokenizer).__name__}")
        self.tokenizer: Any = tokenizer
        self.vocab_size = len(tokenizer)
        self.hash = hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()

    def encode(self, text: str) -> Encoding:
        """Ids and half-open character spans of a text of any length."""
        out = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return Encoding(out["input_ids"], [tuple(span) for span in out["offset_mapping"]])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, special tokens included."""
        text: str = self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return text


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
        path: a GGUF file (its tokenizer beside or inside it), or a folder as `save_pretrained`
            writes it (safetensors, config, tokenizer).
        window, n_sink, sink_distance, segment_len, memory, fraction: see `DecoderConfig`;
            no memory by default; segment_len is the window by default.
        dtype: of the parameters.

    Returns:
        The decoder, in evaluation mode, and its tokenizer.

    Raises:
        ImportError: the extra `hf` is not installed.
        FileNotFoundError: nothing is at `path`.
        ValueError: the checkpoint is of another family, or uses a feature that is not Llama's.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path}: give a GGUF file or a folder")
    source, tokenizer = _open(path, dtype)
    model = from_transformers(
        source,
        window=window,
        n_sink=n_sink,
        sink_distance=sink_distance,
        segment_len=window if segment_len is None else segment_len,
        memory=memory or MemoryConfig(),
        fraction=fraction or FractionConfig(),
    )
    return model, HFTokenizer(tokenizer)


def from_transformers(source: nn.Module, **settings: Any) -> Decoder:
    """A `LlamaForCausalLM` in memory as our decoder; the weights are shared, not copied.

    Args:
        source: the model.
        settings: fields of `DecoderConfig` that the checkpoint does not fix: window, memory, ...

    Raises:
        ValueError: as `load_llama`.
    """
    config = decoder_config(source.config, **settings)
    with torch.device("meta"):
        model = Decoder(config)
    theirs = dict(source.named_parameters())
    fresh: dict[str, Tensor] = {}
    for name, weight in model.named_parameters():
        key = _their_name(name)
        if key is None:  # not in Llama: gates, the fraction
            fresh = fresh or dict(Decoder(config).named_parameters())
            ours = fresh[name].detach().to(next(source.parameters()))
        elif key not in theirs:
            raise ValueError(f"the checkpoint has no {key}")
        elif theirs[key].shape != weight.shape:
            shape = tuple(theirs[key].shape)
            raise ValueError(f"{key} must have shape {tuple(weight.shape)}, got {shape}")
        else:
            ours = theirs.pop(key).detach()
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, nn.Parameter(ours))
    theirs.pop("lm_head.weight", None)  # present as an alias where embeddings are tied
    if theirs:
        raise ValueError(f"the checkpoint has a weight that Llama has not: {sorted(theirs)[0]}")
    return model.eval()


def decoder_config(hf_config: Any, **settings: Any) -> DecoderConfig:
    """Our config of a `transformers` one.

    Raises:
        ValueError: another architecture, biases, another activation, or a scaled rotary base.
    """
    if hf_config.model_type not in MODEL_TYPES:
        raise ValueError(
            f"model_type must be one of {', '.join(MODEL_TYPES)}, got {hf_config.model_type!r}"
        )
    for name, wanted in (
        ("attention_bias", False),
        ("mlp_bias", False),
        ("hidden_act", "silu"),
        ("sliding_window", None),
    ):
        if getattr(hf_config, name, wanted) not in (wanted, None):
            raise ValueError(f"{name} must be {wanted!r}, got {getattr(hf_config, name)!r}")
    rope = hf_config.rope_parameters
    if rope.get("rope_type", "default") != "default":
        raise ValueError(f"rope_type must be 'default', got {rope['rope_type']!r}")
    n_head = hf_config.num_attention_heads
    return DecoderConfig(
        vocab_size=hf_config.vocab_size,
        n_layer=hf_config.num_hidden_layers,
        n_head=n_head,
        n_kv_head=hf_config.num_key_value_heads,
        n_embd=hf_config.hidden_size,
        head_dim=getattr(hf_config, "head_dim", None) or hf_config.hidden_size // n_head,
        mlp_dim=hf_config.intermediate_size,
        conv_width=0,
        qk_norm=False,
        tie_embeddings=hf_config.tie_word_embeddings,
        rope_base=float(rope["rope_theta"]),
        norm_eps=hf_config.rms_norm_eps,
        **settings,
    )


_NAMES = {
    "embedding.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
    "attention.q.weight": "self_attn.q_proj.weight",
    "attention.k.weight": "self_attn.k_proj.weight",
    "attention.v.weight": "self_attn.v_proj.weight",
    "attention.o.weight": "self_attn.o_proj.weight",
    "mlp.gate.weight": "mlp.gate_proj.weight",
    "mlp.up.weight": "mlp.up_proj.weight",
    "mlp.down.weight": "mlp.down_proj.weight",
    "attention_norm.weight": "input_layernorm.weight",
    "mlp_norm.weight": "post_attention_layernorm.weight",
}


def _their_name(ours: str) -> str | None:
    """The checkpoint's name of one of our parameters, None where Llama has none."""
    if not ours.startswith("blocks."):
        return _NAMES.get(ours)
    _, depth, rest = ours.split(".", 2)
    return f"model.layers.{depth}.{_NAMES[rest]}" if rest in _NAMES else None


def _open(path: Path, dtype: torch.dtype) -> tuple[nn.Module, "PreTrainedTokenizerBase"]:
    """Model and tokenizer from local files only: a hub is never asked."""
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise ImportError(
            "reading Llama checkpoints needs the extra 'hf': pip install 'memformer-lm[hf]'"
        ) from error
    folder, options = path, {"local_files_only": True}
    if path.is_file():
        folder, options = path.parent, {**options, "gguf_file": path.name}
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **options)
    return model, AutoTokenizer.from_pretrained(folder, **options)
