"""The maxima of `blocked` in one pass over the keys: a Triton kernel that writes no score.

torch's builds for CUDA bring Triton, its builds for the CPU do not; this module can be imported
without. `blocked.plain_maxima` defines what is computed.

    G key/value heads, M queries of one key/value head, n pairs, D head_dim
"""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

if find_spec("triton") is None:
    _kernel: Any = None
else:
    import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
    import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _kernel(  # type: ignore[no-untyped-def]  # Triton takes no other annotations
        queries, keys, start, stop, maxima, M, n, R, key_head, key_row,
        D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_LEN: tl.constexpr,
        QUERIES: tl.constexpr, KEYS: tl.constexpr, STEPS: tl.constexpr,
    ):  # fmt: skip
        """QUERIES queries of a head walk STEPS · KEYS keys. WIDTH is D made up to a power of 2."""
        head = tl.program_id(2).to(tl.int64)
        row = tl.program_id(1) * QUERIES + tl.arange(0, QUERIES)
        channel = tl.arange(0, WIDTH)
        q_at = (head * M + row[:, None]) * D + channel[None, :]
        q_mask = (row[:, None] < M) & (channel[None, :] < D)
        q = tl.load(queries + q_at, mask=q_mask, other=0.0)
        first = tl.load(start + row, mask=row < M, other=0)
        last = tl.load(stop + row, mask=row < M, other=0)
        for step in range(STEPS):
            begin = (tl.program_id(0) * STEPS + step) * KEYS
            column = begin + tl.arange(0, KEYS)
            k_at = head * key_head + column[None, :].to(tl.int64) * key_row + channel[:, None]
            k_mask = (column[None, :] < n) & (channel[:, None] < D)
            k = tl.load(keys + k_at, mask=k_mask, other=0.0)
            scores = tl.dot(q, k, input_precision="ieee")
            is_in = (column[None, :] >= first[:, None]) & (column[None, :] < last[:, None])
            scores = tl.where(is_in, scores, float("-inf"))
            blocks = tl.reshape(scores, (QUERIES, KEYS // BLOCK_LEN, BLOCK_LEN))
            block = begin // BLOCK_LEN + tl.arange(0, KEYS // BLOCK_LEN)
            out = (head * M + row[:, None]) * R + block[None, :]
            out_mask = (row[:, None] < M) & (block[None, :] < R)
            tl.store(maxima + out, tl.max(blocks, axis=2), mask=out_mask)


QUERIES, KEYS, STEPS = 64, 128, 16
"""Of one program: queries, keys compared at once, and how often."""


def is_here() -> bool:
    """Whether Triton is installed."""
    return _kernel is not None


def block_maxima(
    queries: Tensor, keys: Tensor, start: Tensor, stop: Tensor, block_len: int
) -> Tensor:
    """`blocked.plain_maxima` by the kernel, which Triton builds when it is first run (for that it
    needs a C compiler on the machine).

    Raises:
        ValueError: a block_len that the kernel has no tiles for.
    """
    if not 1 <= block_len <= KEYS or block_len & (block_len - 1):
        raise ValueError(f"block_len must be a power of 2, at most {KEYS}, got {block_len}")
    (G, M, D), n = queries.shape, keys.shape[1]
    R = -(-n // block_len)
    queries = queries.contiguous()
    keys = keys if keys.stride(2) == 1 else keys.contiguous()
    maxima = torch.empty(G, M, R, dtype=torch.float32, device=queries.device)
    n_query = min(QUERIES, max(16, 1 << (M - 1).bit_length()))  # products have 16 rows at least
    grid = (-(-n // (KEYS * STEPS)), -(-M // n_query), G)
    # Triton runs on the current device, whatever it is given
    with torch.cuda.device_of(queries):  # type: ignore[no-untyped-call]
        _kernel[grid](
            queries, keys, start.int(), stop.int(), maxima, M, n, R, keys.stride(0), keys.stride(1),
            D=D, WIDTH=max(16, 1 << (D - 1).bit_length()), BLOCK_LEN=block_len,
            QUERIES=n_query, KEYS=KEYS, STEPS=STEPS,
        )  # fmt: skip
    return maxima
