"""The decoder: Llama's blocks with a window, a memory and the fraction of the novel.

B lanes, L tokens of the segment, V vocabulary
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from memformer.config import DecoderConfig, override
from memformer.model.attention_state import AttentionOut, Retrieved
from memformer.model.block import Block, check_compiler, through
from memformer.model.positions import build_fraction, checked_fraction
from memformer.model.recurrent import RecurrentMemory
from memformer.model.state import DecoderState


class DecoderOut(NamedTuple):
    """One reading of a segment; give it to `DecoderState.advance` to remember it."""

    logits: Tensor
    """(B, L, V): of the token after each; of the last `n_logits` columns where these were asked
    for."""
    hidden: Tensor | None
    """(B, L, n_embd), after the last norm, when asked for."""
    retrieved: dict[int, Retrieved] | None
    """What each memory layer took, by depth, when asked for."""
    attention: list[AttentionOut]
    """One a layer."""
    conv: list[Tensor]
    """(B, L, n_embd) inputs of each convolution; an empty list without one."""
    n_read: list[int]
    """Where the state stood that was read."""
    moment: object
    """Of the state that was read."""
    recurrent: Tensor | None = None
    """(B, M, n_embd): memory tokens of the block in which each lane stands after the segment."""


class Decoder(nn.Module):
    """A decoder that reads a manuscript of any length through a window and a memory.

        state = model.new_state(batch_size=2)
        out = model(tokens, state, fraction=u)    # reads the state and changes nothing
        state.advance(out)                        # remembers

    The module holds no state; the logits do not depend on how a manuscript is cut into segments
    (with pages in float32 and no capacity, and up to ties for the last of the K places).
    Where keys of pairs outside the window have gradient, a call keeps L·(window + L) logits a head
    and lane: read long texts in segments.

    Args:
        config: sizes and kinds; see `DecoderConfig`.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.fraction = build_fraction(config.fraction, config.n_embd)
        self.blocks = nn.ModuleList(Block(config, depth) for depth in range(config.n_layer))
        self.recurrent = (
            RecurrentMemory(config.n_embd, config.recurrent) if config.recurrent.n_token else None
        )
        self.norm = nn.RMSNorm(config.n_embd, eps=config.norm_eps)
        self.head = (
            None
            if config.tie_embeddings
            else nn.Linear(config.n_embd, config.vocab_size, bias=False)
        )
        self._initialise()

    def _initialise(self) -> None:
        """Matrices N(0, 0.02), those that write to the residual stream divided by √(2·n_layer)
        (GPT-2), convolutions uniform in ±1/√width. Norms are 1; whatever carries the fraction is 0;
        gates and the query scale start as `MemoryAttention` sets them."""
        for name, weight in self.named_parameters():
            if name.endswith((".o.weight", ".down.weight")):
                nn.init.normal_(weight, std=0.02 / (2 * self.config.n_layer) ** 0.5)
            elif name.endswith("conv.weight"):
                nn.init.uniform_(weight, -(len(weight) ** -0.5), len(weight) ** -0.5)
            elif weight.dim() == 2 and "fraction" not in name and "film" not in name:
                nn.init.normal_(weight, std=0.02)

    def new_state(self, batch_size: int, *, grad_segments: int = 1) -> DecoderState:
        """The state before the first token of `batch_size` manuscripts, one a lane.

        Args:
            batch_size: lanes, `B`.
            grad_segments: pairs of the last grad_segments - 1 segments stay in the autograd graph,
                so that a loss reaches that far back; 1 detaches everything remembered.

        Raises:
            ValueError: an argument below 1.
        """
        layers = [
            block.attention.new_state(batch_size, grad_segments=grad_segments)
            for block in self._typed_blocks()
        ]
        width = max(self.config.conv_width - 1, 0)
        n_conv = self.config.n_layer if self.config.conv_width else 0
        like = self.embedding.weight
        return DecoderState(
            config=self.config,
            layers=layers,
            conv=[like.new_zeros(batch_size, width, self.config.n_embd) for _ in range(n_conv)],
            is_hidden=DecoderState.draw_hidden(self.config, batch_size),
            recurrent=None if self.recurrent is None
            else like.new_zeros(batch_size, *self.recurrent.start.shape),
        )  # fmt: skip

    def forward(
        self,
        tokens: Tensor,
        state: DecoderState,
        fraction: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        want_hidden: bool = False,
        want_retrieved: bool = False,
        n_logits: int | None = None,
        recompute: bool = False,
    ) -> DecoderOut:
        """Read a segment of each lane's manuscript. The state is not changed.

        Args:
            tokens: (B, L) int64 ids, or (B, L, V) float rows over the vocabulary (relaxed tokens).
            state: from `new_state`, of this model or of one with the same shape.
            fraction: (B, L) of the novel; past 1 it is clipped to 1; NaN or None where unknown.
            mask: (B, L) bool, False for padding, which stands at the end of a lane's row and is
                not remembered; its logits mean nothing.
            want_hidden, want_retrieved: also return these.
            n_logits: logits of so many last columns (counted with padding) instead of all L: with a
                vocabulary of 49,152 they are a quarter of the products of a 135M model.
            recompute: keep no activations within blocks for going backward, but compute them again
                (Chen et al. 2016, arXiv:1604.06174). Same gradients, less memory, more time.

        Raises:
            ValueError: an id outside the vocabulary, a shape that does not fit the state, a
                negative fraction, padding before a token, n_logits outside [0, L].
        """
        B, L = self._check_tokens(tokens, state)
        lengths = _lengths(mask, B, L)
        if n_logits is not None and not 0 <= n_logits <= L:
            raise ValueError(
                f"n_logits must be in [0, {L}] for {L} tokens, or None, got {n_logits}"
            )
        u = self._fraction(fraction, state, B, L)
        x = self._embed(tokens)
        x = x if self.fraction is None else x + self.fraction(u).type_as(x)
        recurrent = None
        if self.recurrent is None:
            done = through(
                self.blocks, x, state.layers, state.conv, u, lengths,
                want_retrieved=want_retrieved, recompute=recompute,
            )  # fmt: skip
        else:
            done, recurrent = self.recurrent(
                self._typed_blocks(), self.norm, x, state, u, lengths, recompute
            )
        hidden = self.norm(done.x)
        wanted = hidden if n_logits is None else hidden[:, L - n_logits :]
        weight = self.embedding.weight if self.head is None else self.head.weight
        found = {i: o.retrieved for i, o in enumerate(done.attention) if o.retrieved is not None}
        return DecoderOut(
            wanted @ weight.mT if n_logits != 0 else wanted.new_empty(B, 0, len(weight)),
            hidden if want_hidden else None,
            found if want_retrieved else None,
            done.attention,
            done.conv,
            state.n_read,
            state.moment,
            recurrent,
        )

    def compile_blocks(self) -> "Decoder":
        """Have `torch.compile` make the norms, projections and feed-forwards of all blocks.

        They are compiled when the first segment of `segment_len` tokens is read, once for each
        batch size and way of reading (with gradient or without, in each dtype): tens of seconds
        each, and on a CPU a C++ compiler is needed. Shorter and longer segments, hooked
        modules and low-rank changes are read as before. Nothing changes but the order of sums
        and, under autocast, where numbers are rounded. Decoders made by `reconfigure` or copied are
        compiled if this one is.

        Returns:
            This decoder.

        Raises:
            ValueError: it is on a CPU, and no C++ compiler is found.
        """
        if self.embedding.weight.is_cpu:
            check_compiler()
        for block in self._typed_blocks():
            block.is_compiled = True
        return self

    def reconfigure(self, changes: Mapping[str, Any]) -> "Decoder":
        """A decoder of another config that shares this one's parameters; nothing is copied.

        For memory added to, taken from or changed in a trained model. Parameters that only the new
        config has (gates, say) start as in a new model; gates and read-time biases that it
        has no use for are left out.

        Args:
            changes: dotted fields of `DecoderConfig`, as in `override`.

        Raises:
            TypeError: a field does not exist.
            ValueError: a shared parameter would change its shape, any other would be left out, or
                the kind of fraction would change.
        """
        config = override(self.config, dict(changes))
        with torch.device("meta"):
            twin = Decoder(config)
        mine = dict(self.named_parameters())
        theirs = dict(twin.named_parameters())
        if self.config.fraction.kind not in ("none", config.fraction.kind):
            raise ValueError(
                f"reconfigure: fraction.kind={self.config.fraction.kind!r} was trained with the "
                f"model and cannot become {config.fraction.kind!r}"
            )
        lost = [n for n in mine if n not in theirs and not n.endswith(_DROPPED)]
        if lost:
            raise ValueError(f"reconfigure: the new config has no place for {lost[0]}")
        for name, weight in theirs.items():
            if name in mine and mine[name].shape != weight.shape:
                raise ValueError(
                    f"reconfigure: {name} has shape {tuple(mine[name].shape)} and cannot become "
                    f"{tuple(weight.shape)}"
                )
        fresh = None if set(theirs) <= set(mine) else dict(Decoder(config).named_parameters())
        for name in theirs:
            _set_parameter(twin, name, mine[name] if name in mine else _fresh(fresh, name, self))
        if any(block.is_compiled for block in self._typed_blocks()):
            twin.compile_blocks()
        return twin.train(self.training)

    def _typed_blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _check_tokens(self, tokens: Tensor, state: DecoderState) -> tuple[int, int]:
        if tokens.dim() not in (2, 3) or tokens.shape[1] == 0:
            raise ValueError(
                "tokens must be (B, L) ids or (B, L, V) rows with L >= 1, "
                f"got {tuple(tokens.shape)}"
            )
        B, L = tokens.shape[:2]
        if len(state.n_read) != B:
            raise ValueError(f"tokens have {B} lanes, the state has {len(state.n_read)}")
        for name in _FIXED_BY_STATE:
            ours, theirs = getattr(self.config, name), getattr(state.config, name)
            if ours != theirs:
                raise ValueError(
                    f"the state was made with {name}={theirs}, this model has {ours}: "
                    "make it with new_state of this model"
                )
        V = self.config.vocab_size
        if tokens.dim() == 3:
            if tokens.shape[2] != V or not tokens.is_floating_point():
                raise ValueError(f"relaxed tokens must be (B, L, vocab_size={V}) floats, "
                                 f"got {tuple(tokens.shape)} {tokens.dtype}")  # fmt: skip
        elif tokens.dtype != torch.int64:
            raise ValueError(f"tokens must be int64 ids, got {tokens.dtype}")
        elif int(tokens.min()) < 0 or int(tokens.max()) >= V:
            worst = int(tokens.max()) if int(tokens.min()) >= 0 else int(tokens.min())
            raise ValueError(
                f"token ids must be in [0, vocab_size={V}), got {worst}: "
                "was the text encoded with this model's tokenizer?"
            )
        return B, L

    def _fraction(self, fraction: Tensor | None, state: DecoderState, B: int, L: int) -> Tensor:
        """(B, L) in [0, 1], NaN where unknown or, in training, hidden."""
        device = self.embedding.weight.device
        if fraction is None:
            return torch.full((B, L), torch.nan, device=device)
        if fraction.shape != (B, L):
            raise ValueError(f"fraction must have shape ({B}, {L}), got {tuple(fraction.shape)}")
        u = checked_fraction(fraction.float())
        if not self.training:
            return u
        hidden = torch.tensor(state.is_hidden, device=device)[:, None]
        return u.masked_fill(hidden, torch.nan)

    def _embed(self, tokens: Tensor) -> Tensor:
        if tokens.dim() == 3:
            return tokens.type_as(self.embedding.weight) @ self.embedding.weight
        x: Tensor = self.embedding(tokens)
        return x


