"""The content-addressable memory: pages of key/value pairs, found by inner product."""

from memformer.memory.pages import Found, PagedMemory

__all__ = ["Found", "PagedMemory"]
