"""Settings of the oracle world, and of the gradient certificate measured in it."""

from dataclasses import dataclass
from typing import Literal

from memformer.config.changes import check_at_least, check_choice


@dataclass(frozen=True, kw_only=True)
class OracleConfig:
    """The world in which everything can be enumerated."""

    n_token: int = 4
    """Tokens of a text."""
    n_symbol: int = 8
    """Symbols; n_symbol ** n_token texts."""
    n_word: int = 6
    """Words of reviews, the end among them."""
    max_len: int = 4
    """Longest review in tokens, its end included."""
    n_hidden: int = 12
    """Width of what the reviewer remembers of a text."""
    n_feature: int = 6
    """Width of the words' embeddings."""
    n_rater: int = 3
    """Raters, each with a direction and a threshold of its own."""
    ending: Literal["drawn", "fixed"] = "drawn"
    """Reviews that end with the end token, after one to max_len - 1 words, or of max_len words."""
    interaction: float = 0.3
    """How much a text is more than the sum of its symbols: weight of neighbours' products in what
    the reviewer remembers. A straight-through gradient is a linear one: this is what it misses."""
    steepness: float = 1.0
    """Gain inside the raters' tanh: 1 is the mild scorer, 10 the steep one."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "n_token", "n_hidden", "n_feature", "n_rater")
        check_at_least(self, 2, "n_symbol", "max_len")
        check_choice(self, "ending")
        check_at_least(self, 3, "n_word")
        n_text = self.n_symbol**self.n_token
        if n_text > 65_536:
            raise ValueError(
                f"n_symbol ** n_token must be at most 65536 texts, got {n_text}: every one is "
                "scored"
            )
        n_review = (self.n_word - 1) ** self.max_len
        if n_review > 4096:
            raise ValueError(
                f"(n_word - 1) ** max_len must be at most 4096 reviews, got {n_review}"
            )
        if not self.interaction >= 0:
            raise ValueError(f"interaction must be at least 0, got {self.interaction}")
        if not self.steepness > 0:
            raise ValueError(f"steepness must be above 0, got {self.steepness}")


@dataclass(frozen=True, kw_only=True)
class CertificateConfig:
    """What the gradient certificate measures."""

    n_draw: int = 2048
    """Updates drawn for each row, each of n_novel novels."""
    n_novel: int = 4
    """Siblings from one prefix: the baseline of each is the mean of the others."""
    n_review: int = 4
    """Reviews of each novel."""
    n_distil: int = 2000
    """Novels from which the amortised head learns."""
    temperatures: tuple[float, ...] = (1.0, 0.5)
    """Of `st_gumbel`; the first is the one that must pass."""
    min_cosine: float = 0.9
    """Of the biased modes with the exact gradient."""
    max_z: float = 3.0
    """Standard errors that an unbiased mode may lie from exact."""

    def __post_init__(self) -> None:
        check_at_least(self, 100, "n_draw")
        check_at_least(self, 2, "n_novel")
        check_at_least(self, 2, "n_review")
        check_at_least(self, 20, "n_distil")
        if not self.temperatures or min(self.temperatures) <= 0:
            raise ValueError(f"temperatures must be above 0, got {self.temperatures}")
