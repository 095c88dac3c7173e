"""Blocked attention over the window against its definition: one softmax over masked logits."""

import pytest
import torch

from memformer.model import window
from memformer.model.local_attention import Part, attend, logits_of
from memformer.model.window import window_part

SIZES = [(1, 2, 1, 1, 1, 4), (2, 4, 2, 7, 5, 6), (1, 3, 3, 9, 20, 8), (2, 6, 2, 33, 16, 5)]


@pytest.fixture(params=["fused", "plain"], autouse=True)
def way(request, monkeypatch):
    monkeypatch.setattr(window, "is_fused", lambda q: request.param == "fused")
    return request.param


def inputs(B, H, G, L, R, D, dtype=torch.float64):
    torch.manual_seed(0)
    q = torch.randn(B, H, L, D, dtype=dtype, requires_grad=True)
    k = torch.randn(B, G, R + L, D, dtype=dtype, requires_grad=True)
    v = torch.randn(B, G, R + L, D, dtype=dtype, requires_grad=True)
    return q, k, v


def visible(L, R, size, n_held):
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
@pytest.mark.parametrize("has_others", [True, False])
def test_equal_to_a_softmax_over_masked_logits(sizes, size, block, has_others, monkeypatch):
    monkeypatch.setattr(window, "BLOCK", block)
    B, _, _, L, R, _ = sizes
    q, k, v = inputs(*sizes)
    n_held = [R, R // 2][:B]
    hidden = ~visible(L, R, size, n_held)
    combined = with_another_part if has_others else lambda part, _: attend([part])[0]
    ours = combined(window_part(q, k, v, n_held, size), q)
    plain = combined(Part(logits_of(q, k).masked_fill(hidden, -torch.inf), v), q)
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
    assert torch.autograd.gradcheck(lambda *x: window_part(*x, [3, 1], 4), (q, k, v))


def test_gradient_of_the_logit_alone():
    q, k, v = inputs(2, 4, 2, 5, 3, 4)
    part = window_part(q, k, v, [3, 1], 4)
    hidden = ~visible(5, 3, 4, [3, 1])
    plain = logits_of(q, k).masked_fill(hidden, -torch.inf).logsumexp(-1, keepdim=True)
    torch.testing.assert_close(part.logits, plain)
    got = torch.autograd.grad(part.logits.sum(), (q, k))
    want = torch.autograd.grad(plain.sum(), (q, k))
    torch.testing.assert_close(got, want)


def test_under_autocast_products_are_narrow_and_sums_wide():
    q, k, v = inputs(2, 4, 2, 40, 24, 16, torch.float32)
    exact = window_part(q, k, v, [24, 7], 24)
    want = torch.autograd.grad(exact.values.sum() + exact.logits.sum(), (q, k, v))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        part = window_part(q, k, v, [24, 7], 24)
    assert part.logits.dtype == torch.float32 and part.values.dtype == torch.bfloat16
    torch.testing.assert_close(part.logits, exact.logits, atol=0.05, rtol=0.02)
    torch.testing.assert_close(part.values.float(), exact.values, atol=0.05, rtol=0.02)
    got = torch.autograd.grad(part.values.float().sum() + part.logits.sum(), (q, k, v))
    for narrow, wide in zip(got, want, strict=True):
        assert narrow.dtype == torch.float32
        assert (narrow - wide).norm() < 0.02 * wide.norm()


def test_large_logits_do_not_overflow():
    q, k, v = inputs(1, 1, 1, 6, 0, 4, torch.float32)
    part = window_part(q * 1e4, k, v, [0], 6)
    assert part.logits.isfinite().all() and part.values.isfinite().all()
