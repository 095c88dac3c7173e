"""What is said of the memory's use, on readings whose answers are known."""

import math

import pytest
import torch

from memformer.config import DecoderConfig, MemoryConfig
from memformer.data.lanes import Segment
from memformer.model.decoder import Decoder
from memformer.training.memory_use import mean_mass, memory_use, share_of_heads


def read(combine="joint", n_segment=6):
    torch.manual_seed(1)
    model = Decoder(DecoderConfig(
        vocab_size=30, n_layer=1, n_head=2, n_kv_head=1, n_embd=16, head_dim=8, mlp_dim=16,
        window=4, memory=MemoryConfig(layers=(0,), n_retrieved=1000, combine=combine),
    ))  # fmt: skip
    with torch.no_grad():
        model.blocks[0].attention.scale.zero_()  # every key weighs the same
    state = model.new_state(1)
    for _ in range(n_segment):
        tokens = torch.randint(0, 30, (1, 4))
        out = model(tokens, state, want_retrieved=True)
        state.advance(out)
    n = torch.zeros(1, 4)
    segment = Segment(tokens, tokens, torch.ones(1, 4).bool(), n + 1, n, [], ["a"])
    return model, out, segment


def test_equal_weights_give_mass_and_age_by_counting():
    model, out, segment = read()
    uses = list(memory_use(model, out, segment, 1))
    # tokens 20 ... 23 attend to 21 ... 24 keys, 4 of them in the window
    assert [use.mass for use in uses] == pytest.approx(
        [sum((n - 4) / n for n in (21, 22, 23, 24)) / 4] * 2
    )
    assert uses[0].age in (12.0, 13.0) and uses[0].age_high in (20.0, 21.0)
    assert [use.gate for use in uses] == [None, None]
    assert mean_mass(uses) == pytest.approx(uses[0].mass) and share_of_heads(uses) == 1.0


def test_staleness_counts_updates_since_a_key_was_written():
    model, out, segment = read()
    each = next(iter(memory_use(model, out, segment, 1)))
    age_steps = torch.tensor([(20 - s + 3) // 4 for s in range(17)]).float()
    low, high = age_steps[:16].mean().item(), age_steps.mean().item()
    assert low - 0.5 < each.stale_steps < high + 0.5
    slow = next(iter(memory_use(model, out, segment, 6)))
    assert slow.stale_steps == 0.0  # all of it was written under the same weights


def test_gate_multiplies_the_mass():
    model, out, segment = read("gate")
    uses = list(memory_use(model, out, segment, 1))
    g = 1 / (1 + math.e)
    assert [use.gate for use in uses] == pytest.approx([g, g])
    assert [use.mass for use in uses] == pytest.approx([g, g])


def test_nothing_retrieved_is_nan_and_counts_for_nothing():
    model, out, segment = read(n_segment=1)
    uses = list(memory_use(model, out, segment, 1))
    assert all(math.isnan(use.mass) and math.isnan(use.age) for use in uses)
    assert math.isnan(mean_mass(uses)) and math.isnan(share_of_heads(uses))


def test_reading_without_retrievals_is_refused():
    model, out, segment = read()
    with pytest.raises(ValueError, match="want_retrieved=True"):
        next(memory_use(model, out._replace(retrieved=None), segment, 1))
