"""Settings of the decoder, its memory and the fraction of the novel.

A rule between fields is checked when the config is made, before a long job starts.
Names and letters: `B` lanes, `T` manuscript, `W` window, `H` query heads, `G` key/value heads,
`D` head_dim, `K` retrieved pairs per query, `u` fraction of the novel.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from memformer.config.changes import check_at_least, check_choice, check_depths
from memformer.config.rivals import CompressiveConfig, RecurrentConfig

NO_MEMORY: Mapping[str, Any] = MappingProxyType(
    {"memory.layers": (), "compressive.layers": (), "recurrent.n_token": 0}
)
"""The dotted changes of a `DecoderConfig` that take away every memory."""


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """The content-addressable memory. Sizes count pairs of one lane and one key/value head."""

    layers: tuple[int, ...] | Literal["all"] = ()
    """Depths, counted from 0, whose attention also reads the memory."""
    n_retrieved: int = 32
    """Pairs each query attends to: the k of Wu et al. 2022, arXiv:2203.08913. At least as many
    as there are pairs: every pair is attended to, without a search."""
    combine: Literal["joint", "gate", "tanh"] = "joint"
    """`joint`: one softmax over local and retrieved logits (Tworkowski et al. 2023,
    arXiv:2307.03170). `gate`: a learned mixture per head (arXiv:2203.08913, eq. 2).
    `tanh`: added with weight tanh(a), a = 0 at the start, which is the identity."""
    positions: Literal["none", "rotary", "fraction"] = "none"
    """Position given to retrieved pairs when they are read; keys are stored without one."""
    max_distance: int | None = None
    """With `rotary`: distances in tokens are clamped to this; None keeps the true distance."""
    search: str = "auto"
    """`auto`, `exact`, `fused` (exact too, compiled, on the CPU), `blocked` (exact too, for GPUs),
    or a FAISS factory string such as `Flat`, `HNSW32`, `IVF1024,Flat`."""
    nprobe: int | None = None
    """FAISS's nprobe, for IVF indexes only: lists visited per query."""
    efSearch: int | None = None  # FAISS's spelling
    """FAISS's efSearch, for HNSW indexes only: candidates kept during a search."""
    capacity: int | None = None
    """Pairs held before the oldest page is dropped; None never drops one."""
    page_len: int = 1024
    """Pairs on a page: the unit of sealing, sharing, saving and eviction."""
    dtype: Literal["float32", "bfloat16", "int8"] = "float32"
    """In which keys and values are stored; `int8` with one float32 scale for each row. Scores are
    float32 in any case."""

    def __post_init__(self) -> None:
        check_choice(self, "combine", "positions", "dtype")
        check_at_least(self, 1, "n_retrieved", "page_len")
        for name in ("max_distance", "nprobe", "efSearch"):
            if getattr(self, name) is not None:
                check_at_least(self, 1, name)
        check_depths(self, "layers")
        if self.max_distance is not None and self.positions != "rotary":
            raise ValueError(
                f"max_distance needs positions='rotary', got positions={self.positions!r}"
            )
        if self.capacity is not None and self.capacity < self.page_len:
            raise ValueError(
                f"capacity must be at least page_len={self.page_len}, got {self.capacity}: "
                "a page is evicted as a whole, so lower page_len"
            )
        if self.capacity is not None and self.n_retrieved > self.capacity:
            raise ValueError(
                f"n_retrieved must be in [1, capacity={self.capacity}], got {self.n_retrieved}"
            )
        if self.nprobe is not None and "IVF" not in self.search:
            raise ValueError(f"nprobe needs an IVF index, got search={self.search!r}")
        if self.efSearch is not None and "HNSW" not in self.search:
            raise ValueError(f"efSearch needs an HNSW index, got search={self.search!r}")


