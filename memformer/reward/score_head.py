"""The score head: what a review that the model wrote itself says of the novel's value.

CLoud (Ankner et al. 2024, arXiv:2408.11791): the head reads the state at the end of a critique that
the model wrote, and is trained on such, not on real ones; else it meets at use what it never saw.

n reviews, R tokens of a review
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from memformer.reward.interfaces import Reading
from memformer.reward.review_set import Reviews
from memformer.reward.reviewer import Reviewer


class ScoreHead(nn.Module):
    """A linear map of the hidden state at `<eor>`, after novel and review, to a value.

    It predicts in units of the targets: `mean` and `scale` are theirs, set once by `fit_units`.

    Args:
        n_embd: width of the hidden state.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.value = nn.Linear(n_embd, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def fit_units(self, targets: Tensor) -> None:
        """Take mean and standard deviation of the targets as origin and unit.

        Raises:
            ValueError: fewer than two targets, one that is not finite, or all alike.
        """
        if len(targets) < 2 or not bool(targets.isfinite().all()):
            raise ValueError(f"targets must be at least 2 finite numbers, got {targets.tolist()}")
        if float(targets.std()) == 0:
            raise ValueError(
                f"targets must differ for a head to learn from, all are {targets[0]:g}"
            )
        self.mean.copy_(targets.mean())
        self.scale.copy_(targets.std())

    def forward(self, hidden: Tensor) -> Tensor:
        """(n, n_embd) -> (n,) values in units of the targets."""
        return self.standard(hidden) * self.scale + self.mean

    def standard(self, hidden: Tensor) -> Tensor:
        """(n, n_embd) -> (n,) values less the mean, by the scale."""
        x: Tensor = self.value(hidden)[:, 0]
        return x


class HeadLoss(NamedTuple):
    """The joint loss and its parts."""

    total: Tensor
    """Squared error + weight · nats a token."""
    squared_error: Tensor
    """Mean over reviews, in standard units."""
    nats: Tensor
    """Mean over the reviews' tokens."""


def read_review(
    reviewer: Reviewer, reading: Reading, review: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Nats of a review's tokens, and the hidden state at its end, from one pass.

    Args:
        reading: a lane a review.
        review: (n, R) ids, `<eor>` last.
        mask: (n, R) bool, True up to the end.

    Returns:
        (n, R) nats, 0 for padding, and (n, n_embd).

    Raises:
        ValueError: a review has no end: it cannot be scored.
    """
    last = mask.sum(1) - 1
    has_end = (last >= 0) & (review.gather(1, last.clamp(min=0)[:, None])[:, 0] == reviewer.end)
    if not bool(has_end.all()):
        which = int((~has_end).nonzero()[0])
        raise ValueError(f"review {which} has no end and cannot be scored: leave it out")
    logits, hidden = reviewer.read_written(reading, review)
    said = logits.float().log_softmax(-1).gather(-1, review[..., None])[..., 0]
    rows = torch.arange(len(review), device=review.device)
    return (-said).where(mask, 0.0), hidden[rows, last]


def head_loss(
    reviewer: Reviewer,
    head: ScoreHead,
    reading: Reading,
    review: Tensor,
    mask: Tensor,
    target: Tensor,
    *,
    language_weight: float,
    is_scored: Tensor | None = None,
) -> HeadLoss:
    """The joint loss of CLoud's last step, with squared error for its preference loss.

    deviation: CLoud's head is trained on preferences; ratings here are numbers.

    Args:
        reading, review, mask: as in `read_review`.
        target: (n,) value of each review's novel, finite.
        language_weight: CLoud's λ.
        is_scored: (n,) bool, at least one True: reviews that the head is trained on; the others,
            read without their novel, only keep the model of reviews alone in being.

    Raises:
        ValueError: targets that do not fit, or no review to score; as `read_review`.
    """
    is_scored = torch.ones_like(mask[:, 0]) if is_scored is None else is_scored
    if not bool(is_scored.any()):
        raise ValueError("is_scored must hold at least one review")
    if target.shape != review.shape[:1] or not bool(target.isfinite().all()):
        raise ValueError(
            f"target must be {len(review)} finite numbers, got {tuple(target.shape)} "
            f"{target.tolist()}"
        )
    nats, hidden = read_review(reviewer, reading, review, mask)
    language = nats.sum() / mask.sum()
    error = ((head.standard(hidden) - (target - head.mean) / head.scale) ** 2)[is_scored].mean()
    return HeadLoss(error + language_weight * language, error, language)


@torch.no_grad()
def scores_of(reviewer: Reviewer, head: ScoreHead, reading: Reading, reviews: Reviews) -> Tensor:
    """What the head makes of reviews that the reviewer drew of the novels of a reading.

    Args:
        reading: of B lanes, from which `reviews` were drawn.
        reviews: B * m, lane-major, as `Reviewer.draw` gives them.

    Returns:
        (B * m,), NaN for a review that is empty or has no end: it cannot be scored. Whoever takes
        a mean leaves it out and counts it.

    Raises:
        ValueError: reviews that are not a multiple of the lanes.
    """
    n, B = len(reviews.ids), len(reading.logits)
    if n % B:
        raise ValueError(f"reviews must be m of each of {B} lanes, got {n}")
    usable = reviews.is_usable.nonzero()[:, 0]
    scores = torch.full((n,), torch.nan, device=reviews.ids.device)
    if len(usable):
        lanes = (usable // (n // B)).tolist()
        rows = Reading(reading.logits[lanes], reading.hidden[lanes], reading.state.select(lanes))
        _, hidden = read_review(reviewer, rows, reviews.ids[usable], reviews.mask[usable])
        scores[usable] = head(hidden)
    return scores
