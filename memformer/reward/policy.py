"""A decoder as the generator that a chain trains: novels that it draws, with a way back to it.

B lanes, n tokens drawn, V vocabulary
"""

from typing import NamedTuple

import torch
from torch import Tensor

from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState
from memformer.reward.relaxed import gate_gradient, gumbel, gumbel_rows


class Drawn(NamedTuple):
    """Continuations that were drawn."""

    ids: Tensor
    """(B, n) int64."""
    rows: Tensor
    """(B, n, V): the same as rows, with a gradient to the generator."""


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
    is_partial: bool = False,
) -> Drawn:
    """Draw n_token tokens after `last`, straight through each into the next.

    Every token is a segment of its own, so a gradient that comes to the last row reaches the first
    if the state keeps n_token segments in the graph.

    Args:
        last: (B,) ids, the prefix's last token, not yet read.
        state: before it; not changed.
        temperature: of the softmax backward; drawing is at 1.
        is_hard: one-hot rows forward.
        max_token_norm: longest gradient at one token; longer ones are scaled to it.
        is_partial: let the gradient end where the state's graph ends.

    Raises:
        ValueError: n_token below 1, or the gradient would have to reach further than
            `grad_segments` segments.
        FloatingPointError: logits that are not finite.
    """
    has = state.layers[0].grad_segments
    if n_token < 1:
        raise ValueError(f"n_token must be at least 1, got {n_token}")
    if has < n_token and torch.is_grad_enabled() and not is_partial:
        raise ValueError(
            f"a gradient through {n_token} drawn tokens needs grad_segments={n_token}, the state "
            f"has {has}: make it with new_state(..., grad_segments={n_token}), or let the gradient "
            "end earlier with is_partial=True; credit for older text comes from score_function"
        )
    state = state.fork(1)
    read, all_ids, all_rows = last[:, None], [], []
    for t in range(n_token):
        out = model(read, state)
        logits = out.logits[:, -1]
        if not bool(logits.isfinite().all()):
            raise FloatingPointError(f"the generator's logits are not finite at token {t}")
        state.advance(out)
        noise = gumbel(tuple(logits.shape), logits, generator)
        ids, row = gumbel_rows(logits.log_softmax(-1), noise, temperature, is_hard=is_hard)
        row = gate_gradient(row, torch.ones_like(ids, dtype=torch.bool), max_token_norm)
        all_ids.append(ids)
        all_rows.append(row)
        read = row[:, None]
    return Drawn(torch.stack(all_ids, 1), torch.stack(all_rows, 1))


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
