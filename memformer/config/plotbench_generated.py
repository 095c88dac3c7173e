"""Settings of PlotBench's track of generated text."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """Where in a story a model begins to write, and how much."""

    places: tuple[float, ...] = (0.25, 0.5, 0.75)
    """Fractions of the story that are read before; the cut is the next paragraph's beginning."""
    n_words: int = 200
    """Words of each text."""
    opening: Literal["free", "name"] = "free"
    """`name`: each text begins with the name of somebody living whom the story has named, the same
    for all models: for models that would leave the story at once."""
    n_texts: int = 1
    """Texts a place, drawn apart."""
    seed: int = 0
    """Of the draws."""
    twins: tuple[Literal["A", "B"], ...] = ("A",)
    """Which twins are continued."""

    def __post_init__(self) -> None:
        if not self.places or not all(0 < u < 1 for u in self.places):
            raise ValueError(f"places must be fractions within (0, 1), got {self.places}")
        if len(set(self.places)) < len(self.places):
            raise ValueError(f"places must be different, got {self.places}")
        for name in ("n_words", "n_texts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.opening not in ("free", "name"):
            raise ValueError(f"opening must be free or name, got {self.opening!r}")
        if not self.twins or not set(self.twins) <= {"A", "B"}:
            raise ValueError(f"twins must be of A and B, got {self.twins}")
