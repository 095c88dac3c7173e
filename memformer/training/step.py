"""One step of training as plain functions: read passages, go backward, move the weights.

The predictive loss and any other loss over the same stream share these.

B lanes, L tokens of a segment, V vocabulary
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from memformer.data.lanes import Segment
from memformer.model.decoder import Decoder, DecoderOut
from memformer.model.state import DecoderState

Precision = Literal["float32", "bfloat16"]


class PassageOut(NamedTuple):
    """What reading a passage gave."""

    loss: Tensor
    """Sum over all targets of weight · nats, a scalar in the autograd graph."""
    weight: float
    """Sum of the weights of all targets."""
    last: DecoderOut
    """The last segment's reading."""


class StepOut(NamedTuple):
    """What one update of the weights was made from."""

    loss: float
    """Nats a target, weighted."""
    n_token: int
    """Tokens read, without padding."""
    grad_norm: float
    """Before clipping."""
    last: DecoderOut
    """The last segment's reading."""


def token_loss(logits: Tensor, segment: Segment) -> Tensor:
    """Sum of weight · cross-entropy in nats: logits (B, L, V) -> scalar float32."""
    weight, targets = segment.weight, segment.targets
    has_target = weight > 0
    if bool(has_target.all()):  # as a rule: then nothing is copied, forward or backward
        logits, targets, weight = logits.flatten(0, 1), targets.flatten(), weight.flatten()
    else:  # what padding gives means nothing and may be NaN: it takes no part, forward or backward
        logits, targets, weight = logits[has_target], targets[has_target], weight[has_target]
    nats = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    return (nats * weight).sum()


def read_passage(
    model: Decoder,
    state: DecoderState,
    segments: Sequence[Segment],
    *,
    precision: Precision = "float32",
    recompute: bool = False,
    want_retrieved: bool = False,
) -> PassageOut:
    """Read consecutive segments of all lanes and remember each; the state advances.

    Lanes in which a manuscript begins are reset first. What the state keeps stays in the autograd
    graph as far as its `grad_segments` says: call `state.detach()` after going backward.

    Args:
        model, state: as in `Decoder.forward`.
        segments: in order, at least one.
        precision: `bfloat16` reads under autocast.
        recompute: see `Decoder.forward`.
        want_retrieved: of the last segment.

    Raises:
        ValueError: there is no segment.
    """
    if not segments:
        raise ValueError("segments must hold at least one segment, got none")
    total, weight = torch.zeros((), device=model.embedding.weight.device), 0.0
    for i, segment in enumerate(segments):
        if segment.begins:
            state.reset(segment.begins)
        with _autocast(precision, model.embedding.weight.device):
            out = model(
                segment.tokens,
                state,
                fraction=segment.fraction,
                mask=segment.mask,
                recompute=recompute,
                want_retrieved=want_retrieved and i == len(segments) - 1,
            )
        total = total + token_loss(out.logits, segment)
        weight += float(segment.weight.sum())
        state.advance(out)
    return PassageOut(total, weight, out)


def train_step(
    model: Decoder,
    state: DecoderState,
    optimiser: torch.optim.Optimizer,
    passages: Sequence[Sequence[Segment]],
    *,
    clip_norm: float,
    precision: Precision = "float32",
    recompute: bool = False,
    want_retrieved: bool = False,
    backward: Callable[[Tensor], Any] = torch.Tensor.backward,
) -> StepOut:
    """One update of the weights from the mean loss of some passages, read one after the other.

    Args:
        model, state, precision, recompute, want_retrieved: as in `read_passage`.
        optimiser: its learning rates are set already.
        passages: each is gone backward through as a whole, then cut from the graph.
        clip_norm: gradients are scaled down to this norm.
        backward: what to call instead of `loss.backward()`.

    Returns:
        `StepOut`. If its loss or norm is not finite, no weight was moved.

    Raises:
        ValueError: no target in any passage has weight.
    """
    weight = float(sum(segment.weight.sum() for passage in passages for segment in passage))
    if weight == 0:
        raise ValueError("passages must hold a target of weight above 0, got none")
    optimiser.zero_grad(set_to_none=True)
    loss = 0.0
    for i, passage in enumerate(passages):
        watched = want_retrieved and i == len(passages) - 1
        out = read_passage(
            model, state, passage, precision=precision, recompute=recompute, want_retrieved=watched
        )
        if out.weight:
            backward(out.loss / weight)
        loss += float(out.loss.detach()) / weight
        state.detach()
    norm = float(nn.utils.clip_grad_norm_(trained(optimiser), clip_norm))
    if torch.tensor([loss, norm]).isfinite().all():
        optimiser.step()
    n_token = sum(int(segment.mask.sum()) for passage in passages for segment in passage)
    return StepOut(loss, n_token, norm, out.last)


def trained(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    """All parameters that an optimiser moves."""
    return [weight for group in optimiser.param_groups for weight in group["params"]]


def _autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
