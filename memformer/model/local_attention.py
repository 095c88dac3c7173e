"""The plain parts of attention: logits at clamped distances, one softmax over several parts.

B lanes, H query heads, G key/value heads, L queries, n keys of a part, D head_dim
"""

from typing import NamedTuple, Protocol

import torch
from einops import rearrange
from torch import Tensor

from memformer.model.positions import rotate


class OwnValues(Protocol):
    """Values of each query's own, in whatever way they are kept."""

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """(B, H, L, n) -> (B, H, L, D) in the same dtype."""


class Part(NamedTuple):
    """Some of the pairs that a query attends to."""

    logits: Tensor
    """(B, H, L, n); -inf where a query does not see a pair."""
    values: "Tensor | OwnValues"
    """(B, G, n, D), shared by the queries, or (B, H, L, n, D), each query's own; or what sums each
    query's own values without putting them together."""


def logits_of(q: Tensor, k: Tensor) -> Tensor:
    """Inner products of grouped queries: q (B, H, L, D), k (B, G, n, D) -> (B, H, L, n)."""
    L = q.shape[2]
    grouped = rearrange(q, "b (g r) l d -> b g (r l) d", g=k.shape[1])
    return rearrange(grouped @ k.mT, "b g (r l) n -> b (g r) l n", l=L)


def rotary_logits(
    q: Tensor, k: Tensor, q_at: Tensor, k_at: Tensor, base: float, max_distance: int | None = None
) -> Tensor:
    """Inner products with rotary positions at distance min(q_at - k_at, max_distance).

    A clamped distance is one for all keys, so there the query alone is rotated, by that distance
    (ReRoPE; InfLLM, arXiv:2402.04617, with max_distance the window).

    Args:
        q: (B, H, L, D), unrotated.
        k: (B, G, n, D), unrotated.
        q_at: (B, L) or (1, L) positions in tokens; only differences matter.
        k_at: (B, n) or (1, n) likewise.
        base: see `rotate`.
        max_distance: in tokens; None for true distances.

    Returns:
        (B, H, L, n); meaningless where k_at > q_at.
    """
    if max_distance is None:
        return logits_of(rotate(q, q_at, base), rotate(k, k_at, base))
    # of columns in order of age, those before `first` are clamped for every query, those from
    # `last` on for none
    is_far = (q_at.amin(-1, keepdim=True) - k_at > max_distance).all(0)
    may_be_far = (q_at.amax(-1, keepdim=True) - k_at > max_distance).any(0)
    first = int(is_far.long().cumprod(0).sum())
    last = int((may_be_far * torch.arange(1, len(may_be_far) + 1, device=q.device)).amax())
    parts = []
    if last:
        clamp = torch.full_like(q_at, max_distance)
        far = logits_of(rotate(q, clamp, base), k[:, :, :last])
        parts.append(far[..., :first])
    true = logits_of(rotate(q, q_at, base), rotate(k[:, :, first:], k_at[:, first:], base))
    if first < last:
        distance = q_at[:, None, :, None] - k_at[:, None, None, first:last]  # (B or 1, 1, L, ·)
        mixed = torch.where(distance > max_distance, far[..., first:], true[..., : last - first])
        parts.append(mixed)
    return torch.cat([*parts, true[..., last - first :]], dim=-1) if parts else true


def attend(parts: list[Part]) -> tuple[Tensor, list[Tensor]]:
    """One softmax over the logits of all parts; a query that sees nothing gets zeros.

    Returns:
        The weighted sum of values, (B, H, L, D), and the weights of each part, (B, H, L, n).
    """
    logits = torch.cat([part.logits for part in parts], dim=-1)
    empty = logits.isneginf().all(-1, keepdim=True)  # softmax over nothing would be NaN
    wide = torch.promote_types(logits.dtype, torch.float32)
    weights = logits.masked_fill(empty, 0).softmax(-1, dtype=wide).type_as(logits) * ~empty
    split = list(torch.split(weights, [part.logits.shape[-1] for part in parts], dim=-1))
    sums = [_weighted_sum(w, part.values) for w, part in zip(split, parts, strict=True)]
    return sum(sums[1:], start=sums[0]), split


def _weighted_sum(weights: Tensor, values: "Tensor | OwnValues") -> Tensor:
    if not isinstance(values, Tensor):
        return values.weighted_sum(weights)
    if values.dim() == 5:
        return (weights[..., None].type_as(values) * values).sum(-2)
    grouped = rearrange(weights, "b (g r) l n -> b g (r l) n", g=values.shape[1])
    return rearrange(
        grouped.type_as(values) @ values, "b g (r l) d -> b (g r) l d", l=weights.shape[2]
    )
