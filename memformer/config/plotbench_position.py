"""Settings of PlotBench's measures of position."""

from dataclasses import dataclass

from memformer.config.changes import check_at_least, check_real


@dataclass(frozen=True, kw_only=True)
class PositionConfig:
    """Which stretches of a story's own text are scored, and what is told at the arcs."""

    n_passage: int = 16
    """Stretches spread evenly over each story."""
    passage_len: int = 400
    """Of each, in characters, at most; it ends before a mention of a fact."""
    late: float = 0.95
    """Fraction told for the last act."""
    early: float = 0.1
    """Fraction told for the first act."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "n_passage")
        check_at_least(self, 80, "passage_len")
        check_real(self, 0.01, 1.0, "late", "early")
        if self.early >= self.late:
            raise ValueError(f"early must be below late={self.late}, got {self.early}")
