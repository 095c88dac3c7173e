"""The reward loss of each rung: from prompts to a scalar whose gradient moves the policy.

n prompts, k branches of each, N = n·k lanes, P tokens of a prompt, L of a continuation
"""

from collections.abc import Callable
from dataclasses import replace
from math import nan
from typing import NamedTuple, assert_never

import torch
from torch import Tensor

from memformer.config.reward_training import TuneConfig
from memformer.generation.prompts import declared_fraction
from memformer.model.decoder import Decoder
from memformer.reward.estimators import score_function
from memformer.reward.policy import draw_relaxed
from memformer.training.branches import (
    Apart,
    Branches,
    Reward,
    apart,
    log_probabilities,
    read_logits,
    write_branches,
)


class RewardLoss(NamedTuple):
    """What one update of a rung is made from."""

    loss: Tensor | None
    """Scalar in the graph; None where no branch could be used."""
    scores: Tensor
    """(N,), NaN where unscorable; KL is not taken off."""
    text: Tensor
    """(N, P + L) ids."""
    k1: float
    """See `Apart`; NaN where the sampler's KL is not known."""
    k3: float
    n_clamped: int
    n_unused: int
    """Branches with a score that had no scorable sibling, or (RAFT) did not win: no gradient."""
    n_token: int
    """Spent: tokens read and written, two more for each that was gone backward through."""


LossOf = Callable[[Decoder, Decoder, Tensor, Reward, TuneConfig, int], RewardLoss]
"""(policy, reference, prompts (n, P), reward, config, update) -> its loss."""


def build_loss(config: TuneConfig) -> LossOf:
    """The loss of the config's method."""
    match config.method:
        case "raft":
            return raft_loss
        case "rloo":
            return rloo_loss
        case "direct":
            return direct_loss
        case method:
            assert_never(method)


def rloo_loss(
    policy: Decoder, reference: Decoder, prompts: Tensor, reward: Reward, config: TuneConfig, n: int
) -> RewardLoss:
    """REINFORCE leave-one-out (Kool et al. 2019; Ahmadian et al. 2024, arXiv:2402.14740, eq. 7).

    The reward of a continuation is its score minus beta times its log-ratio to the reference (k1,
    a constant), its baseline the mean over its siblings (`estimators.leave_one_out`). Nothing is
    divided by the group's standard deviation, which would amplify noise where texts tie.
    """
    wrote, log_p, scores, far, n_token = _judged(policy, reference, prompts, reward, config, n)
    penalised = (scores - config.kl_weight * far.log_ratio).view(len(prompts), -1)
    good = penalised.isfinite()
    used = good & (good.sum(1, keepdim=True) >= 2)
    loss = None
    if bool(used.any()):
        total = log_p.where(wrote.counts, 0.0).sum(1)  # (N,)
        loss = -score_function(penalised, total.view_as(penalised), good)
    n_unused = int((scores.isfinite() & ~used.flatten()).sum())
    return RewardLoss(loss, scores, wrote.text, far.k1, far.k3, far.n_clamped, n_unused, n_token)


def raft_loss(
    policy: Decoder, reference: Decoder, prompts: Tensor, reward: Reward, config: TuneConfig, n: int
) -> RewardLoss:
    """Cross-entropy, nats a token, on the best branch of each prompt (RAFT, arXiv:2304.06767)."""
    wrote, log_p, scores, far, n_token = _judged(policy, reference, prompts, reward, config, n)
    penalised = (scores - config.kl_weight * far.log_ratio).view(len(prompts), -1)
    won = winners(penalised)  # (n, k) bool
    loss = None
    if bool(won.any()):
        counts = wrote.counts & won.flatten()[:, None]
        loss = -log_p.where(counts, 0.0).sum() / int(counts.sum())
    n_unused = int(scores.isfinite().sum()) - int(won.sum())
    return RewardLoss(loss, scores, wrote.text, far.k1, far.k3, far.n_clamped, n_unused, n_token)


def direct_loss(
    policy: Decoder, reference: Decoder, prompts: Tensor, reward: Reward, config: TuneConfig, n: int
) -> RewardLoss:
    """Minus the mean score of relaxed texts, plus beta times KL to the reference.

    KL is exact at each token given those before it, and its gradient is the policy's own; what
    earlier tokens do to later KL is left out where they are constant.

    Raises:
        ValueError: as `reach`; or the reward's scores do not depend on the rows.
    """
    generator = torch.Generator().manual_seed(draw_seed(config, n))
    wrote = relaxed_branches(policy, prompts, config, generator)
    scores = reward(wrote.rows)
    if not scores.requires_grad:
        raise ValueError(
            "reward: scores of relaxed tokens have no gradient: direct needs a reward that is "
            "differentiable in (N, T, V) rows; use rloo or raft for this one"
        )
    P = prompts.shape[1]
    branches = Branches(wrote.text, P, torch.ones_like(wrote.text[:, P:], dtype=torch.bool))
    log_all = wrote.logits.float().log_softmax(-1)  # (N, L, V)
    with torch.no_grad():
        theirs = read_logits(reference, branches, length=config.length).float().log_softmax(-1)
    kl = (log_all.exp() * (log_all - theirs)).sum(-1).sum(1)  # (N,)
    new = branches.new[..., None]
    far = apart(
        log_all.gather(-1, new)[..., 0], theirs.gather(-1, new)[..., 0], branches.counts,
        config.log_ratio_clamp,
    )  # fmt: skip
    good = scores.isfinite()
    loss = None
    if bool(good.any()):
        loss = -scores[good].mean() + config.kl_weight * kl.mean()
    N, T = wrote.text.shape
    n_token = 3 * N * (T - P) + len(prompts) * P + 3 * N * T + N * T  # write, reward, reference
    return RewardLoss(
        loss, scores.detach(), wrote.text, far.k1, far.k3, far.n_clamped, 0, n_token
    )  # fmt: skip


