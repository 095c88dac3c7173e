"""Triton's kernel without a GPU: what it computes, in Triton's interpreter, and that it compiles.

The interpreter is chosen when Triton is first imported, so the cases run in a process of their own.
It cannot multiply bfloat16; the cases give the kernel numbers rounded to bfloat16, in float32.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from memformer.memory import blocked, triton_scan
from memformer.memory.exact import ExactSearch
from memformer.memory.triton_scan import KEYS, STEPS, block_maxima

ROOT = Path(__file__).parents[2]
CASES = [  # G, M, n, D, block_len
    (2, 7, 333, 16, 8), (1, 1, 1, 1, 2), (3, 65, 2 * KEYS * STEPS + 5, 64, 32),
    (2, 130, KEYS * STEPS, 18, 64), (1, 16, 129, 80, 128), (1, 3, 70, 3, 1),
]  # fmt: skip
needs_triton = pytest.mark.skipif(
    find_spec("triton") is None,
    reason="triton is not installed: torch's CUDA builds bring it, its CPU builds do not",
)


def alone(name, interpret):
    """Run a function of this file in a process of its own, in Triton's interpreter or not."""
    code = f"from tests.memory import test_triton_scan as here; here.{name}()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "TRITON_INTERPRET": interpret, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def check_maxima():
    for G, M, n, D, block_len in CASES:
        torch.manual_seed(n)
        queries = torch.randn(G, M, D).bfloat16().float()
        slab = torch.randn(G, n + 9, D).bfloat16().float()
        keys = slab[:, 4 : 4 + n]  # heads lie farther apart than n rows, as in pages
        start, stop = torch.randint(0, n + 1, (2, M))
        maxima = block_maxima(queries, keys, start, stop, block_len)
        expected = blocked.plain_maxima(queries, keys, start, stop, block_len)
        torch.testing.assert_close(maxima, expected, atol=1e-4, rtol=1e-5)
        whole = torch.zeros_like(start), torch.full_like(start, n)
        maxima = block_maxima(queries, keys, *whole, block_len)
        expected = blocked.plain_maxima(queries, keys, *whole, block_len)
        torch.testing.assert_close(maxima, expected, atol=1e-4, rtol=1e-5)
        assert maxima.isfinite().all()


def check_search():
    from tests.memory.test_fused import assert_equal_to_exact, book

    torch.manual_seed(0)
    for capacity in (None, 1500):
        made = book(2500, page_len=7, capacity=capacity)
        start = torch.randint(made.start, made.stop - 700, (29,))
        stop = start + torch.randint(0, 700, (29,))
        backend = blocked.BlockedSearch(16, torch.device("cpu"))
        assert blocked._why_no_kernel(torch.device("cpu"), 16, torch.float32) == ""
        backend.maxima = block_maxima
        queries = torch.randn(2, 29, 16)
        assert_equal_to_exact(backend, made, queries, 3, start, stop)
        ours = assert_equal_to_exact(backend, made, queries, 3)
        exact = ExactSearch().top_k(
            made, queries, 3, torch.full((29,), made.start), torch.full((29,), made.stop)
        )
        assert ours.slots.equal(exact.slots)


def check_code():
    """To the machine code of GPUs that are not here: A100, H100 and their like."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = [parameter.name for parameter in triton_scan._kernel.params]
    for arch, head_dim, n_query in ((80, 64, 64), (80, 80, 16), (90, 128, 64)):
        types = ["*bf16", "*bf16", "*i32", "*i32", "*fp32", *["i32"] * 5, *["constexpr"] * 6]
        values = (head_dim, 1 << (head_dim - 1).bit_length(), 32, n_query, KEYS, STEPS)
        constants = {(10 + i,): value for i, value in enumerate(values)}
        source = ASTSource(
            triton_scan._kernel, dict(zip(names, types, strict=True)), constexprs=constants
        )
        made = triton.compile(source, target=GPUTarget("cuda", arch, 32))
        assert made.asm["cubin"] and "mma" in made.asm["ptx"]  # by matrix units
        assert made.metadata.shared <= {80: 163, 90: 227}[arch] * 1024


@needs_triton
def test_the_maxima_are_those_of_all_scores():
    alone("check_maxima", "1")


@needs_triton
def test_a_search_with_it_finds_what_exact_finds():
    alone("check_search", "1")


@needs_triton
def test_it_compiles_for_gpus_to_products_of_their_matrix_units():
    alone("check_code", "0")


@pytest.mark.parametrize("block_len", [0, 3, 2 * KEYS])
def test_a_block_that_no_tile_holds_is_an_error(block_len):
    some = torch.randn(1, 4, 8)
    bounds = torch.zeros(4, dtype=torch.int64), torch.full((4,), 4)
    with pytest.raises(ValueError, match=f"power of 2, at most {KEYS}, got {block_len}"):
        block_maxima(some, some, *bounds, block_len)


def test_it_can_be_imported_without_triton_and_says_whether_it_is_there():
    assert triton_scan.is_here() == (find_spec("triton") is not None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize("head_dim", [16, 64, 80, 128])
def test_on_a_gpu_the_kernel_is_built_and_right(head_dim):
    assert blocked._why_no_kernel(torch.device("cuda"), head_dim, torch.bfloat16) == ""
