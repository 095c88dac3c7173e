"""The amortised value: a head on the reviewer's state that foresees the mean of sampled scores.

n novels, m reviews of each, D width of the hidden state
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from memformer.config.chain import DistilConfig

if TYPE_CHECKING:
    from memformer.reward.chain import Chain


class AmortisedHead(nn.Module):
    """Value and variance of reviews' scores, from the hidden state at `<review>`.

    Args:
        n_embd: D.
        width: of the tanh layer; 0: linear.
    """

    hidden_mean: Tensor
    hidden_scale: Tensor
    mean: Tensor
    scale: Tensor
    variance: Tensor

    def __init__(self, n_embd: int, width: int) -> None:
        super().__init__()
        inner = [nn.Linear(n_embd, width), nn.Tanh()] if width else []
        self.net = nn.Sequential(*inner, nn.Linear(width or n_embd, 2))
        for name, value in {
            "hidden_mean": torch.zeros(n_embd), "hidden_scale": torch.ones(n_embd),
            "mean": torch.zeros(()), "scale": torch.ones(()), "variance": torch.ones(()),
        }.items():  # fmt: skip
            self.register_buffer(name, value)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(n, D) -> (n,) values and (n,) variances of single scores, in the scores' units."""
        value, log_variance = self.standard(hidden)
        return value * self.scale + self.mean, log_variance.exp() * self.variance

    def standard(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(n, D) -> (n,) values in standard units, (n,) log of variance over its mean."""
        x = self.net((hidden - self.hidden_mean) / self.hidden_scale)
        return x[:, 0], x[:, 1].clamp(-20, 20)


class Samples(NamedTuple):
    """What reviews of n novels said, the head's data."""

    hidden: Tensor
    """(n, D)."""
    mean: Tensor
    """(n,) mean score of the scored reviews."""
    variance: Tensor
    """(n,) of single scores, the sample's."""
    n_scored: Tensor
    """(n,) reviews behind each mean, at least 2."""
    n_left_out: int
    """Novels with fewer than two scored reviews."""


class Agreement(NamedTuple):
    """How well the head foresees the sampled chain, to be published beside every use of it."""

    correlation: float
    """Of the value with the mean of sampled scores, which is itself noisy."""
    reliability: float
    """Share of the sampled means' variance that is not sampling noise."""
    corrected: float
    """The correlation over the root of the reliability: with the chain's own expectation."""
    n: int
    """Novels."""


class Distilled(NamedTuple):
    """A head and how good it is."""

    head: AmortisedHead
    held_out: Agreement
    train: Agreement
    n_left_out: int


def sample_scores(
    chain: "Chain", x: Tensor, state: Any, n_review: int, generator: torch.Generator | None,
    mask: Tensor | None = None,
) -> Samples:  # fmt: skip
    """Score n_review drawn reviews of each novel and keep the reviewer's state beside them.

    Draw the novels from the policy of the day: a head is right where it learned.

    Raises:
        ValueError: n_review below 2.
        TooManyUnscorable: as in `Chain.score`.
    """
    if n_review < 2:
        raise ValueError(f"n_review must be at least 2 for a variance, got {n_review}")
    with torch.no_grad():
        reading = chain.writer.read(x, state, mask)
        said = chain.write_and_score(reading, n_review, generator, is_relaxed=False)
    n = said.is_scored.sum(1)
    kept = said.score.where(said.is_scored, 0.0)
    mean = kept.sum(1) / n.clamp(min=1)
    square = (kept - mean[:, None]).where(said.is_scored, 0.0).square().sum(1)
    use = n > 1
    return Samples(
        reading.hidden[use], mean[use], (square / (n - 1).clamp(min=1))[use], n[use],
        int((~use).sum()),
    )  # fmt: skip


def agreement(head: AmortisedHead, samples: Samples) -> Agreement:
    """Correlation of head and sampled chain; on fresh novels of the current policy it says whether
    the head still holds.

    Raises:
        ValueError: fewer than 3 novels.
    """
    if len(samples.mean) < 3:
        raise ValueError(f"a correlation needs at least 3 novels, got {len(samples.mean)}")
    with torch.no_grad():
        value = head(samples.hidden)[0]
    both = torch.stack((value, samples.mean)).double()
    r = float(torch.corrcoef(both)[0, 1]) if bool((both.std(1) > 0).all()) else float("nan")
    noise = float((samples.variance / samples.n_scored).mean())
    reliability = 1 - noise / max(float(samples.mean.var()), 1e-300)
    corrected = r / reliability**0.5 if reliability > 0 else float("nan")
    return Agreement(r, reliability, corrected, len(samples.mean))


def distil(samples: Samples, config: DistilConfig, *, seed: int) -> Distilled:
    """Fit a head to sampled scores: squared error for the value, gamma deviance for the variance.

    Both by L-BFGS on all training novels at once, in the samples' dtype. The variance of the
    scores is a target of its own, so that the noise of a mean of m is known at use: variance / m.

    Args:
        samples: from `sample_scores`; the last `held_out` share is not trained on.
        seed: of the head's first weights.

    Raises:
        ValueError: too few novels, hidden states that are not finite, or means all alike.
    """
    n = len(samples.mean)
    n_held = max(3, round(config.held_out * n))
    if n - n_held < 3:
        raise ValueError(f"distil needs at least 6 novels, more are better; got {n}")
    train, held = _part(samples, slice(0, n - n_held)), _part(samples, slice(n - n_held, n))
    if not bool(samples.hidden.isfinite().all()) or float(train.mean.std()) == 0:
        raise ValueError("distil needs finite hidden states and scores that differ")
    head = _new_head(train, config, seed)
    _fit(head, train, config)
    head.requires_grad_(False)
    return Distilled(head, agreement(head, held), agreement(head, train), samples.n_left_out)


def _part(samples: Samples, which: slice) -> Samples:
    return Samples(
        samples.hidden[which], samples.mean[which], samples.variance[which],
        samples.n_scored[which], 0,
    )  # fmt: skip


def _new_head(train: Samples, config: DistilConfig, seed: int) -> AmortisedHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = AmortisedHead(train.hidden.shape[1], config.width).to(train.hidden)
    scale = train.hidden.std(0)
    head.hidden_mean.copy_(train.hidden.mean(0))
    head.hidden_scale.copy_(scale.where(scale > 1e-6 * scale.max(), 1.0))
    head.mean.copy_(train.mean.mean())
    head.scale.copy_(train.mean.std())
    head.variance.copy_(train.variance.mean().clamp(min=1e-12))
    return head


def _fit(head: AmortisedHead, train: Samples, config: DistilConfig) -> None:
    target = (train.mean - head.mean) / head.scale
    spread = train.variance / head.variance
    weights = [p for name, p in head.named_parameters() if name.endswith("weight")]
    optimiser = torch.optim.LBFGS(
        head.parameters(), max_iter=config.n_iter, line_search_fn="strong_wolfe",
        tolerance_grad=1e-6,
    )  # fmt: skip

    def closure() -> Tensor:
        optimiser.zero_grad()
        value, log_variance = head.standard(train.hidden)
        error = (value - target).square().mean()
        deviance = (spread * (-log_variance).exp() + log_variance).mean()
        ridge = torch.stack([w.square().sum() for w in weights]).sum() / len(target)
        loss: Tensor = error + 0.1 * deviance + config.ridge * ridge
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
