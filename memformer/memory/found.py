"""What a search of the memory returned.

B lanes, H query heads, L queries per head, k pairs found, D head_dim
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from memformer.memory.book import Book, Of
from memformer.memory.rotary import Rotary
from memformer.memory.taken import taken


@dataclass(frozen=True)
class Found:
    """What a search returned, best first. Pairs are read from the pages when first asked for, as
    they were at the time of the search: later writes, resets and evictions change nothing here."""

    scores: Tensor
    """Inner products of query and key, (B, H, L, k) float32; -inf where fewer than k exist."""
    slots: Tensor
    """(B, H, L, k) int64; -1 where fewer than k exist."""
    _books: tuple[Book, ...]
    _value_order: Callable[[Book, Tensor], Tensor] | None

    @cached_property
    def mask(self) -> Tensor:
        """(B, H, L, k) bool: True where a pair was found."""
        return self.slots >= 0

    @cached_property
    def keys(self) -> Tensor:
        """(B, H, L, k, D) float32; zeros where the mask is False."""
        return self._gather("keys", self.slots)

    @cached_property
    def values(self) -> Tensor:
        """(B, H, L, k, D) float32; zeros where the mask is False."""
        return self._gather("values", self._value_slots)

    @cached_property
    def token_index(self) -> Tensor:
        """(B, H, L, k) int64: where in the manuscript each pair stood; -1 under the mask."""
        return self._metadata[0]

    @cached_property
    def fraction(self) -> Tensor:
        """(B, H, L, k) float32: the fraction of the novel there; NaN if unknown or masked."""
        return self._metadata[1]

    @cached_property
    def _metadata(self) -> tuple[Tensor, Tensor]:
        pairs = [book.metadata(s) for book, s in zip(self._books, self.slots, strict=True)]
        index, fraction = zip(*pairs, strict=True)
        return torch.stack(index), torch.stack(fraction)

    def inner(self, a: Tensor, rotary: Rotary | None = None) -> Tensor:
        """Inner products with the keys found: a (B, H, L, D) -> (B, H, L, k) in its dtype, 0 under
        the mask; with `rotary` at the distance of query and key. With gradient to `a`; the keys,
        (B, H, L, k, D), are never put together."""
        return taken(a, self._books, self.slots, "keys", is_sum=False, rotary=rotary)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """The sum of the values found: weights (B, H, L, k) -> (B, H, L, D) in their dtype. With
        gradient to the weights; the values, (B, H, L, k, D), are never put together."""
        return taken(weights, self._books, self._value_slots, "values", is_sum=True)

    @property
    def _value_slots(self) -> Tensor:
        if self._value_order is None:
            return self.slots
        each = [self._value_order(book, s) for book, s in zip(self._books, self.slots, strict=True)]
        return torch.stack(each)

    def _gather(self, of: Of, slots: Tensor) -> Tensor:
        H = slots.shape[1]
        rows = []
        for book, each in zip(self._books, slots, strict=True):
            grouped = each.reshape(book.n_kv_head, -1)  # heads of one group are neighbours
            rows.append(book.gather(grouped, of).float().view(H, *each.shape[1:], book.head_dim))
        return torch.stack(rows)
