"""Searching by distance: against brute force with `rotate`, on small groups and past capacity."""

import pytest
import torch

from memformer.memory import compiled, taken
from memformer.memory.rotary import Rotary, frequencies, turn, turns
from memformer.model.positions import rotate
from tests.memory.conftest import D, G, fill, make

pytestmark = pytest.mark.skipif(not compiled.is_built(), reason="the compiled part was not built")
BASE, SHIFT, N_REP = 100.0, 3, 2


def logits_by_hand(memory, q, positions, limit, lane):
    """(H, L, n) of all pairs held in a lane, at their distances."""
    held = memory.pairs(lane)
    keys = held.keys.float().repeat_interleave(N_REP, 0)  # (H, n, D)
    slots = torch.arange(held.first, held.first + keys.shape[1])
    distance = (positions[lane][:, None] - slots - SHIFT).clamp(max=limit)  # (L, n)
    rows = []
    for h in range(N_REP * G):
        per_query = [
            rotate(q[lane, h, i].expand(1, 1, len(slots), D), distance[i][None], BASE)[0, 0]
            for i in range(q.shape[2])
        ]
        rows.append(torch.stack([(x * keys[h]).sum(-1) for x in per_query]))
    return torch.stack(rows), slots


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("capacity", "limit"), [(None, None), (None, 40), (80, None), (80, 25)])
def test_search_at_distance_finds_what_brute_force_finds(dtype, capacity, limit):
    memory = make("fused", 2, capacity=capacity, dtype=dtype)
    fill(memory, 120)
    fill(memory, 31, [1])
    stop = torch.tensor([book.stop for book in memory.books])
    positions = stop[:, None] + SHIFT + torch.arange(5)
    q = torch.randn(2, G * N_REP, 5, D)
    far = 10**9 if limit is None else limit
    start = (positions - far - SHIFT).clamp(min=0)
    found = memory.search(q, 6, start=start, rotary=Rotary(BASE, positions, SHIFT, limit))
    for lane in range(2):
        logits, slots = logits_by_hand(memory, q, positions, far, lane)
        outside = slots < start[lane][:, None]
        best = logits.masked_fill(outside, -torch.inf).topk(6, dim=-1)
        torch.testing.assert_close(found.scores[lane], best.values, atol=1e-4, rtol=1e-4)
        assert (found.slots[lane] == slots[best.indices]).float().mean() > 0.99


@pytest.mark.parametrize("is_compiled", [False, True])
def test_inner_products_at_distance_and_their_gradient(is_compiled, monkeypatch):
    monkeypatch.setattr(taken, "can_take", lambda book, dtype: is_compiled)
    memory = make("fused", 1, capacity=80)
    fill(memory, 120)
    positions = torch.tensor([[130, 123, 200]])
    rotary = Rotary(BASE, positions, SHIFT, 60)
    q = torch.randn(1, G * N_REP, 3, D, requires_grad=True)
    found = memory.at(torch.randint(memory.books[0].start, 120, (1, G * N_REP, 3, 4)))
    again = q.detach().clone().requires_grad_()
    logits, slots = logits_by_hand(memory, again, positions, 60, 0)
    expected = logits.gather(-1, (found.slots[0] - slots[0]))[None]
    ours = found.inner(q, rotary)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    up = torch.randn_like(ours)
    ours.backward(up)
    expected.backward(up)
    torch.testing.assert_close(q.grad, again.grad, atol=1e-4, rtol=1e-4)


def test_gradients_at_distance_in_float64():
    memory = make("fused", 1)
    fill(memory, 40)
    rotary = Rotary(BASE, torch.tensor([[50, 51]]), SHIFT, 30)
    slots = torch.randint(0, 40, (1, G, 2, 3))
    found = memory.at(slots.masked_fill(torch.rand(1, G, 2, 3) < 0.2, -1))
    q = torch.randn(1, G, 2, D, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: found.inner(x, rotary), q)


def test_turns_are_those_of_the_model_and_exact_far_into_a_novel():
    x = torch.randn(1, 1, 4, D)
    near = torch.tensor([0, 50, 17, 96])
    torch.testing.assert_close(turn(x, near, BASE), rotate(x, near[None], BASE), atol=1e-5, rtol=0)
    for first in (4094, 180_000):  # across blocks, and where a float32 angle is off by .01
        found = turns(first, 5, D, BASE).double()
        angle = torch.arange(first, first + 5).double()[:, None] * frequencies(D, BASE).double()
        expected = torch.stack((angle.cos(), angle.sin()), dim=1)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("limit", [None, 20])
@pytest.mark.parametrize("n", [0, 30])
def test_no_queries_at_distance_find_nothing(limit, n):
    memory = make("fused", 1)
    fill(memory, n)
    q = torch.randn(1, G * N_REP, 0, D, requires_grad=True)
    rotary = Rotary(BASE, torch.empty(1, 0, dtype=torch.int64), SHIFT, limit)
    found = memory.search(q, 4, rotary=rotary)
    assert found.scores.shape == found.slots.shape == (1, G * N_REP, 0, 4)
    logits = found.inner(q, rotary)
    assert logits.shape == (1, G * N_REP, 0, 4)
    logits.sum().backward()
    assert q.grad.shape == q.shape


def test_slots_beyond_max_distance_are_refused():
    memory = make("fused", 2)
    fill(memory, 50)
    q = torch.randn(2, G, 2, D)
    positions = torch.tensor([[53, 54], [60, 61]])
    rotary = Rotary(BASE, positions, SHIFT, 20)
    message = (
        "query 0 of lane 0 may see slot 0, which is farther than max_distance=20: "
        "give start of at least 30"
    )
    with pytest.raises(ValueError, match=message):
        memory.search(q, 3, rotary=rotary)
    with pytest.raises(ValueError, match="query 1 of lane 1 may see slot 37.* at least 38"):
        memory.search(q, 3, start=torch.tensor([31, 37]), rotary=rotary)
    start = positions - SHIFT - 20
    assert memory.search(q, 3, start=start, rotary=rotary).mask.all()
    empty = torch.tensor([[0, 31], [37, 38]])  # a query that may see nothing breaks no rule
    memory.search(q, 3, start=empty, stop=torch.tensor([[0, 50], [37, 50]]), rotary=rotary)


def test_slots_after_the_query_are_refused():
    memory = make("fused", 1)
    fill(memory, 50)
    q, rotary = torch.randn(1, G, 2, D), Rotary(BASE, torch.tensor([[40, 60]]), SHIFT, None)
    message = "query 0 of lane 0 may see slot 49, which stands after it: give stop of at most 38"
    with pytest.raises(ValueError, match=message):
        memory.search(q, 3, rotary=rotary)
    memory.search(q, 3, stop=torch.tensor([[38, 50]]), rotary=rotary)


def test_another_search_than_fused_says_so():
    memory = make("exact", 1)
    fill(memory, 20)
    assert not memory.searches_by_distance
    with pytest.raises(ValueError, match="rotary needs search='fused', got 'exact'"):
        q = torch.randn(1, G, 1, D)
        memory.search(q, 2, rotary=Rotary(BASE, torch.tensor([[30]]), SHIFT, None))
