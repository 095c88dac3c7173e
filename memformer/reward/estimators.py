"""Scalars whose gradient estimates that of an expectation over drawn texts, and their sum.

Each has the estimate as its value, so that it can be printed, and its gradient through `log_prob`.
B texts, g siblings drawn from one prefix, m reviews of each text
"""

from typing import NamedTuple

import torch
from torch import Tensor


class LeaveOneOut(NamedTuple):
    """Scores less the mean of their siblings' scores."""

    advantage: Tensor
    """(G, g); 0 where a score is missing or alone in its group."""
    share: Tensor
    """(G, g) by which to sum: 1 / scored siblings / groups that have two, 0 for the others."""


def leave_one_out(score: Tensor, is_scored: Tensor) -> LeaveOneOut:
    """RLOO's baseline: the mean of the other siblings (Kool et al. 2019, "Buy 4 REINFORCE samples,
    get a baseline for free!"; Ahmadian et al. 2024, arXiv:2402.14740, §3.1).

    Missing scores are no zeros: they stay out of the sums and of the baselines. What remains is
    drawn from p(. | scored), and since the advantages of a group sum to 0, the unknown
    log-probability of being scored falls out: sum(share * advantage * log p) is unbiased for the
    gradient of E[score | scored], given two scored siblings. No division by the group's standard
    deviation, which blows up noise where siblings tie.

    Args:
        score: (G, g), whatever where not scored.
        is_scored: (G, g) bool.
    """
    kept = score.detach().where(is_scored, 0.0)
    n = is_scored.sum(1, keepdim=True)  # (G, 1)
    has_sibling = n > 1
    others = (kept.sum(1, keepdim=True) - kept) / (n - 1).clamp(min=1)
    use = is_scored & has_sibling
    n_group = has_sibling.sum().clamp(min=1)
    share = use.to(score) / n.clamp(min=1) / n_group
    return LeaveOneOut((kept - others).where(use, 0.0), share)


def score_function(
    score: Tensor,
    log_prob: Tensor,
    is_scored: Tensor | None = None,
    *,
    baseline: Tensor | None = None,
) -> Tensor:
    """A scalar that has the mean score as value and RLOO's gradient.

    Args:
        score: (G, g), taken as constants.
        log_prob: (G, g) log-probability with which each was drawn, with its graph.
        is_scored: (G, g) bool; None: all.
        baseline: (G, 1), independent of the draws, in place of the siblings' mean (a control
            variate such as the amortised value of the text that all g reviews are of). Where scores
            are missing the gradient is then not that of E[score | scored], but pulls towards being
            scored, or away from it, by as much as those lie above the baseline or below.

    Raises:
        ValueError: shapes differ, or g is below 2 without a baseline.
    """
    if score.shape != log_prob.shape or score.dim() != 2:
        raise ValueError(
            f"score and log_prob must be (groups, siblings) alike, got {tuple(score.shape)} and "
            f"{tuple(log_prob.shape)}"
        )
    if score.shape[1] < 2 and baseline is None:
        raise ValueError("score_function needs 2 siblings for a baseline, 4 are better; got 1")
    is_scored = torch.ones_like(score, dtype=torch.bool) if is_scored is None else is_scored
    if baseline is None:
        advantage, share = leave_one_out(score, is_scored)
    else:
        n = is_scored.sum(1, keepdim=True)
        share = is_scored.to(score) / n.clamp(min=1) / (n > 0).sum().clamp(min=1)
        advantage = (score - baseline).detach().where(is_scored, 0.0)
    # `where`, not a product: the log-probability of a text that is not counted may be -inf or NaN
    counted = (share * advantage != 0) & is_scored
    log_prob = log_prob.where(counted, 0.0)
    mean = score.detach().where(is_scored, 0.0).sum() / is_scored.sum()
    return mean + (share * advantage * (log_prob - log_prob.detach())).sum()


class KL(NamedTuple):
    """Two estimates of KL(policy | reference) from the policy's own texts, in nats a text."""

    k1: Tensor
    """Mean log-ratio: unbiased, may be negative."""
    k3: Tensor
    """Mean of exp(-ratio) - 1 + ratio: never negative (Schulman 2020, "Approximating KL
    divergence"); unbiased but for clamping."""
    n_clamped: int
    """Texts whose log-ratio was cut before the exponential."""


def kl_estimates(log_prob: Tensor, log_reference: Tensor, *, limit: float = 20.0) -> KL:
    """Both estimates of texts that the policy drew untruncated (no top-p, temperature 1).

    Args:
        log_prob, log_reference: sums over each text's tokens, of one shape, each model having read
            the text into a state of its own.
        limit: |log-ratio| beyond which it is cut; exp of a long text's ratio overflows.

    Raises:
        FloatingPointError: a log-probability is NaN or infinite.
    """
    ratio = _ratio(log_prob, log_reference).detach()
    cut = ratio.clamp(-limit, limit)
    k3 = torch.expm1(-cut) + cut
    return KL(ratio.mean(), k3.mean(), int((ratio != cut).sum()))


def kl_term(log_prob: Tensor, log_reference: Tensor) -> Tensor:
    """Scalar with the k1 estimate as value and RLOO's unbiased gradient of KL(policy | reference).

    Args:
        log_prob: (G, g) of siblings, with graph.
        log_reference: (G, g), taken as constants.

    Raises:
        FloatingPointError: as in `kl_estimates`.
    """
    return score_function(_ratio(log_prob, log_reference), log_prob)


def entropy_term(log_prob: Tensor) -> Tensor:
    """Scalar with the estimated entropy of the policy in nats a text, and its RLOO gradient.

    Raises:
        FloatingPointError: a log-probability is NaN or infinite.
    """
    return score_function(-_ratio(log_prob, torch.zeros_like(log_prob)), log_prob)


def generator_loss(
    score: Tensor, kl: Tensor | None = None, entropy: Tensor | None = None,
    *, beta: float = 0.0, bonus: float = 0.0,
) -> Tensor:  # fmt: skip
    """What a generator minimises: - score + beta KL - bonus entropy.

    Args:
        score: a chain's surrogate.
        kl: from `kl_term`.
        entropy: from `entropy_term`.

    Raises:
        ValueError: a weight is negative, or its term is missing.
    """
    if beta < 0 or bonus < 0:
        raise ValueError(f"beta and bonus must be at least 0, got {beta} and {bonus}")
    if (beta and kl is None) or (bonus and entropy is None):
        raise ValueError(f"beta={beta} needs kl, bonus={bonus} needs entropy")
    loss = -score
    loss = loss if kl is None else loss + beta * kl
    return loss if entropy is None else loss - bonus * entropy


def _ratio(log_prob: Tensor, log_reference: Tensor) -> Tensor:
    ratio = log_prob - log_reference
    if not bool(ratio.isfinite().all()):
        raise FloatingPointError(
            f"log-ratio of policy and reference is not finite for "
            f"{int((~ratio.isfinite()).sum())} of {ratio.numel()} texts: were they drawn from the "
            "policy, untruncated?"
        )
    return ratio
