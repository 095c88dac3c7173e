"""Settings of the memories that the paged one is compared with.

Both are written to at fixed tokens of the manuscript, the ends of blocks of `block_len`, so that
segments do not matter.
"""

from dataclasses import dataclass
from typing import Literal

from memformer.config.changes import check_at_least, check_choice, check_depths


@dataclass(frozen=True, kw_only=True)
class CompressiveConfig:
    """A memory of fixed size in the attention of some layers: Infini-attention (Munkhdalai et al.
    2024, arXiv:2404.07143)."""

    layers: tuple[int, ...] | Literal["all"] = ()
    """Depths, counted from 0, whose attention also reads it; none of `MemoryConfig.layers`."""
    update: Literal["linear", "delta"] = "delta"
    """`linear` adds a block's values; `delta` adds what the memory does not say of them yet."""
    block_len: int = 256
    """Tokens that are written together, at most the window: the segment of the paper."""

    def __post_init__(self) -> None:
        check_choice(self, "update")
        check_at_least(self, 1, "block_len")
        check_depths(self, "layers")


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """Memory tokens carried from block to block: Recurrent Memory Transformer (Bulatov et al.
    2022, arXiv:2207.06881)."""

    n_token: int = 0
    """Memory tokens; 0 for none."""
    block_len: int = 256
    """Tokens of text between two writes: the segment of the paper. With the memory tokens after
    them at most the window."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "n_token")
        check_at_least(self, 1, "block_len")
