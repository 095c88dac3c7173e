"""What people said of novels: reviews, and ratings as events that are only ever added to.

An event says two times: `rated_at`, when somebody judged, and `recorded_at`, when we learned of it.
A correction is a new event that names the one it replaces, so what was known at any date can be
had again (`feedback_log.as_of`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from memformer.data.records import to_utc
from memformer.data.splits import Part

ItemKind = Literal["review", "excerpt", "novel"]
CANNOT_JUDGE, RETRACTED = "cannot_judge", "retracted"
"""Flags of events without a value: the rater could not say, or took the rating back."""


@dataclass(frozen=True, kw_only=True)
class Novel:
    """A novel that reviews are of: what feedback has to know about a manuscript.

    Raises:
        ValueError: a field is empty or not printable.
    """

    novel: str
    author: str | None
    """None: unknown, and a split by author refuses it."""
    text_path: str | None = None
    sha256: str | None = None
    """Of the text, lower-case hexadecimal."""
    origin: Literal["human", "model"] = "human"
    model_version: str | None = None
    """What wrote it, if a model did."""
    split: Part | None = None
    """None: `feedback_splits.part_novels` draws one, with the author."""

    def __post_init__(self) -> None:
        _check_names(self, "novel", "author", "text_path", "sha256", "model_version")


@dataclass(frozen=True, kw_only=True)
class Review:
    """A review of a novel.

    Raises:
        ValueError: an empty text or id, a share read outside (0, 1], or stars that are no number.
    """

    review: str
    novel: str
    text: str
    origin: Literal["human", "model"] = "human"
    model_version: str | None = None
    reviewer: str | None = None
    """A pseudonym."""
    upto_u: float = 1.0
    """Share of the novel that had been read, in (0, 1]."""
    stars: float | None = None
    """What the reviewer gave. No truth: who writes reviews selects himself."""
    written_at: datetime | None = None

    def __post_init__(self) -> None:
        _check_names(self, "review", "novel", "model_version", "reviewer")
        if not self.text.strip():
            raise ValueError("text must have a word: leave an empty review out")
        try:
            self.text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"text must be Unicode, got half a character at {error.start}"
            ) from None
        if not 0 < self.upto_u <= 1:
            raise ValueError(f"upto_u must be in (0, 1], got {self.upto_u}")
        if self.stars is not None and not math.isfinite(self.stars):
            raise ValueError(f"stars must be finite or null, got {self.stars}")
        _to_utc(self, "written_at")


@dataclass(frozen=True, kw_only=True)
class RatingEvent:
    """One judgement of one item by one person on one criterion, or its correction.

    Raises:
        ValueError: a value off its scale, a propensity outside (0, 1], times out of order or
            without an offset, no value without a flag that says why, or an event that supersedes
            itself; the message names field, rule and value.
    """

    event: str
    """Names the event; never used again."""
    rater: str
    """A pseudonym."""
    item: str
    item_kind: ItemKind
    criterion: str
    """What was asked, such as `want_to_read`. Criteria are kept apart."""
    value: float | None
    """On `scale`. None only with the flag `cannot_judge` or `retracted`."""
    scale: tuple[float, float]
    """The least and the greatest answer there was."""
    rated_at: datetime
    recorded_at: datetime
    wave: int = 0
    """0 for the first time this rater judged this item, 1 for the first repeat, and so on."""
    read_at: datetime | None = None
    """When the rater read the item, which may be years before."""
    supersedes: str | None = None
    """The event that this one corrects."""
    source: str
    study: str | None = None
    propensity: float | None = None
    """How probable it was that this rater would be asked this, in (0, 1]; None: unknown."""
    policy: str | None = None
    """How the item was chosen for the rater, such as `uniform`."""
    seed: int | None = None
    position: int | None = None
    """Place in the rater's order, from 0."""
    model_version: str | None = None
    """What wrote the item, if a model did."""
    verified: bool = False
    """Whether the panel vouches that this person answered."""
    flags: tuple[str, ...] = ()
    """Such as `rejected`: what a reader of the data must know. Nothing is left out for a flag
    unless asked to."""

    def __post_init__(self) -> None:
        _check_names(self, "event", "rater", "item", "criterion", "source", "supersedes", "study",
                     "policy", "model_version")  # fmt: skip
        for time in ("read_at", "rated_at", "recorded_at"):
            _to_utc(self, time)
        for name, whole in (("value", self.value), ("propensity", self.propensity)):
            if whole is not None:  # equal events are to be equal bytes: 6 is written as 6.0
                object.__setattr__(self, name, float(whole))
        object.__setattr__(self, "scale", (float(self.scale[0]), float(self.scale[1])))
        self._check_value()
        self._check_order()
        if self.propensity is not None and not 0 < self.propensity <= 1:
            raise ValueError(
                f"propensity must be in (0, 1], or null if unknown, got {self.propensity}"
            )
        for name, number in (("wave", self.wave), ("position", self.position)):
            if number is not None and number < 0:
                raise ValueError(f"{name} must be at least 0, got {number}")
        if self.supersedes == self.event:
            raise ValueError(f"supersedes must name another event, got its own, {self.event!r}")
        if not all(map(str.isprintable, self.flags)) or len(set(self.flags)) < len(self.flags):
            raise ValueError(f"flags must be printable and differ, got {list(self.flags)}")

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What is judged once: rater, kind of item, item, criterion and wave."""
        return self.rater, self.item_kind, self.item, self.criterion, self.wave

    @property
    def normalised(self) -> float:
        """The value between 0, the least of its scale, and 1, the greatest."""
        assert self.value is not None
        low, high = self.scale
        return (self.value - low) / (high - low)

    def _check_value(self) -> None:
        low, high = self.scale
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"scale must run from a lesser to a greater number, got {self.scale}")
        why = {CANNOT_JUDGE, RETRACTED} & set(self.flags)
        if self.value is None and not why:
            raise ValueError(
                f"value must be a number, or null with the flag {CANNOT_JUDGE} or {RETRACTED}"
            )
        if self.value is not None and why:
            raise ValueError(f"value must be null with the flag {min(why)}, got {self.value:g}")
        if self.value is not None and not low <= self.value <= high:  # NaN too
            raise ValueError(f"value must be on its scale [{low:g}, {high:g}], got {self.value:g}")

    def _check_order(self) -> None:
        if self.rated_at > self.recorded_at:
            raise ValueError(
                f"rated_at must not be after recorded_at {self.recorded_at.isoformat()}, "
                f"got {self.rated_at.isoformat()}"
            )
        if self.read_at is not None and self.read_at > self.rated_at:
            raise ValueError(
                f"read_at must not be after rated_at {self.rated_at.isoformat()}, "
                f"got {self.read_at.isoformat()}"
            )


def flag_of(text: str) -> str:
    """A word for `flags`: `TIMED-OUT` as `timed_out`."""
    return "_".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def refuse_unknown_items(events: Iterable[RatingEvent], known: Iterable[str], kind: ItemKind
                         ) -> None:  # fmt: skip
    """Every event about a review (or excerpt, or novel) is about one that is known.

    Raises:
        ValueError: one is not; names the first and how many there are.
    """
    names = set(known)
    lost = [e for e in events if e.item_kind == kind and e.item not in names]
    if lost:
        raise ValueError(
            f"event {lost[0].event!r} is about {kind} {lost[0].item!r}, which is none of the "
            f"{len(names)} known ({len({e.item for e in lost})} such items)"
        )


def _check_names(record: object, *names: str) -> None:
    for name in names:
        text = getattr(record, name)
        if text is None:
            continue
        if not text or text != text.strip() or len(text) > 500 or not text.isprintable():
            raise ValueError(
                f"{name} must be up to 500 printable characters without spaces around them, "
                f"got {text!r:.80}"
            )


def _to_utc(record: object, name: str) -> None:
    time = getattr(record, name)
    if time is not None:
        object.__setattr__(record, name, to_utc(time, name))  # frozen, but not yet handed out
