"""A world whose reviews depend on one fact that stands early in the novel, in known measure.

A novel is noise but for one fact, stated once or more among its first tokens. A review is an
opening, a verdict, a closing and its end; opening and closing are drawn blindly, the verdict is the
fact's own word with probability 1 - p_other, else any verdict. A novel's value is a number of its
fact. So the information of a review about its novel is known in closed form, and a decoder finds it
only if it remembers what has long left its window.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.reward.review_set import ReviewIds
from memformer.reward.review_text import ReviewVocabulary

_N_BLIND = 4  # openings, and closings


class Shelf(NamedTuple):
    """Novels with their reviews and values."""

    novels: list[list[int]]
    """Tokens of each."""
    facts: list[int]
    """Which fact each states."""
    reviews: list[ReviewIds]
    """In the order of the novels."""
    values: Tensor
    """(n,) of each novel."""


class EarlyFact(NamedTuple):
    """Ids: noise, facts, openings, verdicts, closings."""

    n_fact: int = 8
    n_noise: int = 16
    n_token: int = 48
    """Of a novel."""
    n_stated: int = 4
    """How often the fact is stated, all among the first tokens."""
    p_other: float = 0.1
    """Share of verdicts that are drawn blindly."""

    @property
    def vocabulary(self) -> ReviewVocabulary:
        """No metadata."""
        n = self.n_noise + 2 * self.n_fact + 2 * _N_BLIND
        return ReviewVocabulary(n_text=n, tokenizer="early-fact")

    @property
    def review_len(self) -> int:
        """Tokens of every review, its end included."""
        return 4

    @property
    def bits(self) -> float:
        """Information of a review about its novel, in bits per token of the review: what the gain
        of a perfect reviewer is, facts being equally likely."""
        n, other = self.n_fact, self.p_other / self.n_fact
        own = 1 - self.p_other + other
        given = -own * math.log2(own) - (n - 1) * (other * math.log2(other) if other else 0.0)
        return (math.log2(n) - given) / self.review_len

    def value(self, fact: int) -> float:
        """Of a novel with this fact: -1 to 1 in equal steps, in an order unlike that of the ids."""
        rank = (3 * fact + 1) % self.n_fact if self.n_fact % 3 else fact
        return 2 * rank / (self.n_fact - 1) - 1

    def draw(self, n_novel: int, n_review: int, seed: int) -> Shelf:
        """Novels with n_review reviews each; a function of the seed."""
        random = torch.Generator().manual_seed(seed)

        def integers(high: int, *size: int) -> list[int]:
            found: list[int] = torch.randint(high, size, generator=random).tolist()
            return found

        facts = integers(self.n_fact, n_novel)
        novels = [integers(self.n_noise, self.n_token) for _ in range(n_novel)]
        for novel, fact in zip(novels, facts, strict=True):
            places = torch.randperm(2 * self.n_stated, generator=random)[: self.n_stated]
            for place in places.tolist():
                novel[place] = self.n_noise + fact
        reviews = [
            self._review(novel, i, fact, random)
            for novel, fact in enumerate(facts) for i in range(n_review)
        ]  # fmt: skip
        return Shelf(novels, facts, reviews, torch.tensor([self.value(fact) for fact in facts]))

    def _review(self, novel: int, i: int, fact: int, random: torch.Generator) -> ReviewIds:
        opening, closing = torch.randint(_N_BLIND, (2,), generator=random).tolist()
        is_other = float(torch.rand((), generator=random)) < self.p_other
        other = int(torch.randint(self.n_fact, (), generator=random))
        first = self.n_noise + self.n_fact
        words = self.vocabulary
        ids = (
            first + opening,
            first + _N_BLIND + (other if is_other else fact),
            first + _N_BLIND + self.n_fact + closing,
            words.end,
        )
        return ReviewIds(f"{novel}-{i}", novel, ids, words.group_id(None), words.delay_id(None))
