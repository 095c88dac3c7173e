"""What a reviewer is trained on, and the batch of each update: a function of seed and step.

B novels side by side, n = B · n_review reviews of them, R tokens of a review
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from memformer.config.reviewer import ReviewerConfig
from memformer.reward.review_set import Padded, ReviewIds, check_reviews, pad, read_part
from memformer.reward.review_text import ReviewVocabulary, hide_metadata


class ReviewerData(NamedTuple):
    """Novels in tokens, reviews of some of them, values of some of them."""

    novels: Sequence[Sequence[int]]
    """Tokens of text, at least one a novel."""
    reviews: Sequence[ReviewIds]
    """Real reviews."""
    targets: Tensor | None = None
    """(n_novel,) what the head is to predict of each novel, NaN where it is unknown."""

    def with_target(self) -> list[int]:
        """Places of the novels whose value is known."""
        return [] if self.targets is None else (~self.targets.isnan()).nonzero()[:, 0].tolist()

    def known_targets(self) -> Tensor:
        """The values that are known."""
        return torch.zeros(0) if self.targets is None else self.targets[~self.targets.isnan()]

    def check(self, end: int, max_len: int, *, needs_targets: bool) -> None:
        """Everything fits together.

        Raises:
            ValueError: an empty novel; as `check_reviews`; too few targets or equal ones where they
                are needed, infinite ones, or another number than there are novels.
        """
        for i, novel in enumerate(self.novels):
            if not len(novel):
                raise ValueError(f"novel {i} is empty")
        check_reviews(self.reviews, len(self.novels), end, max_len)
        if self.targets is not None and self.targets.shape != (len(self.novels),):
            raise ValueError(
                f"targets must be one number for each of {len(self.novels)} novels, NaN where it "
                f"is unknown, got {tuple(self.targets.shape)}"
            )
        if needs_targets and len(self.known_targets()) < 2:
            raise ValueError(
                f"a head needs the values of at least 2 novels, got {len(self.known_targets())}: "
                "give targets, or train none with n_head=0"
            )
        known = self.known_targets()
        if not bool(known.isfinite().all()):
            raise ValueError(f"targets must be finite, or NaN where unknown, got {known.tolist()}")
        if needs_targets and float(known.min()) == float(known.max()):
            raise ValueError(
                f"targets must differ for a head to learn from, all {len(known)} are {known[0]:g}"
            )

    @property
    def hash(self) -> str:
        """Digest of all of it."""
        digest = hashlib.sha256()
        for novel in self.novels:
            digest.update(np.asarray(novel, np.int64).tobytes() + b"|")
        digest.update(repr([tuple(each) for each in self.reviews]).encode())
        if self.targets is not None:
            digest.update(self.targets.double().numpy().tobytes())
        return digest.hexdigest()


class ReviewBatch(NamedTuple):
    """Real reviews of one update."""

    novels: Padded
    """(B, L): as far as they were read; nothing where the novel is left out."""
    length: list[int]
    """Of each whole novel."""
    reviews: Padded
    """(n, R), lane-major."""
    group: Tensor
    """(n,)"""
    delay: Tensor
    """(n,)"""


class DrawBatch(NamedTuple):
    """Drawn reviews of one update."""

    novels: Padded
    """(B, L): nothing where the novel is left out, at rate `p_without`; the first never is."""
    reviews: Padded
    """(n, R), lane-major."""
    target: Tensor
    """(n,): value of each review's novel."""
    is_scored: Tensor
    """(n,) bool: whether the novel was read before the review."""


def review_batch(
    data: ReviewerData, vocabulary: ReviewVocabulary, config: ReviewerConfig, step: int,
    device: torch.device | str = "cpu",
) -> ReviewBatch:  # fmt: skip
    """Reviews of `n_novel` novels, each as likely as another, `n_review` of each.

    The reviews of a novel in one batch share their `upto_u`, that of the first one drawn.
    """
    rng = np.random.default_rng((config.seed, 0, step))
    of_novel = _by_novel(data.reviews)
    picked: list[ReviewIds] = []
    novels, length = [], []
    for novel in _pick(rng, sorted(of_novel), config.n_novel):
        first = of_novel[novel][rng.integers(len(of_novel[novel]))]
        alike = [each for each in of_novel[novel] if each.upto_u == first.upto_u]
        picked += [alike[i] for i in _pick(rng, range(len(alike)), config.n_review)]
        is_left_out = rng.random() < config.p_without
        novels.append([] if is_left_out else read_part(data.novels[novel], first.upto_u))
        length.append(len(data.novels[novel]))
    random = torch.Generator().manual_seed(int(rng.integers(2**63)))
    groups = torch.tensor([each.group for each in picked])
    delays = torch.tensor([each.delay for each in picked])
    group, delay = hide_metadata(groups, delays, vocabulary, config.p_unknown, random)
    reviews = pad([each.ids for each in picked], vocabulary.end, device)
    return ReviewBatch(pad(novels, 0, device), length, reviews, group.to(device), delay.to(device))


def draw_batch(
    data: ReviewerData, novel: Tensor, ids: Tensor, mask: Tensor, config: ReviewerConfig, step: int
) -> DrawBatch:
    """Drawn reviews (ids, mask, and the place of their novel) of `n_novel` novels."""
    rng = np.random.default_rng((config.seed, 1, step))
    assert data.targets is not None
    rows: list[int] = []
    novels: list[Sequence[int]] = []
    targets, is_scored = [], []
    for each in _pick(rng, sorted(set(novel.tolist())), config.n_novel):
        of_it = (novel == each).nonzero()[:, 0].tolist()
        rows += [of_it[i] for i in _pick(rng, range(len(of_it)), config.n_review)]
        is_left_out = bool(novels) and rng.random() < config.p_without
        novels.append([] if is_left_out else data.novels[each])
        is_scored += [not is_left_out] * config.n_review
        targets += [float(data.targets[each])] * config.n_review
    longest = int(mask[rows].sum(1).max())
    return DrawBatch(
        pad(novels, 0, ids.device),
        Padded(ids[rows, :longest], mask[rows, :longest]),
        torch.tensor(targets, device=ids.device),
        torch.tensor(is_scored, device=ids.device),
    )


def _by_novel(reviews: Sequence[ReviewIds]) -> dict[int, list[ReviewIds]]:
    found: dict[int, list[ReviewIds]] = {}
    for each in reviews:
        found.setdefault(each.novel, []).append(each)
    return found


def _pick(rng: np.random.Generator, among: Sequence[int], n: int) -> list[int]:
    """n of them, different ones where there are enough."""
    picked: list[int] = rng.choice(np.array(among), size=n, replace=len(among) < n).tolist()
    return picked
