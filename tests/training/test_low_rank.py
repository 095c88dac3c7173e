"""Low-rank changes: nothing at the start, a plain decoder at the end, all else frozen."""

import pytest
import torch
from torch.nn.utils import parametrize

from memformer import Decoder, DecoderConfig, FractionConfig, MemoryConfig
from memformer.config import LowRankConfig, OptimiserConfig, RunConfig, override, to_json
from memformer.model.saved_model import load_model
from memformer.model.saved_state import weights_hash
from memformer.training import run
from memformer.training.low_rank import add_low_rank, merged
from memformer.training.optimiser import build_optimiser
from memformer.training.run import train
from tests.training.test_run import outcome

FRACTION = {"fraction.weight", "fraction.unknown"}


def decoder(**changes):
    torch.manual_seed(0)
    config = DecoderConfig(
        vocab_size=31, n_layer=2, n_head=2, n_kv_head=1, n_embd=12, head_dim=8, mlp_dim=20,
        window=5, memory=MemoryConfig(layers=(1,), n_retrieved=3, combine="gate"),
        fraction=FractionConfig(kind="fourier"),
    )  # fmt: skip
    return Decoder(override(config, changes))


def logits(model, seed=1):
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(31, (2, 23), generator=draw)
    return model(tokens, model.new_state(2), fraction=torch.rand(2, 23, generator=draw)).logits


@pytest.mark.parametrize("of", [("q",), ("q", "k", "v", "o"), ("gate", "up", "down")])
def test_nothing_changes_at_the_start(of):
    model = decoder()
    before = logits(model)
    add_low_rank(model, LowRankConfig(rank=3, of=of))
    torch.testing.assert_close(logits(model), before, rtol=0, atol=0)


def test_only_changes_gates_and_the_fraction_are_trained():
    model = decoder()
    add_low_rank(model, LowRankConfig(rank=3, of=("q", "up")))
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    changes = {
        f"blocks.{i}.{matrix}.parametrizations.weight.0.{part}"
        for i in range(2) for matrix in ("attention.q", "mlp.up") for part in "ab"
    }  # fmt: skip
    scales = {f"blocks.{i}.attention.scale" for i in range(2)}
    assert trained == changes | scales | FRACTION | {"blocks.1.attention.gate"}


def test_the_feedforward_gate_is_no_gate_of_the_memory():
    model = decoder()
    add_low_rank(model, LowRankConfig(rank=3))
    assert not model.blocks[0].mlp.gate.weight.requires_grad


def test_change_is_scale_b_a():
    model = decoder()
    add_low_rank(model, LowRankConfig(rank=2, scale=0.5, of=("o",)))
    linear = model.blocks[0].attention.o
    change = linear.parametrizations.weight[0]
    torch.nn.init.normal_(change.b)
    expected = linear.parametrizations.weight.original + 0.5 * change.b @ change.a
    torch.testing.assert_close(linear.weight, expected)


def test_merged_decoder_is_plain_and_computes_the_same():
    model = decoder()
    add_low_rank(model, LowRankConfig(rank=3))
    optimiser = build_optimiser(model, OptimiserConfig(learning_rate=0.1))
    before = logits(model).detach()
    logits(model).square().mean().backward()
    optimiser.step()
    plain = merged(model)
    assert not any(parametrize.is_parametrized(module) for module in plain.modules())
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in decoder().named_parameters()]
    torch.testing.assert_close(logits(plain), logits(model))
    assert (logits(plain) - before).abs().max() > 1e-3
    off = plain.reconfigure({"memory.layers": ()})  # which a changed model cannot
    assert logits(off).isfinite().all()


def test_frozen_weights_stay_frozen_in_the_merged_decoder():
    model = decoder()
    add_low_rank(model, LowRankConfig(rank=3, of=("q",)))
    plain, before = merged(model), model.embedding.weight.clone()
    free = {name for name, weight in plain.named_parameters() if weight.requires_grad}
    scales = {f"blocks.{i}.attention.scale" for i in range(2)}
    assert free == scales | FRACTION | {"blocks.1.attention.gate"}
    assert plain.embedding.weight is model.embedding.weight
    optimiser = build_optimiser(plain, OptimiserConfig(learning_rate=0.1))
    logits(plain).square().mean().backward()
    optimiser.step()
    assert torch.equal(model.embedding.weight, before)


def test_model_without_changes_is_its_own_merged_one():
    model = decoder()
    assert merged(model) is model


