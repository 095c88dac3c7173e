"""Files of ratings into a log: all of a file or nothing, and each rating once.

A row that is known already is counted and left alone; one that says something else than before is
an error, unless it is to be recorded as a correction.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from memformer.config.changes import to_json
from memformer.config.rating import ImportMap
from memformer.data.feedback import ItemKind, RatingEvent
from memformer.data.feedback_files import RowError, RowErrors, scan
from memformer.data.feedback_log import FeedbackLog
from memformer.data.records import write_time
from memformer.rating.importers_long import read_long
from memformer.rating.importers_mturk import read_mturk
from memformer.rating.importers_prolific import read_panel, read_prolific
from memformer.rating.importers_read import Draft, Found
from memformer.rating.importers_table import Pseudonyms

PEPPER = "MEMFORMER_PEPPER"
_NOT_CONTENT = {"event", "recorded_at", "supersedes"}


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import found and did."""

    name: str
    n_row: int
    n_new: int
    """Ratings that the log had not."""
    n_known: int
    """Ratings that it had, just so."""
    n_corrected: int
    """Of the new ones, those that supersede another."""
    left_out: dict[str, int]
    """Answers that are no rating, by reason."""
    errors: tuple[RowError, ...]
    """Rows that cannot be used, by line. With any, nothing is written."""
    n_unknown_propensity: int
    """New ratings of which nobody knows how probable they were."""
    unchecked: dict[str, int]
    """New ratings of items that were not looked up, by kind: their list was not given."""
    entry: int | None
    """The log's entry that has the ratings, also where an earlier import wrote it."""
    is_written: bool
    is_dry: bool
    facts: dict[str, dict[str, str | None]]
    """Demographics by rater, if the map asked for any."""

    def lines(self, n_error: int = 20) -> list[str]:
        """The report for people; at most `n_error` errors, and how many more there are."""
        found = [f"{self.name}: {self.n_row} rows, {self.n_new} new ratings, {self.n_known} known"]
        if self.n_corrected:
            found.append(f"{self.n_corrected} of the new ones correct an earlier one")
        found += [f"left out: {n} {reason}" for reason, n in sorted(self.left_out.items())]
        if self.n_unknown_propensity:
            found.append(
                f"propensity unknown for {self.n_unknown_propensity} of {self.n_new} ratings"
            )
        found += [f"not looked up: {n} ratings of a {kind}; give a list of them"
                  for kind, n in sorted(self.unchecked.items())]  # fmt: skip
        found += [str(error) for error in self.errors[:n_error]]
        if len(self.errors) > n_error:
            found.append(f"and {len(self.errors) - n_error} more lines")
        return [*found, self._outcome()]

    def _outcome(self) -> str:
        if self.errors:
            n_line = len({error.line for error in self.errors})
            return f"nothing written: {n_line} rows cannot be used"
        if self.is_written:
            return f"written: entry {self.entry}"
        if self.entry is not None:
            return f"nothing to do: entry {self.entry} has this file"
        if self.is_dry:
            return "dry run: nothing written"
        return "nothing to do: nothing is new"


def import_ratings(
    log: FeedbackLog,
    path: Path,
    mapping: ImportMap | None,
    *,
    now: datetime,
    panel: Path | None = None,
    pepper: str | None = None,
    items: Mapping[ItemKind, Collection[str]] | None = None,
    dry_run: bool = False,
    correct: bool = False,
) -> ImportReport:
    """Read a file of ratings and add what is new to the log, all or nothing.

    Args:
        log: where ratings go, and which are known.
        path: the file; without a map a `.jsonl` or `.parquet` file of rating events.
        mapping: what the columns mean.
        now: becomes `recorded_at`, but for rating events, which have their own.
        panel: the panel's export that answers are joined to (`prolific`).
        pepper: the secret of pseudonyms, for maps with `raters = "hmac"`.
        items: ids of known reviews, excerpts or novels; kinds that it lacks are not looked up.
        dry_run: report, write nothing.
        correct: whether ratings that say something else than before are corrections of them; else
            they are errors.

    Raises:
        ValueError: the file, the map or the panel's export cannot be used as a whole; wrong rows
            are in the report instead.
        FileExistsError: another import was faster.
    """
    data = path.read_bytes()
    given = None if panel is None else panel.read_bytes()
    sha256 = _hash(data, given, mapping, correct)
    if (entry := log.find(sha256)) is not None:
        return ImportReport(
            name=path.name, n_row=0, n_new=0, n_known=entry.n_event, n_corrected=0, left_out={},
            errors=(), n_unknown_propensity=0, unchecked={}, entry=entry.entry, is_written=False,
            is_dry=dry_run, facts={},
        )  # fmt: skip
    if mapping is None:
        if panel is not None:
            raise ValueError("panel is for a map of the format prolific")
        found = _read_events(path, now)
    else:
        found = _read(data, path.name, given, panel, mapping, pepper, now)
    return _add(log, found, mapping, path.name, sha256, now, items or {}, dry_run, correct)


