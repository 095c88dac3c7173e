"""A decoder of the nearest peer's shape, deep in a manuscript that it has not read.

memorizing-transformers-pytorch 0.4.1 by default has 8 query heads and one key/value head of width
64, and one memory layer in the middle: of 8 layers the fourth, depth 3 here. Its feed-forward has
as many weights as ours. Its queries see at most the 512 tokens of a segment; ours see 512 always.

B lanes, L tokens, W window, G key/value heads, D head_dim, n pairs
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from memformer.config import DecoderConfig, MemoryConfig, override
from memformer.data.lanes import Segment
from memformer.memory.book import Run
from memformer.memory.pages import PagedMemory
from memformer.memory.recall import recall_at_k
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState

PEER_SHAPE = DecoderConfig(
    vocab_size=8192,
    n_layer=8,
    n_head=8,
    n_kv_head=1,
    n_embd=512,
    head_dim=64,
    mlp_dim=1376,
    window=512,
    segment_len=512,
    tie_embeddings=False,
    memory=MemoryConfig(layers=(3,), n_retrieved=32),
)
TINY = {"vocab_size": 64, "n_layer": 4, "n_embd": 32, "head_dim": 8, "mlp_dim": 48} | {
    "n_head": 4, "window": 16, "segment_len": 16, "memory.n_retrieved": 4, "memory.page_len": 16,
}  # fmt: skip
"""Changes to `PEER_SHAPE` for a trial of seconds."""
NOISE = 0.7
"""Length of the noise on a key, as a share of the key's."""
_AT_ONCE = 1 << 14


def peer_shaped(**changes: Any) -> DecoderConfig:
    """`PEER_SHAPE` with dotted fields changed."""
    return override(PEER_SHAPE, changes)


def zipf_tokens(n_lane: int, n: int, vocab_size: int, seed: int) -> Tensor:
    """(B, n) ids that are frequent as words are: the r-th with weight 1 / (r + 2.7)."""
    draw = torch.Generator().manual_seed(seed)
    weights = 1 / (torch.arange(1, vocab_size + 1) + 2.7)
    return torch.multinomial(weights, n_lane * n, True, generator=draw).view(n_lane, n)


def segment_of(config: DecoderConfig, n_lane: int, seed: int) -> Segment:
    """A segment of every lane in which each token is predicted."""
    L = config.segment_len
    ids = zipf_tokens(n_lane, L + 1, config.vocab_size, seed)
    return Segment(
        tokens=ids[:, :-1],
        targets=ids[:, 1:],
        mask=torch.ones(n_lane, L, dtype=torch.bool),
        weight=torch.ones(n_lane, L),
        fraction=torch.full((n_lane, L), 0.5),
        begins=[],
        books=["zipf"] * n_lane,
    )


@torch.no_grad()
def filled_state(model: Decoder, n_pair: int, n_lane: int) -> DecoderState:
    """A state that holds n_pair pairs a lane in each memory layer, and full windows.

    The model reads two windows; the pairs appended lie around those it wrote then.
    """
    W, V = model.config.window, model.config.vocab_size
    state = model.new_state(n_lane)
    for part in range(2):
        state.advance(model(zipf_tokens(n_lane, W, V, seed=part), state))
    for depth, layer in enumerate(state.layers):
        layer.n_read = [n_pair + W - 1] * n_lane
        if layer.memory is not None:
            written = [layer.memory.pairs(lane) for lane in range(n_lane)]
            layer.memory.reset(range(n_lane))
            fill(layer.memory, written, n_pair, seed=depth)
    return state


def fill(memory: PagedMemory, written: list[Run], n_pair: int, seed: int, first: int = 0) -> None:
    """Append n_pair pairs to each lane, of tokens from `first` on: what was written there, drawn
    again, with noise on keys."""
    draw = torch.Generator().manual_seed(seed)
    for lane, run in enumerate(written):
        for token in torch.arange(n_pair).split(_AT_ONCE):
            which = torch.randint(run.keys.shape[1], token.shape, generator=draw)
            keys = with_noise(run.keys[:, which].float(), draw)
            index = first + token[None]
            memory.append(keys[None], run.values[None, :, which], token_index=index, lanes=[lane])


def with_noise(keys: Tensor, draw: torch.Generator) -> Tensor:
    """Keys (..., D) turned a little; their lengths stay."""
    length = keys.norm(dim=-1, keepdim=True)
    noise = torch.randn(keys.shape, generator=draw) * keys.shape[-1] ** -0.5
    return normalize(keys + NOISE * length * noise, dim=-1) * length


@torch.no_grad()
def recall_of(model: Decoder, state: DecoderState, tokens: Tensor, n_query: int = 16) -> float:
    """Share of the best pairs that the model's own queries find, the worst of its memory layers.

    Args:
        model, state: the search is asked as the state's memories are configured.
        tokens: (B, L) read to make queries; L / n_query of them are left out between two.
        n_query: queries a head.
    """
    asked: dict[int, Tensor] = {}
    hooks = []
    for depth in model.config.memory_layers:
        attention = model.blocks[depth].attention
        assert isinstance(attention, torch.nn.Module)
        keep = _keep_at(asked, depth)
        hooks.append(attention.get_submodule("q").register_forward_hook(keep))
    model(tokens, state)
    for hook in hooks:
        hook.remove()
    worst = 1.0
    for depth, rows in asked.items():
        heads = rows.float().unflatten(-1, (model.config.n_head, -1)).transpose(1, 2)
        some = normalize(heads[:, :, :: max(1, tokens.shape[1] // n_query)], dim=-1)
        memory = state.layers[depth].memory
        assert memory is not None
        worst = min(worst, recall_at_k(memory, some, model.config.memory.n_retrieved))
    return worst


def _keep_at(asked: dict[int, Tensor], depth: int) -> Any:
    def keep(_module: Any, _args: Any, out: Tensor) -> None:
        asked[depth] = out

    return keep
