"""Answers of participants, joined to the export of Prolific, which has none itself."""

from datetime import datetime, tzinfo
from typing import NamedTuple

from memformer.config.rating import ImportMap
from memformer.data.feedback import flag_of
from memformer.rating.importers_long import criterion_of
from memformer.rating.importers_read import Found, Judgement, draft
from memformer.rating.importers_table import (
    Pseudonyms,
    Row,
    moment,
    need_columns,
    read_table,
    read_zone,
)
from memformer.rating.importers_wide import Given, Question, given, plan

_UNKNOWN = {"DATA_EXPIRED", "CONSENT_REVOKED", ""}
_PLAIN = {"APPROVED", "AWAITING REVIEW"}


class Panel(NamedTuple):
    """The panel's export: submissions by id, and ids by participant."""

    rows: dict[str, dict[str, str]]
    of: dict[str, list[str]]


def read_panel(data: bytes, name: str, mapping: ImportMap) -> Panel:
    """The export of Prolific; columns are found by name, for they come and go.

    Raises:
        ValueError: the file is no table, lacks a column, or has a submission twice or without id.
    """
    table = read_table(data, name)
    p = mapping.panel
    need_columns(table, [p.participant, p.submission, p.status, p.completed_at,
                         *mapping.demographics], name)  # fmt: skip
    if table.errors:
        raise ValueError(f"{name} {table.errors[0]} ({len(table.errors)} such rows)")
    panel = Panel({}, {})
    for row in table.rows:
        submission, participant = row.cells[p.submission], row.cells[p.participant]
        if not submission or not participant or submission in panel.rows:
            raise ValueError(
                f"{name} line {row.line}: {p.submission} and {p.participant} must not be empty, "
                f"and a submission stands once, got {submission!r}"
            )
        panel.rows[submission] = row.cells
        panel.of.setdefault(participant, []).append(submission)
    return panel


def read_prolific(
    data: bytes, name: str, panel: Panel, mapping: ImportMap, pseudonym: Pseudonyms, now: datetime
) -> Found:
    """Events of answers. Whoever returned the study has withdrawn: those answers are left out and
    counted. Any status but `APPROVED` and `AWAITING REVIEW` is flagged. Propensities are unknown.

    Raises:
        ValueError: a file is no table, or lacks a column of the map.
    """
    table = read_table(data, name, mapping.delimiter)
    c = mapping.columns
    need_columns(table, [c.rater, c.criterion, c.value, c.rated_at, c.submission], name)
    is_long = c.value is not None
    if is_long:
        need_columns(table, [c.item], name)
    questions = [] if is_long else plan(table.columns, mapping, name)
    zone = read_zone(mapping.timezone)
    found = Found(n_row=len(table.rows) + len(table.errors), errors=list(table.errors))
    for row in table.rows:
        with found.row(row.line) as drafts:
            matched, flags = _match(row, panel, mapping)
            if "returned" in flags:
                found.left_out["returned: consent was withdrawn"] += 1
                continue
            rater = pseudonym(row.cells[c.rater or ""])
            rated_at = _rated_at(row, matched, mapping, zone)
            for each in _answers(row, questions, mapping):
                if isinstance(each, str):
                    found.left_out[each] += 1
                    continue
                judgement = Judgement(
                    line=row.line, rater=rater, item=each.item, criterion=each.criterion,
                    text=each.text, rated_at=rated_at, token=_token(row, matched, mapping, rater),
                    verified=matched is not None, flags=flags,
                )  # fmt: skip
                drafts.append(draft(judgement, mapping, now))
            if matched is not None and mapping.demographics:
                found.facts[rater] = _facts(matched, mapping)
    return found


def _match(
    row: Row, panel: Panel, mapping: ImportMap
) -> tuple[dict[str, str] | None, tuple[str, ...]]:
    """The submission that answers belong to, and the flags of its status."""
    c, p = mapping.columns, mapping.panel
    person = row.cells[c.rater or ""]
    if c.submission is not None:
        matched = panel.rows.get(row.cells[c.submission])
        if matched is not None and matched[p.participant] != person:
            raise ValueError(
                f"{c.submission} {row.cells[c.submission]!r} is of another participant in the "
                "panel's export"
            )
    else:
        ids = panel.of.get(person, [])
        if len(ids) > 1:
            raise ValueError(
                f"the participant has {len(ids)} submissions in the panel's export: give "
                "columns.submission"
            )
        matched = panel.rows[ids[0]] if ids else None
    if matched is None:
        if mapping.unmatched == "refuse":
            raise ValueError(
                "is of nobody in the panel's export (a preview of the study?): delete the row, or "
                "set unmatched = 'keep'"
            )
        return None, ("unmatched",)
    status = matched[p.status].upper().replace("_", " ")
    if not status:
        raise ValueError(f"{p.status} of its submission is empty in the panel's export")
    return matched, () if status in _PLAIN else (flag_of(status),)


def _answers(row: Row, questions: list[Question], mapping: ImportMap) -> list[Given | str]:
    c = mapping.columns
    if c.value is None:
        return list(given(row.cells, questions, mapping.item))
    criterion = criterion_of(row.cells[c.criterion] if c.criterion else "", mapping)
    item = mapping.item or row.cells[c.item or ""]
    if not item:
        raise ValueError(f"{c.item} must not be empty")
    return [Given(criterion, item, row.cells[c.value]) if row.cells[c.value] else "unanswered"]


def _rated_at(
    row: Row, matched: dict[str, str] | None, mapping: ImportMap, zone: tzinfo | None
) -> datetime:
    c, p = mapping.columns, mapping.panel
    if c.rated_at is not None and row.cells[c.rated_at]:
        return moment(row.cells[c.rated_at], c.rated_at, zone)
    if matched is None:
        raise ValueError("has no time: give columns.rated_at")
    if matched[p.completed_at] in _UNKNOWN:
        raise ValueError(
            f"{p.completed_at} of its submission is empty in the panel's export, so it has no "
            "time: give columns.rated_at"
        )
    return moment(matched[p.completed_at], p.completed_at, zone)


def _token(
    row: Row, matched: dict[str, str] | None, mapping: ImportMap, rater: str
) -> tuple[str, ...]:
    if matched is None:
        return rater, row.cells.get(mapping.columns.submission or "", "")
    return (matched[mapping.panel.submission],)


def _facts(matched: dict[str, str], mapping: ImportMap) -> dict[str, str | None]:
    """Demographics that were asked for; None where the panel does not give them any more."""
    return {
        name: None if matched[name] in _UNKNOWN else matched[name] for name in mapping.demographics
    }
