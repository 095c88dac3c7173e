"""Settings: misspellings and clashes fail before a long job starts."""

import ast
import json
from pathlib import Path

import pytest

import memformer.config as config_module
from memformer import DecoderConfig, FractionConfig, MemoryConfig
from memformer.config import from_json, override, to_json

SIZES = dict(
    vocab_size=50, n_layer=2, n_head=4, n_kv_head=2, n_embd=16, head_dim=4, mlp_dim=8
)  # fmt: skip


def test_every_field_is_followed_by_its_docstring():
    files = Path(config_module.__file__).parent.glob("*.py")
    trees = [ast.parse(path.read_text()) for path in files]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(classes) >= 6
    for node in classes:
        for field, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert is_text, f"{node.name}.{field.target.id} has no docstring"


def test_json_round_trip_is_equal():
    config = DecoderConfig(
        **SIZES,
        memory=MemoryConfig(layers=(1,), positions="rotary", max_distance=7),
        fraction=FractionConfig(kind="bins"),
    )
    assert from_json(DecoderConfig, json.loads(json.dumps(to_json(config)))) == config


def test_misspelt_override_is_an_error():
    config = DecoderConfig(**SIZES)
    with pytest.raises(TypeError, match="MemoryConfig has no field 'capcity'"):
        override(config, {"memory.capcity": 64})
    with pytest.raises(TypeError, match="DecoderConfig has no field 'widow'"):
        override(config, {"widow": 64})
    with pytest.raises(TypeError, match="DecoderConfig.window is a value and has no field 'len'"):
        override(config, {"window.len": 64})


def test_changes_to_one_part_land_together():
    config = override(
        DecoderConfig(**SIZES),
        {"memory.capacity": 8, "memory.page_len": 4, "memory.n_retrieved": 8},
    )
    assert (config.memory.capacity, config.memory.page_len) == (8, 4)
    assert config.window == 256


def test_unknown_or_mistyped_json_is_an_error():
    values = to_json(DecoderConfig(**SIZES))
    with pytest.raises(TypeError, match="DecoderConfig has no field 'colour'"):
        from_json(DecoderConfig, {**values, "colour": 1})
    with pytest.raises(TypeError, match="DecoderConfig.window must be .*int.*, got '256'"):
        from_json(DecoderConfig, {**values, "window": "256"})
    with pytest.raises(TypeError, match="DecoderConfig.qk_norm must be .*bool.*, got 1"):
        from_json(DecoderConfig, {**values, "qk_norm": 1})


def test_memory_layers_are_spelt_out():
    assert DecoderConfig(**SIZES, memory=MemoryConfig(layers="all")).memory_layers == (0, 1)
    assert DecoderConfig(**SIZES, memory=MemoryConfig(layers=(1, 0))).memory_layers == (0, 1)


@pytest.mark.parametrize(("changes", "message"), [
    (dict(n_kv_head=3), "n_kv_head must divide n_head=4, got 3"),
    (dict(head_dim=3), "head_dim must be even to rotate in pairs, got 3"),
    (dict(window=0), "window must be an integer of at least 1, got 0"),
    (dict(segment_len=1.5), "segment_len must be an integer of at least 1, got 1.5"),
    (dict(n_sink=-1), "n_sink must be an integer of at least 0, got -1"),
    (dict(sink_distance=0), "sink_distance must be an integer of at least 1, got 0"),
    (dict(rope_base=1.0), "rope_base must be above 1, got 1.0"),
    (dict(memory=MemoryConfig(layers=(2,))), r"memory.layers must be below n_layer=2, got \(2,\)"),
    (dict(fraction=FractionConfig(kind="rotary", rotary_dim=6)), "at most head_dim=4, got 6"),
    (dict(fraction=FractionConfig(kind="rotary", rotary_dim=4), n_sink=1), "it needs n_sink=0"),
])  # fmt: skip
def test_decoder_rules(changes, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**{**SIZES, **changes})


@pytest.mark.parametrize(("changes", "message"), [
    (dict(combine="sum"), "combine must be one of joint, gate, tanh, got 'sum'"),
    (dict(positions="absolute"), "positions must be one of none, rotary, fraction"),
    (dict(dtype="int4"), "dtype must be one of float32, bfloat16, int8, got 'int4'"),
    (dict(n_retrieved=0), "n_retrieved must be an integer of at least 1, got 0"),
    (dict(layers=[1]), "layers must be a tuple of depths or 'all'"),
    (dict(layers=(1, 1)), "layers must be different depths"),
    (dict(layers=(-1,)), "layers must be different depths"),
    (dict(max_distance=5), "max_distance needs positions='rotary', got positions='none'"),
    (dict(positions="rotary", max_distance=0), "max_distance must be an integer of at least 1"),
    (dict(capacity=16), "capacity must be at least page_len=1024, got 16"),
    (dict(capacity=16, page_len=4), r"n_retrieved must be in \[1, capacity=16\], got 32"),
    (dict(nprobe=4), "nprobe needs an IVF index, got search='auto'"),
    (dict(efSearch=4, search="Flat"), "efSearch needs an HNSW index, got search='Flat'"),
])  # fmt: skip
def test_memory_rules(changes, message):
    with pytest.raises(ValueError, match=message):
        MemoryConfig(**changes)


@pytest.mark.parametrize(("changes", "message"), [
    (dict(kind="sine"), "kind must be one of none, fourier, bins, rotary, modulation"),
    (dict(n_frequency=21), "n_frequency must be at most 20"),
    (dict(n_bin=1), "n_bin must be an integer of at least 2, got 1"),
    (dict(rotary_dim=3), "rotary_dim must be even, got 3"),
    (dict(p_unknown=1.5), r"p_unknown must be in \[0, 1\], got 1.5"),
])  # fmt: skip
def test_fraction_rules(changes, message):
    with pytest.raises(ValueError, match=message):
        FractionConfig(**changes)


def test_rater_settings_are_exported_and_survive_json():
    config = config_module.RaterRunConfig(
        raters=config_module.RaterConfig(head="huber"), ranks=(1,)
    )
    assert (
        from_json(config_module.RaterRunConfig, json.loads(json.dumps(to_json(config)))) == config
    )
