"""Ratings that come late: what has not arrived yet, and the judgement once it has settled.

n ratings, I items
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

MAX_RATINGS = 4_000
"""`settle` holds a matrix of the square of this."""
_REACH = 5.0  # spreads and tau lie within e^-5 and e^5 of where the search begins


class DelayedRatings(NamedTuple):
    """Ratings with the time between reading and rating, in days."""

    rater: Tensor
    """(n,) int64."""
    item: Tensor
    """(n,) int64."""
    value: Tensor
    """(n,) float64, on any scale."""
    read_at: Tensor
    """(n,) day of reading."""
    delay: Tensor
    """(n,) days from reading to rating, 0 or more."""
    recorded_at: Tensor
    """(n,) day on which the rating became known, no earlier than it was given."""
    n_rater: int
    n_item: int


def known(ratings: DelayedRatings, as_of: float) -> DelayedRatings:
    """The ratings that were known on a day: recorded on it or before.

    Raises:
        ValueError: a negative delay, or a rating recorded before it was given; names the first.
    """
    early = ratings.recorded_at < ratings.read_at + ratings.delay - 1e-9
    for name, is_wrong in (("delay is negative", ratings.delay < 0), ("recorded_at", early)):
        if bool(is_wrong.any()):
            i = int(is_wrong.nonzero()[0, 0])
            told = name if name.startswith("delay") else "recorded_at lies before the rating"
            raise ValueError(
                f"rating {i}: {told}: read {float(ratings.read_at[i])}, "
                f"rated after {float(ratings.delay[i])} days, "
                f"recorded {float(ratings.recorded_at[i])}"
            )
    keep = ratings.recorded_at <= as_of
    return ratings._replace(
        rater=ratings.rater[keep], item=ratings.item[keep], value=ratings.value[keep],
        read_at=ratings.read_at[keep], delay=ratings.delay[keep],
        recorded_at=ratings.recorded_at[keep],
    )  # fmt: skip


def mean_delay(delay: Tensor, age: Tensor) -> float:
    """Mean of an exponential delay, from delays that are seen only when shorter than the age.

    Maximum likelihood under right truncation (Kalbfleisch & Lawless 1989, JASA 84): the plain mean
    is too small, since the long delays have not arrived.

    Args:
        delay: (n,) days from reading to rating.
        age: (n,) days from reading to today, at least the delay.

    Raises:
        ValueError: a delay longer than its age, or delays so evenly spread over the ages that their
            mean could be anything.
    """
    if bool((delay > age).any()) or not len(delay):
        raise ValueError("delay must be at most its age, and there must be one")
    d, a = delay.double(), age.double()

    def slope(log_rate: float) -> float:
        rate = math.exp(log_rate)
        return float((1 / rate - d - a / torch.expm1(rate * a).clamp(min=1e-300)).sum())

    low, high = math.log(1e-3 / float(a.max())), math.log(1e3 / max(float(d.mean()), 1e-9))
    if slope(low) <= 0:
        raise ValueError(
            f"delays (mean {float(d.mean()):.3g}) fill their ages (mean {float(a.mean()):.3g}): "
            "most have not arrived yet and their mean cannot be told; wait, or give one"
        )
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return math.exp(-low)


def censoring_weight(age: Tensor, mean: float, *, min_share: float = 0.05) -> Tensor:
    """(n,) weights 1 / F(age), F the share of ratings that arrive within an age.

    What is not rated yet is censored, not bad: each rating of a young text stands for those that
    are still to come.

    Args:
        age: (n,) days since reading, above 0.
        mean: of the exponential delay.
        min_share: F counts as at least this, so that one early rating does not stand for thousands.
    """
    if mean <= 0 or not 0 < min_share <= 1:
        raise ValueError(f"mean must be above 0 and min_share in (0, 1], got {mean}, {min_share}")
    return 1 / (-torch.expm1(-age.double() / mean)).clamp(min=min_share)


class Settled(NamedTuple):
    """What texts will be thought of when first impressions have faded."""

    value: Tensor
    """(I,): f_inf of each text, shrunk to the mean; the mean itself for one without ratings."""
    error: Tensor
    """(I,): its posterior standard deviation."""
    impression: Tensor
    """(I,): g, the first impression's excess over it."""
    tau: float
    """Days in which the excess falls to 1/e."""
    sd: dict[str, float]
    """Standard deviations: `settled`, `impression` (between texts), `bias` (between raters),
    `noise`."""
    log_likelihood: float