def test_rank_above_a_matrix_and_rank_0_are_refused_and_nothing_is_changed():
    model = decoder()
    with pytest.raises(ValueError, match=r"rank must be at most 8, the width of .*attention\.k"):
        add_low_rank(model, LowRankConfig(rank=9))
    assert all(weight.requires_grad for weight in model.parameters())
    assert merged(model) is model
    with pytest.raises(ValueError, match="rank must be at least 1"):
        add_low_rank(model, LowRankConfig())


def test_changes_of_changes_are_refused():
    model = decoder()
    add_low_rank(model, LowRankConfig(rank=2))
    with pytest.raises(ValueError, match="low-rank changes already: take merged"):
        add_low_rank(model, LowRankConfig(rank=2))
    add_low_rank(merged(model), LowRankConfig(rank=2))


def test_changes_have_the_dtype_of_the_weights():
    model = decoder().bfloat16()
    add_low_rank(model, LowRankConfig(rank=2))
    assert logits(model).dtype == torch.bfloat16


def test_unknown_matrix_is_refused():
    with pytest.raises(ValueError, match=r"of must name some of q, k, v, o.*got \('w',\)"):
        LowRankConfig(of=("w",))


def test_low_rank_without_a_start_is_refused(config):
    with pytest.raises(ValueError, match="low_rank.rank=4 changes a trained decoder"):
        override(config, {"low_rank.rank": 4})


@pytest.fixture
def trained(config, tmp_path):
    """A run to begin from, and the config of one that begins from it."""
    train(config, tmp_path / "first")
    changes = {"start": str(tmp_path / "first"), "low_rank.rank": 4, "novels.n_token": 9 * 48}
    return tmp_path, override(config, {**changes, "optimiser.ema_decay": None})


def start(config: RunConfig):
    from memformer.interop.run import start_of

    return start_of(config)


def test_run_of_low_rank_changes_leaves_a_plain_decoder(trained):
    folder, config = trained
    before = load_model(folder / "first" / "model")
    train(config, folder / "second", start=start(config))
    after = load_model(folder / "second" / "model")
    changed = {
        name for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(a, b)
    }  # fmt: skip
    matrices = {f"blocks.{i}.attention.{m}.weight" for i in range(2) for m in "qkvo"}
    scales = {f"blocks.{i}.attention.scale" for i in range(2)}
    assert matrices <= changed <= matrices | scales | FRACTION


def test_interrupted_run_of_low_rank_changes_equals_uninterrupted(trained, monkeypatch):
    folder, config = trained
    train(config, folder / "whole", start=start(config))
    step = run.PredictiveModule.training_step

    def failing(module, batch, i):
        if module.done == 5:
            raise RuntimeError("the power went out")
        return step(module, batch, i)

    monkeypatch.setattr(run.PredictiveModule, "training_step", failing)
    with pytest.raises(RuntimeError, match="the power went out"):
        train(config, folder / "cut", start=start(config))
    monkeypatch.undo()
    train(config, folder / "cut", resume=True, start=start(config))
    assert outcome(folder / "cut") == outcome(folder / "whole")


def test_start_that_is_named_must_be_given(trained):
    folder, config = trained
    with pytest.raises(ValueError, match=r"config\.start names .*start_of"):
        train(config, folder / "second")
    assert not (folder / "second").exists()


def test_start_that_is_given_must_be_named(trained):
    folder, config = trained
    unnamed = override(config, {"start": "", "low_rank.rank": 0})
    with pytest.raises(ValueError, match="config.start does not name it"):
        train(unnamed, folder / "second", start=start(config))
    assert not (folder / "second").exists()


def test_start_of_another_config_is_refused(trained):
    folder, config = trained
    model, tokenizer = start(config)
    other = override(config, {"model.window": 9})
    with pytest.raises(ValueError, match=r"has window=8, config\.model has 9"):
        train(other, folder / "second", start=(model, tokenizer))


def test_start_gives_the_same_weights_under_the_runs_config(trained):
    folder, config = trained
    wanted = override(config, {"model.window": 9, "model.memory.layers": ()})
    model, tokenizer = start(wanted)
    assert to_json(model.config) == to_json(wanted.model)
    assert weights_hash(model) == weights_hash(load_model(folder / "first" / "model"))
    assert tokenizer.vocab_size == 300
    bad = override(config, {"model.mlp_dim": 32})
    with pytest.raises(ValueError, match=r"has mlp_dim=24, model has 32: set model\.mlp_dim"):
        start(bad)
