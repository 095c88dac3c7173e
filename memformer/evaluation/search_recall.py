"""How much of what an exact search finds a decoder's own queries are given, layer by layer.

B lanes, T tokens, H query heads, L queries of a segment, D head_dim
"""

from typing import assert_never

import torch
from torch import Tensor

from memformer.memory.pages import PagedMemory
from memformer.memory.recall import recall_at_k
from memformer.model.decoder import Decoder
from memformer.model.memory_attention import MemoryAttention
from memformer.model.positions import rotate
from memformer.model.state import DecoderState


@torch.no_grad()
def search_recall(
    model: Decoder, tokens: Tensor, fraction: Tensor | None = None
) -> dict[int, float]:
    """Recall of the configured search in each paged memory, asked by the text's last segment.

    The text is read segment by segment, so that the last one asks a memory of all that left the
    window before it. Each of its queries asks for `memory.n_retrieved` pairs; the share of the
    best ones that come is `recall_at_k`. Searches of FAISS are exact below some 4,096 pairs
    (`memory.faiss_search.GROUP_LEN`): give a text longer than that.

    Args:
        model: what is measured; its memories and weights as they are.
        tokens: (B, T) int64, T above the window.
        fraction: (B, T) of the novel, as in `Decoder.forward`.

    Returns:
        By depth, in [0, 1]; empty for a model without paged memories. Where pairs are retrieved at
        true distances without a limit, nothing is searched, all is scored: 1.

    Raises:
        ValueError: the text ends before anything has left the window.
    """
    config = model.config
    if not config.memory_layers:
        return {}
    if tokens.shape[1] <= config.window + config.n_sink:
        raise ValueError(
            f"tokens must be more than window + n_sink = {config.window + config.n_sink}, got "
            f"{tokens.shape[1]}: nothing has left the window"
        )
    state, L = model.new_state(len(tokens)), config.segment_len
    last = (tokens.shape[1] - 1) // L * L
    for start in range(0, last, L):
        part = slice(start, start + L)
        u = None if fraction is None else fraction[:, part]
        state.advance(model(tokens[:, part], state, u, n_logits=0))
    u = None if fraction is None else fraction[:, last:]
    return recall_of_next(model, state, tokens[:, last:], u)


@torch.no_grad()
def recall_of_next(
    model: Decoder, state: DecoderState, tokens: Tensor, fraction: Tensor | None = None
) -> dict[int, float]:
    """The same of what was read into a state already, asked by the segment that comes next.

    Args:
        model: what read.
        state: as it read; it is not changed.
        tokens: (B, L) int64, the next segment.
        fraction: (B, L), as in `Decoder.forward`.
    """
    config, asked = model.config, dict[int, Tensor]()
    hooks = []
    for depth in config.memory_layers:
        attention = model.blocks[depth].attention
        assert isinstance(attention, MemoryAttention)

        def note(module: MemoryAttention, args: tuple[Tensor, ...], depth: int = depth) -> None:
            asked[depth] = module.queries(args[0])

        hooks.append(attention.register_forward_pre_hook(note))
    try:
        model(tokens, state, fraction, n_logits=0)
    finally:
        for hook in hooks:
            hook.remove()
    return {depth: _recall(model, q, state.layers[depth].memory) for depth, q in asked.items()}


def _recall(model: Decoder, q: Tensor, memory: PagedMemory | None) -> float:
    assert memory is not None
    config = model.config.memory
    match config.positions:
        case "none" | "fraction":
            asked = q
        case "rotary" if config.max_distance is None:
            return 1.0
        case "rotary":
            # pairs beyond the limit are searched by a query that is turned by it
            at = torch.full((1, 1), config.max_distance, device=q.device)
            asked = rotate(q, at, model.config.rope_base)
        case positions:
            assert_never(positions)
    return recall_at_k(memory, asked, config.n_retrieved)
