"""Exact search in two passes, for GPUs: the maxima of blocks of scores, then the blocks that count.

Keys are compared in bfloat16, sums in float32, and of each `BLOCK_LEN` scores only the largest is
kept. The slots of the blocks with the largest maxima are scored again from the keys as stored. With
q', k' the vectors rounded, a score was off by at most e = |q - q'| |k| + |q'| |k - k'|, which are
known, and what the sums lost: a block left out holds none of the k best if its maximum lies more
than e below the k-th best score found. Queries for which that is not so are asked again with more
blocks, and in the end by `exact`. So the pairs found are those of `exact`, up to the order of
float32 sums. Nothing as large as all scores is ever held.

    G key/value heads, M queries of one key/value head, n pairs, D head_dim, k pairs wanted
    R = ceil(n / BLOCK_LEN) blocks, C blocks chosen
"""

import logging
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from memformer.memory import triton_scan
from memformer.memory.book import Book
from memformer.memory.exact import scan
from memformer.memory.int8 import unpack
from memformer.memory.search import Hits, Search, top_k_lowest_first

BLOCK_LEN = 32
"""Scores of which one maximum is kept; a power of 2."""
GROUP_LEN = 16_384
"""Pairs rounded together, and once, as soon as their pages are sealed; made up to whole pages."""
WIDER = 2
"""How many times more blocks are chosen for queries whose blocks were too few. Where this many
times the chosen would be all, `exact` does the search."""

Maxima = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]
"""See `plain_maxima`, which defines it."""


class _Part(NamedTuple):
    """Consecutive slots, ready to be compared."""

    first: int
    keys: Tensor  # (G, n, D) in the dtype of the products
    largest: Tensor  # (G,) float32: norm of a key
    rounded: Tensor  # (G,) float32: norm of what rounding took from a key


