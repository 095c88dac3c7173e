"""How much a model looks at its memory, and how old what it finds is.

B lanes, H query heads, L tokens of the segment, K retrieved pairs
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.data.lanes import Segment
from memformer.model.decoder import Decoder, DecoderOut
from memformer.model.memory_attention import MemoryAttention

COLUMNS = ("layer", "head", "mass", "age", "age_high", "stale_steps", "gate")
USED = 0.05
"""A head with at least this share of its attention on memory counts as using it."""


class MemoryUse(NamedTuple):
    """One head of one layer, over the tokens of a segment that had something to retrieve."""

    layer: int
    head: int
    mass: float
    """Mean attention on retrieved pairs; with `gate` and `tanh`, times the gate. NaN: no token."""
    age: float
    """Median distance to a retrieved pair in tokens, weighted by attention. NaN: none."""
    age_high: float
    """The same, 90th percentile."""
    stale_steps: float
    """Updates of the weights since a retrieved key was written, mean weighted by attention."""
    gate: float | None
    """sigmoid(b) or tanh(a); None with `joint`."""


def memory_use(
    model: Decoder, out: DecoderOut, segment: Segment, step_segments: int
) -> Iterator[MemoryUse]:
    """Every memory layer's heads, from a reading with `want_retrieved`.

    Args:
        model: that made `out`.
        out: a reading of the segment, the last one before an update of the weights.
        segment: what was read.
        step_segments: segments of a lane between two updates.

    Raises:
        ValueError: `out` was made without `want_retrieved`.
    """
    if out.retrieved is None:
        raise ValueError("out must come from a reading with want_retrieved=True")
    n_read = torch.tensor(out.n_read, device=segment.tokens.device)
    place = torch.arange(segment.tokens.shape[1], device=n_read.device)
    at = (n_read[:, None] + place)[:, None, :, None]  # (B, 1, L, 1)
    # tokens of a lane since the last update, before this segment: its keys are fresh
    fresh_from = n_read - (step_segments - 1) * segment.tokens.shape[1]
    for layer, found in out.retrieved.items():
        taken = (found.token_index >= 0) & segment.mask[:, None, :, None]
        weight = found.weight.float() * taken  # (B, H, L, K)
        age = (at - found.token_index).float()
        before = (fresh_from[:, None, None, None] - found.token_index).clamp(min=0)
        stale = torch.ceil(before / (step_segments * segment.tokens.shape[1]))
        gate = _gate(model.blocks[layer].attention)
        for head in range(weight.shape[1]):
            has = taken[:, head].any(-1)  # (B, L)
            mass = weight[:, head].sum(-1)[has].mean() * (1 if gate is None else gate[head].abs())
            w = weight[:, head].flatten()
            low, high = _quantiles(age[:, head].flatten(), w, (0.5, 0.9))
            mean = (stale[:, head].flatten() * w).sum() / w.sum()
            own_gate = None if gate is None else float(gate[head])
            yield MemoryUse(layer, head, float(mass), low, high, float(mean), own_gate)


def share_of_heads(uses: list[MemoryUse]) -> float:
    """Share of heads whose mass is at least `USED`; heads without any are not counted."""
    masses = [use.mass for use in uses if use.mass == use.mass]
    return sum(mass >= USED for mass in masses) / len(masses) if masses else float("nan")


def mean_mass(uses: list[MemoryUse]) -> float:
    """Mean attention on memory over heads; NaN if no token had something to retrieve."""
    masses = [use.mass for use in uses if use.mass == use.mass]
    return sum(masses) / len(masses) if masses else float("nan")


def _gate(attention: object) -> Tensor | None:
    assert isinstance(attention, MemoryAttention)
    if attention.gate is not None:
        return attention.gate.detach().sigmoid()
    return None if attention.tanh_gate is None else attention.tanh_gate.detach().tanh()


def _quantiles(values: Tensor, weight: Tensor, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Weighted quantiles of (n,) values; NaN without weight."""
    if float(weight.sum()) == 0:
        return tuple(float("nan") for _ in shares)
    order = values.argsort()
    done = weight[order].cumsum(0) / weight.sum()
    at = torch.searchsorted(done, done.new_tensor(shares)).clamp(max=len(values) - 1)
    return tuple(float(values[order[i]]) for i in at)
