"""Blocked attention over the window against its definition: one softmax over masked logits."""

import pytest
import torch

from memformer.model import window
from memformer.model.local_attention import Part, attend, logits_of
from memformer.model.window import window_part

SIZES = [(1, 2, 1, 1, 1, 4), (2, 4, 2, 7, 5, 6), (1, 3, 3, 9, 20, 8), (2, 6, 2, 33, 16, 4)]


def inputs(B, H, G, L, R, D, dtype=torch.float64):
    torch.manual_seed(0)
    q = torch.randn(B, H, L, D, dtype=dtype, requires_grad=True)
    k = torch.randn(B, G, R + L, D, dtype=dtype, requires_grad=True)
    v = torch.randn(B, G, R + L, D, dtype=dtype, requires_grad=True)
    return q, k, v


def visible(B, L, R, size, n_held):
    """The last `size` columns of each query, of which each lane holds some."""
    column = torch.arange(R + L)
    distance = torch.arange(L)[:, None] + R - column
    held = column >= R - torch.tensor(n_held)[:, None]
    return held[:, None, None] & (distance >= 0) & (distance < size)


def with_another_part(part, q):
    """The output of a softmax over this part and one more, so that the part's logit matters."""
    torch.manual_seed(1)
    other = torch.randn(*q.shape[:3], 3, dtype=q.dtype)
    values = torch.randn(*q.shape[:3], 3, q.shape[3], dtype=q.dtype)
    return attend([part, Part(other, values)])[0]


@pytest.mark.parametrize("size", [1, 4, 64])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("block", [3, 128])
def test_equal_to_a_softmax_over_masked_logits(sizes, size, block, monkeypatch):
    monkeypatch.setattr(window, "BLOCK", block)
    B, _, _, L, R, _ = sizes
    q, k, v = inputs(*sizes)
    seen = visible(B, L, R, size, [R, R // 2][:B])
    ours = with_another_part(window_part(q, k, v, seen, size), q)
    plain = with_another_part(Part(logits_of(q, k).masked_fill(~seen, -torch.inf), v), q)
    torch.testing.assert_close(ours, plain)
    weight = torch.randn_like(ours)
    for got, want in zip(
        torch.autograd.grad((ours * weight).sum(), (q, k, v)),
        torch.autograd.grad((plain * weight).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(got, want)


def test_gradients_of_both_results(monkeypatch):
    monkeypatch.setattr(window, "BLOCK", 2)
    q, k, v = inputs(2, 4, 2, 5, 3, 4)
    seen = visible(2, 5, 3, 4, [3, 1])
    assert torch.autograd.gradcheck(lambda *x: window_part(*x, seen, 4), (q, k, v))


def test_a_query_that_sees_nothing_gives_zeros_and_no_gradient():
    q, k, v = inputs(1, 2, 1, 3, 2, 4)
    seen = visible(1, 3, 2, 3, [2])
    seen[:, :, 1] = False
    part = window_part(q, k, v, seen, 3)
    assert part.logits[:, :, 1].isneginf().all() and (part.values[:, :, 1] == 0).all()
    with_another_part(part, q).sum().backward()
    assert (q.grad[:, :, 1] == 0).all()
    assert all(x.grad.isfinite().all() for x in (q, k, v))


def test_under_autocast_products_are_narrow_and_sums_wide():
    q, k, v = inputs(2, 4, 2, 40, 24, 16, torch.float32)
    seen = visible(2, 40, 24, 24, [24, 7])
    exact = window_part(q, k, v, seen, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        part = window_part(q, k, v, seen, 24)
    assert part.logits.dtype == torch.float32 and part.values.dtype == torch.bfloat16
    torch.testing.assert_close(part.logits, exact.logits, atol=0.05, rtol=0.02)
    torch.testing.assert_close(part.values.float(), exact.values, atol=0.05, rtol=0.02)
    (part.values.float().sum() + part.logits.sum()).backward()
    assert all(x.grad.dtype == torch.float32 and x.grad.isfinite().all() for x in (q, k, v))


def test_large_logits_do_not_overflow():
    q, k, v = inputs(1, 1, 1, 6, 0, 4, torch.float32)
    part = window_part(q * 1e4, k, v, visible(1, 6, 0, 6, [0]), 6)
    assert part.logits.isfinite().all() and part.values.isfinite().all()
