"""Reviews in tokens, and batches of them beside their novels.

B novels, L tokens of a novel, n reviews, R tokens of a review
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class ReviewIds(NamedTuple):
    """A review in tokens, without what leaks from outside the novel."""

    id: str
    """Names it in messages."""
    novel: int
    """Place of its novel among the novels."""
    ids: tuple[int, ...]
    """Its tokens, `<eor>` at the end unless it was cut."""
    group: int
    """Token of the reader's group."""
    delay: int
    """Token of the delay."""
    upto_u: float = 1.0
    """Share of the novel that was read when it was written, in (0, 1]."""


class Reviews(NamedTuple):
    """Reviews that were drawn, n of them."""

    ids: Tensor
    """(n, R) int64; the end is repeated where a review is over."""
    mask: Tensor
    """(n, R) bool: tokens of the review, its end included."""
    is_finished: Tensor
    """(n,) bool: whether it ended before the limit."""

    @property
    def is_empty(self) -> Tensor:
        """(n,) bool: the end is its first token."""
        return self.is_finished & (self.mask.sum(1) == 1)

    @property
    def is_usable(self) -> Tensor:
        """(n,) bool: whether it can be scored. One without end, or empty, cannot."""
        return self.is_finished & ~self.is_empty


class Padded(NamedTuple):
    """Sequences of different lengths as one tensor."""

    ids: Tensor
    """(n, longest) int64, padded at the end."""
    mask: Tensor
    """(n, longest) bool, False for padding."""


def pad(rows: Sequence[Sequence[int]], value: int, device: torch.device | str = "cpu") -> Padded:
    """Sequences side by side, padded with `value`."""
    longest = max((len(row) for row in rows), default=0)
    ids = torch.full((len(rows), longest), value, dtype=torch.int64)
    for line, row in zip(ids, rows, strict=True):
        line[: len(row)] = torch.tensor(row, dtype=torch.int64)
    lengths = torch.tensor([len(row) for row in rows])
    return Padded(ids.to(device), (torch.arange(longest) < lengths[:, None]).to(device))


def read_part(novel: Sequence[int], upto_u: float) -> list[int]:
    """The tokens of a novel that a reviewer had read, at least one.

    Raises:
        ValueError: upto_u outside (0, 1].
    """
    if not 0 < upto_u <= 1:
        raise ValueError(f"upto_u must be in (0, 1], got {upto_u}")
    return list(novel[: max(1, round(upto_u * len(novel)))])


def check_reviews(reviews: Sequence[ReviewIds], n_novel: int, end: int, max_len: int) -> None:
    """Reviews belong to novels that exist, have a word, and no more than max_len tokens.

    Raises:
        ValueError: one does not; names it.
    """
    if not reviews:
        raise ValueError("reviews must hold at least one review, got none")
    for each in reviews:
        if not 0 <= each.novel < n_novel:
            raise ValueError(f"review {each.id}: there is no novel {each.novel} among {n_novel}")
        if not any(i != end for i in each.ids):
            raise ValueError(f"review {each.id} is empty: leave it out")
        if len(each.ids) > max_len:
            raise ValueError(
                f"review {each.id} has {len(each.ids)} tokens, the reviewer writes {max_len} at "
                "most: cut it or leave it out (ReviewConfig.too_long), or raise max_len"
            )
        if end in each.ids[:-1]:
            raise ValueError(f"review {each.id} has its end before its last token")
