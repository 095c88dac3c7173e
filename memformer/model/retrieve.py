"""found(t, h): the K pairs older than the window with the largest logits.

Most older pairs lie in the paged memory. Those that left the window since it was last written are
searched with them, so that the function is defined per token and segments do not matter.

    B lanes, H query heads, L queries, K retrieved, D head_dim
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from memformer.config import MemoryConfig
from memformer.memory.pages import PagedMemory
from memformer.memory.rotary import Rotary
from memformer.memory.search import top_k_lowest_first
from memformer.model.local_attention import Part, logits_of, rotary_logits
from memformer.model.positions import rotate


class Candidates(NamedTuple):
    """Pairs in memory that a query may retrieve, with their logits."""

    logits: Tensor
    """(B, H, L, n); -inf where there is none."""
    slots: Tensor
    """(B, H, L, n) int64; -1 where there is none."""


class Places(Protocol):
    """Where pairs stood in the manuscript; looked up when first asked for."""

    @property
    def token_index(self) -> Tensor:
        """(B, H or 1, L or 1, n); -1 where there is none."""

    @property
    def fraction(self) -> Tensor:
        """(B, H or 1, L or 1, n) of the novel; NaN where unknown."""


class PlacesOf(NamedTuple):
    """Places that are known."""

    token_index: Tensor
    fraction: Tensor


class Selected(NamedTuple):
    """Pairs of `found(t, h)` that lie in one place."""

    part: Part
    places: Places


def select_all(
    q: Tensor, memory: PagedMemory, n_read: list[int], config: MemoryConfig, base: float
) -> Selected:
    """K is no limit: every pair of the memory, without a search."""
    runs = [memory.pairs(lane) for lane in range(memory.n_lane)]
    n = max(1, *(run.keys.shape[1] for run in runs))  # an empty memory is one masked column
    keys, values = _padded([r.keys for r in runs], n), _padded([r.values for r in runs], n)
    index = _padded_rows([run.token_index for run in runs], n, -1)
    fraction = _padded_rows([run.fraction for run in runs], n, torch.nan)
    logits = _logits(q, keys.type_as(q), index, n_read, config, base)
    places = PlacesOf(index[:, None, None], fraction[:, None, None])
    return Selected(Part(logits, values.type_as(q)), places)


def select_found(
    q: Tensor,
    memory: PagedMemory,
    n_read: list[int],
    n_sink: int,
    config: MemoryConfig,
    base: float,
    stop: Tensor,
) -> Candidates:
    """The K best of the memory.

    Args:
        q: (B, H, L, D), unrotated, scaled so that inner products are logits.
        memory: pairs of all tokens outside some query's window.
        n_read: tokens read before this segment, by lane.
        n_sink: tokens at the start that never went to memory: slot i is token n_sink + i.
        config: n_retrieved and positions.
        base: rotary base.
        stop: (B, L) int64: a query's memory is in the slots below.
    """
    K = config.n_retrieved
    match config.positions:
        case "none" | "fraction":
            parts = [_search(q, memory, K, stop=stop)]
        case "rotary":
            parts = _search_rotary(q, memory, n_read, n_sink, config, base, stop)
    if len(parts) == 1:
        return parts[0]
    logits = torch.cat([part.logits for part in parts], dim=-1)
    slots = torch.cat([part.slots for part in parts], dim=-1)
    _, chosen = top_k_lowest_first(logits.detach(), K)  # (B, H, L, K)
    return Candidates(logits.gather(-1, chosen), slots.gather(-1, chosen))


def _search(
    q: Tensor,
    memory: PagedMemory,
    k: int,
    *,
    start: Tensor | None = None,
    stop: Tensor | None = None,
    rotary: Rotary | None = None,
) -> Candidates:
    """The k best inner products with keys as stored, or at their distance. With gradient they are
    computed again."""
    found = memory.search(q, k, start=start, stop=stop, rotary=rotary)
    if not (torch.is_grad_enabled() and q.requires_grad):
        return Candidates(found.scores.type_as(q), found.slots)
    logits = found.inner(q, rotary)  # (B, H, L, k)
    return Candidates(logits.masked_fill(~found.mask, -torch.inf), found.slots)


def _search_rotary(
    q: Tensor,
    memory: PagedMemory,
    n_read: list[int],
    n_sink: int,
    config: MemoryConfig,
    base: float,
    stop: Tensor,
) -> list[Candidates]:
    """Pairs within max_distance are compared at their distance; all older ones share one distance,
    so they are searched as stored, by a query rotated once. Slot i is token n_sink + i."""
    t = torch.tensor(n_read, device=q.device)[:, None]  # (B, 1)
    # without a limit no pair is beyond it
    M = max(n_read) + q.shape[2] if config.max_distance is None else config.max_distance
    if memory.searches_by_distance:
        t = t + torch.arange(q.shape[2])  # (B, L)
        border = (t - M - n_sink).clamp(min=0)  # the first slot within M of each query
        rotary = Rotary(base, t, n_sink, config.max_distance)
        near = _search(q, memory, config.n_retrieved, start=border, stop=stop, rotary=rotary)
    else:  # the first slot nearer than M to the first query: `_score_near` clamps pair by pair
        border = (t - M + 1 - n_sink).clamp(min=0)[:, 0]
        near = _score_near(q, memory, border.tolist(), n_read, config, base, stop)
        border = border[:, None]
    if not bool(border.any()):
        return [near]
    turned = rotate(q, torch.full((1, 1), M, device=q.device), base)
    far = _search(turned, memory, config.n_retrieved, stop=torch.minimum(border, stop))
    return [far, near]


def _score_near(
    q: Tensor,
    memory: PagedMemory,
    border: list[int],
    n_read: list[int],
    config: MemoryConfig,
    base: float,
    stop: Tensor,
) -> Candidates:
    """The K best of the slots from `border` on and below `stop`, at their own distances."""
    runs = [memory.pairs(lane, start=first) for lane, first in enumerate(border)]
    n = max(1, *(run.keys.shape[1] for run in runs))  # an empty memory is one masked column
    keys = _padded([run.keys for run in runs], n).type_as(q)
    index = _padded_rows([run.token_index for run in runs], n, -1)
    logits = _logits(q, keys, index, n_read, config, base)
    first = torch.tensor([run.first for run in runs], device=q.device)[:, None, None, None]
    slot = first + torch.arange(n, device=q.device)
    logits = logits.masked_fill(slot >= stop[:, None, :, None], -torch.inf)
    _, columns = top_k_lowest_first(logits.detach(), config.n_retrieved)
    best = logits.gather(-1, columns)
    return Candidates(best, (columns + first).masked_fill(best.isneginf(), -1))


def _logits(
    q: Tensor, k: Tensor, index: Tensor, n_read: list[int], config: MemoryConfig, base: float
) -> Tensor:
    """(B, H, L, n); -inf where index (B, n) is -1."""
    if config.positions == "rotary":
        # positions count from the segment's start: small numbers keep float32 angles exact
        q_at = torch.arange(q.shape[2], device=q.device)[None]
        t = torch.tensor(n_read, device=q.device)[:, None]
        logits = rotary_logits(
            q, k, q_at, torch.where(index < 0, 0, index - t), base, config.max_distance
        )
    else:
        logits = logits_of(q, k)
    is_padding = index < 0
    if not bool(is_padding.any()):
        return logits
    return logits.masked_fill(is_padding[:, None, None], -torch.inf)


def _padded(rows: list[Tensor], n: int) -> Tensor:
    """(G, n_i, D) each -> (B, G, n, D), zeros at the end."""
    return torch.stack([torch.nn.functional.pad(r, (0, 0, 0, n - r.shape[1])) for r in rows])


def _padded_rows(rows: list[Tensor], n: int, fill: float) -> Tensor:
    """(n_i,) each -> (B, n)."""
    return torch.stack([torch.nn.functional.pad(r, (0, n - len(r)), value=fill) for r in rows])
