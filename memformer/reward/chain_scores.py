"""Novels scored by a chain, one after the other."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from memformer.data.manuscripts import Manuscript
from memformer.data.tokenizer import Tokenizer
from memformer.reward.chain import Chain, TooManyUnscorable
from memformer.reward.reviewer import Reviewer


class NovelScore(NamedTuple):
    """What raters make of reviews of one novel."""

    novel: str
    score: float
    """Mean over its scored reviews; NaN without any."""
    error: float
    """Standard error of that mean over reviews; NaN with fewer than two."""
    n_review: int
    """Reviews that were scored."""
    n_left_out: int
    """Empty, without end, or a score that is NaN."""

    def as_json(self) -> dict[str, Any]:
        """With null where there is no number."""
        return {k: None if v != v else v for k, v in self._asdict().items()}


@torch.no_grad()
def score_novels(
    chain: Chain,
    reviewer: Reviewer,
    tokenizer: Tokenizer,
    novels: Sequence[Manuscript],
    n_review: int,
    *,
    seed: int,
    told: Callable[[str], None] = lambda line: None,
) -> list[NovelScore]:
    """Read each novel whole, write n_review reviews of it, and ask the raters.

    A novel's draws depend on the seed and its place alone. `max_unscorable` is the share of all
    reviews, not of one novel's: a novel without a scored review has the score NaN.

    Args:
        chain: of `reviewer`.
        tokenizer: the reviewer's.
        novels: with a text.
        told: gets a line a novel.

    Raises:
        ValueError: no novels.
        TooManyUnscorable: more than `max_unscorable` of all reviews; it is said at the end.
    """
    if not novels:
        raise ValueError("novels must hold at least one, got none")
    config = replace(chain.config, max_unscorable=1.0)
    each = Chain(chain.writer, chain.features, chain.raters, chain.aggregate, config=config)
    found = []
    for i, novel in enumerate(novels):
        ids = torch.tensor([tokenizer.encode(novel.text).ids], dtype=torch.int64)
        generator = torch.Generator().manual_seed((seed << 32) + i)
        state = reviewer.new_state(1)
        out = each.score(ids, state, "score_function", n_review, generator)
        assert out.reviews is not None
        n = int(out.reviews.is_scored.sum())
        error = math.sqrt(float(out.variance[0]) / n) if n > 1 else math.nan
        found.append(NovelScore(novel.id, float(out.value[0]), error, n, out.n_unscorable))
        told(f"{i + 1}/{len(novels)} {novel.id}")
    n_left_out = sum(score.n_left_out for score in found)
    if n_left_out > chain.config.max_unscorable * n_review * len(novels):
        worst = max(found, key=lambda score: score.n_left_out)
        raise TooManyUnscorable(
            f"{n_left_out} of {n_review * len(novels)} reviews could not be scored (empty, without "
            f"end, or NaN), more than max_unscorable={chain.config.max_unscorable}; of "
            f"{worst.novel!r} {worst.n_left_out}: look at them, or give the reviewer a longer "
            "max_len"
        )
    return found
