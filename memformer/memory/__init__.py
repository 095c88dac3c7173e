"""The content-addressable memory: pages of key/value pairs, found by inner product."""

from memformer.memory.found import Found
from memformer.memory.pages import PagedMemory

__all__ = ["Found", "PagedMemory"]
