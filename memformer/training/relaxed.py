"""Writing with relaxed tokens: a gradient goes from what reads a text back to who wrote it.

n prompts, k branches of each, N = n·k lanes, P tokens of a prompt, L of a
continuation, V vocabulary
"""

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config.reward_training import TuneConfig
from memformer.generation.prompts import declared_fraction
from memformer.model.decoder import Decoder
from memformer.reward.relaxed import gumbel, gumbel_rows


class Relaxed(NamedTuple):
    """Continuations whose tokens have gradient."""

    rows: Tensor
    """(N, P + L, V): one-hot forward; backward, the Gumbel softmax (Jang et al. 2017,
    arXiv:1611.01144, §2.2, straight-through). Prompts, and tokens beyond the reach, are
    constant."""
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


def write_relaxed(
    model: Decoder, prompts: Tensor, config: TuneConfig, generator: torch.Generator
) -> Relaxed:
    """Write token by token with straight-through Gumbel tokens, each read again in the graph.

    Forward the texts are plain draws from the policy: the largest of logits + Gumbel noise. A token
    is a segment of its own here, and the state keeps all of the reach in the graph; so the gradient
    also goes through how earlier tokens change later ones.

    Args:
        model: the policy.
        prompts: (n, P) int64; read without gradient, once, and forked.
        config: n_branch, n_new, temperature, length, grad_segments, partial.
        generator: of the noise.

    Raises:
        ValueError: as `reach`.
    """
    n_reach, V = reach(model, config), model.config.vocab_size
    first = config.n_new - n_reach  # the first token that has gradient
    state = model.new_state(len(prompts), grad_segments=n_reach + 1)
    P, step = prompts.shape[1], model.config.segment_len
    for start in range(0, P, step):
        part = prompts[:, start : start + step]
        u = declared_fraction(state, part.shape[1], config.length)
        with torch.set_grad_enabled(first == 0 and start + step >= P):  # logits of the first token
            out = model(part, state, fraction=u)
        state.advance(out)
    state.detach()
    state = state.fork(config.n_branch)
    logits = out.logits[:, -1].repeat_interleave(config.n_branch, 0)  # (N, V)
    rows, said = [], []
    for t in range(config.n_new):
        said.append(logits)
        noise = gumbel(tuple(logits.shape), logits, generator)
        _, row = gumbel_rows(logits.log_softmax(-1), noise, config.temperature, is_hard=True)
        rows.append(row)
        if t < config.n_new - 1:
            u = declared_fraction(state, 1, config.length)
            with torch.set_grad_enabled(t + 1 >= first):  # these logits are of token t + 1
                out = model(row[:, None], state, fraction=u)
            state.advance(out)
            logits = out.logits[:, -1]
    new = torch.stack(rows, dim=1)  # (N, L, V)
    before = torch.nn.functional.one_hot(prompts, V).to(new).repeat_interleave(config.n_branch, 0)
    whole = torch.cat((before, new), dim=1)
    return Relaxed(whole, whole.detach().argmax(-1), torch.stack(said, dim=1))
