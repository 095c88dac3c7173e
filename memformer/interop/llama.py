"""Llama's config and weights as ours: names and rules, nothing that needs the extra `hf`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from memformer.config import DecoderConfig
from memformer.model.decoder import Decoder

MODEL_TYPES = ("llama", "mistral")
"""Architectures that are Llama's, as `transformers` names them."""


def from_transformers(source: nn.Module, **settings: Any) -> Decoder:
    """A `LlamaForCausalLM` as our decoder; the weights are shared, not copied.

    Args:
        source: the model, without an attached memory.
        settings: fields of `DecoderConfig` that the checkpoint does not fix: window, memory, ...

    Raises:
        ValueError: as `load_llama`.
    """
    config = decoder_config(source.config, **settings)
    return decoder_of(config, dict(source.named_parameters()))


def decoder_of(config: DecoderConfig, weights: Mapping[str, Tensor]) -> Decoder:
    """A decoder, in evaluation mode, of weights under a Llama checkpoint's names, not copied.

    Parameters that Llama has not (gates, the fraction) start as in a new model.

    Raises:
        ValueError: a weight is missing, is one too many, or has another shape.
    """
    with torch.device("meta"):
        model = Decoder(config)
    theirs = dict(weights)
    fresh: dict[str, Tensor] = {}
    for name, weight in model.named_parameters():
        key = _their_name(name)
        if key is None:  # not in Llama
            fresh = fresh or dict(Decoder(config).named_parameters())
            ours = fresh[name].detach().to(next(iter(weights.values())))
        elif key not in theirs:
            raise ValueError(f"the checkpoint has no {key}")
        elif theirs[key].shape != weight.shape:
            shape = tuple(theirs[key].shape)
            raise ValueError(f"{key} must have shape {tuple(weight.shape)}, got {shape}")
        else:
            ours = theirs.pop(key).detach()
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, nn.Parameter(ours))
    if config.tie_embeddings:
        theirs.pop("lm_head.weight", None)  # some files hold the alias too
    if theirs:
        raise ValueError(f"the checkpoint has a weight that Llama has not: {sorted(theirs)[0]}")
    return model.eval()


def decoder_config(hf_config: Any, **settings: Any) -> DecoderConfig:
    """Our config of a `transformers` one.

    Raises:
        ValueError: another architecture, biases, another activation, a scaled rotary base, or
            a sliding window.
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
        raise ValueError(
            f"rope_type must be 'default', got {rope['rope_type']!r}: scaled rotary positions are "
            "not supported"
        )
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
