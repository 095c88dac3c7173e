"""Events that are only ever added to, and what was known of them at a date.

A log is a folder of numbered entries. An entry is written whole or not at all, never changed, and
carries the SHA-256 of the one before it; an entry either adds events or notes an export. What was
exported as of a date stays what it was: events recorded up to that date are refused from then on.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

from memformer.data.feedback import RatingEvent
from memformer.data.feedback_files import to_json_values, to_lines
from memformer.data.records import from_record, read_time, to_utc, write_time

FORMAT = 2
"""Since 2 an entry has a digest of its own."""
_NAME = re.compile(r"\d{6}\.jsonl")


def as_of(events: Iterable[RatingEvent], moment: datetime) -> list[RatingEvent]:
    """The ratings that stood at a moment: recorded by then, and not superseded by then.

    Sorted by when they were recorded, then by id, so that neither the order of the input nor
    anything recorded later changes a bit of the result. Events without a value stay in: a rating
    taken back is one.

    Args:
        events: all events, superseded ones included.
        moment: with an offset from UTC, inclusive.

    Raises:
        ValueError: a moment without an offset, or what `check_events` refuses.
    """
    every = list(events)
    check_events(every)
    moment = to_utc(moment, "as_of")
    known = [event for event in every if event.recorded_at <= moment]
    gone = {event.supersedes for event in known}
    standing = [event for event in known if event.event not in gone]
    return sorted(standing, key=lambda event: (event.recorded_at, event.event))


def read_moment(text: str) -> datetime:
    """A moment for `as_of`: an ISO time with its offset, or a bare date, which means the end of
    that day in UTC.

    Raises:
        ValueError: a time without an offset, or no date at all.
    """
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        try:
            day = date.fromisoformat(text)
        except ValueError:
            raise ValueError(f"as_of must be a date that exists, got {text}") from None
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return start + (timedelta(days=1) - timedelta(microseconds=1))
    return read_time(text, "as_of")


def check_events(events: Sequence[RatingEvent]) -> None:
    """Refuse events that contradict each other.

    Raises:
        ValueError: what `faults` finds; names the first event and how many there are.
    """
    if found := faults(events):
        index, reason = min(found.items())
        more = f" ({len(found)} such events)" if len(found) > 1 else ""
        raise ValueError(f"event {events[index].event!r}: {reason}{more}")


def faults(events: Sequence[RatingEvent]) -> dict[int, str]:
    """Why events contradict each other, by their place in the sequence.

    An id given twice; a correction of no event, of another judgement (rater, item, criterion or
    wave), recorded before what it corrects, or in a circle; a judgement that stands twice.
    """
    found: dict[int, str] = {}
    by_id: dict[str, RatingEvent] = {}
    for i, event in enumerate(events):
        if event.event in by_id:
            found[i] = f"the id stands twice, the first time for rater {by_id[event.event].rater!r}"
        by_id.setdefault(event.event, event)
    for i, event in enumerate(events):
        if event.supersedes is not None and i not in found:
            reason = _broken_link(event, by_id)
            if reason:
                found[i] = reason
    gone = {event.supersedes for event in events}
    standing: dict[tuple[str, str, str, str, int], str] = {}
    for i, event in enumerate(events):
        if event.event in gone or i in found:
            continue
        if (other := standing.setdefault(event.key, event.event)) != event.event:
            found[i] = (
                f"rater {event.rater!r} has judged {event.item_kind} {event.item!r} on "
                f"{event.criterion!r} in wave {event.wave} already, in event {other!r}: a "
                "correction names it in supersedes, a repeat has the next wave"
            )
    return found


def _broken_link(event: RatingEvent, by_id: Mapping[str, RatingEvent]) -> str | None:
    old = by_id.get(event.supersedes or "")
    if old is None:
        return f"supersedes {event.supersedes!r}, which is no event"
    if old.key != event.key:
        return (
            f"supersedes {old.event!r}, which is of another rater, item, criterion or wave: "
            f"{old.key} against {event.key}"
        )
    if event.recorded_at < old.recorded_at:
        return (
            f"recorded_at {write_time(event.recorded_at)} is before that of {old.event!r}, which "
            f"it supersedes ({write_time(old.recorded_at)})"
        )
    seen = {event.event}
    while old is not None and old.supersedes is not None:
        if old.event in seen:
            return f"supersedes itself by way of {event.supersedes!r}"
        seen.add(old.event)
        old = by_id.get(old.supersedes)
    return None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The first line of an entry of a log."""

    format: int
    entry: int
    """From 1."""
    kind: Literal["import", "export"]
    previous: str | None
    """SHA-256 of the entry before."""
    at: datetime
    """When it was written."""
    name: str
    """The file that was imported, or written."""
    sha256: str
    """Of what was imported (file and map), or of the exported events as JSON lines."""
    as_of: datetime | None = None
    n_event: int
    note: str = ""
    digest: str | None = None
    """SHA-256 of the entry without this field: the last one has none after it to prove it."""


