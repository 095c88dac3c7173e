"""Memory in a `transformers` model, in place: `attach_memory`, `detach_memory` (extra `hf`).

Every attention module of the model keeps its weights and gets another `forward`. An attention
function of the `AttentionInterface` alone would see keys that are already rotated, and no cache;
turning them back is exact in float32 only (bfloat16 rounds at each turn). So the interface serves
for the mask, and the projections are read before any rotation, as in our own decoder.

    B lanes, L tokens of a call, H query heads, G key/value heads, D head_dim
"""

from dataclasses import replace
from types import MethodType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.cache_utils import Cache

from memformer.config import MemoryConfig
from memformer.interop.attached_cache import MemoryLayer, Settings, layer_of
from memformer.interop.llama import decoder_config
from memformer.memory.pages import PagedMemory
from memformer.model.attention_state import AttentionState
from memformer.model.memory_attention import MemoryAttention

IMPLEMENTATION = "memformer"
"""Our name in `transformers`' attention interface."""


def attach_memory(
    hf_model: PreTrainedModel,
    layers: tuple[int, ...] | Literal["all"] | None = None,
    *,
    memory: MemoryConfig,
    window: int = 256,
    n_sink: int = 4,
    sink_distance: int | None = None,
) -> PreTrainedModel:
    """Give a Llama-family model of `transformers` a window and a memory, in place.

    It then computes what `load_llama` with the same settings computes. Calls with a cache
    (`use_cache=True`, `generate`) go on reading; a call without one reads a text of its own, from
    an empty memory. With gradients a call is one segment and needs memory for L·(window + L)
    logits a head; without, long inputs are read window by window.

    Args:
        hf_model: a causal model of `MODEL_TYPES`, or its base model.
        layers: depths that also read the memory; by default `memory.layers`, or "all" where that is
            empty. The others keep window and sinks.
        memory: `positions` must be "rotary" or "none"; "rotary" is what an imported model needs.
        window: keys a query sees locally, itself included.
        n_sink: first tokens that stay visible.
        sink_distance: distances to sinks are clamped to this; None for true distances.

    Returns:
        The same model. Parameters of `gate` and `tanh` are its own now, under `self_attn.memory`.

    Raises:
        TypeError: not a `transformers` model.
        ValueError: another architecture, a rule of the settings, or a memory is attached already.
    """
    if not isinstance(hf_model, PreTrainedModel):
        raise TypeError(f"hf_model must be a transformers model, got {type(hf_model).__name__}")
    if _attached(hf_model):
        raise ValueError("a memory is attached already: call detach_memory first")
    config = decoder_config(
        hf_model.config,
        window=window,
        segment_len=window,
        n_sink=n_sink,
        sink_distance=sink_distance,
        memory=_with_layers(memory, layers),
    )
    AttentionInterface.register(IMPLEMENTATION, _refuse)
    AttentionMaskInterface.register(IMPLEMENTATION, _own_padding)
    previous = hf_model.config._attn_implementation
    for depth, theirs in enumerate(_attention_modules(hf_model)):
        settings = Settings(config, depth in config.memory_layers)
        attached = AttachedMemory(settings, depth, previous, theirs.__dict__.get("forward"))
        theirs.memory = attached.to(hf_model.device, hf_model.dtype)
        theirs.forward = MethodType(_forward, theirs)
    hf_model.set_attn_implementation(IMPLEMENTATION)
    return hf_model


def detach_memory(hf_model: PreTrainedModel) -> PreTrainedModel:
    """Take the memory out again: the model is as it was before `attach_memory`, weights as trained.

    Raises:
        ValueError: no memory is attached.
    """
    attached = _attached(hf_model)
    if not attached:
        raise ValueError("no memory is attached to this model")
    for theirs in attached:
        before, implementation = theirs.memory.forward_before, theirs.memory.implementation_before
        del theirs.forward, theirs.memory
        if before is not None:
            theirs.forward = before
    hf_model.set_attn_implementation(implementation)
    return hf_model


