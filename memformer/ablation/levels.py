"""What each variant gives in a metric that the base has not, with intervals over seeds and units.

A gain over the model's own reading without its memory, say, which a base without a memory lacks.
S seeds, U units (books, stories)
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from memformer.ablation.effects import Interval, crossed_interval
from memformer.ablation.rows import Row


class Level(NamedTuple):
    """One variant in one metric."""

    variant: str
    metric: str
    level: Interval
    """Mean over the seeds and the units that all of its seeds have."""
    p: float
    """Two-sided, that the mean is 0: of use where the metric is a difference."""
    n_seed: int
    n_unit: int


def levels(rows: Sequence[Row], metric: str, *, min_seed: int = 1) -> list[Level]:
    """Every variant that has a metric, in the order of the rows.

    With fewer than `min_seed` seeds there is no interval and no p, as in `effects`.
    """
    found = []
    for name in dict.fromkeys(row.variant for row in rows):
        own = [row.metrics[metric] for row in rows if row.variant == name and metric in row.metrics]
        units = [unit for unit in (own[0] if own else {}) if all(unit in each for each in own)]
        if not units:
            continue
        values = np.array([[each[unit] for unit in units] for each in own])  # (S, U)
        interval, p = crossed_interval(values)
        if len(own) < min_seed:
            interval, p = Interval(interval.value, math.nan, math.nan), math.nan
        found.append(Level(name, metric, interval, p, len(own), len(units)))
    return found
