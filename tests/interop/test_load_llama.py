"""Llama checkpoints in folders, read into our decoder."""

import importlib
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from memformer.config import FractionConfig, MemoryConfig
from memformer.interop.transformers import HFTokenizer, from_transformers, load_llama
from tests.interop.tiny import WORDS, draw_ids, llama, read, save, tokenizer

KINDS = {
    "untied": {"tie_word_embeddings": False},
    "tied": {"tie_word_embeddings": True},
    "every-head-its-own": {"num_key_value_heads": 4},
    "one-key-value-head": {"num_key_value_heads": 1},
    "usual-head-dim": {"head_dim": None},
}
FULL = MemoryConfig(layers="all", positions="rotary", n_retrieved=64, page_len=8)


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_full_window_equals_transformers(tmp_path, changes):
    theirs = llama(**changes)
    ours, _ = load_llama(save(tmp_path, theirs), window=64)
    ids = draw_ids(2, 40)
    with torch.no_grad():
        torch.testing.assert_close(read(ours, ids, [0, 40]), theirs(ids).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_memory_in_every_layer_over_everything_equals_transformers(tmp_path, changes):
    theirs = llama(**changes)
    ours, _ = load_llama(save(tmp_path, theirs), window=5, n_sink=2, memory=FULL)
    ids = draw_ids(2, 40)
    with torch.no_grad():
        got = read(ours, ids, [0, 4, 5, 12, 13, 30, 40])
        torch.testing.assert_close(got, theirs(ids).logits, atol=1e-4, rtol=0)


def test_a_bare_window_does_not_equal_transformers(tmp_path):
    theirs = llama()
    ours, _ = load_llama(save(tmp_path, theirs), window=5, n_sink=2)
    ids = draw_ids(1, 40)
    with torch.no_grad():
        difference = (read(ours, ids, [0, 40]) - theirs(ids).logits)[0].abs().amax(-1)
    assert difference[:5].max() < 1e-4
    assert difference[20:].min() > 1e-2


def test_loaded_weights_are_the_checkpoints(tmp_path):
    theirs = llama()
    ours, _ = load_llama(save(tmp_path, theirs))
    shared = from_transformers(theirs, window=256, segment_len=256, n_sink=4)
    assert shared.blocks[1].attention.q.weight.data_ptr() == (
        theirs.model.layers[1].self_attn.q_proj.weight.data_ptr()
    )
    for (name, mine), (_, other) in zip(
        ours.named_parameters(), shared.named_parameters(), strict=True
    ):
        assert torch.equal(mine, other), name
    assert ours.config == shared.config
    assert not ours.training


def test_weights_in_several_files_are_read(tmp_path):
    theirs = llama()
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    tokenizer().save_pretrained(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    ours, _ = load_llama(tmp_path, window=64)
    ids = draw_ids(1, 9)
    with torch.no_grad():
        torch.testing.assert_close(read(ours, ids, [0, 9]), theirs(ids).logits, atol=1e-4, rtol=0)


def test_dtype_is_that_of_every_parameter(tmp_path):
    memory = MemoryConfig(layers=(1,), positions="rotary", combine="gate")
    ours, _ = load_llama(save(tmp_path, llama()), memory=memory, dtype=torch.bfloat16)
    assert {weight.dtype for weight in ours.parameters()} == {torch.bfloat16}


def test_parameters_that_llama_has_not_start_as_in_a_new_model(tmp_path):
    folder = save(tmp_path, llama())
    memory = MemoryConfig(layers=(1,), positions="rotary", combine="gate")
    ours, _ = load_llama(folder, memory=memory, fraction=FractionConfig(kind="fourier"))
    assert torch.equal(ours.blocks[1].attention.gate, torch.full((4,), -1.0))
    assert ours.blocks[0].attention.gate is None
    assert not ours.fraction.weight.any()


def test_segment_len_is_the_window_unless_given(tmp_path):
    folder = save(tmp_path, llama())
    assert load_llama(folder, window=24)[0].config.segment_len == 24
    assert load_llama(folder, window=24, segment_len=7)[0].config.segment_len == 7


def test_tokenizer_gives_ids_spans_and_text(tmp_path):
    _, words = load_llama(save(tmp_path, llama()))
    encoded = words.encode("ahab saw the whale")
    assert encoded.ids == [4, 5, 1, 2]
    assert encoded.spans == [(0, 4), (5, 8), (9, 12), (13, 18)]
    assert words.decode([4, 5]) == "ahab saw"
    assert words.vocab_size == len(WORDS)


def test_tokenizers_hash_changes_with_its_words():
    same, other = HFTokenizer(tokenizer()), HFTokenizer(tokenizer([*WORDS, "sank"]))
    assert same.hash == HFTokenizer(tokenizer()).hash
    assert same.hash != other.hash


def test_special_tokens_are_those_the_tokenizer_marks():
    marked = tokenizer()
    marked.add_special_tokens({"additional_special_tokens": ["<|end|>"]})
    marked.add_tokens(["plain"])
    special = HFTokenizer(marked).special_ids
    assert special == {marked.convert_tokens_to_ids(name) for name in ("<unk>", "<|end|>")}


def test_slow_tokenizer_is_an_error():
    slow = SimpleNamespace(is_fast=False)
    with pytest.raises(ValueError, match="tokenizer must be a fast one, got SimpleNamespace"):
        HFTokenizer(slow)


def test_loading_prints_nothing(tmp_path, capfd):
    load_llama(save(tmp_path, llama()))
    capfd.readouterr()  # what saving printed
    load_llama(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_missing_path_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*nowhere: give a GGUF file or"):
        load_llama(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("config.json", "has no config: put config.json there"),
        ("model.safetensors", "has no weights: put model.safetensors or"),
        ("tokenizer.json", "has no tokenizer: put tokenizer.json or"),
    ],
)
def test_missing_file_is_an_error(tmp_path, gone, message):
    (save(tmp_path, llama()) / gone).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        load_llama(tmp_path)


def test_missing_shard_is_an_error(tmp_path):
    llama().save_pretrained(tmp_path, max_shard_size="20KB")
    tokenizer().save_pretrained(tmp_path)
    first = sorted(tmp_path.glob("model-*.safetensors"))[0]
    first.unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {first.name}, which .*index.json names"):
        load_llama(tmp_path)


def test_damaged_config_is_an_error(tmp_path):
    (save(tmp_path, llama()) / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        load_llama(tmp_path)


@pytest.mark.parametrize("kept", [0, 4, 100, 5_000])
def test_truncated_safetensors_is_an_error(tmp_path, kept):
    weights = save(tmp_path, llama()) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read .* fetch it again"):
        load_llama(tmp_path)


def test_missing_weight_is_an_error(tmp_path):
    path = save(tmp_path, llama()) / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, path)
    with pytest.raises(ValueError, match=r"has no model\.layers\.1\.mlp\.up_proj\.weight"):
        load_llama(tmp_path)


def test_weight_of_another_shape_is_an_error(tmp_path):
    path = save(tmp_path, llama()) / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"] = torch.ones(31)
    save_file(weights, path)
    with pytest.raises(ValueError, match=r"norm\.weight must have shape \(32,\), got \(31,\)"):
        load_llama(tmp_path)


def test_weight_that_llama_has_not_is_an_error(tmp_path):
    path = save(tmp_path, llama()) / "model.safetensors"
    save_file(load_file(path) | {"model.layers.0.self_attn.q_norm.weight": torch.ones(12)}, path)
    with pytest.raises(ValueError, match=r"Llama has not: model\.layers\.0\.self_attn\.q_norm"):
        load_llama(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "qwen2"}, "model_type must be one of llama, mistral, got 'qwen2'"),
        ({"attention_bias": True}, "attention_bias must be False, got True"),
        ({"mlp_bias": True}, "mlp_bias must be False, got True"),
        ({"hidden_act": "gelu"}, "hidden_act must be 'silu', got 'gelu'"),
        (
            {"model_type": "mistral", "sliding_window": 8},
            "sliding_window must be None, got 8",
        ),
        (
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0}},
            "rope_type must be 'default', got 'linear'",
        ),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "holds quantised weights: only a GGUF file may",
        ),
    ],
)
def test_feature_that_is_not_llamas_is_an_error(tmp_path, changes, message):
    path = save(tmp_path, llama()) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=message):
        load_llama(tmp_path)