def _read(
    data: bytes, name: str, given: bytes | None, panel: Path | None, mapping: ImportMap,
    pepper: str | None, now: datetime,
) -> Found:  # fmt: skip
    match mapping.raters:
        case "as_is":
            pepper = None
        case "hmac":
            if pepper is None:
                raise ValueError(
                    f"people's ids become pseudonyms under a secret: set {PEPPER} to 16 or more "
                    "characters and keep it, or raters = 'as_is' in the map if they are pseudonyms"
                )
    of = mapping.source if mapping.format == "long" else mapping.format
    pseudonym = Pseudonyms(pepper, of)
    if (given is None) != (mapping.format != "prolific"):
        raise ValueError(
            f"the panel's export must be given for the format prolific and no other, got format "
            f"{mapping.format} and {panel}"
        )
    match mapping.format:
        case "long":
            return read_long(data, name, mapping, pseudonym, now)
        case "mturk":
            return read_mturk(data, name, mapping, pseudonym, now)
        case "prolific":
            assert given is not None and panel is not None
            rows = read_panel(given, panel.name, mapping)
            return read_prolific(data, name, rows, mapping, pseudonym, now)


def _read_events(path: Path, now: datetime) -> Found:
    scanned = scan(path, RatingEvent)
    found = Found(n_row=len(scanned.rows) + len(scanned.errors), errors=list(scanned.errors))
    for line, event in scanned.rows:
        with found.row(line) as drafts:
            if event.recorded_at > now:
                raise ValueError(
                    f"recorded_at must not be in the future, got {write_time(event.recorded_at)} "
                    f"at {write_time(now)}"
                )
            drafts.append(Draft(line, event))
    return found


def _add(
    log: FeedbackLog, found: Found, mapping: ImportMap | None, name: str, sha256: str,
    now: datetime, items: Mapping[ItemKind, Collection[str]], dry_run: bool, correct: bool,
) -> ImportReport:  # fmt: skip
    errors = list(found.errors)
    drafts = _known_items(found.drafts, items, errors)
    drafts, n_known = _new(log, drafts, found.left_out, mapping, correct, errors)
    if mapping is not None and mapping.repeats == "waves":
        drafts = _in_waves(log, drafts)
    faults = log.faults([draft.event for draft in drafts])
    errors += [RowError(drafts[i].line, why) for i, why in faults.items()]
    new = [draft.event for draft in drafts]
    entry = None
    if new and not errors and not dry_run:
        left_out = ", ".join(f"{n} {why}" for why, n in sorted(found.left_out.items()))
        entry = log.append(new, name=name, sha256=sha256, at=now, note=left_out).entry
    kinds = Counter(event.item_kind for event in new)
    return ImportReport(
        name=name,
        n_row=found.n_row,
        n_new=len(new),
        n_known=n_known,
        n_corrected=sum(event.supersedes is not None for event in new),
        left_out=dict(sorted(found.left_out.items())),
        errors=tuple(sorted(errors)),
        n_unknown_propensity=sum(event.propensity is None for event in new),
        unchecked={kind: n for kind, n in kinds.items() if kind not in items},
        entry=entry,
        is_written=entry is not None,
        is_dry=dry_run,
        facts=found.facts,
    )


