"""Continuations of prompts, what any model says of them, and how far two models lie apart.

n prompts, k branches of each, N = n·k lanes (prompt-major), P tokens of a prompt, L of a
continuation, V vocabulary
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config import SamplingConfig
from memformer.generation.prompts import declared_fraction, read_prompts
from memformer.generation.sample import sample
from memformer.model.decoder import Decoder

Reward = Callable[[Tensor], Tensor]
"""From whole texts, (N, P + L) ids or (N, P + L, V) rows over the vocabulary that sum to 1, to (N,)
scores; NaN where a text cannot be scored. Only `direct` gives rows, and then goes backward."""


class Branches(NamedTuple):
    """Texts that begin with prompts."""

    text: Tensor
    """(N, P + L) int64."""
    n_prompt_token: int
    """P."""
    counts: Tensor
    """(N, L) bool: tokens of the continuation up to its end, that one included."""

    @property
    def new(self) -> Tensor:
        """(N, L) ids of the continuations."""
        return self.text[:, self.n_prompt_token :]


def write_branches(
    model: Decoder,
    prompts: Tensor,
    n_branch: int,
    n_new: int,
    *,
    sampling: SamplingConfig,
    length: int | None = None,
    end: int | None = None,
) -> Branches:
    """Read each prompt once into a fresh state, fork it, and write each branch with its own draws.

    Args:
        model: the policy, with the weights that it has now.
        prompts: (n, P) int64.
        n_branch: k.
        n_new: L.
        sampling: its seed decides every draw.
        length: declared length of the texts.
        end: id that ends a branch: it stands in place of whatever was drawn after it, so that no
            reward depends on tokens that do not count.

    Raises:
        ValueError: as `read_prompts` and `sample`.
    """
    state = model.new_state(len(prompts))
    logits = read_prompts(model, state, prompts.tolist(), length=length)
    writing = sample(
        model, state.fork(n_branch), logits.repeat_interleave(n_branch, 0), n_new,
        config=sampling, length=length,
        before=[ids for ids in prompts.tolist() for _ in range(n_branch)],
    )  # fmt: skip
    new = torch.stack(
        list(writing), dim=1
    ).clone()  # made in inference mode: a copy may be trained on
    counts = until_end(new, end)
    if end is not None:
        new = new.masked_fill(~counts, end)
    text = torch.cat((prompts.repeat_interleave(n_branch, 0), new), dim=1)
    return Branches(text, prompts.shape[1], counts)


def until_end(new: Tensor, end: int | None) -> Tensor:
    """(N, L) bool: tokens up to the first `end`, that one included."""
    if end is None:
        return torch.ones_like(new, dtype=torch.bool)
    ended = (new == end).cumsum(1)
    return (ended - (new == end).long()) == 0


def read_logits(
    model: Decoder, branches: Branches, *, length: int | None = None, grad_segments: int = 1
) -> Tensor:
    """(N, L, V): what a model says of each token of the continuations, from its own reading.

    The model reads the text from its beginning into a state of its own, in segments: keys depend on
    weights, so no state of another model, or of the same before an update, will do.
    """
    P, L = branches.n_prompt_token, branches.new.shape[1]
    state = model.new_state(len(branches.text), grad_segments=grad_segments)
    parts = []
    for start in range(0, P + L - 1, model.config.segment_len):
        part = branches.text[:, start : min(start + model.config.segment_len, P + L - 1)]
        out = model(part, state, fraction=declared_fraction(state, part.shape[1], length))
        parts.append(out.logits)
        state.advance(out)
    return torch.cat(parts, dim=1)[:, P - 1 :]


def log_probabilities(logits: Tensor, new: Tensor) -> Tensor:
    """(N, L, V) logits and (N, L) ids -> (N, L) log-probabilities of the ids, in nats, float32."""
    return logits.float().log_softmax(-1).gather(-1, new[..., None])[..., 0]


class Apart(NamedTuple):
    """How far a policy lies from its reference, on texts that the policy wrote."""

    log_ratio: Tensor
    """(N,): sum over tokens of log policy - log reference, each clamped; no gradient."""
    k1: float
    """Mean of that: KL(policy | reference) in nats a continuation, unbiased."""
    k3: float
    """Mean sum of exp(-d) - 1 + d, d the log-ratio of a token: unbiased too, never negative
    (Schulman 2020, "Approximating KL divergence"). Where the two disagree, neither is known."""
    n_clamped: int
    """Tokens whose log-ratio was cut."""


def apart(policy: Tensor, reference: Tensor, counts: Tensor, clamp: float) -> Apart:
    """Two estimates of KL(policy | reference).

    Args:
        policy, reference: (N, L) log-probabilities of tokens drawn from the policy.
        counts: (N, L) bool, tokens that count.
        clamp: log-ratios of a token are cut to plus or minus this.
    """
    raw = (policy.detach() - reference.detach()).where(counts, 0.0)
    d = raw.clamp(-clamp, clamp)
    k3 = ((-d).exp() - 1 + d).where(counts, 0.0).sum(1).mean()
    total = d.sum(1)
    return Apart(total, float(total.mean()), float(k3), int((raw.abs() > clamp).sum()))


def best_of_branches(
    model: Decoder,
    prompts: Tensor,
    n: int,
    n_new: int,
    reward: Reward,
    *,
    sampling: SamplingConfig,
    length: int | None = None,
    end: int | None = None,
    n_lane: int = 256,
) -> tuple[Branches, int]:
    """The lowest rung: of n continuations of each prompt, the one with the largest score.

    Args:
        n: written for each prompt.
        reward: gives NaN where it cannot score; such a branch is never taken.
        n_lane: branches written side by side, at most (one prompt's at least).

    Returns:
        A branch for each prompt, and how many branches could not be scored.

    Raises:
        ValueError: a prompt has no branch with a score.
    """
    kept, n_bad = [], 0
    per = max(1, n_lane // n)
    for start in range(0, len(prompts), per):
        part = prompts[start : start + per]
        drawn = replace(sampling, seed=sampling.seed + start)
        wrote = write_branches(model, part, n, n_new, sampling=drawn, length=length, end=end)
        with torch.no_grad():
            score = reward(wrote.text).view(len(part), n)
        bad = ~score.isfinite()
        n_bad += int(bad.sum())
        if bool(bad.all(1).any()):
            raise ValueError(f"reward: no branch of prompt {start} and the next could be scored")
        best = score.masked_fill(bad, -torch.inf).argmax(1) + n * torch.arange(
            len(part), device=score.device
        )
        kept.append(wrote._replace(text=wrote.text[best], counts=wrote.counts[best]))
    return Branches(
        torch.cat([each.text for each in kept]), prompts.shape[1],
        torch.cat([each.counts for each in kept]),
    ), n_bad  # fmt: skip
