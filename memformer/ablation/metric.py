"""What is measured of a finished cell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number a unit (a book, a story, ...) of a finished cell.

    Units are what repeats within a cell: differences to the base are paired by unit and seed.
    """

    name: str
    of: Callable[[Any], Mapping[str, float]]
    """From what the experiment made (`Trained` for a training run) to numbers by unit; a metric
    that does not apply to a variant gives none."""
    better: Literal["lower", "higher"] = "lower"
    what: str = ""
    """What a number is, with its unit of measure: `nats a token`."""

    @property
    def told(self) -> str:
        """What a number is, as the beginning of a caption."""
        return f"{self.what[:1].upper()}{self.what[1:]}. " if self.what else ""

    def __post_init__(self) -> None:
        if not self.name or self.better not in ("lower", "higher"):
            raise ValueError(
                f"a metric must have a name and better='lower' or 'higher', got {self.name!r}, "
                f"{self.better!r}"
            )
