from dataclasses import replace

import pytest

from memformer import DecoderConfig, MemoryConfig
from memformer.config import override
from memformer.evaluation.arms import Arm, config_of, trained_arms, usual_arms
from tests.evaluation.story import make_model

BASE = make_model().config


def test_usual_arms_are_full_window_sinks_memory_and_controls():
    arms = usual_arms(n_retrieved=(8, 32), max_distance=6000, controls=True)
    assert [(arm.name, arm.attention, arm.memory) for arm in arms] == [
        ("full", "full", "off"),
        ("full-clamped-6000", "full_clamped", "off"),
        ("window", "window", "off"),
        ("window-sinks", "window_sinks", "off"),
        ("memory-8", "window_sinks", "on"),
        ("memory-32", "window_sinks", "on"),
        ("memory-32-shuffled", "window_sinks", "shuffled"),
        ("memory-32-other-book", "window_sinks", "other_book"),
    ]


def test_usual_arms_share_the_window():
    configs = [config_of(arm, BASE, 500) for arm in usual_arms(window=64, controls=True)]
    assert {config.window for config in configs} == {64}


def test_usual_arms_without_sinks_have_no_sink_arm():
    arms = usual_arms(n_sink=0, controls=True)
    assert "window_sinks" not in {arm.attention for arm in arms}
    assert all(config_of(arm, BASE, 500).n_sink == 0 for arm in arms)


def test_full_attention_reads_every_pair_of_every_layer_at_true_distance():
    config = config_of(Arm(name="f", attention="full"), BASE, 500)
    assert config.memory_layers == (0, 1)
    assert config.memory.n_retrieved >= 500
    assert (config.n_sink, config.memory.max_distance) == (0, None)


def test_full_attention_forgets_what_search_the_model_was_set_to():
    memory = MemoryConfig(layers=(0,), search="IVF4,Flat", nprobe=2, capacity=2048)
    config = config_of(Arm(name="f", attention="full"), replace(BASE, memory=memory), 5000)
    assert (config.memory.search, config.memory.nprobe, config.memory.capacity) == (
        "auto",
        None,
        None,
    )


def test_override_comes_last():
    arm = Arm(name="w", attention="window", overrides={"segment_len": 7})
    assert config_of(arm, BASE, 500).segment_len == 7


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (Arm(name="c", attention="full_clamped"), "needs the override memory.max_distance"),
        (
            Arm(name="s", attention="window_sinks", overrides={"n_sink": 0}),
            "needs n_sink of at least 1, got 0",
        ),
        (
            Arm(name="w", attention="window", overrides={"n_sink": 4}),
            "has no sinks, got 4",
        ),
        (Arm(name="m", attention="window", memory="on"), r"memory='on' with memory.layers=\(\)"),
        (
            Arm(name="m", attention="window", overrides={"memory.layers": (0,)}),
            r"memory='off' with memory.layers=\(0,\)",
        ),
        (
            Arm(name="f", attention="full", overrides={"memory.n_retrieved": 8}),
            "needs memory.layers='all' and memory.n_retrieved >= 500 tokens, got 'all' and 8",
        ),
    ],
)
def test_overrides_that_contradict_the_arm_are_refused(arm, message):
    with pytest.raises(ValueError, match=message):
        config_of(arm, BASE, 500)


def test_misspelt_override_is_an_error():
    arm = Arm(name="w", attention="window", overrides={"memory.n_retreived": 3})
    with pytest.raises(TypeError, match="no field 'n_retreived'"):
        config_of(arm, BASE, 500)


def test_full_attention_has_no_memory_to_switch():
    with pytest.raises(ValueError, match="memory must be 'off', got 'shuffled'"):
        Arm(name="f", attention="full", memory="shuffled")


@pytest.mark.parametrize("name", ["", "a/b", "a b"])
def test_a_name_that_names_no_file_is_refused(name):
    with pytest.raises(ValueError, match="name of an arm"):
        Arm(name=name, attention="full")


def test_unknown_attention_is_refused():
    with pytest.raises(ValueError, match="attention must be one of full, .* got 'local'"):
        Arm(name="a", attention="local")  # type: ignore[arg-type]


def test_no_size_of_memory_is_refused():
    with pytest.raises(ValueError, match="n_retrieved must name at least one"):
        usual_arms(n_retrieved=())


def test_trained_arms_change_nothing_but_the_memory():
    base = DecoderConfig(
        vocab_size=9, n_layer=2, n_head=1, n_kv_head=1, n_embd=4, head_dim=4, mlp_dim=4,
        memory=MemoryConfig(layers=(1,)),
    )  # fmt: skip
    arms = trained_arms(base, controls=True)
    assert [arm.name for arm in arms] == [
        "memory-off", "memory", "memory-shuffled", "memory-other-book",
    ]  # fmt: skip
    off, *others = [config_of(arm, base, 10) for arm in arms]
    assert override(off, {"memory.layers": (1,)}) == base
    assert all(config == base for config in others)
    assert [a.name for a in trained_arms(override(base, {"memory.layers": ()}))] == ["memory-off"]


def test_trained_arms_with_a_fraction_also_hide_and_shuffle_it():
    fraction = {"fraction.kind": "fourier", "fraction.p_unknown": 0.1}
    config = override(BASE, {**fraction, "memory.layers": (1,), "n_sink": 0})
    arms = trained_arms(config, controls=True)
    assert [(arm.name, arm.memory, arm.fraction) for arm in arms[-2:]] == [
        ("fraction-shuffled", "on", "shuffled"),
        ("fraction-unknown", "on", "unknown"),
    ]
    without = trained_arms(override(config, {"memory.layers": ()}), controls=True)
    assert [arm.memory for arm in without] == ["off", "off", "off"]
    assert all(arm.fraction == "true" for arm in trained_arms(config))
    never_hidden = trained_arms(override(config, {"fraction.p_unknown": 0.0}), controls=True)
    assert "fraction-unknown" not in [arm.name for arm in never_hidden]


def test_falsified_fraction_needs_a_model_that_is_told_it():
    with pytest.raises(ValueError, match=r"fraction='unknown' needs a model that is told"):
        config_of(Arm(name="f", attention="window", fraction="unknown"), BASE, 500)
