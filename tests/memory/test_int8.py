"""Pages of int8: what is found is the row that the stored one stands for, whoever finds it."""

import pytest
import torch

from memformer.memory.int8 import largest_stored, pack, unpack
from memformer.memory.recall import recall_at_k
from tests.memory.conftest import ON_PAGES, D, G, fill, kept_by_int8, make, whole

INT8 = [name for name, dtype in ON_PAGES if dtype == "int8"]


def random_memory(name, n=500):
    """Pairs that int8 rounds."""
    memory = make(name, dtype="int8", **({"nprobe": 16} if "IVF" in name else {}))
    keys, values = torch.randn(2, 1, G, n, D)
    memory.append(keys, values, token_index=torch.arange(n)[None])
    return memory, keys, values


def test_rows_are_off_by_half_a_step_at_most():
    rows = torch.randn(300, 64) * torch.logspace(-30, 30, 300)[:, None]
    stored, scales = pack(rows)
    assert stored.dtype == torch.int8 and scales.dtype == torch.float32
    assert scales.equal(rows.abs().amax(-1) / 127)
    assert (stored.abs().amax(-1) == 127).all()
    off = (unpack(stored, scales) - rows).abs()
    assert (off <= scales[:, None] * 0.50001).all()


def test_rows_that_can_be_kept_are():
    rows = kept_by_int8(torch.randn(50, 16)) * 2.0 ** torch.arange(-25, 25)[:, None]
    assert unpack(*pack(rows)).equal(rows)
    zero, scale = pack(torch.zeros(2, 3))
    assert not zero.any() and not scale.any() and not unpack(zero, scale).any()


@pytest.mark.parametrize("size", [3.4028235e38, 1e-45, 1.2e-43, 2.7e-43])
def test_the_largest_and_the_smallest_numbers_do_not_become_nan(size):
    rows = torch.tensor([[size, -size, 0.0, size / 2]])
    back = unpack(*pack(rows))
    assert not back.isnan().any()
    assert largest_stored(rows)[0, 0].isfinite() == back.isfinite().all()


@pytest.mark.parametrize("name", INT8)
def test_scores_are_those_of_the_pairs_found_and_pairs_are_near_those_written(name):
    memory, keys, values = random_memory(name)
    queries = torch.randn(1, 2 * G, 7, D)
    found = memory.search(queries, 9)
    torch.testing.assert_close(found.scores, (found.keys @ queries[..., None])[..., 0])
    torch.testing.assert_close(found.inner(queries), found.scores)
    weights = torch.rand(1, 2 * G, 7, 9)
    expected = (weights[..., None] * found.values).sum(-2)
    torch.testing.assert_close(found.weighted_sum(weights), expected)
    held = memory.pairs(0)
    assert held.keys.dtype == held.values.dtype == found.keys.dtype == torch.float32
    assert held.key_scales is None and held.value_scales is None
    head = torch.arange(2 * G)[None, :, None, None] // 2
    assert found.keys.equal(held.keys[head, found.slots])
    assert found.values.equal(held.values[head, found.slots])
    assert (held.keys - keys[0]).abs().max() < 0.02 and (held.values - values[0]).abs().max() < 0.02


@pytest.mark.parametrize("name", INT8)
def test_searches_agree_with_brute_force_over_the_rows_stored(name):
    memory, _, _ = random_memory(name, 2000)
    queries = torch.randn(1, G, 20, D)
    scores = torch.einsum("bgld,gnd->bgln", queries, memory.pairs(0).keys)
    found = memory.search(queries, 10)
    if name in ("exact", "Flat"):
        assert found.slots.equal(scores.topk(10).indices)
    assert recall_at_k(memory, queries, 10) > 0.9


def test_slabs_hold_int8_and_scales_and_a_quarter_of_the_bytes():
    memory, _, _ = random_memory("exact", 8)
    run = next(memory.books[0].runs(0, 8))
    n = run.stop - run.first
    assert run.keys.dtype == run.values.dtype == torch.int8
    assert run.key_scales.shape == run.value_scales.shape == (G, n)
    wide = make("exact", dtype="float32")
    fill(wide, 8)
    assert next(wide.books[0].runs(0, 8)).key_scales is None
    metadata = 8 * (8 + 4 + 8)
    assert (wide.n_bytes - metadata) / (memory.n_bytes - metadata) == 4 * D / (D + 4)


def test_writing_in_pieces_stores_the_same_rows():
    whole_memory, keys, values = random_memory("exact", 30)
    pieces = make("exact", dtype="int8")
    for first in range(0, 30, 7):
        at = slice(first, first + 7)
        index = torch.arange(30)[None, at]
        pieces.append(keys[:, :, at], values[:, :, at], token_index=index)
    assert pieces.pairs(0).keys.equal(whole_memory.pairs(0).keys)
    assert pieces.pairs(0).values.equal(whole_memory.pairs(0).values)


def test_shuffled_values_are_rows_as_they_are_read():
    memory, _, _ = random_memory("exact", 50)
    view = memory.with_shuffled_values()
    assert view.pairs(0).values.dtype == torch.float32
    sums = memory.pairs(0).values.sum(1).sort().values
    torch.testing.assert_close(view.pairs(0).values.sum(1).sort().values, sums)


def test_an_empty_memory_of_int8_gives_float32():
    memory = make("exact", dtype="int8")
    assert memory.pairs(0).keys.dtype == torch.float32
    found = memory.search(whole(1, G, 2, D), 3)
    assert not found.mask.any() and found.keys.dtype == torch.float32
