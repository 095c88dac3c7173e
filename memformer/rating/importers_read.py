"""What every importer gives: events with their lines, errors, and what was left out and why."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from memformer.config.rating import CriterionMap, ImportMap
from memformer.data.feedback import CANNOT_JUDGE, RatingEvent
from memformer.data.feedback_files import RowError
from memformer.rating.importers_table import answer


class Draft(NamedTuple):
    """An event that is not yet in the log, and its line in the file."""

    line: int
    event: RatingEvent


@dataclass
class Found:
    """What a file holds."""

    n_row: int = 0
    drafts: list[Draft] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Answers, or whole rows, by reason."""
    facts: dict[str, dict[str, str | None]] = field(default_factory=dict)
    """Demographics by rater, if they were asked for."""

    @contextmanager
    def row(self, line: int) -> Iterator[list[Draft]]:
        """Events of one row: all are taken, or none and the reason."""
        drafts: list[Draft] = []
        try:
            yield drafts
        except ValueError as error:
            self.errors.append(RowError(line, str(error)))
        else:
            self.drafts += drafts


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What all importers know of an answer."""

    line: int
    rater: str
    item: str
    criterion: CriterionMap
    text: str
    rated_at: datetime
    token: tuple[str, ...]
    """What names it in its source, beside item and criterion: an assignment, say."""
    event: str | None = None
    wave: int = 0
    read_at: datetime | None = None
    propensity: float | None = None
    policy: str | None = None
    position: int | None = None
    verified: bool = False
    flags: tuple[str, ...] = ()


def draft(judgement: Judgement, mapping: ImportMap, now: datetime) -> Draft:
    """The event of an answer, recorded now; its id is the same whenever it is imported.

    Raises:
        ValueError: an answer that cannot be read, or what `RatingEvent` refuses.
    """
    found = answer(judgement.text, judgement.criterion)
    event = RatingEvent(
        event=judgement.event or _id(judgement, mapping),
        rater=judgement.rater,
        item=judgement.item,
        item_kind=mapping.item_kind,
        criterion=judgement.criterion.name,
        value=found.value,
        scale=judgement.criterion.scale,
        rated_at=judgement.rated_at,
        recorded_at=now,
        wave=judgement.wave,
        read_at=judgement.read_at,
        source=mapping.source,
        study=mapping.study,
        propensity=judgement.propensity,
        policy=judgement.policy,
        position=judgement.position,
        model_version=mapping.model_version,
        verified=judgement.verified,
        flags=judgement.flags + ((CANNOT_JUDGE,) if found.value is None else ()),
    )
    return Draft(judgement.line, event)


def _id(judgement: Judgement, mapping: ImportMap) -> str:
    parts = (mapping.source, mapping.study, *judgement.token, mapping.item_kind, judgement.item,
             judgement.criterion.name)  # fmt: skip
    return "i_" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
