"""memformer: transformers that remember a whole novel.

The public names load on first use, so that `import memformer` costs next to nothing and the
command line can set up the process before torch starts its threads.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memformer.config import DecoderConfig as DecoderConfig
    from memformer.config import FractionConfig as FractionConfig
    from memformer.config import MemoryConfig as MemoryConfig
    from memformer.memory.pages import PagedMemory as PagedMemory
    from memformer.model.decoder import Decoder as Decoder
    from memformer.model.memory_attention import MemoryAttention as MemoryAttention
    from memformer.model.state import DecoderState as DecoderState

__version__ = "0.1.0"

_HOME = {
    "Decoder": "memformer.model.decoder",
    "DecoderConfig": "memformer.config",
    "DecoderState": "memformer.model.state",
    "FractionConfig": "memformer.config",
    "MemoryAttention": "memformer.model.memory_attention",
    "MemoryConfig": "memformer.config",
    "PagedMemory": "memformer.memory.pages",
}
__all__ = [
    "Decoder", "DecoderConfig", "DecoderState", "FractionConfig", "MemoryAttention",
    "MemoryConfig", "PagedMemory",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'memformer' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
