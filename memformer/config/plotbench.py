"""Settings of PlotBench."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class MakeConfig:
    """Which stories are made. Lengths and distances count tokens, at a fixed number of characters.

    `docs/plotbench-datasheet.md` says what the stories are.
    """

    seeds: tuple[int, int] = (0, 8)
    """First seed, and the one after the last."""
    buckets: tuple[int, ...] = (128, 512)
    """Distances: one story a seed and distance. Facts stand at least this far from their probes,
    and less than four times as far."""
    lengths: tuple[int, ...] = (1024,)
    """Each seed draws one, from those in which the distance has room (`least_length`)."""
    families: tuple[str, ...] = ("core",)
    """Names of families; `core`, `extended` and `all` stand for several."""
    split: Literal["train", "dev", "test"] = "dev"
    """Names, sentences and plots of one split occur in no other."""

    def __post_init__(self) -> None:
        if len(self.seeds) != 2 or not 0 <= self.seeds[0] < self.seeds[1]:
            raise ValueError(f"seeds must be (first, end) with 0 <= first < end, got {self.seeds}")
        if (
            not self.buckets
            or min(self.buckets) < 128
            or len(set(self.buckets)) < len(self.buckets)
        ):
            raise ValueError(f"buckets must be different and at least 128, got {self.buckets}")
        if not self.families:
            raise ValueError("families must name at least one, got none")
        if self.split not in ("train", "dev", "test"):
            raise ValueError(f"split must be train, dev or test, got {self.split!r}")
        for bucket in self.buckets:
            if not self.lengths_for(bucket):
                raise ValueError(
                    f"lengths must hold one of at least {least_length(bucket)} "
                    f"for bucket {bucket}, got {self.lengths}"
                )

    def lengths_for(self, bucket: int) -> tuple[int, ...]:
        """The lengths in which a distance has room."""
        return tuple(length for length in self.lengths if length >= least_length(bucket))


def least_length(bucket: int) -> int:
    """Tokens of a story in which a distance and the telling of some ten groups before it fit."""
    return max(bucket + 400, min(2 * bucket, bucket * 6 // 5 + 2048))


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How a model that reads tokens is asked."""

    n_held: int = 8
    """Last tokens of the context that are split anew together with what is scored after them."""
    max_lanes: int = 16
    """Options read side by side."""
    n_retrieved: int = 64
    """Retrieved tokens whose places are kept, of each probe."""
    length_factor: float = 1.5
    """The declared length by the true one, where the fraction told is `estimated`."""
    truncate: bool = False
    """Cut the beginning of a context that is too long for the model and say so in the row; without
    this it is refused."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products of a decoder of ours; `bfloat16`: under autocast. Sums of log-probabilities
    are always in float64."""
    last: int | None = None
    """See no more than this many tokens before the first scored one: a model hard-truncated."""

    def __post_init__(self) -> None:
        for name in ("n_held", "max_lanes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be float32 or bfloat16, got {self.precision!r}")
        if self.n_retrieved < 0:
            raise ValueError(f"n_retrieved must be at least 0, got {self.n_retrieved}")
        if not 0 < self.length_factor < float("inf"):
            raise ValueError(f"length_factor must be above 0, got {self.length_factor}")
        if self.last is not None and self.last < 1:
            raise ValueError(f"last must be at least 1 or None, got {self.last}")