@dataclass(frozen=True, kw_only=True)
class FractionConfig:
    """How the fraction of the novel u, in [0, 1], enters the decoder's input."""

    kind: Literal["none", "fourier", "bins", "rotary", "modulation"] = "none"
    """`fourier`: sines and cosines of u, one linear map, added to the embedding. Rivals: `bins`
    (learned, interpolated), `rotary` (over u, on part of a head), `modulation` (of the norms)."""
    n_frequency: int = 16
    """With `fourier` and `modulation`: frequencies; wavelengths halve from 2 novels on."""
    n_bin: int = 64
    """With `bins`: learned vectors at equal steps of u, linearly interpolated."""
    rotary_dim: int = 8
    """With `rotary`: channels of each head that turn with u; the others turn with the index."""
    p_unknown: float = 0.0
    """In training: share of manuscripts whose u is hidden, so that unknown is learned too."""

    def __post_init__(self) -> None:
        check_choice(self, "kind")
        check_at_least(self, 1, "n_frequency")
        check_at_least(self, 2, "n_bin", "rotary_dim")
        if self.n_frequency > 20:
            raise ValueError(
                "n_frequency must be at most 20 (float32 cannot tell finer), "
                f"got {self.n_frequency}"
            )
        if self.rotary_dim % 2:
            raise ValueError(f"rotary_dim must be even, got {self.rotary_dim}")
        if not 0 <= self.p_unknown <= 1:
            raise ValueError(f"p_unknown must be in [0, 1], got {self.p_unknown}")


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A decoder that contains Llama: pre-norm RMSNorm, grouped queries, rotary, SwiGLU."""

    vocab_size: int
    """Rows of the embedding."""
    n_layer: int
    """Blocks of attention and feed-forward."""
    n_head: int
    """Query heads, `H`."""
    n_kv_head: int
    """Key/value heads, `G`; divides n_head."""
    n_embd: int
    """Width of the residual stream."""
    head_dim: int
    """Width of a head, `D`; even."""
    mlp_dim: int
    """Hidden width of the SwiGLU feed-forward layer."""
    window: int = 256
    """Keys a query sees locally, `W`, itself included."""
    segment_len: int = 256
    """Tokens read per call by the loops of this library. The function does not depend on it."""
    n_sink: int = 0
    """First tokens of the manuscript that stay visible (Xiao et al. 2023, arXiv:2309.17453)."""
    sink_distance: int | None = None
    """Distances to sinks are clamped to this, in tokens; None keeps the true distance."""
    conv_width: int = 4
    """Width of the causal depthwise convolution before attention; 0 for none."""
    qk_norm: bool = True
    """Queries and keys are L2-normalised, with a learned scale per query head."""
    tie_embeddings: bool = True
    """Input and output embedding are one matrix."""
    rope_base: float = 10_000.0
    """The longest rotary wavelength is 2π·rope_base^(1-2/D) tokens."""
    norm_eps: float = 1e-5
    """Added to the mean square in RMSNorm."""
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    """The content-addressable memory."""
    fraction: FractionConfig = field(default_factory=FractionConfig)
    """The fraction of the novel."""
    compressive: CompressiveConfig = field(default_factory=CompressiveConfig)
    """A rival of the memory, in other layers or alone."""
    recurrent: RecurrentConfig = field(default_factory=RecurrentConfig)
    """A rival of the memory, only alone."""

    def __post_init__(self) -> None:
        check_at_least(
            self, 1, "vocab_size", "n_layer", "n_head", "n_kv_head", "n_embd", "head_dim", "mlp_dim"
        )
        check_at_least(self, 1, "window", "segment_len")
        check_at_least(self, 0, "n_sink", "conv_width")
        if self.sink_distance is not None:
            check_at_least(self, 1, "sink_distance")
        if self.n_head % self.n_kv_head:
            raise ValueError(f"n_kv_head must divide n_head={self.n_head}, got {self.n_kv_head}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even to rotate in pairs, got {self.head_dim}")
        if self.rope_base <= 1:
            raise ValueError(f"rope_base must be above 1, got {self.rope_base}")
        self._check_memories()
        if self.fraction.kind == "rotary" and self.fraction.rotary_dim > self.head_dim:
            raise ValueError(
                f"fraction.rotary_dim must be at most head_dim={self.head_dim}, "
                f"got {self.fraction.rotary_dim}"
            )

        if self.fraction.kind == "rotary" and (self.n_sink or self.memory.positions == "rotary"):
            raise ValueError(
                "fraction.kind='rotary' turns local attention only: it needs n_sink=0 and "
                f"memory.positions other than 'rotary', got n_sink={self.n_sink} and "
                f"memory.positions={self.memory.positions!r}"
            )

    def _check_memories(self) -> None:
        for name, layers in (
            ("memory", self.memory.layers),
            ("compressive", self.compressive.layers),
        ):
            if layers != "all" and any(i >= self.n_layer for i in layers):
                raise ValueError(
                    f"{name}.layers must be below n_layer={self.n_layer}, got {layers}"
                )
        if both := set(self.memory_layers) & set(self.compressive_layers):
            raise ValueError(
                f"compressive.layers must be none of memory.layers={self.memory.layers}, got "
                f"{min(both)} in both"
            )
        if self.compressive_layers and self.compressive.block_len > self.window:
            raise ValueError(
                f"compressive.block_len must be at most window={self.window}, or tokens would be "
                f"in neither for a while, got {self.compressive.block_len}"
            )
        n = self.recurrent.n_token
        if not n:
            return
        if self.memory_layers or self.compressive_layers:
            raise ValueError(
                f"recurrent.n_token={n} needs memory.layers=() and compressive.layers=(), got "
                f"{self.memory.layers} and {self.compressive.layers}"
            )
        if self.recurrent.block_len + n > self.window:
            raise ValueError(
                f"recurrent.block_len + n_token must be at most window={self.window}, so that a "
                f"memory token sees its whole block, got {self.recurrent.block_len} + {n}"
            )
        if self.fraction.kind == "rotary":
            raise ValueError(
                "recurrent.n_token must be 0 with fraction.kind='rotary' (memory tokens stand "
                f"nowhere in the novel), got {n}"
            )

    @property
    def memory_layers(self) -> tuple[int, ...]:
        """Depths with a paged memory, ascending; `memory.layers` with 'all' spelt out."""
        return self._depths(self.memory.layers)

    @property
    def compressive_layers(self) -> tuple[int, ...]:
        """Depths with a compressive memory, ascending, with 'all' spelt out."""
        return self._depths(self.compressive.layers)

    @property
    def has_memory(self) -> bool:
        """Whether anything is remembered but window and sinks, in whatever way."""
        return bool(self.memory_layers or self.compressive_layers or self.recurrent.n_token)

    @property
    def uses_fraction(self) -> bool:
        """Whether the fraction of the novel enters anywhere, at the input or at read time."""
        at_read = self.memory.positions == "fraction" and bool(self.memory_layers)
        return self.fraction.kind != "none" or at_read

    def memory_of(self, depth: int) -> MemoryConfig | CompressiveConfig | None:
        """What the attention at a depth reads besides window and sinks."""
        if depth in self.memory_layers:
            return self.memory
        return self.compressive if depth in self.compressive_layers else None

    def _depths(self, layers: tuple[int, ...] | Literal["all"]) -> tuple[int, ...]:
        return tuple(range(self.n_layer)) if layers == "all" else tuple(sorted(layers))
