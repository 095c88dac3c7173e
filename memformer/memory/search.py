"""The interface between the pages of a lane and whatever finds pairs on them.

A backend is asked for the k largest inner products per query and answers with slot numbers.
`exact.py` is the definition; every other backend is compared with it.

    G key/value heads, M queries of one key/value head, N pairs held, D head_dim, k pairs wanted
"""

from abc import ABC, abstractmethod
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


def merge_hits(parts: list[Hits], k: int) -> Hits:
    """The k best of several answers about disjoint slots, given in ascending order of slots."""
    scores = torch.cat([part.scores for part in parts], dim=-1)
    slots = torch.cat([part.slots for part in parts], dim=-1)
    if scores.shape[-1] < k:
        missing = k - scores.shape[-1]
        scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
        slots = torch.nn.functional.pad(slots, (0, missing), value=-1)
    if len(parts) == 1 and scores.shape[-1] == k:
        return Hits(scores, slots)
    # stable: of equal scores the earlier column, that is the lower slot, comes first
    scores, column = scores.sort(dim=-1, descending=True, stable=True)
    return Hits(scores[..., :k], slots.gather(-1, column[..., :k]))


def top_k_lowest_first(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`scores.topk(k)` over the last axis with ties given to the lower column, best first.

    `torch.topk` leaves the choice among equal scores open, and equal keys are common: at the first
    layer of a decoder without convolution, every occurrence of a word has the same key.
    """
    k = min(k, scores.shape[-1])
    values, columns = scores.topk(min(k + 1, scores.shape[-1]), dim=-1)
    tied = ((values[..., 1:] == values[..., :-1]) & values[..., 1:].isfinite()).any(-1)
    values, columns = values[..., :k].contiguous(), columns[..., :k].contiguous()
    if tied.any():
        values[tied], columns[tied] = _resolve_ties(scores[tied], values[tied])
    return values, columns


def _resolve_ties(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """`scores` (R, N), their k largest `values` (R, k), descending -> values and columns."""
    k = values.shape[-1]
    worst = values[:, -1:]  # (R, 1)
    above, level = scores > worst, scores == worst
    taken = above | (level & (level.cumsum(-1) <= k - above.sum(-1, keepdim=True)))
    columns = taken.nonzero()[:, 1].view(-1, k)  # ascending within each row
    values, order = scores.gather(-1, columns).sort(dim=-1, descending=True, stable=True)
    return values, columns.gather(-1, order)


def build_search(config: MemoryConfig) -> Search:
    """The backend that `config.search` names.

    Raises:
        ValueError: FAISS cannot build an index of that name.
    """
    from memformer.memory.exact import ExactSearch
    from memformer.memory.faiss_search import FaissSearch

    match config.search:
        case "auto" | "exact":
            return ExactSearch()
        case factory:
            return FaissSearch(factory, nprobe=config.nprobe, efSearch=config.efSearch)
