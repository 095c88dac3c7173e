"""How columns of a file of ratings become events."""

import math
from dataclasses import dataclass
from typing import Literal

from memformer.config.changes import check_choice


@dataclass(frozen=True, kw_only=True)
class CriterionMap:
    """One question that raters were asked."""

    name: str
    """The criterion of the events, such as `want_to_read`."""
    scale: tuple[float, float]
    """The least and the greatest answer there was."""
    column: str | None = None
    """Where a row holds the answers to several questions: the column of this one. `{n}` stands for
    the number of the item in the row, `{value}` for the answer of a radio button that has a column
    of its own: `Answer.want{n}` or `Answer.want{n}.{value}`."""
    labels: tuple[tuple[str, float], ...] = ()
    """Answers in words, and the number of each. Numbers need none."""
    cannot_judge: tuple[str, ...] = ()
    """Answers that say that the rater cannot say. They are kept, without a value."""

    def __post_init__(self) -> None:
        low, high = self.scale
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"scale of {self.name!r} must rise, got {list(self.scale)}")
        words = [label for label, _ in self.labels] + list(self.cannot_judge)
        if len({word.strip().casefold() for word in words}) < len(words):
            raise ValueError(f"labels of {self.name!r} must differ (capitals aside), got {words}")
        for label, value in self.labels:
            if not low <= value <= high:
                raise ValueError(
                    f"label {label!r} of {self.name!r} must be on its scale [{low:g}, {high:g}], "
                    f"got {value:g}"
                )


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """The columns that hold what an event says, by their names in the file. None: there is none."""

    rater: str | None = None
    """Who rated; of answers to join, the participant's id."""
    item: str | None = None
    """What was rated. `{n}` stands for a number where a row has several."""
    criterion: str | None = None
    """Which question, where a row holds one answer."""
    value: str | None = None
    """The answer, where a row holds one."""
    rated_at: str | None = None
    """When it was given."""
    event: str | None = None
    """An id of the judgement; without it, one is made of rater, item, criterion and wave."""
    read_at: str | None = None
    """When the rater read the item."""
    wave: str | None = None
    """0 for a first judgement, 1 for the first repeat."""
    propensity: str | None = None
    """How probable the question was, in (0, 1]. Empty: unknown."""
    policy: str | None = None
    """How the item was chosen."""
    position: str | None = None
    """Place in the rater's order, from 0."""
    submission: str | None = None
    """Of answers to join: the submission's id."""


@dataclass(frozen=True, kw_only=True)
class PanelMap:
    """Columns of a panel's own export that answers are joined to; the defaults are Prolific's."""

    participant: str = "Participant id"
    """Who took part."""
    submission: str = "Submission id"
    """Which time."""
    status: str = "Status"
    """What came of it, such as `APPROVED` or `RETURNED`."""
    completed_at: str = "Completed at"
    """Serves as `rated_at` where the answers have no time."""


@dataclass(frozen=True, kw_only=True)
class ImportMap:
    """What a file of ratings is and how it is read."""

    format: Literal["long", "mturk", "prolific"]
    """`long`: a row a rating. `mturk`: batch results of Mechanical Turk. `prolific`: answers,
    joined to the export of Prolific."""
    source: str
    """Names the origin in each event."""
    study: str | None = None
    """Names the study in each event."""
    item_kind: Literal["review", "excerpt", "novel"] = "review"
    """What was rated."""
    item: str | None = None
    """The one item that all ratings are of, instead of a column."""
    model_version: str | None = None
    """What wrote the items, if a model did."""
    criteria: tuple[CriterionMap, ...]
    """The questions. An answer to any other is an error."""
    columns: ColumnMap = ColumnMap()
    """Where the rest stands."""
    panel: PanelMap = PanelMap()
    """Columns of the panel's export (`prolific`)."""
    raters: Literal["hmac", "as_is"] = "hmac"
    """`hmac`: people's ids become pseudonyms under a secret (MEMFORMER_PEPPER); `as_is`: they are
    pseudonyms already."""
    timezone: str | None = None
    """Of times that say none, such as `UTC`, `+02:00` or `Europe/Berlin`. None: such times are
    errors."""
    delimiter: str = ","
    """Between cells."""
    repeats: Literal["refuse", "waves"] = "refuse"
    """When somebody judges the same item again: an error, or the next wave, by time."""
    unmatched: Literal["refuse", "keep"] = "refuse"
    """Answers of nobody in the panel's export: an error, or kept as not verified and flagged."""
    demographics: tuple[str, ...] = ()
    """Columns of the panel's export to write beside the events. None by default: what is not kept
    cannot leak."""

    def __post_init__(self) -> None:
        check_choice(self, "format", "item_kind", "raters", "repeats", "unmatched")
        names = [criterion.name for criterion in self.criteria]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"criteria must be at least one, each once, got {names}")
        if len(self.delimiter) != 1:
            raise ValueError(f"delimiter must be one character, got {self.delimiter!r}")
        if (self.item is None) == (self.columns.item is None):
            raise ValueError("give either item or columns.item: what the ratings are of")
        if self.demographics and self.format != "prolific":
            raise ValueError(f"demographics are of the format prolific, not of {self.format}")
        is_long = self.columns.value is not None
        if self.format == "mturk" and is_long:
            raise ValueError("mturk has a row for each assignment: give criteria.column, no value")
        if self.format == "long" and not is_long:
            raise ValueError("columns.value must name a column in the format long")
        self._check_wide(is_long)
        for name in _NEEDED[self.format]:
            if getattr(self.columns, name) is None:
                raise ValueError(f"columns.{name} must name a column in the format {self.format}")

    def _check_wide(self, is_long: bool) -> None:
        if is_long and self.columns.criterion is None and len(self.criteria) > 1:
            raise ValueError("columns.criterion must name a column where criteria are several")
        for criterion in self.criteria:
            if is_long != (criterion.column is None):
                raise ValueError(
                    f"column of {criterion.name!r} must be given where a row has several answers, "
                    "and only there (columns.value is for a row an answer)"
                )
            numbered = "{n}" in (criterion.column or ""), "{n}" in (self.columns.item or "")
            if not is_long and numbered[0] != numbered[1]:
                raise ValueError(
                    f"{{n}} must stand in columns.item and in column of {criterion.name!r}, or in "
                    f"neither, got {self.columns.item!r} and {criterion.column!r}"
                )


_NEEDED = {"long": ("rater", "rated_at"), "mturk": (), "prolific": ("rater",)}