_FIXED_BY_STATE = (
    "n_layer", "n_kv_head", "head_dim", "n_embd", "window", "n_sink", "conv_width", "memory_layers",
    "compressive_layers", "compressive", "recurrent",
)  # fmt: skip
_DROPPED = (
    ".attention.gate", ".attention.tanh_gate", ".attention.fraction_bias.weight",
    ".compressive.gate", "recurrent.start",
)  # fmt: skip


def _lengths(mask: Tensor | None, B: int, L: int) -> list[int]:
    if mask is None:
        return [L] * B
    if mask.shape != (B, L) or mask.dtype != torch.bool:
        raise ValueError(f"mask must be ({B}, {L}) bool, got {tuple(mask.shape)} {mask.dtype}")
    lengths: list[int] = mask.sum(1).tolist()
    ordered = torch.arange(L, device=mask.device) < mask.sum(1, keepdim=True)
    if not torch.equal(ordered, mask):
        lane = int((ordered != mask).any(1).nonzero()[0])
        raise ValueError(f"mask: padding must stand after a lane's tokens, not so in lane {lane}")
    return lengths


def _set_parameter(module: nn.Module, name: str, weight: nn.Parameter) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(path), leaf, weight)


def _fresh(fresh: dict[str, nn.Parameter] | None, name: str, source: Decoder) -> nn.Parameter:
    assert fresh is not None
    return nn.Parameter(fresh[name].detach().to(source.embedding.weight))
