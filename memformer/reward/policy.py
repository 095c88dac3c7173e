"""A decoder as the generator that a chain trains: novels that it draws, with a way back to it.

B lanes, n tokens drawn, V vocabulary
"""

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.generation.prompts import declared_fraction
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState
from memformer.reward.relaxed import gate_gradient, gumbel, gumbel_rows


class Drawn(NamedTuple):
    """Continuations that were drawn."""

    ids: Tensor
    """(B, n) int64."""
    rows: Tensor
    """(B, n, V): the same as rows, with a gradient to the generator."""
    logits: Tensor
    """(B, n, V), of each token when it was drawn."""


def draw_relaxed(
    model: Decoder,
    last: Tensor,
    state: DecoderState,
    n_token: int,
    generator: torch.Generator | None,
    *,
    temperature: float = 1.0,
    is_hard: bool = True,
    max_token_norm: float | None = None,
    n_grad: int | None = None,
    length: int | None = None,
) -> Drawn:
    """Draw n_token tokens after `last`, straight through each into the next.

    Forward the texts are plain draws: the largest of logits + Gumbel noise. Every token is a
    segment of its own, so a gradient that comes to the last row reaches n tokens back, also by how
    earlier tokens change later ones, if the state keeps n segments in the graph.

    Args:
        last: (B,) ids, the prefix's last token, not yet read.
        state: before it; not changed.
        temperature: of the softmax backward; drawing is at 1.
        is_hard: one-hot rows forward.
        max_token_norm: longest gradient at one token; longer ones are scaled to it.
        n_grad: last tokens that have a gradient, older ones are constant; None: all.
        length: declared length of the whole text in tokens; None leaves the fraction unknown.

    Raises:
        ValueError: n_token or n_grad below 1, or the gradient would have to reach further than
            `grad_segments` segments.
        FloatingPointError: logits that are not finite.
    """
    has, reach = state.layers[0].grad_segments, n_token if n_grad is None else n_grad
    if n_token < 1 or not 1 <= reach <= n_token:
        raise ValueError(
            f"n_token must be at least 1 and n_grad in [1, n_token], got {n_token} and {n_grad}"
        )
    if has < reach and torch.is_grad_enabled():
        raise ValueError(
            f"a gradient through {reach} drawn tokens needs grad_segments={reach}, the state "
            f"has {has}: make it with new_state(..., grad_segments={reach}), or let the gradient "
            "end earlier with n_grad; credit for older text comes from score_function"
        )
    state, wanted = state.fork(1), torch.is_grad_enabled()
    read, all_ids, all_rows, said = last[:, None], [], [], []
    for t in range(n_token):
        u = declared_fraction(state, 1, length)
        with torch.set_grad_enabled(wanted and t >= n_token - reach):
            out = model(read, state, fraction=u)
        logits = out.logits[:, -1]
        if not bool(logits.isfinite().all()):
            raise FloatingPointError(f"the generator's logits are not finite at token {t}")
        state.advance(out)
        noise = gumbel(tuple(logits.shape), logits, generator)
        ids, row = gumbel_rows(logits.log_softmax(-1), noise, temperature, is_hard=is_hard)
        row = gate_gradient(row, torch.ones_like(ids, dtype=torch.bool), max_token_norm)
        all_ids.append(ids)
        all_rows.append(row)
        said.append(logits)
        read = row[:, None]
    return Drawn(torch.stack(all_ids, 1), torch.stack(all_rows, 1), torch.stack(said, 1))


def log_prob(model: Decoder, last: Tensor, x: Tensor, state: DecoderState) -> Tensor:
    """log p of each token of a continuation, (B, n), with its graph.

    For KL, policy and reference each come with a state of their own, into which each has read the
    prefix with its own weights: pairs kept by one model are noise to another.

    Args:
        last: (B,) ids, the prefix's last token, not yet read.
        x: (B, n) ids.
        state: the model's, before `last`; not changed.
    """
    state = state.fork(1)
    text = torch.cat((last[:, None], x[:, :-1]), 1)
    parts = []
    for part in torch.split(text, model.config.segment_len, 1):
        out = model(part, state)
        state.advance(out)
        parts.append(out.logits)
    said = torch.cat(parts, 1).float().log_softmax(-1)
    return said.gather(-1, x[..., None])[..., 0]