class AttachedMemory(nn.Module):
    """What `attach_memory` puts beside the projections of one attention module.

    Args:
        settings: sizes, and whether this layer reads the memory.
        depth: of the layer, its place in a cache.
        implementation_before, forward_before: what `detach_memory` puts back.
    """

    def __init__(
        self, settings: Settings, depth: int, implementation_before: str, forward_before: Any
    ) -> None:
        super().__init__()
        self.settings, self.depth = settings, depth
        self.implementation_before, self.forward_before = implementation_before, forward_before
        config = settings.config
        self.attention = MemoryAttention(
            1,  # its own projections are put aside below
            n_head=config.n_head,
            n_kv_head=config.n_kv_head,
            head_dim=config.head_dim,
            window=config.window,
            memory=config.memory if settings.has_memory else None,
            n_sink=config.n_sink,
            sink_distance=config.sink_distance,
            qk_norm=False,
            rope_base=config.rope_base,
        )
        # the model's projections come before us and its output projection after us
        H, G, D = config.n_head, config.n_kv_head, config.head_dim
        for name, first, width in (("q", 0, H), ("k", H, G), ("v", H + G, G)):
            setattr(self.attention, name, _Channels(first * D, (first + width) * D))
        self.attention.o = nn.Identity()  # type: ignore[assignment]

    def forward(self, qkv: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        """Read one call's tokens, and remember them if there is a cache to remember them in.

        Args:
            qkv: (B, L, (H + 2G)·D), as projected, without position.
            mask: (B, L) bool, False for padding, wherever it stands; None without padding.
            cache: holds the state of this layer; None to read from an empty memory.

        Returns:
            (B, L, H·D); zero at padding.
        """
        B, L = qkv.shape[:2]
        layer = None if cache is None else layer_of(cache, self.depth, self.settings)
        state = self._state(layer, qkv)
        if mask is None:
            o = self._read(qkv, state, [L] * B, is_kept=layer is not None)
        else:
            order = (~mask).int().argsort(dim=1, stable=True)  # a lane's tokens first, in order
            packed = _reorder(qkv, order)
            lengths: list[int] = mask.sum(1).tolist()
            o = self._read(packed, state, lengths, is_kept=layer is not None)
            o = _reorder(o, order.argsort(dim=1)) * mask[..., None]
        if layer is not None:
            layer.state, layer.n_column = state, layer.n_column + L
        return o

    def _read(
        self, qkv: Tensor, state: AttentionState, lengths: list[int], is_kept: bool
    ) -> Tensor:
        """Segment by segment where no gradient is wanted: the function is the same, a long prompt
        needs less room. `advance` detaches, so with gradients the call is one segment."""
        L, n = qkv.shape[1], self.settings.config.segment_len
        n = L if torch.is_grad_enabled() else n
        rows = []
        for first in range(0, L, n):
            part = qkv[:, first : first + n]
            n_real = [min(max(length - first, 0), part.shape[1]) for length in lengths]
            out = self.attention(part, state, lengths=n_real)
            if is_kept or first + n < L:
                state.advance(out)
            rows.append(out.x)
        return torch.cat(rows, dim=1)

    def _state(self, layer: MemoryLayer | None, qkv: Tensor) -> AttentionState:
        """The cache's, or one from before the first token, where the projections lie."""
        if layer is not None and layer.state is not None:
            if len(layer.state.n_read) != len(qkv):
                raise ValueError(
                    f"past_key_values holds {len(layer.state.n_read)} lanes, "
                    f"the input has {len(qkv)}"
                )
            return layer.state
        config = self.settings.config
        n_lane, G, D = len(qkv), config.n_kv_head, config.head_dim
        memory = None
        if self.settings.has_memory:
            memory = PagedMemory(
                config.memory, n_lane=n_lane, n_kv_head=G, head_dim=D, device=qkv.device
            )
        return AttentionState.empty(
            n_lane=n_lane,
            n_kv_head=G,
            head_dim=D,
            window=config.window,
            n_sink=config.n_sink,
            memory=memory,
            grad_segments=1,
            like=qkv.detach(),
        )


class _Channels(nn.Module):
    """Some channels of what was projected together."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        return x[..., self.start : self.stop]


def _forward(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: Any = None,
    attention_mask: Tensor | None = None,
    past_key_values: Cache | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """`forward` of an attention module with a memory attached; rotated positions are not used."""
    dropout = self.config.attention_dropout
    if self.training and dropout:
        raise ValueError(f"attention_dropout must be 0 to train with a memory, got {dropout}")
    if kwargs.get("output_attentions"):
        raise ValueError("output_attentions is not supported with a memory: leave it out")
    mask = _checked_mask(attention_mask, hidden_states)
    if self.layer_idx == 0:
        _check_positions(kwargs.get("position_ids"), mask)
    x = hidden_states
    qkv = torch.cat((self.q_proj(x), self.k_proj(x), self.v_proj(x)), dim=-1)
    return self.o_proj(self.memory(qkv, mask, past_key_values)), None


def _own_padding(
    *, attention_mask: Tensor | None, q_offset: int, q_length: int, **_: Any
) -> Tensor | None:
    """Instead of a mask of queries by keys: which of the call's own columns are tokens, (B, L).

    Raises:
        ValueError: `attention_mask` does not reach from the first column read to the last.
    """
    if attention_mask is None:
        return None
    if attention_mask.shape[-1] != q_offset + q_length:
        raise ValueError(
            f"attention_mask must cover the {q_offset + q_length} columns read so far, padding "
            f"included, got {attention_mask.shape[-1]}"
        )
    return attention_mask[:, q_offset:]


def _checked_mask(mask: Tensor | None, x: Tensor) -> Tensor | None:
    if mask is None:
        return None
    if tuple(mask.shape) != tuple(x.shape[:2]):
        raise ValueError(
            "attention_mask must be (B, columns), 1 for tokens and 0 for padding; masks of queries "
            f"by keys are not supported with a memory, got {tuple(mask.shape)}"
        )
    return None if bool(mask.all()) else mask.bool()


def _check_positions(positions: Tensor | None, mask: Tensor | None) -> None:
    """A memory counts a lane's tokens itself: other positions would be ignored, so are refused."""
    if positions is None:
        return
    if mask is None:
        rank = torch.arange(positions.shape[-1], device=positions.device)
        offset = positions - rank
        is_steady = bool((offset == offset[:, :1]).all())
    else:
        offset = (positions - (mask.cumsum(1) - 1)).expand(mask.shape)
        first = offset.gather(1, mask.int().argmax(1, keepdim=True))
        is_steady = bool(((offset == first) | ~mask).all())
    if not is_steady:
        raise ValueError(
            "position_ids must rise by 1 from token to token with a memory; packed texts and "
            "positions of one's own are not supported: read one text a lane"
        )


def _refuse(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Reached by a model that only shares its config with one that has a memory."""
    raise ValueError(
        "this model has no memory attached but shares its config with one that has: build it from "
        "a copy of the config"
    )


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    """x (B, L, n) with its columns in the order (B, L)."""
    return x.gather(1, order[..., None].expand_as(x))


def _with_layers(
    memory: MemoryConfig, layers: tuple[int, ...] | Literal["all"] | None
) -> MemoryConfig:
    if memory.positions == "fraction":
        raise ValueError(
            "positions must be 'rotary' or 'none', got 'fraction': a transformers model is not "
            "told the fraction of the novel; use load_llama"
        )
    if layers is None:
        return replace(memory, layers=memory.layers or "all")
    if memory.layers not in ((), layers):
        raise ValueError(f"layers={layers!r} and memory.layers={memory.layers!r} differ: give one")
    return replace(memory, layers=layers)


def _attention_modules(hf_model: PreTrainedModel) -> list[Any]:
    """In the order of depth; none in a model that is not built like Llama."""
    layers: Any = getattr(hf_model.base_model, "layers", ())
    return [layer.self_attn for layer in layers if hasattr(layer, "self_attn")]


def _attached(hf_model: PreTrainedModel) -> list[Any]:
    return [
        each
        for each in _attention_modules(hf_model)
        if isinstance(getattr(each, "memory", None), AttachedMemory)
    ]
