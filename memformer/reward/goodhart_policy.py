"""A small writer trained against a proxy: RLOO, and the direct gradient through the text.

B texts, V words
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from memformer.config.goodhart import PolicyConfig
from memformer.reward.estimators import leave_one_out
from memformer.reward.worlds.ideal_point import IdealPointWorld
from memformer.reward.worlds.ideal_point_text import Writer, kl, log_prob, write, write_relaxed

Method = Literal["rloo", "direct"]


class Point(NamedTuple):
    """The writer after some updates."""

    step: int
    kl: float
    """From the ordinary writer, in nats a text, exact."""
    proxy: float
    """Mean over fresh texts, in the proxy's standard deviations over ordinary texts."""
    gold: float
    """Mean of true gold over the same."""
    error: float
    """Its standard error."""
    z: Tensor
    """(n_gold, 16): features of those texts, for raters to judge."""


def train_policy(
    world: IdealPointWorld,
    score: Callable[[Tensor], Tensor],
    config: PolicyConfig,
    method: Method,
    *,
    seed: int,
) -> list[Point]:
    """The curve of a writer that begins as the ordinary one and is trained on the proxy.

    Args:
        world: for ordinary texts and for gold, which training does not see.
        score: (B, L) ids or (B, L, V) rows -> (B,), the proxy in standard deviations.
        config: steps, batch, rate, beta.
        method: `rloo` is unbiased; `direct` sends the proxy's gradient through one-hot rows
            (straight-through Gumbel softmax), biased.
        seed: of the texts.

    Raises:
        ValueError: the proxy is NaN.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = world.writer.logits.clone().requires_grad_()
    policy = Writer(logits)
    optimiser = torch.optim.Adam([logits], lr=config.learning_rate)
    points = [_point(world, policy, score, config, 0, generator)]
    for step in range(1, config.looks[-1] + 1):
        optimiser.zero_grad()
        match method:
            case "rloo":
                loss = rloo_loss(world, policy, score, config, generator)
            case "direct":
                loss = direct_loss(world, policy, score, config, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step in config.looks:
            points.append(_point(world, policy, score, config, step, generator))
    return points


def rloo_loss(
    world: IdealPointWorld,
    policy: Writer,
    score: Callable[[Tensor], Tensor],
    config: PolicyConfig,
    generator: torch.Generator,
) -> Tensor:
    """REINFORCE with the mean of the other texts as baseline (Kool et al. 2019; Ahmadian et al.
    2024, arXiv:2402.14740, eq. 6-7); beta times the log-ratio is taken off each text's score."""
    L = world.config.n_token
    texts = write(policy, config.batch, L, generator)
    log_p = log_prob(policy, texts)
    with torch.no_grad():
        reward = _checked(score(texts))
        reward = reward - config.beta * (log_p - log_prob(world.writer, texts))
    kept = leave_one_out(reward[None], torch.ones(1, len(reward), dtype=torch.bool))
    return -(kept.share * kept.advantage * log_p).sum()


def direct_loss(
    world: IdealPointWorld,
    policy: Writer,
    score: Callable[[Tensor], Tensor],
    config: PolicyConfig,
    generator: torch.Generator,
) -> Tensor:
    """Minus the mean score of relaxed texts, plus beta times the exact KL."""
    L = world.config.n_token
    rows = write_relaxed(policy, config.batch, L, config.temperature, generator)
    loss = -_checked(score(rows)).mean()
    return loss + config.beta * kl(policy, world.writer, L) if config.beta else loss


def _checked(score: Tensor) -> Tensor:
    if score.isnan().any():
        raise ValueError(f"score is NaN for {int(score.isnan().sum())} of {len(score)} texts")
    return score


def _point(
    world: IdealPointWorld,
    policy: Writer,
    score: Callable[[Tensor], Tensor],
    config: PolicyConfig,
    step: int,
    generator: torch.Generator,
) -> Point:
    with torch.no_grad():
        texts = write(policy, config.n_gold, world.config.n_token, generator)
        gold = world.gold(texts)
        return Point(
            step=step, kl=float(kl(policy, world.writer, world.config.n_token)),
            proxy=float(_checked(score(texts)).mean()), gold=float(gold.mean()),
            error=float(gold.std()) / len(gold) ** 0.5, z=world.features(texts),
        )  # fmt: skip