def settle(ratings: DelayedRatings, *, with_impression: bool = True) -> Settled:
    """The settled judgement, by y(delta) = f_inf + g exp(-delta / tau) + b_r + e.

    f_inf and g of each text, b_r of each rater and e are normal; their spreads, tau and the two
    means maximise the marginal likelihood, and f_inf and g are posterior means (best linear
    unbiased prediction, Robinson 1991, Statistical Science 6). That ratings of young texts are all
    early ones does no harm here, since the delay stands in the model.

    Args:
        ratings: what is known; `known` first.
        with_impression: False for the same model without g: what it costs to ignore the delay.

    Raises:
        ValueError: fewer than 10 ratings, more than `MAX_RATINGS`, or all of one value.
    """
    y = ratings.value.double()
    if not 10 <= len(y) <= MAX_RATINGS:
        raise ValueError(f"settle takes 10 to {MAX_RATINGS} ratings, got {len(y)}: fit on a part")
    if float(y.std()) == 0:
        raise ValueError("all ratings are equal: there is nothing to tell texts apart by")
    cells = _Cells(ratings, with_impression)
    spread = float(y.std())
    start = [math.log(spread / 2)] * 3 + [math.log(spread), float(ratings.delay.mean().log())]
    at = torch.tensor(start, dtype=torch.float64)
    free = torch.zeros(5, dtype=torch.float64, requires_grad=True)

    def bounded() -> Tensor:
        return at + _REACH * (free / _REACH).tanh()  # or a long step would leave the reals

    optimiser = torch.optim.LBFGS([free], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = 1e-3 * free.square().sum() - cells.log_likelihood(bounded())
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return cells.predict(bounded(), ratings.n_item)


class _Cells:
    """The marginal normal distribution of the ratings, of five free numbers: logarithms of the
    spreads of f_inf, g, b and e, and of tau."""

    def __init__(self, ratings: DelayedRatings, with_impression: bool) -> None:
        self.y, self.delay, self.item = ratings.value.double(), ratings.delay.double(), ratings.item
        self.same_item = (ratings.item[:, None] == ratings.item).double()
        self.same_rater = (ratings.rater[:, None] == ratings.rater).double()
        self.with_impression = with_impression

    def _parts(self, free: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        f, g, b, e = (2 * free[:4]).exp()
        fade = (-self.delay / free[4].exp()).exp() * float(self.with_impression)  # (n,)
        cover = self.same_item * (f + g * fade[:, None] * fade) + b * self.same_rater
        cover = cover + e * torch.eye(len(self.y), dtype=self.y.dtype)
        factor = torch.linalg.cholesky(cover)
        design = torch.stack((torch.ones_like(fade), fade), dim=1)[:, : 1 + self.with_impression]
        solved = torch.cholesky_solve(design, factor)
        means = torch.linalg.solve(design.T @ solved, solved.T @ self.y)
        left = self.y - design @ means
        return f, g, fade, factor, means, left

    def log_likelihood(self, free: Tensor) -> Tensor:
        """At the means that are best under the spreads."""
        _, _, _, factor, _, left = self._parts(free)
        whitened = torch.linalg.solve_triangular(factor, left[:, None], upper=False)
        n = len(self.y)
        size = factor.diagonal().log().sum() + n / 2 * math.log(2 * math.pi)
        value: Tensor = -size - 0.5 * whitened.square().sum()
        return value

    def predict(self, free: Tensor, n_item: int) -> Settled:
        f, g, fade, factor, means, left = self._parts(free)
        member = torch.zeros(len(left), n_item, dtype=left.dtype)
        member[torch.arange(len(left)), self.item] = 1
        solved = torch.cholesky_solve(left[:, None], factor)[:, 0]
        reach = torch.linalg.solve_triangular(factor, member, upper=False)
        excess = means[1] if self.with_impression else left.new_zeros(())
        names = ("settled", "impression", "bias", "noise")
        return Settled(
            value=means[0] + f * (member.T @ solved),
            error=(f - f * f * reach.square().sum(0)).clamp(min=0).sqrt(),
            impression=excess + g * (member.T @ (fade * solved)) * float(self.with_impression),
            tau=float(free[4].exp()),
            sd=dict(zip(names, free[:4].exp().tolist(), strict=True)),
            log_likelihood=float(self.log_likelihood(free)),
        )


def mean_by_item(ratings: DelayedRatings, *, up_to: float | None = None) -> Tensor:
    """(I,): plain mean of each text's ratings, NaN where there is none.

    Args:
        up_to: only ratings given within so many days of reading; None for all.
    """
    keep = torch.ones_like(ratings.item, dtype=torch.bool)
    if up_to is not None:
        keep = ratings.delay <= up_to
    item, value = ratings.item[keep], ratings.value[keep].double()
    total = torch.zeros(ratings.n_item, dtype=torch.float64).index_add(0, item, value)
    return total / item.bincount(minlength=ratings.n_item)
