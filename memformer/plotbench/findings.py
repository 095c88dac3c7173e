"""The numbers of a report: every run by family and by distance, computed once."""

from collections.abc import Sequence
from functools import cached_property

from memformer.plotbench.controls import CONDITION, control_rows
from memformer.plotbench.metrics import Scores, scores
from memformer.plotbench.results import Result
from memformer.plotbench.rows import Run, by_run, refuse_bad_rows
from memformer.plotbench.shortcuts import ORACLE, shortcuts_for
from memformer.plotbench.story import CLAIM, FAMILIES, Bench

Of = tuple[Run, str | None, int | None]
"""A run, a family (None: those that carry the claim), a distance (None: all)."""


class Findings:
    """Results with the data they are of, and on the same probes all shortcuts that they lack.

    Raises:
        ValueError: no results, or results that are not of this data.
    """

    def __init__(self, bench: Bench, rows: Sequence[Result]) -> None:
        if not rows:
            raise ValueError("results hold no row: run a model first")
        refuse_bad_rows(rows, bench)
        self.bench = bench
        scored, held = {row.probe_id for row in rows}, {row.model for row in rows}
        controls = [
            row
            for shortcut in shortcuts_for(bench)
            if shortcut.name not in held
            for row in control_rows(bench, shortcut)
            if row.probe_id in scored
        ]
        told = list(by_run(rows))
        self.models = [run for run in told if not self.is_shortcut(run)] or told
        self.shortcuts = [run for run in (*told, *by_run(controls)) if run not in self.models]
        self._rows: dict[Run, list[Result]] = by_run([*rows, *controls])
        self._scores: dict[Of, Scores | None] = {}

    @cached_property
    def lead(self) -> Run:
        """The run that is spoken of: the first with its memory on, else the first."""
        return next((run for run in self.models if run.condition == "on"), self.models[0])

    @cached_property
    def families(self) -> list[str]:
        """Those asked, in the order of the declaration, then by name."""
        held = {row.family for run in self.models for row in self._rows[run]}
        return [
            *(family for family in FAMILIES if family in held),
            *sorted(held.difference(FAMILIES)),
        ]

    @property
    def rivals(self) -> list[Run]:
        """Shortcuts that do not know the truth."""
        return [run for run in self.shortcuts if run.model != ORACLE]

    @cached_property
    def buckets(self) -> list[int]:
        """Distances, ascending."""
        return sorted({row.bucket for run in self.models for row in self._rows[run]})

    @cached_property
    def incomplete(self) -> list[str]:
        """Groups that lack a cell in some run."""
        found: set[str] = set()
        for run in self.models:
            held: dict[str, int] = {}
            for row in self._rows[run]:
                held[row.group_id] = held.get(row.group_id, 0) + 1
            found |= {group for group, n in held.items() if n < 4}
        return sorted(found)

    def rows(self, run: Run, family: str | None = None, bucket: int | None = None) -> list[Result]:
        """Rows of a run; without a family those of the claim, without a distance of all."""
        wanted = (family,) if family is not None else CLAIM
        return [
            row for row in self._rows[run] if row.family in wanted and bucket in (None, row.bucket)
        ]

    def every_row(self, run: Run) -> list[Result]:
        """Rows of a run in all families."""
        return self._rows[run]

    def scores(
        self, run: Run, family: str | None = None, bucket: int | None = None
    ) -> Scores | None:
        """None where the run has no such row."""
        key = run, family, bucket
        if key not in self._scores:
            chosen = self.rows(*key)
            self._scores[key] = scores(chosen) if chosen else None
        return self._scores[key]

    def is_shortcut(self, run: Run) -> bool:
        """Whether it is a rule: its margins have no size."""
        return run.condition == CONDITION