class BlockedSearch(Search):
    """The k largest inner products, exactly, on any device.

    Args:
        head_dim: width of keys and queries.
        device: where the pages lie.
        dtype: keys and queries are compared in it, float32 or bfloat16; None for bfloat16 on GPUs
            of CUDA that multiply in it, float32 elsewhere.

    Raises:
        ValueError: another dtype.
    """

    def __init__(
        self, head_dim: int, device: torch.device, *, dtype: torch.dtype | None = None
    ) -> None:
        self.dtype = _fastest(device) if dtype is None else dtype
        if self.dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"dtype must be float32 or bfloat16, got {dtype}")
        self.maxima = _maxima_for(device, head_dim, self.dtype)

    def index(self, book: Book) -> None:
        """Round the keys of newly sealed pages. A group whose oldest pages were evicted is kept."""
        if self.dtype == torch.float32:
            return  # the pages themselves are read
        unit = -(-GROUP_LEN // book.page_len) * book.page_len
        kept = {group.first: group for group in cast(list[_Part], book.groups)}
        firsts = range(book.start // unit * unit, book.sealed - unit + 1, unit)
        wanted = [first for first in firsts if first >= book.start or first in kept]
        if list(kept) != wanted:
            book.groups = [
                kept.get(first) or self._part(book, first, first + unit) for first in wanted
            ]

    def top_k(self, book: Book, queries: Tensor, k: int, start: Tensor, stop: Tensor) -> Hits:
        G, M, _ = queries.shape
        scores = torch.full((G, M, k), -torch.inf, dtype=torch.float32, device=queries.device)
        slots = torch.full((G, M, k), -1, dtype=torch.int64, device=queries.device)
        lowest, highest = (int(start.min()), int(stop.max())) if M else (0, 0)
        n_block = -(-max(0, highest - lowest) // BLOCK_LEN)
        left = torch.arange(M, device=queries.device)  # queries not answered yet
        width = 2 * k + 8  # k would do if nothing were rounded
        while len(left) and WIDER * width < n_block:
            n_query = max(1, _room(book.device) // (G * max(n_block, width * BLOCK_LEN)))
            late = []
            for i in range(0, len(left), n_query):
                at = left[i : i + n_query]
                asked = queries[:, at], start[at], stop[at]
                hits, is_complete = self._best(book, *asked, k, width, (lowest, highest))
                scores[:, at], slots[:, at] = hits
                late.append(at[~is_complete])
            left, width = torch.cat(late), width * WIDER
        if len(left):
            scores[:, left], slots[:, left] = scan(
                book, queries[:, left], k, start[left], stop[left]
            )
        return Hits(scores, slots)

    def _best(
        self,
        book: Book,
        queries: Tensor,
        start: Tensor,
        stop: Tensor,
        k: int,
        width: int,
        within: tuple[int, int],
    ) -> tuple[Hits, Tensor]:
        """The k best slots of the `width` best blocks, and for which queries, (M,), no other block
        can hold one of the k best. All bounds lie within the slots `within`, which have more than
        `width` blocks."""
        narrow, device = queries.to(self.dtype), queries.device
        maxima, firsts, stops = [], [], []
        largest = rounded = torch.zeros(len(queries), dtype=torch.float32, device=device)
        for part in self._parts(book, *within):
            n = part.keys.shape[1]
            bounds = (start - part.first).clamp(0, n), (stop - part.first).clamp(0, n)
            maxima.append(self.maxima(narrow, part.keys, *bounds, BLOCK_LEN))
            first = torch.arange(0, n, BLOCK_LEN, device=device) + part.first
            firsts.append(first)
            stops.append((first + BLOCK_LEN).clamp(max=part.first + n))
            largest, rounded = largest.maximum(part.largest), rounded.maximum(part.rounded)
        values, chosen = torch.cat(maxima, dim=-1).topk(width + 1, dim=-1)
        next_best, chosen = values[..., width], chosen[..., :width].sort(dim=-1).values  # (G, M, C)
        slots = torch.cat(firsts)[chosen][..., None] + torch.arange(BLOCK_LEN, device=device)
        is_here = slots < torch.cat(stops)[chosen][..., None]
        is_here &= (slots >= start[:, None, None]) & (slots < stop[:, None, None])
        slots = slots.masked_fill_(~is_here, -1).flatten(2)  # (G, M, C · BLOCK_LEN), ascending
        scores, columns = top_k_lowest_first(_inner(book, queries, slots), k)
        found = slots.gather(-1, columns).masked_fill_(scores == -torch.inf, -1)
        error = _error(queries, narrow, largest, rounded)
        # where numbers are too large for float32, nothing is known to be complete
        is_complete = (next_best == -torch.inf) | (next_best + error < scores[..., -1])
        return Hits(scores, found), is_complete.all(0)

    def _parts(self, book: Book, lowest: int, highest: int) -> Iterator[_Part]:
        """Parts that cover the slots [lowest, highest), which the book holds; ascending."""
        groups = cast(list[_Part], book.groups)
        begin, end = lowest, lowest
        if groups:
            begin, end = groups[0].first, groups[-1].first + groups[-1].keys.shape[1]
        yield from self._loose(book, lowest, min(begin, highest))
        for group in groups:
            if group.first < highest and group.first + group.keys.shape[1] > lowest:
                yield group
        yield from self._loose(book, max(end, lowest), highest)

    def _loose(self, book: Book, start: int, stop: int) -> Iterator[_Part]:
        """Parts of slots that are in no group, made for this call."""
        for first in range(start, stop, GROUP_LEN):
            yield self._part(book, first, min(first + GROUP_LEN, stop))

    def _part(self, book: Book, first: int, stop: int) -> _Part:
        runs = [run.rows("keys") for run in book.runs(first, stop)]
        rows = runs[0] if len(runs) == 1 else torch.cat(runs, dim=1)
        keys = rows.to(self.dtype)
        largest = _norm(rows).amax(-1)
        if keys.dtype == rows.dtype or rows.dtype == torch.bfloat16:
            return _Part(first, keys, largest, torch.zeros_like(largest))
        return _Part(first, keys, largest, _norm(rows - keys.float()).amax(-1))


def plain_maxima(
    queries: Tensor, keys: Tensor, start: Tensor, stop: Tensor, block_len: int
) -> Tensor:
    """The largest inner product of each query with each `block_len` keys.

    Args:
        queries, keys: (G, M, D), (G, n, D), n at least 1, in one dtype; sums are float32.
        start, stop: (M,) int64 in [0, n]: the keys that each query is compared with.
        block_len: keys a block; the last may have fewer.

    Returns:
        (G, M, R) float32; -inf where a query is compared with no key of a block.
    """
    G, M, _ = queries.shape
    maxima = []
    step = max(1, _room(queries.device) // (G * M * block_len)) * block_len
    for first in range(0, keys.shape[1], step):
        scores = _products(queries, keys[:, first : first + step])
        columns = torch.arange(first, first + scores.shape[-1], device=scores.device)
        is_out = (columns < start[:, None]) | (columns >= stop[:, None])  # (M, n)
        scores.masked_fill_(is_out, -torch.inf)
        if len(columns) % block_len:  # the last block is short
            scores = pad(scores, (0, -len(columns) % block_len), value=-torch.inf)
        maxima.append(scores.view(G, M, -1, block_len).amax(-1))
    return torch.cat(maxima, dim=-1)


def _products(queries: Tensor, keys: Tensor) -> Tensor:
    """(G, M, D), (G, n, D) -> (G, M, n) float32, in float32 sums."""
    if queries.dtype == torch.bfloat16 and queries.device.type == "cuda":
        return torch.bmm(queries, keys.mT, out_dtype=torch.float32)
    return torch.bmm(queries.float(), keys.float().mT)


def _inner(book: Book, queries: Tensor, slots: Tensor) -> Tensor:
    """Inner products with the keys as stored: (G, M, D), slots (G, M, c) -> (G, M, c) float32, -inf
    for slot -1. No product of matrices, which torch may be allowed to round to TF32."""
    G, M, c = slots.shape
    places, rows = slots.flatten(), queries.reshape(G * M, -1)
    out = torch.full((G * M * c,), -torch.inf, dtype=torch.float32, device=slots.device)
    for run in book.runs(book.start, book.stop):
        inside = ((places >= run.first) & (places < run.stop)).nonzero()[:, 0]
        stored, scales = run.stored("keys")
        n = max(1, _room(book.device) // book.head_dim)
        for i in range(0, len(inside), n):
            at = inside[i : i + n]
            row = at // c
            index = row // M, places[at] - run.first
            keys = unpack(stored[index], None if scales is None else scales[index])
            out[at] = (keys.float() * rows[row]).sum(-1)
    return out.view(G, M, c)


def _error(queries: Tensor, narrow: Tensor, largest: Tensor, rounded: Tensor) -> Tensor:
    """By how much a score of rounded vectors may be off: (G, M) float32, from norms (G,).

    For the sums each term may lose 2^-21 of the product of norms: four times what a float32 sum
    loses that is cut and not rounded, as tensor cores do (Fasi et al. 2021,
    doi:10.7717/peerj-cs.330).
    """
    D, float32 = queries.shape[-1], torch.finfo(torch.float32)
    largest, rounded = largest[:, None], rounded[:, None]  # (G, 1)
    norm, lost = _norm(queries), _norm(queries - narrow.float())
    sums = (D + 16) * 2.0**-21 * (norm + lost) * (largest + rounded)
    error = lost * largest + (norm + lost) * rounded + sums
    return error * 1.001 + D * float32.tiny  # the norms are rounded too; what is lost near zero


def _norm(rows: Tensor) -> Tensor:
    """Norms of rows (..., D), float32, of rows of any size: squares neither overflow nor vanish."""
    rows = rows.float()
    top = rows.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    norms: Tensor = torch.linalg.vector_norm(rows / top, dim=-1) * top[..., 0]
    return norms


def _room(device: torch.device) -> int:
    """Numbers of float32 held at once: 64 MiB, and 256 MiB on a GPU, which wants large pieces."""
    return 1 << 24 if device.type == "cpu" else 1 << 26


def _fastest(device: torch.device) -> torch.dtype:
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32


def _maxima_for(device: torch.device, head_dim: int, dtype: torch.dtype) -> Maxima:
    """The kernel on GPUs where it works, else `plain_maxima`; logs once which and why."""
    if device.type != "cuda" or dtype != torch.bfloat16:
        return plain_maxima
    failed = _why_no_kernel(device, head_dim, dtype)
    _say_maxima(failed)
    return plain_maxima if failed else triton_scan.block_maxima


@cache
def _why_no_kernel(device: torch.device, head_dim: int, dtype: torch.dtype) -> str:
    """Why the kernel cannot serve here, or nothing: it is built, run and compared, once."""
    if not triton_scan.is_here():
        return "triton is not installed"
    n = 2 * triton_scan.KEYS * triton_scan.STEPS + 5
    made = torch.Generator("cpu").manual_seed(0)
    queries, keys = (
        torch.randn(2, rows, head_dim, generator=made, dtype=torch.float32, device="cpu")
        .to(device, dtype)
        for rows in (70, n)
    )  # fmt: skip
    start = torch.arange(0, 700, 10, device=device)
    stop = (start * 7).clamp(max=n)
    expected = plain_maxima(queries, keys, start, stop, BLOCK_LEN)
    try:
        maxima = triton_scan.block_maxima(queries, keys, start, stop, BLOCK_LEN)
        differs = maxima != expected
        off = (maxima - expected).abs()  # NaN where both are -inf
    except Exception as error:  # of Triton, a compiler or the driver
        return f"it cannot be built or run here ({type(error).__name__}: {error})"
    largest = _norm(keys).amax(-1)
    allowed = _error(queries.float(), queries, largest, torch.zeros_like(largest))[..., None]
    return "it computes something else here" if (differs & ~(off <= allowed)).any() else ""


@cache
def _say_maxima(failed: str) -> None:
    log = logging.getLogger(__name__)
    if failed:
        log.warning("search 'blocked' takes maxima by torch, without Triton's kernel: %s", failed)
    else:
        log.info("search 'blocked' takes maxima by Triton's kernel")
