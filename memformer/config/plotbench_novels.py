"""Settings of PlotBench on real novels."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NovelConfig:
    """Which novels are corrupted, and how much of them is read before a line."""

    books: tuple[str, ...] = ()
    """Ids of novels with a recipe; none: all of them."""
    context_chars: int | None = None
    """Characters before a line that its story begins with (from the next paragraph on). None: the
    whole book, read once for all lines of a swap."""
    renamed: bool = False
    """Give people and places names from a fresh list, alike in both twins."""

    def __post_init__(self) -> None:
        if self.context_chars is not None and self.context_chars < 1:
            raise ValueError(f"context_chars must be at least 1 or None, got {self.context_chars}")
        if len(set(self.books)) < len(self.books):
            raise ValueError(f"books must differ, got {self.books}")


@dataclass(frozen=True, kw_only=True)
class SuffixConfig:
    """How the opening of the next chapter is asked for."""

    n_place: int = 8
    """Chapter ends asked at in each book, evenly spread."""
    n_words: int = 40
    """Words of each opening."""
    context_chars: int | None = None
    """Characters read before a place; None: the book from its beginning."""
    seed: int = 0
    """Of the choice of other openings."""

    def __post_init__(self) -> None:
        for name in ("n_place", "n_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.context_chars is not None and self.context_chars < 1:
            raise ValueError(f"context_chars must be at least 1 or None, got {self.context_chars}")


@dataclass(frozen=True, kw_only=True)
class PlaceConfig:
    """How excerpts are drawn and their place in the book is told from them."""

    n_excerpt: int = 16
    """Excerpts of each book, one from each of as many equal parts."""
    n_token: int = 512
    """Tokens of each."""
    n_point: int = 21
    """Fractions tried with models that take one, from 0 to 1."""
    strengths: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
    """Ridge penalties to choose from, for feature vectors of length about 1."""
    seed: int = 0
    """Of the draw."""

    def __post_init__(self) -> None:
        for name, least in (("n_excerpt", 2), ("n_token", 2), ("n_point", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.strengths or min(self.strengths) <= 0:
            raise ValueError(f"strengths must be above 0, at least one, got {self.strengths}")