def test_mistral_without_sliding_window_is_a_llama(tmp_path):
    theirs = llama()
    path = save(tmp_path, theirs) / "config.json"
    changes = {"model_type": "mistral", "sliding_window": None}
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    ours, _ = load_llama(tmp_path, window=64)
    ids = draw_ids(1, 9)
    with torch.no_grad():
        torch.testing.assert_close(read(ours, ids, [0, 9]), theirs(ids).logits, atol=1e-4, rtol=0)


def test_tokenizer_larger_than_the_vocabulary_is_an_error(tmp_path):
    words = [f"w{i}" for i in range(61)] + ["<unk>"]
    save(tmp_path, llama(), words)
    with pytest.raises(ValueError, match="ids up to 61, the model's vocab_size is 61"):
        load_llama(tmp_path)


def test_pickled_weights_are_not_read(tmp_path):
    model = llama()
    (save(tmp_path, model) / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="has no weights: put model.safetensors"):
        load_llama(tmp_path)


def test_missing_extra_is_one_line_that_names_it(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("memformer.interop")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        ImportError, match=r"need the extra 'hf' .* pip install 'memformer-lm\[hf\]'"
    ):
        importlib.import_module("memformer.interop.transformers")


def test_model_with_an_attached_memory_is_not_imported():
    from memformer.interop.transformers import attach_memory

    model: LlamaForCausalLM = llama()
    attach_memory(model, memory=MemoryConfig(positions="rotary", combine="gate"))
    with pytest.raises(ValueError, match="weight that Llama has not: .*memory.attention.gate"):
        from_transformers(model)
