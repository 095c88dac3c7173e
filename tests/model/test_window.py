"""Blocked attention over the window against its definition: one softmax over masked logits."""

import pytest
import torch

from memformer.model import compiled_window, window
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


needs_tiles = pytest.mark.skipif(
    not compiled_window.is_served(torch.zeros(1, 1, 1, 32, dtype=torch.bfloat16)),
    reason="the compiled part was not built, or the processor has no tiles",
)
COMPILED = [  # B, H, G, L, R, D, window
    (1, 2, 1, 32, 0, 32, 64),
    (2, 8, 1, 300, 511, 64, 512),
    (2, 6, 3, 77, 40, 64, 33),
    (2, 2, 2, 1, 5, 32, 3),
    (2, 4, 2, 160, 513, 128, 256),
    (1, 1, 1, 130, 0, 96, 1),
    (2, 9, 3, 33, 31, 64, 32),
    (1, 2, 1, 64, 70, 32, 40),
    (1, 2, 1, 100, 94, 32, 64),  # edges of the window one column beside edges of tiles
]


@needs_tiles
@pytest.mark.parametrize("way", ["fused"], indirect=True)
@pytest.mark.parametrize("sizes", COMPILED)
@pytest.mark.parametrize("is_strided", [False, True])
@pytest.mark.parametrize("has_others", [True, False])
def test_compiled_is_as_near_to_the_definition_as_torch(
    sizes, is_strided, has_others, way, monkeypatch
):
    *shape, size = sizes
    B, R = shape[0], shape[4]
    q, k, v = (x.detach() for x in inputs(*shape))
    q, k, v = ((q * shape[-1] ** -0.5).bfloat16(), k.bfloat16(), v.bfloat16())  # all columns count
    if is_strided:  # by tokens, as projections leave them
        q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v))
    torch.manual_seed(1)
    grad, of_logit = torch.randn(q.shape).bfloat16(), torch.randn(q.shape[:3])

    def read(dtype, is_compiled):
        monkeypatch.setattr(window, "is_compiled", lambda _: is_compiled)
        given = [x.to(dtype).requires_grad_() for x in (q, k, v)]
        part = window_part(*given, [R, R // 3][:B], size)
        total = (part.values[..., 0, :] * grad.to(dtype)).sum(dtype=torch.float64)
        if has_others:
            total = total + (part.logits[..., 0] * of_logit).sum()
        return part.logits, part.values, *torch.autograd.grad(total, given)

    exact, torchs = read(torch.float64, False), read(torch.bfloat16, False)
    for got, narrow, want in zip(read(torch.bfloat16, True), torchs, exact, strict=True):
        assert got.dtype == narrow.dtype
        error, allowed = ((x.double() - want).norm() for x in (got, narrow))
        assert error <= 1.2 * allowed + 1e-6 * want.norm()


@needs_tiles
def test_compiled_sees_nothing_that_is_not_held():
    q, k, v = (x.detach().bfloat16() for x in inputs(2, 4, 2, 70, 90, 32))
    held, size = [13, 90], 60
    want = window_part(q, k, v, held, size)
    k[0, :, : 90 - 13], v[0, :, : 90 - 13] = torch.nan, torch.nan
    k[1, :, :30] = torch.inf  # outside every query's window
    got = window_part(q, k, v, held, size)
    assert torch.equal(got.values, want.values) and torch.equal(got.logits, want.logits)


@needs_tiles
def test_compiled_does_not_depend_on_the_number_of_threads():
    found = []
    for n_thread in (1, 2, 5):
        before = torch.get_num_threads()
        torch.set_num_threads(n_thread)
        q, k, v = (x.detach().bfloat16().requires_grad_() for x in inputs(2, 6, 2, 100, 60, 32))
        part = window_part(q, k, v, [60, 20], 50)
        total = part.values.float().square().sum() + part.logits.sum()
        found.append([part.values, part.logits, *torch.autograd.grad(total, (q, k, v))])
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@needs_tiles
@pytest.mark.parametrize("of", ["q", "k", "v"])
@pytest.mark.parametrize("what", [torch.nan, torch.inf])
def test_compiled_hides_no_number_that_is_none(of, what):
    given = dict(
        zip("qkv", (x.detach().bfloat16() for x in inputs(1, 1, 1, 70, 0, 32)), strict=True)
    )
    given[of][0, 0, 40, 3] = what
    given["q"][..., 3].abs_()  # no logit of -inf, which would be one seen by nobody
    part = window_part(*given.values(), [0], 70)
    is_lost = ~(part.logits.isfinite()[..., 0] & part.values.isfinite().all(-1)[..., 0])
    assert is_lost[0, 0, 40] and (of == "q" or is_lost[0, 0, 40:].all())
    if of != "v":
        assert not part.logits[0, 0, 40].isfinite()


@needs_tiles
def test_compiled_results_do_not_depend_on_default_dtype_and_device():
    q, k, v = (x.detach().bfloat16() for x in inputs(1, 2, 1, 5, 3, 32))
    want = window_part(q, k, v, [3], 4)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("meta"):
            got = window_part(q, k, v, [3], 4)
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(got.logits, want.logits) and torch.equal(got.values, want.values)


@needs_tiles
@pytest.mark.parametrize("sizes", [(0, 2, 1, 5, 3, 32), (2, 2, 1, 0, 3, 32), (2, 2, 1, 0, 0, 32)])
def test_compiled_reads_nothing_of_no_lanes_or_queries(sizes):
    given = [x.detach().bfloat16().requires_grad_() for x in inputs(*sizes)]
    part = window_part(*given, [sizes[4]] * sizes[0], 4)
    assert part.values.shape == (*sizes[:2], sizes[3], 1, 32)
    for x in torch.autograd.grad(part.values.float().sum() + part.logits.sum(), given):
        assert not x.any()


@needs_tiles
def test_compiled_reads_rows_wherever_they_lie():
    shape, n = (2, 4, 2, 40, 24, 64), [24, 9]
    q, k, v = (x.detach().bfloat16() for x in inputs(*shape))
    grad = torch.randn(q.shape).bfloat16()

    def read(*given):
        *given, grad = given
        given = [x.detach().requires_grad_() for x in given]
        values = window_part(*given, n, 30).values[..., 0, :]
        return values, *torch.autograd.grad(values, given, grad)

    def within(x):  # of a larger tensor of NaN
        larger = torch.full([n + 3 for n in x.shape], torch.nan, dtype=x.dtype)
        larger[1:-2, 1:-2, 2:-1, 1:-2] = x
        return larger[1:-2, 1:-2, 2:-1, 1:-2]

    def turned(x):
        return x.mT.contiguous().mT

    def tokens_first(x):
        return x.permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3)

    want = read(q, k, v, grad)
    for change in (within, turned, tokens_first):
        for got, same in zip(read(*map(change, (q, k, v, grad))), want, strict=True):
            assert torch.equal(got, same)
    one = grad[:, :, :1, :1].expand_as(grad)
    for got, same in zip(read(q, k, v, one), read(q, k, v, one.contiguous()), strict=True):
        assert torch.equal(got, same)


def test_rows_too_far_apart_for_32_bits_are_copied():
    near = torch.empty(2, 3, 4, 32, dtype=torch.bfloat16, device="meta")
    assert compiled_window._rows(near) is near
    far = near.as_strided(near.shape, (0, 32, 1 << 27, 1))
    assert compiled_window._rows(far).is_contiguous()


@needs_tiles
def test_compiled_refuses_other_numbers_and_shapes():
    x = torch.zeros(1, 2, 3, 32)
    with pytest.raises(TypeError, match="bfloat16 tensors on the CPU"):
        compiled_window.read(x, x, x, [0], 3)
    y = x.bfloat16()
    with pytest.raises(TypeError, match="bfloat16 tensors on the CPU"):
        compiled_window.read(y, y, x, [0], 3)
    with pytest.raises(
        TypeError, match="in tiles of 32 are wanted, got .* of shape \\(1, 2, 3, 16"
    ):
        compiled_window.read(y[..., :16], y[..., :16], y[..., :16], [0], 3)
    for k, v in [(y[:, :, :2], y[:, :, :2]), (y, y[:, :1]), (y[..., :16], y[..., :16])]:
        with pytest.raises(ValueError, match="k and v \\(B, G, C, D\\), .* are wanted, got"):
            compiled_window.read(y, k, v, [0], 3)
    with pytest.raises(ValueError, match="G a divisor of H"):
        compiled_window.read(y.repeat(1, 2, 1, 1)[:, :3], y, y, [0], 3)
    for n_held in ([], [0, 0]):
        with pytest.raises(ValueError, match=f"and {len(n_held)} lengths"):
            compiled_window.read(y, y, y, n_held, 3)
    for n_held in (-1, 1):
        with pytest.raises(ValueError, match=f"n_held must be in .0, C - L=0., got .{n_held}"):
            compiled_window.read(y, y, y, [n_held], 3)


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
