"""Llama checkpoints in a GGUF file."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from einops import rearrange
from transformers import LlamaForCausalLM

from memformer.config import MemoryConfig
from memformer.interop.transformers import from_transformers, load_llama
from tests.interop.tiny import draw_ids, llama, read

TOKENS = ["<unk>", "t", "h", "e", "Ġ", "w", "a", "l", "th", "the", "Ġw"]
MERGES = ["t h", "th e", "Ġ w"]
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def write(
    path: Path,
    model: LlamaForCausalLM,
    *,
    kind: Any = gguf.GGMLQuantizationType.F32,
    family: str = "llama",
    extra: dict[str, np.ndarray] | None = None,
    scaling: Any = None,
) -> Path:
    """As llama.cpp's converter does; `extra` are more tensors."""
    config = model.config
    writer = gguf.GGUFWriter(path, family)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(512)
    writer.add_vocab_size(config.vocab_size)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if scaling is not None:
        writer.add_rope_scaling_type(scaling)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(TOKENS))
    writer.add_token_merges(MERGES)
    writer.add_unk_token_id(0)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = permuted(name, weight, config).numpy()
        if values.ndim == 2 and kind != gguf.GGMLQuantizationType.F32:
            values = gguf.quantize(values, kind)
            writer.add_tensor(gguf_name(name), values, raw_dtype=kind)
        else:
            writer.add_tensor(gguf_name(name), values)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def permuted(name: str, weight: torch.Tensor, config: Any) -> torch.Tensor:
    """Rows of query and key projections as llama.cpp rotates them: neighbours in pairs."""
    for part, n in (
        ("q_proj", config.num_attention_heads),
        ("k_proj", config.num_key_value_heads),
    ):
        if part in name:
            return rearrange(weight, "(h two d) n -> (h d two) n", h=n, two=2).contiguous()
    return weight


def gguf_name(name: str) -> str:
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name.replace("model.layers.", "blk.")


@pytest.mark.parametrize("is_tied", [True, False])
@torch.no_grad()
def test_gguf_equals_the_model_it_was_written_from(tmp_path, is_tied):
    theirs = llama(tie_word_embeddings=is_tied)
    path = write(tmp_path / "tiny.gguf", theirs)
    config = MemoryConfig(layers="all", positions="rotary", n_retrieved=64, page_len=8)
    for settings in ({"window": 64}, {"window": 5, "memory": config}):
        ours, _ = load_llama(path, **settings)
        ids = draw_ids(1, 30)
        expected = theirs(ids).logits
        torch.testing.assert_close(read(ours, ids, [0, 9, 30]), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["F32", "Q8_0", "Q4_1"])
def test_weights_equal_those_that_transformers_reads(tmp_path, kind):
    # rows in multiples of a quantisation block; transformers does not read another head_dim
    source = llama(hidden_size=64, intermediate_size=96, head_dim=None)
    kind = gguf.GGMLQuantizationType[kind]
    path = write(tmp_path / "tiny.gguf", source, kind=kind)
    theirs = LlamaForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, dtype=torch.float32, local_files_only=True
    )
    ours, _ = load_llama(path)
    expected = from_transformers(theirs, window=256, n_sink=4, segment_len=256)
    assert ours.config == expected.config
    pairs = zip(ours.named_parameters(), expected.parameters(), strict=True)
    for (name, mine), other in pairs:
        assert torch.equal(mine, other), name


def test_gguf_brings_its_tokenizer(tmp_path):
    _, tokenizer = load_llama(write(tmp_path / "tiny.gguf", llama()))
    encoded = tokenizer.encode("the whale")
    assert [TOKENS[i] for i in encoded.ids] == ["the", "Ġw", "h", "a", "l", "e"]
    assert encoded.spans[0] == (0, 3)
    assert tokenizer.decode(encoded.ids) == "the whale"


def test_weights_of_a_gguf_can_be_trained(tmp_path):
    ours, _ = load_llama(write(tmp_path / "tiny.gguf", llama()))
    with torch.no_grad():
        for weight in ours.parameters():
            weight.add_(1.0)  # a read-only view of the file would be refused


def test_loading_a_gguf_prints_nothing(tmp_path, capfd):
    path = write(tmp_path / "tiny.gguf", llama())
    capfd.readouterr()
    load_llama(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.99])
def test_truncated_gguf_is_an_error(tmp_path, share):
    path = write(tmp_path / "tiny.gguf", llama())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"tiny\.gguf cannot be read .* fetch it again"):
        load_llama(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a wheel, say"])
def test_another_file_is_an_error(tmp_path, content):
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.bin is not a GGUF file: give one, or a folder"):
        load_llama(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"family": "qwen2"}, "general.architecture must be 'llama', got 'qwen2'"),
        ({"scaling": gguf.RopeScalingType.LINEAR}, "scaled rotary .* got 'linear'"),
        ({"extra": {"rope_freqs.weight": np.ones(6, np.float32)}}, "scaled rotary positions"),
        (
            {"extra": {"blk.0.attn_q.bias": np.ones(48, np.float32)}},
            r"Llama has not: model\.layers\.0\.self_attn\.q_proj\.bias",
        ),
        (
            {"extra": {"blk.0.ffn_gate_inp.weight": np.ones((4, 32), np.float32)}},
            r"Llama has not: .*ffn_gate_inp\.weight",
        ),
    ],
    ids=["family", "scaling", "scaling-table", "bias", "experts"],
)
def test_gguf_of_something_else_is_an_error(tmp_path, settings, message):
    path = write(tmp_path / "tiny.gguf", llama(), **settings)
    with pytest.raises(ValueError, match=message):
        load_llama(path)


def test_gguf_without_a_field_is_an_error(tmp_path):
    path = tmp_path / "bare.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("token_embd.weight", np.ones((61, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match=r"bare\.gguf has no llama\.embedding_length"):
        load_llama(path)
