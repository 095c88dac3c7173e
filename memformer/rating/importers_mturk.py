"""Batch results of Mechanical Turk, as its requester page wrote them: a row an assignment."""

import re
from datetime import UTC, datetime, timedelta, timezone

from memformer.config.rating import ImportMap
from memformer.rating.importers_read import Found, Judgement, draft
from memformer.rating.importers_table import Pseudonyms, Row, need_columns, read_table
from memformer.rating.importers_wide import Given, Question, given, plan

_TIME = re.compile(r"(\w{3}) (\w{3}) (\d\d) (\d\d):(\d\d):(\d\d) (\w{3}) (\d{4})", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOURS = {"PST": -8, "PDT": -7, "UTC": 0, "GMT": 0}
_STATUSES = {"Submitted": (), "Approved": (), "Rejected": ("rejected",)}


def read_mturk(
    data: bytes, name: str, mapping: ImportMap, pseudonym: Pseudonyms, now: datetime
) -> Found:
    """Events of a batch. Rejected work is kept and flagged; an assignment that stands twice counts
    once, and is an error where the two differ. Propensities are unknown.

    Raises:
        ValueError: the file is no table, or lacks a column of a batch or of the map.
    """
    table = read_table(data, name, mapping.delimiter)
    need_columns(table, ["AssignmentId", "WorkerId", "AssignmentStatus", "SubmitTime"], name)
    questions = plan(table.columns, mapping, name)
    found = Found(n_row=len(table.rows) + len(table.errors), errors=list(table.errors))
    seen: dict[str, Row] = {}
    for row in table.rows:
        with found.row(row.line) as drafts:
            if not (assignment := row.cells["AssignmentId"]):
                raise ValueError("AssignmentId must not be empty")
            first = seen.setdefault(assignment, row)
            if first is not row:
                if first.cells != row.cells:
                    raise ValueError(
                        f"AssignmentId {assignment!r} stands on line {first.line} already, with "
                        "other cells"
                    )
                found.left_out["the same assignment again"] += 1
                continue
            for judgement in _judgements(row, questions, mapping, pseudonym, found):
                drafts.append(draft(judgement, mapping, now))
    return found


def _judgements(
    row: Row, questions: list[Question], mapping: ImportMap, pseudonym: Pseudonyms, found: Found
) -> list[Judgement]:
    status = row.cells["AssignmentStatus"]
    if status not in _STATUSES:
        raise ValueError(f"AssignmentStatus must be one of {', '.join(_STATUSES)}, got {status!r}")
    rated_at = read_pacific(row.cells["SubmitTime"], "SubmitTime")
    rater = pseudonym(row.cells["WorkerId"])
    judgements = []
    for each in list(given(row.cells, questions, mapping.item)):
        if isinstance(each, Given):
            judgements.append(
                Judgement(
                    line=row.line,
                    rater=rater,
                    item=each.item,
                    criterion=each.criterion,
                    text=each.text,
                    rated_at=rated_at,
                    token=(row.cells["AssignmentId"],),
                    verified=True,
                    flags=_STATUSES[status],
                )
            )
        else:
            found.left_out[each] += 1
    return judgements


def read_pacific(text: str, name: str) -> datetime:
    """A time such as `Mon Jan 01 10:00:00 PST 2018`, in UTC, in any locale.

    Raises:
        ValueError: no such time, a day of the week that it was not, or another zone's letters.
    """
    match = _TIME.fullmatch(text)
    if match is None or match[2] not in _MONTHS or match[7] not in _HOURS:
        raise ValueError(
            f"{name} must be a time such as 'Mon Jan 01 10:00:00 PST 2018' "
            f"({', '.join(_HOURS)}), got {text!r:.60}: has a spreadsheet changed it?"
        )
    day, month, date, hour, minute, second, zone, year = match.groups()
    try:
        time = datetime(int(year), _MONTHS.index(month) + 1, int(date), int(hour), int(minute),
                        int(second), tzinfo=timezone(timedelta(hours=_HOURS[zone])))  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{name} is no time, {error}: got {text!r}") from None
    if _DAYS[time.weekday()] != day:
        raise ValueError(f"{name} was a {_DAYS[time.weekday()]}, got {text!r}")
    return time.astimezone(UTC)
