"""What tokens retrieved, reduced while reading: a segment's raw retrievals are megabytes a layer.

H query heads, L tokens, K retrieved pairs per query, S memory layers, M past tokens kept
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from memformer.model.attention_state import Retrieved

N_KEPT = 4
"""Past tokens kept per reading token and group of layers: those with most of its attention."""

N_GROUP = 3
"""Groups of memory layers by depth: shallow ones look for other things than deep ones."""

DISTANCE_EDGES = np.unique(np.round(2.0 ** (np.arange(0, 97) / 4)).astype(np.int64))
"""Edges in tokens of the bins of distance: four an octave, from 1 to 2**24."""


@dataclass(frozen=True)
class Retrievals:
    """Retrievals of some tokens of a manuscript, `Q` of them.

    Attributes:
        query: (Q,) the tokens that read; what they found served to predict token query + 1.
        found: (Q, P, M) past tokens with the largest `share`, in falling order; -1 where fewer.
        share: (Q, P, M) this token's part of all attention of the group's layers and heads.
        layer, head, weight: (Q, P, M) where the largest single weight on it was, and how large.
        mass: (Q,) share of attention on all that was retrieved, the rest went to window and sinks.
        layers: (S,) depths of the memory layers.
        attention: (S, bins) attention weight on retrieved pairs by distance, summed over heads.
        count: (S, bins) retrieved pairs by distance.
        available: (bins,) pairs that could have been retrieved, by distance: what chance would do.
    """

    query: NDArray[np.int64]
    found: NDArray[np.int64]
    share: NDArray[np.float32]
    layer: NDArray[np.int64]
    head: NDArray[np.int64]
    weight: NDArray[np.float32]
    mass: NDArray[np.float32]
    layers: NDArray[np.int64]
    attention: NDArray[np.float64]
    count: NDArray[np.int64]
    available: NDArray[np.int64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By field name, for an npz."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def reduce(
    retrieved: Mapping[int, Retrieved], start: int, keep: range, *, window: int, n_sink: int
) -> Retrievals:
    """Reduce the retrievals of one segment of one lane.

    Args:
        retrieved: per memory layer, with B = 1.
        start: token of the manuscript at which the segment begins.
        keep: tokens of the manuscript to keep, inside the segment.
        window, n_sink: of the config: they say which pairs could have been retrieved.
    """
    layers = np.asarray(sorted(retrieved), dtype=np.int64)
    part = slice(keep.start - start, keep.stop - start)
    index = np.stack([_numpy(retrieved[i].token_index)[:, part] for i in layers])  # (S, H, Q, K)
    weight = np.stack([_numpy(retrieved[i].weight)[:, part] for i in layers])  # (S, H, Q, K)
    weight = np.where(index >= 0, weight, 0).astype(np.float32)
    query = np.arange(keep.start, keep.stop)
    found, share, layer, head, largest = (
        np.stack(column, axis=1)  # (Q, P, M)
        for column in zip(
            *(_largest(index[g], weight[g], layers[g]) for g in layer_groups(len(layers))),
            strict=True,
        )
    )
    attention, count = _by_distance(index, weight, query)
    return Retrievals(
        query=query,
        found=found,
        share=share,
        layer=layer,
        head=head,
        weight=largest,
        mass=weight.sum((0, 1, 3)) / (weight.shape[0] * weight.shape[1]),
        layers=layers,
        attention=attention,
        count=count,
        available=_available(query, window, n_sink),
    )


def join(parts: list[Retrievals]) -> Retrievals:
    """The retrievals of several segments as one: rows follow each other, counts add up."""

    def column(name: str) -> Any:
        rows = [getattr(part, name) for part in parts]
        match name:
            case "layers":
                return rows[0]
            case "attention" | "count" | "available":
                return np.sum(rows, axis=0)
        return np.concatenate(rows)

    return Retrievals(**{name: column(name) for name in parts[0].arrays()})


def _numpy(tensor: Tensor) -> NDArray[Any]:
    # bfloat16 has no numpy type
    array = tensor[0].float() if tensor.is_floating_point() else tensor[0]
    return array.cpu().numpy()  # (H, L, K)


def layer_groups(n_layer: int) -> list[NDArray[np.int64]]:
    """Memory layers, counted among themselves, in up to three groups of neighbours."""
    return np.array_split(np.arange(n_layer), min(N_GROUP, n_layer))


def _largest(
    index: NDArray[np.int64], weight: NDArray[np.float32], layers: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    """Per query of index, weight (S, H, Q, K): the past tokens with the largest summed weight.

    Returns found, share, layer, head, weight, each (Q, M).
    """
    n_query = index.shape[2]
    found, layer, head = (np.full((n_query, N_KEPT), -1, dtype=np.int64) for _ in range(3))
    share, largest = (np.zeros((n_query, N_KEPT), dtype=np.float32) for _ in range(2))
    for q in range(n_query):
        s, h, k = np.nonzero(index[:, :, q] >= 0)
        value = weight[s, h, q, k]
        past, where = np.unique(index[s, h, q, k], return_inverse=True)
        total = np.bincount(where, weights=value, minlength=len(past))
        for i, best in enumerate(np.argsort(-total, kind="stable")[:N_KEPT]):
            mine = np.flatnonzero(where == best)
            top = mine[np.argmax(value[mine])]
            found[q, i], layer[q, i], head[q, i] = past[best], layers[s[top]], h[top]
            share[q, i], largest[q, i] = total[best] / (len(layers) * index.shape[1]), value[top]
    return found, share, layer, head, largest


def _by_distance(
    index: NDArray[np.int64], weight: NDArray[np.float32], query: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    n_bin = len(DISTANCE_EDGES) - 1
    attention = np.zeros((len(index), n_bin))
    count = np.zeros((len(index), n_bin), dtype=np.int64)
    for i in range(len(index)):
        held = index[i] >= 0  # (H, Q, K)
        distance = (query[None, :, None] - index[i])[held]
        bins = np.digitize(distance, DISTANCE_EDGES) - 1
        attention[i] = np.bincount(bins, weights=weight[i][held], minlength=n_bin)
        count[i] = np.bincount(bins, minlength=n_bin)
    return attention, count


def _available(query: NDArray[np.int64], window: int, n_sink: int) -> NDArray[np.int64]:
    # a query at t may retrieve the distances in [window, t - n_sink]: count them bin by bin
    low = np.maximum(DISTANCE_EDGES[:-1], window)[None]
    high = np.minimum(DISTANCE_EDGES[1:], query[:, None] - n_sink + 1)
    counts: NDArray[np.int64] = np.maximum(high - low, 0).sum(0)
    return counts
