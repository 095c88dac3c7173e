"""What an attached memory remembers, inside a `transformers` cache.

`generate` and callers hand a `DynamicCache` from call to call; each layer's `AttentionState` lives
in it, so two texts read in turn never mix and the model itself holds no state.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

from memformer.config import DecoderConfig
from memformer.model.attention_state import AttentionState


@dataclass(frozen=True)
class Settings:
    """What a state depends on: one made under other settings is refused."""

    config: DecoderConfig
    has_memory: bool


class MemoryLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # __init_subclass__
    """One layer's `AttentionState` where a cache would keep all keys and values.

    Window, sinks and memory are of bounded use per token; nothing grows but the memory's pages.

    Args:
        settings: of the attached memory that fills it.
    """

    is_croppable = False

    def __init__(self, settings: Settings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.settings = settings
        self.state: AttentionState | None = None
        self.n_column = 0
        """Columns of input ids seen, padding included: what transformers calls the length."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: the state is made when the first segment has been projected."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Refused: only a model with a memory attached writes here.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "past_key_values was filled by a model with a memory attached: read on with that model "
            "and its memory, or start with past_key_values=None"
        )

    def get_seq_length(self) -> int:
        """Columns of input ids seen so far, padding included."""
        return self.n_column

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the columns a mask is about: the call's own."""
        return query_length, self.n_column

    def get_max_length(self) -> int:
        """No maximum."""
        return -1

    def reset(self) -> None:
        """New texts begin."""
        self.state, self.n_column = None, 0

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Lane i goes on as lane beam_idx[i] did; sealed pages are shared."""
        self._select(beam_idx.tolist())

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these lanes; a bool mask or indices."""
        whole = indices.nonzero()[:, 0] if indices.dtype == torch.bool else indices
        self._select(whole.tolist())

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every lane `repeats` times, lane-major."""
        n_lane = 0 if self.state is None else len(self.state.n_read)
        self._select([lane for lane in range(n_lane) for _ in range(repeats)])

    def crop(self, tokens_to_remove: int) -> None:
        """Refused unless nothing is to be removed.

        Raises:
            ValueError: pairs that have left the window cannot be put back.
        """
        if tokens_to_remove:
            raise ValueError(
                f"crop: a memory cannot unread {abs(tokens_to_remove)} tokens, so assisted and "
                "prompt-lookup generation are not supported: generate without them"
            )

    def offload(self) -> None:
        """Refused: see `layer_of`."""
        raise ValueError("past_key_values with a memory cannot be offloaded")

    def _select(self, lanes: list[int]) -> None:
        if self.state is not None:
            self.state = self.state.select(lanes)


def layer_of(cache: Cache, depth: int, settings: Settings) -> MemoryLayer:
    """The state of a layer in a cache; an untouched layer becomes a `MemoryLayer`.

    Raises:
        ValueError: the cache is of another kind, offloaded, or was filled otherwise.
    """
    if not isinstance(cache, DynamicCache):
        raise ValueError(
            f"past_key_values must be a DynamicCache, got {type(cache).__name__}: leave it out, "
            "and cache_implementation too"
        )
    if cache.offloading:
        raise ValueError("past_key_values must not be offloaded: the memory's pages stay in place")
    while len(cache.layers) <= depth:
        cache.layers.append(MemoryLayer(settings))
    layer = cache.layers[depth]
    if isinstance(layer, MemoryLayer):
        if layer.settings != settings:
            raise ValueError("past_key_values was filled with other settings of the memory")
        return layer
    if type(layer) is not DynamicLayer or layer.get_seq_length():
        raise ValueError(
            "past_key_values was filled without this memory: start with past_key_values=None"
        )
    fresh = MemoryLayer(settings)
    cache.layers[depth] = fresh
    return fresh