class FeedbackLog:
    """A folder of events; read when it is opened.

    Args:
        folder: made with the first entry.

    Raises:
        ValueError: an entry is missing, damaged or changed, or of a later format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[Entry] = []
        self.events: list[RatingEvent] = []
        self.entry_of: dict[str, int] = {}
        """The entry that added each event."""
        self._last: str | None = None
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        for name in filter(_NAME.fullmatch, names):
            self._take((folder / name).read_bytes(), name)
        check_events(self.events)

    @property
    def sealed(self) -> datetime | None:
        """The latest date that was exported: nothing recorded up to it can be added."""
        return max((e.as_of for e in self.entries if e.as_of is not None), default=None)

    def find(self, sha256: str) -> Entry | None:
        """The entry that imported just this."""
        return next((e for e in self.entries if e.kind == "import" and e.sha256 == sha256), None)

    def faults(self, events: Sequence[RatingEvent]) -> dict[int, str]:
        """Why new events cannot be added, by their place among them; none: they can."""
        n = len(self.events)
        found = {i - n: why for i, why in faults([*self.events, *events]).items() if i >= n}
        if (sealed := self.sealed) is not None:
            for i, event in enumerate(events):
                if event.recorded_at <= sealed:
                    found.setdefault(
                        i,
                        f"recorded_at {write_time(event.recorded_at)} is not after "
                        f"{write_time(sealed)}, as of which events were exported: it would "
                        "change what was trained on",
                    )
        return found

    def append(
        self, events: Sequence[RatingEvent], *, name: str, sha256: str, at: datetime, note: str = ""
    ) -> Entry:
        """Add events, all or none; they are safe on disk when this returns.

        Args:
            events: new ones.
            name: of the file they are from.
            sha256: of what was imported, for `find`.
            at: now.
            note: kept with them.

        Raises:
            ValueError: events that contradict what is there, or were recorded before an export.
            FileExistsError: somebody else has added an entry since the log was opened.
        """
        if found := self.faults(events):
            index, reason = min(found.items())
            raise ValueError(f"event {events[index].event!r}: {reason} ({len(found)} such events)")
        return self._write(
            events,
            Entry(format=FORMAT, entry=len(self.entries) + 1, kind="import", previous=self._last,
                  at=at, name=name, sha256=sha256, n_event=len(events), note=note),
        )  # fmt: skip

    def export(self, moment: datetime, *, name: str, at: datetime) -> list[RatingEvent]:
        """Events as of a moment; the log is sealed up to it, so that the same export gives the
        same bytes for ever.

        Args:
            moment: inclusive, not in the future.
            name: of the file that the events go to.
            at: now.

        Raises:
            ValueError: a moment after `at`, as what is recorded until then is not known yet, or
                before the first event.
            FileExistsError: as `append`.
        """
        moment = to_utc(moment, "as_of")
        if moment > at:
            raise ValueError(
                f"as_of must not be in the future, got {write_time(moment)}: what is recorded "
                f"until then is not known yet (it is {write_time(at)}; a bare date means its end)"
            )
        found = as_of(self.events, moment)
        if not found:
            first = min((event.recorded_at for event in self.events), default=None)
            began = "there is none at all" if first is None else f"the first is {write_time(first)}"
            raise ValueError(f"no event was recorded by {write_time(moment)}: {began}")
        if self.sealed is None or moment > self.sealed:
            sha256 = hashlib.sha256(to_lines(found)).hexdigest()
            entry = Entry(format=FORMAT, entry=len(self.entries) + 1, kind="export", at=at,
                          previous=self._last, name=name, sha256=sha256, as_of=moment,
                          n_event=len(found))  # fmt: skip
            self._write([], entry)
        return found

    def _write(self, events: Sequence[RatingEvent], entry: Entry) -> Entry:
        lines = to_lines(events)
        entry = replace(entry, digest=_digest(entry, lines))
        content = _line(entry) + lines
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{entry.entry:06}.jsonl"
        part = self.folder / f".{name}.{os.getpid()}.part"
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _publish(part, self.folder / name)
        finally:
            part.unlink(missing_ok=True)
        self._take(content, name)
        return entry

    def _take(self, content: bytes, name: str) -> None:
        where = f"{self.folder / name}"
        try:
            head, *lines = content.decode().split("\n")[:-1]
            entry = from_record(Entry, json.loads(head))
            events = [from_record(RatingEvent, json.loads(line)) for line in lines]
        except ValueError as error:
            raise ValueError(f"{where} is damaged: {error}") from None
        if entry.format > FORMAT:
            raise ValueError(f"{where} has format {entry.format}, this version reads {FORMAT}")
        if entry.format > 1 and entry.digest != _digest(entry, content[content.index(b"\n") + 1 :]):
            raise ValueError(f"{where} was changed: restore the folder from a copy")
        n_event = entry.n_event if entry.kind == "import" else 0
        expected = (len(self.entries) + 1, self._last, n_event, f"{entry.entry:06}.jsonl")
        if (entry.entry, entry.previous, len(events), name) != expected:
            raise ValueError(
                f"{where} does not follow the entries before it: one was changed, removed or put "
                "in; restore the folder from a copy"
            )
        self.entries.append(entry)
        self.events += events
        self.entry_of |= {event.event: entry.entry for event in events}
        self._last = hashlib.sha256(content).hexdigest()


def _publish(part: Path, target: Path) -> None:
    """Give a finished file its name, unless the name is taken; survives a crash."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise FileExistsError(
            f"{target.name} was written by somebody else meanwhile: do it again"
        ) from None
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(entry: Entry, lines: bytes) -> str:
    return hashlib.sha256(_line(replace(entry, digest=None)) + lines).hexdigest()


def _line(entry: Entry) -> bytes:
    return (
        json.dumps(to_json_values(entry), ensure_ascii=False, separators=(",", ":")) + "\n"
    ).encode()
