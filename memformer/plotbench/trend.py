"""How fast group accuracy falls with distance, and whether it falls less for one run than another.

The slope of the share of groups right on log2 of the distance, within families: least squares on
x and y less their family's means, so that families which stand at other distances do not count as
a trend. Its interval resamples stories. A mixed logit (`correct ~ log2(d) * model + family +
(1 | story)`) says the same of its own scale, but needs a link function, an approximate fit and a
normal effect of the story; a share of right groups near 0 or 1 in whole families, as the shortcuts
have, leaves it without a finite estimate. The price: a straight line in the share, which cannot
hold at all distances, and distractors are not adjusted for.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from memformer.evaluation.tables import Cell, Table
from memformer.plotbench.findings import Findings
from memformer.plotbench.metrics import groups_of
from memformer.plotbench.report_tables import NONE, cell
from memformer.plotbench.results import Result
from memformer.plotbench.rows import Run
from memformer.plotbench.statistics import Estimate, Floats, interval, story_sums


class Trend(NamedTuple):
    """Change of the share of groups right a doubling of distance, over the same groups."""

    a: Estimate
    b: Estimate
    difference: Estimate
    """a minus b, paired by group and story."""
    n_groups: int


def trend(rows_a: Sequence[Result], rows_b: Sequence[Result]) -> Trend:
    """Slopes of two runs and their difference; NaN where no family has two distances.

    Args:
        rows_a, rows_b: of one run each; groups complete in both count.

    Raises:
        ValueError: rows of several runs, or no shared group.
    """
    a, b = groups_of(rows_a), groups_of(rows_b)
    right = dict(zip(b.ids, b.is_right, strict=True))
    shared = [(i, id) for i, id in enumerate(a.ids) if id in right]
    if not shared:
        raise ValueError("the two runs share no complete group: score them on the same data")
    of_group = {row.group_id: row for row in rows_a}
    told = [of_group[id] for _, id in shared]
    y = np.array([(a.is_right[i], right[id]) for i, id in shared]).T  # (2, n)
    x = np.log2([row.bucket for row in told])  # (n,)
    families = np.array([row.family for row in told])
    stories = [row.seed for row in told]

    def slope(values: Floats) -> Estimate:
        columns = [
            (families == family) * each
            for family in sorted(set(families))
            for each in (np.ones_like(x), x, x * x, values, x * values)
        ]
        sums = story_sums(columns, stories)
        if np.isnan(_slope_within(sums.sum(0))):
            return Estimate(math.nan, math.nan, math.nan, len(sums))
        return interval(sums, _slope_within)

    return Trend(slope(y[0]), slope(y[1]), slope(y[0] - y[1]), len(shared))


def _slope_within(sums: Floats) -> Floats:
    """(..., 5F) sums of (1, x, x², y, xy) a family to (...) slopes; NaN without spread of x."""
    n, x, xx, y, xy = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 5), -1, 0)  # (..., F) each
    held = np.maximum(n, 1)
    spread = (xx - x * x / held).sum(-1)
    spread = np.where(spread < 1e-9 * (1 + xx.sum(-1)), np.nan, spread)
    return np.asarray((xy - x * y / held).sum(-1) / spread)


def trend_tables(found: Findings, a: Run, b: Run) -> Iterator[Table]:
    """One table, where two distances were asked."""
    if len(found.buckets) < 2:
        return
    named = [("families that carry the claim", None), *((each, each) for each in found.families)]
    rows = []
    for name, family in named:
        of_a, of_b = found.rows(a, family), found.rows(b, family)
        if not of_a or not of_b:
            continue
        t = trend(of_a, of_b)
        if math.isnan(t.difference.value):
            continue
        signed = (cell(each, 3, sign=True) for each in (t.a, t.b, t.difference))
        rows.append([Cell(name), *signed, Cell(str(t.n_groups))])
    if rows:
        yield Table(
            title="Trend with distance",
            caption="Change of the share of groups right a doubling of distance: least squares "
            "within families, as a straight line in the share. The difference is paired by group; "
            "above 0, the first run falls less. In brackets: 95% intervals over stories (BCa "
            "bootstrap). Chance has no trend; nor has what is never right.",
            head=["", a.label, b.label, "difference", "groups, n"],
            rows=[[Cell("chance"), Cell("0.000"), Cell("0.000"), Cell("0.000"), NONE], *rows],
            strong={1},
        )