class Relaxed(NamedTuple):
    """Whole texts whose last tokens have gradient."""

    rows: Tensor
    """(N, P + L, V): one-hot forward; prompts, and tokens beyond the reach, are constant."""
    text: Tensor
    """(N, P + L) int64: the same as ids."""
    logits: Tensor
    """(N, L, V), of each token when it was drawn."""


def reach(model: Decoder, config: TuneConfig) -> int:
    """Last tokens of a continuation that the direct gradient reaches: `grad_segments` segments.

    Raises:
        ValueError: a continuation is longer, and `partial` is False.
    """
    n = config.grad_segments * model.config.segment_len
    if config.n_new > n and not config.partial:
        raise ValueError(
            f"direct gradient reaches grad_segments · segment_len = {n} tokens, a continuation has "
            f"n_new={config.n_new}: raise grad_segments, or set partial=True to leave older tokens "
            "constant"
        )
    return min(n, config.n_new)


def relaxed_branches(
    model: Decoder, prompts: Tensor, config: TuneConfig, generator: torch.Generator
) -> Relaxed:
    """Read each prompt once without gradient, fork it, and draw relaxed continuations.

    Raises:
        ValueError: as `reach`.
    """
    n_grad, V = reach(model, config), model.config.vocab_size
    state = model.new_state(len(prompts), grad_segments=n_grad)
    with torch.no_grad():
        for part in torch.split(prompts[:, :-1], model.config.segment_len, 1):
            if part.shape[1]:
                u = declared_fraction(state, part.shape[1], config.length)
                state.advance(model(part, state, fraction=u))
    k = config.n_branch
    drawn = draw_relaxed(
        model, prompts[:, -1].repeat_interleave(k), state.fork(k), config.n_new, generator,
        temperature=config.temperature, n_grad=n_grad, length=config.length,
    )  # fmt: skip
    before = torch.nn.functional.one_hot(prompts, V).to(drawn.rows).repeat_interleave(k, 0)
    text = torch.cat((prompts.repeat_interleave(k, 0), drawn.ids), 1)
    return Relaxed(torch.cat((before, drawn.rows), 1), text, drawn.logits)


def winners(scores: Tensor) -> Tensor:
    """(n, k) bool: the largest finite score of each row; none where fewer than two are finite."""
    good = scores.isfinite()
    best = scores.masked_fill(~good, -torch.inf).argmax(1, keepdim=True)
    won = torch.zeros_like(good).scatter_(1, best, True)
    return won & (good.sum(1, keepdim=True) >= 2)


def draw_seed(config: TuneConfig, n: int) -> int:
    """The seed of update n's draws; other updates, and other seeds' updates, have others."""
    return (config.seed << 32) + n


class _Judged(NamedTuple):
    wrote: Branches
    log_p: Tensor
    """(N, L), in the graph."""
    scores: Tensor
    far: Apart
    n_token: int


def _judged(
    policy: Decoder, reference: Decoder, prompts: Tensor, reward: Reward, config: TuneConfig, n: int
) -> _Judged:
    """Write branches, score them, and read them again: the policy in the graph, the reference not.

    Each model reads into a state of its own.
    """
    drawn = replace(config.sampling, seed=draw_seed(config, n))
    wrote = write_branches(
        policy, prompts, config.n_branch, config.n_new,
        sampling=drawn, length=config.length, end=config.end,
    )  # fmt: skip
    with torch.no_grad():
        scores = reward(wrote.text)
        theirs = log_probabilities(read_logits(reference, wrote, length=config.length), wrote.new)
    log_p = log_probabilities(read_logits(policy, wrote, length=config.length), wrote.new)
    far = apart(log_p, theirs, wrote.counts, config.log_ratio_clamp)
    if not config.has_kl:  # the texts are not draws from the policy
        far = far._replace(log_ratio=torch.zeros_like(far.log_ratio), k1=nan, k3=nan)
    N, T = wrote.text.shape
    P = prompts.shape[1]
    n_token = N * (T - P) + len(prompts) * P + 2 * N * T + 3 * N * T  # write, two readers, policy
    return _Judged(wrote, log_p, scores.float(), far, n_token)
