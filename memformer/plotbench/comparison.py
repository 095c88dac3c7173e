"""Two runs family by family: what was declared beforehand apart from what is only looked at."""

from collections.abc import Sequence
from typing import NamedTuple

from memformer.plotbench.metrics import Difference, difference
from memformer.plotbench.results import Result
from memformer.plotbench.statistics import benjamini_hochberg, holm
from memformer.plotbench.story import CLAIM

PRIMARY_BUCKETS = (8_192, 32_768)


class Comparison(NamedTuple):
    """The difference of two runs in one family at one distance."""

    family: str
    bucket: int
    difference: Difference
    p: float
    """Of group accuracy, adjusted: Holm within the primary set, else Benjamini-Hochberg."""
    is_primary: bool
    """Group accuracy of a claim-carrying family at 8K or 32K: declared before anything was run."""


def compare(a: Sequence[Result], b: Sequence[Result]) -> list[Comparison]:
    """Run a minus run b in every family and distance that both have."""
    one, other = _cells(a), _cells(b)
    keys = sorted(one.keys() & other.keys())
    found = {key: difference(one[key], other[key]) for key in keys}
    is_primary = {key: key[0] in CLAIM and key[1] in PRIMARY_BUCKETS for key in keys}
    adjusted: dict[tuple[str, int], float] = {}
    for primary, adjust in ((True, holm), (False, benjamini_hochberg)):
        chosen = [key for key in keys if is_primary[key] == primary]
        adjusted |= zip(chosen, adjust([found[key].p_group for key in chosen]), strict=True)
    return [Comparison(*key, found[key], adjusted[key], is_primary[key]) for key in keys]


def _cells(rows: Sequence[Result]) -> dict[tuple[str, int], list[Result]]:
    found: dict[tuple[str, int], list[Result]] = {}
    for row in rows:
        found.setdefault((row.family, row.bucket), []).append(row)
    return found