def _known_items(
    drafts: Sequence[Draft], items: Mapping[ItemKind, Collection[str]], errors: list[RowError]
) -> list[Draft]:
    kept = []
    for draft in drafts:
        known = items.get(draft.event.item_kind)
        if known is None or draft.event.item in known:
            kept.append(draft)
        else:
            errors.append(
                RowError(
                    draft.line,
                    f"{draft.event.item_kind} {draft.event.item!r} is none of the {len(known)} "
                    "known",
                )
            )
    return kept


def _new(
    log: FeedbackLog, drafts: Sequence[Draft], left_out: Counter[str],
    mapping: ImportMap | None, correct: bool, errors: list[RowError],
) -> tuple[list[Draft], int]:  # fmt: skip
    """Drafts that the log has not, and how many it has; what contradicts goes to `errors`."""
    is_native = mapping is None
    ignored = set() if is_native else _NOT_CONTENT | ({"wave"} if _by_time(mapping) else set())
    known = {event.event: event for event in log.events}
    later = {event.supersedes: event for event in log.events if event.supersedes is not None}
    seen: dict[str, Draft] = {}
    new, n_known = [], 0
    for draft in drafts:
        id = draft.event.event
        first = seen.setdefault(id, draft)
        last = known.get(id)
        while last is not None and last.event in later and not is_native:
            last = later[last.event]
        if first is not draft:
            if _same(first.event, draft.event, ignored):
                left_out["the same row again"] += 1
            else:
                errors.append(
                    RowError(
                        draft.line,
                        f"is the same judgement as line {first.line} and says something else: "
                        f"{_difference(first.event, draft.event, ignored)}",
                    )
                )
        elif last is None:
            new.append(draft)
        elif _same(last, draft.event, ignored):
            n_known += 1
        elif correct and not is_native:
            n = 1 + sum(event.event.startswith(f"{id}~") for event in log.events)
            changed = replace(draft.event, event=f"{id}~{n}", supersedes=last.event, wave=last.wave)
            new.append(Draft(draft.line, changed))
        else:
            way = "" if is_native else "; --correct records it as a correction"
            errors.append(
                RowError(
                    draft.line,
                    f"entry {log.entry_of[last.event]} has this judgement otherwise: "
                    f"{_difference(last, draft.event, ignored)}{way}",
                )
            )
    return new, n_known


def _by_time(mapping: ImportMap | None) -> bool:
    return mapping is not None and mapping.repeats == "waves"


def _in_waves(log: FeedbackLog, drafts: Sequence[Draft]) -> list[Draft]:
    """Repeats numbered by time, after those that the log has."""
    following: Counter[tuple[str, ...]] = Counter()
    for event in log.events:
        following[event.key[:4]] = max(following[event.key[:4]], event.wave + 1)
    found = []
    for draft in sorted(drafts, key=lambda draft: (draft.event.rated_at, draft.line)):
        if draft.event.supersedes is None:
            key = draft.event.key[:4]
            draft = Draft(draft.line, replace(draft.event, wave=following[key]))
            following[key] += 1
        found.append(draft)
    return found


def _same(a: RatingEvent, b: RatingEvent, ignored: set[str]) -> bool:
    return not _different(a, b, ignored)


def _different(a: RatingEvent, b: RatingEvent, ignored: set[str]) -> list[str]:
    return [n for n in vars(a) if n not in ignored and getattr(a, n) != getattr(b, n)]


def _difference(a: RatingEvent, b: RatingEvent, ignored: set[str]) -> str:
    names = _different(a, b, ignored)
    return ", ".join(f"{name} {getattr(a, name)!s}, now {getattr(b, name)!s}" for name in names)


def _hash(data: bytes, panel: bytes | None, mapping: ImportMap | None, correct: bool) -> str:
    """Of all that an import depends on."""
    parts = [
        hashlib.sha256(data).hexdigest(),
        None if panel is None else hashlib.sha256(panel).hexdigest(),
        None if mapping is None else to_json(mapping),
        correct,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def refuse_errors(report: ImportReport) -> None:
    """Raises `RowErrors`, a ValueError, if any row could not be used."""
    if report.errors:
        raise RowErrors(report.name, report.errors)
