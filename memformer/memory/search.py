"""The interface between the pages of a lane and whatever finds pairs on them.

A backend is asked for the k largest inner products per query and answers with slot numbers.
`exact.py` is the definition; every other backend is compared with it.

    G key/value heads, M queries of one key/value head, N pairs held, D head_dim, k pairs wanted
"""

import logging
from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from memformer.config import MemoryConfig

if TYPE_CHECKING:
    from memformer.memory.book import Book


class Hits(NamedTuple):
    """Slots found for queries, best first; where fewer than k exist, score -inf and slot -1."""

    scores: Tensor
    """Inner products, (G, M, k) float32."""
    slots: Tensor
    """(G, M, k) int64."""


class Search(ABC):
    """Finds pairs of one lane by inner product. Holds settings only: what it builds over a lane
    lives in that lane's `Book.groups`, so that forks share it and eviction can drop it."""

    @abstractmethod
    def index(self, book: "Book") -> None:
        """Bring `book.groups` up to date with its sealed pages; called after every change."""

    @abstractmethod
    def top_k(self, book: "Book", queries: Tensor, k: int, start: Tensor, stop: Tensor) -> Hits:
        """The k largest inner products of each query with the keys in its slots [start, stop).

        Args:
            book: pages of one lane.
            queries: (G, M, D) float32; row m of head g is compared with the keys of head g.
            k: pairs wanted, at least 1.
            start, stop: (M,) int64 slot bounds of each query, already within the slots held.

        Returns:
            `Hits` of width k, best first, ties to the lower slot.
        """


def top_k_lowest_first(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`scores.topk(k)` over the last axis with ties given to the lower column, best first.

    `torch.topk` leaves the choice among equal scores open, and equal keys are common: at the first
    layer of a decoder without convolution, every occurrence of a word has the same key.
    """
    k = min(k, scores.shape[-1])
    values, columns = scores.topk(min(k + 1, scores.shape[-1]), dim=-1)
    tied = (values[..., 1:] == values[..., :-1]) & values[..., 1:].isfinite()  # with its right one
    if not tied.any():
        return values[..., :k].contiguous(), columns[..., :k].contiguous()
    cut = tied[..., k - 1 : k].flatten() if tied.shape[-1] == k else tied.new_zeros(0)
    values, columns = values[..., :k].contiguous(), columns[..., :k].contiguous()
    if cut.any():  # the last place has rivals that were left out
        flat = columns.view(-1, k)
        flat[cut] = _lowest_of_the_last(
            scores.reshape(-1, scores.shape[-1])[cut], values.view(-1, k)[cut], flat[cut]
        )
    columns, order = columns.sort(dim=-1)
    values, order = values.gather(-1, order).sort(dim=-1, descending=True, stable=True)
    return values, columns.gather(-1, order)


def _lowest_of_the_last(scores: Tensor, values: Tensor, columns: Tensor) -> Tensor:
    """Where scores (R, N) equal the last of the k best `values` (R, k): the lowest such columns."""
    k, last = values.shape[-1], values[:, -1:]
    by_column = -torch.arange(scores.shape[-1], dtype=torch.float64, device=scores.device)
    if scores.shape[-1] < 1 << 24:
        by_column = by_column.float()  # exact so far, and half the bytes
    rank = torch.where(scores == last, by_column, -torch.inf)
    lowest = rank.topk(k, dim=-1).indices  # ascending, as far as there are equals
    above = (values > last).sum(-1, keepdim=True)  # places taken by larger scores
    place = torch.arange(k, device=scores.device)
    return torch.where(place < above, columns, lowest.gather(-1, (place - above).clamp(min=0)))


def build_search(config: MemoryConfig, head_dim: int, device: torch.device) -> Search:
    """The backend that `config.search` names.

    Raises:
        ValueError: the compiled part is missing, or FAISS cannot build an index of that name.
    """
    from memformer.memory.blocked import BlockedSearch
    from memformer.memory.compiled import is_built
    from memformer.memory.exact import ExactSearch
    from memformer.memory.fused import FusedSearch

    name = config.search
    if name == "auto":
        name, why = _choice(is_built(), head_dim, device.type)
        _say_choice(name, why)
    match name:
        case "exact":
            return ExactSearch()
        case "blocked":
            return BlockedSearch(head_dim, device)
        case "fused":
            if device.type != "cpu":
                raise ValueError(f"search='fused' runs on the CPU, the memory is on {device}: "
                                 "take search='blocked' or 'exact'")  # fmt: skip
            return FusedSearch(head_dim)
        case factory:
            from memformer.memory.faiss_search import FaissSearch

            return FaissSearch(factory, head_dim, nprobe=config.nprobe, efSearch=config.efSearch)


def _choice(is_built: bool, head_dim: int, device: str) -> tuple[str, str]:
    """What `auto` takes, and why."""
    if device != "cpu":
        return "exact", f"the memory is on {device}, where 'blocked' has not been timed"
    if not is_built:
        return "exact", "the compiled part of 'fused' was not built (no C++ compiler)"
    if head_dim % 2:
        return "exact", f"head_dim={head_dim} is odd"
    return "fused", "on a CPU it is the fastest search, and it misses nothing"


@cache
def _say_choice(name: str, why: str) -> None:
    logging.getLogger(__name__).info("search 'auto' uses '%s': %s", name, why)
