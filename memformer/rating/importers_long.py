"""A row a rating: `rater,item,criterion,value,rated_at`, whatever the columns are called."""

from datetime import datetime, tzinfo

from memformer.config.rating import CriterionMap, ImportMap
from memformer.rating.importers_read import Draft, Found, Judgement, draft
from memformer.rating.importers_table import (
    Pseudonyms,
    Row,
    moment,
    need_columns,
    read_table,
    read_zone,
)


def read_long(
    data: bytes, name: str, mapping: ImportMap, pseudonym: Pseudonyms, now: datetime
) -> Found:
    """Events of a long CSV file.

    Raises:
        ValueError: the file is no table, or lacks a column of the map.
    """
    table = read_table(data, name, mapping.delimiter)
    c = mapping.columns
    need_columns(table, [c.rater, c.item, c.criterion, c.value, c.rated_at, c.event, c.read_at,
                         c.wave, c.propensity, c.policy, c.position], name)  # fmt: skip
    zone = read_zone(mapping.timezone)
    found = Found(n_row=len(table.rows) + len(table.errors), errors=list(table.errors))
    for row in table.rows:
        with found.row(row.line) as drafts:
            drafts.append(_draft(row, mapping, pseudonym, zone, now))
    return found


def _draft(
    row: Row, mapping: ImportMap, pseudonym: Pseudonyms, zone: tzinfo | None, now: datetime
) -> Draft:
    c = mapping.columns
    rater = pseudonym(_needed(row, c.rater))
    item = mapping.item or _needed(row, c.item)
    rated_at = moment(_needed(row, c.rated_at), "rated_at", zone)
    read_at, wave = _cell(row, c.read_at), whole(_cell(row, c.wave), "wave") or 0
    token: tuple[str, ...] = (rater, str(wave))
    if mapping.repeats == "waves":  # several rows differ in nothing but their time
        token = (rater, rated_at.isoformat())
    return draft(
        Judgement(
            line=row.line,
            rater=rater,
            item=item,
            criterion=criterion_of(_cell(row, c.criterion), mapping),
            text=_needed(row, c.value),
            rated_at=rated_at,
            token=token,
            event=_cell(row, c.event) or None,
            wave=wave,
            read_at=moment(read_at, "read_at", zone) if read_at else None,
            propensity=_propensity(_cell(row, c.propensity)),
            policy=_cell(row, c.policy) or None,
            position=whole(_cell(row, c.position), "position"),
        ),
        mapping,
        now,
    )


def criterion_of(name: str, mapping: ImportMap) -> CriterionMap:
    """The criterion of a row's cell; the only one there is where the cell is empty or missing.

    Raises:
        ValueError: none of the map's.
    """
    if not name and len(mapping.criteria) == 1 and mapping.columns.criterion is None:
        return mapping.criteria[0]
    for criterion in mapping.criteria:
        if criterion.name == name:
            return criterion
    known = ", ".join(each.name for each in mapping.criteria)
    raise ValueError(f"criterion must be one of the map's ({known}), got {name!r:.80}")


def whole(text: str, name: str) -> int | None:
    """A whole number of a cell, None if it is empty; a ValueError for anything else."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} must be a whole number, got {text!r:.40}")
    return int(text)


def _propensity(text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"propensity must be a number in (0, 1], got {text!r:.40}") from None


def _cell(row: Row, column: str | None) -> str:
    return "" if column is None else row.cells[column]


def _needed(row: Row, column: str | None) -> str:
    assert column is not None  # ImportMap has seen to it
    if not row.cells[column]:
        raise ValueError(f"{column} must not be empty")
    return row.cells[column]
