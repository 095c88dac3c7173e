"""Inner products and weighted sums of pairs taken by slot: against their definition, with
gradients."""

import pytest
import torch

from memformer.memory import compiled, taken
from memformer.memory.book import Book

SIZES = [  # lanes, query heads, key/value heads, queries, pairs taken, head_dim, page_len
    (2, 4, 2, 5, 3, 16, 8), (1, 3, 3, 1, 7, 18, 5), (3, 2, 1, 4, 1, 1, 3),
    (1, 1, 1, 9, 40, 256, 16),
]  # fmt: skip


def books(lanes, heads, head_dim, page_len, dtype=torch.float32, capacity=None):
    made = []
    for lane in range(lanes):
        book = Book(heads, head_dim, page_len, dtype, torch.device("cpu"))
        for n in (30, 1, 40 - 10 * lane):
            pairs = torch.randn(2, heads, n, head_dim)
            index = torch.arange(book.stop, book.stop + n)
            book.append(pairs[0], pairs[1], index, index / 100, capacity)
        made.append(book)
    return tuple(made)


def slots_of(made, *shape):
    """Random slots held, and some of -1."""
    each = [torch.randint(book.start, book.stop, shape) for book in made]
    slots = torch.stack(each)
    return slots.masked_fill(torch.rand(slots.shape) < 0.2, -1)


def plainly(a, made, slots, of, is_sum):
    """Row by row, in words."""
    B, H, L, k = slots.shape
    out = []
    for b, h, l in torch.cartesian_prod(*map(torch.arange, (B, H, L))).tolist():
        whole = torch.cat([getattr(run, of) for run in made[b].runs(0, 10**9)], dim=1)
        rows = whole[h * made[b].n_kv_head // H].to(a.dtype)
        taken_rows = [rows[s - made[b].start] if s >= 0 else 0 * rows[0] for s in slots[b, h, l]]
        stack = torch.stack(taken_rows)
        out.append(a[b, h, l] @ stack if is_sum else stack @ a[b, h, l])
    return torch.stack(out).view(B, H, L, -1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("is_sum", [False, True])
@pytest.mark.parametrize("of", ["keys", "values"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_compiled", [False, True])
def test_products_and_gradients_equal_the_definition(
    size, is_sum, of, dtype, is_compiled, monkeypatch
):
    if is_compiled and not compiled.is_built():
        pytest.skip("the compiled part was not built")
    monkeypatch.setattr(taken, "can_take", lambda book, dtype: is_compiled)
    B, H, G, L, k, D, page_len = size
    made = books(B, G, D, page_len, dtype, capacity=60)
    slots = slots_of(made, H, L, k)
    a = torch.randn(B, H, L, k if is_sum else D, requires_grad=True)
    again = a.detach().clone().requires_grad_()
    ours = taken.taken(a, made, slots, of, is_sum=is_sum)
    theirs = plainly(again, made, slots, of, is_sum)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)
    up = torch.randn_like(ours)
    ours.backward(up)
    theirs.backward(up)
    torch.testing.assert_close(a.grad, again.grad, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("is_sum", [False, True])
def test_gradients_in_float64(is_sum):
    made = books(2, 1, 4, 8)
    slots = slots_of(made, 2, 3, 5)
    a = torch.randn(2, 2, 3, 5 if is_sum else 4, dtype=torch.float64, requires_grad=True)

    def product(x):
        return taken.taken(x, made, slots, "values", is_sum=is_sum)

    assert torch.autograd.gradcheck(product, a)
    assert torch.autograd.gradgradcheck(product, a)


def test_plain_products_in_blocks_equal_one(monkeypatch):
    made = books(1, 2, 8, 4)
    slots = slots_of(made, 2, 9, 3)
    a = torch.randn(1, 2, 9, 8)
    monkeypatch.setattr(taken, "can_take", lambda book, dtype: False)
    whole = taken.taken(a, made, slots, "keys", is_sum=False)
    monkeypatch.setattr(taken, "_BLOCK", 1)
    torch.testing.assert_close(taken.taken(a, made, slots, "keys", is_sum=False), whole)


@pytest.mark.skipif(not compiled.is_built(), reason="the compiled part was not built")
@pytest.mark.parametrize("is_sum", [False, True])
def test_threads_and_instruction_sets_change_little(is_sum, monkeypatch):
    made = books(1, 2, 40, 8)
    slots = slots_of(made, 2, 500, 6)
    a = torch.randn(1, 2, 500, 6 if is_sum else 40)
    one = taken.taken(a, made, slots, "keys", is_sum=is_sum)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert taken.taken(a, made, slots, "keys", is_sum=is_sum).equal(one)
    finally:
        torch.set_num_threads(before)
    library = compiled.library_or_none()
    for path in range(library.memformer_best_path()):

        class Older:
            memformer_take = library.memformer_take

            @staticmethod
            def memformer_best_path(path=path):
                return path

        monkeypatch.setattr(compiled, "library_or_none", lambda older=Older: older)
        again = taken.taken(a, made, slots, "keys", is_sum=is_sum)
        torch.testing.assert_close(again, one, atol=1e-5, rtol=1e-5)


def test_bfloat16_operands_give_bfloat16():
    made = books(1, 1, 8, 4)
    slots = slots_of(made, 2, 3, 4)
    a = torch.randn(1, 2, 3, 4).bfloat16()
    out = taken.taken(a, made, slots, "values", is_sum=True)
    assert out.dtype == torch.bfloat16
    exact = taken.taken(a.float(), made, slots, "values", is_sum=True)
    torch.testing.assert_close(out.float(), exact, atol=0.05, rtol=0.05)
