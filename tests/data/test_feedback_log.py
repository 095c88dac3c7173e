"""What was known at a date, and a log that is only added to."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memformer.data.feedback_cells import cells_of
from memformer.data.feedback_files import to_lines
from memformer.data.feedback_log import FeedbackLog, as_of, check_events, faults, read_moment
from tests.data.made_events import day, event

FIRST = event("e1", 1, value=6)
FIXED = event("e2", 5, value=2, supersedes="e1")
BACK = event("e3", 9, value=None, flags=("retracted",), supersedes="e2")
NOW = datetime(2026, 12, 1, tzinfo=UTC)


def ids(events):
    return [event.event for event in events]


def test_as_of_keeps_what_stood_then():
    every = [BACK, FIRST, FIXED]
    assert ids(as_of(every, day(0))) == []
    assert ids(as_of(every, day(1))) == ["e1"]  # the moment itself counts
    assert ids(as_of(every, day(5) - timedelta(microseconds=1))) == ["e1"]
    assert ids(as_of(every, day(5))) == ["e2"]
    assert ids(as_of(every, day(99))) == ["e3"]


def test_as_of_is_of_moments_not_of_clocks():
    there = timezone(timedelta(hours=5))
    assert ids(as_of([FIRST], day(1).astimezone(there))) == ["e1"]
    with pytest.raises(ValueError, match="as_of must say its offset from UTC"):
        as_of([FIRST], datetime(2026, 2, 1))


def test_a_rating_from_years_ago_counts_from_when_it_was_learned():
    late = event("late", 700, rated_at=day(2), rater="ben")
    assert ids(as_of([FIRST, late], day(699))) == ["e1"]
    assert ids(as_of([FIRST, late], day(700))) == ["e1", "late"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(0, 40))
def test_later_events_change_no_bit_of_an_earlier_training_set(seed, cut):
    rng = random.Random(seed)
    events, standing = [], {}
    for i in range(40):
        rater, item = f"r{rng.randrange(4)}", f"v{rng.randrange(4)}"
        old = standing.get((rater, item))
        new = event(f"e{i}", i, rater=rater, item=item, value=float(rng.randint(1, 7)),
                    supersedes=old, rated_at=day(rng.uniform(-900, i)))  # fmt: skip
        standing[rater, item] = new.event
        events.append(new)
    early = [e for e in events if e.recorded_at <= day(cut)]
    rng.shuffle(events)
    then, now = as_of(early, day(cut)), as_of(events, day(cut))
    assert to_lines(then) == to_lines(now)
    if then:
        one, other = cells_of(then, "want_to_read").cells, cells_of(now, "want_to_read").cells
        for a, b in zip(one, other, strict=True):
            assert a == b if isinstance(a, tuple | str) else a.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([FIRST, replace(FIRST, item="v2")], "'e1': the id stands twice, the first time for"),
        ([event("e1", supersedes="e0")], "'e1': supersedes 'e0', which is no event"),
        ([FIRST, replace(FIXED, item="v2")], "'e2': supersedes 'e1', which is of another rater"),
        ([FIRST, replace(FIXED, criterion="positive")], "'e2': supersedes 'e1', which is of anoth"),
        ([FIRST, event("e2", 0.5, supersedes="e1")], "'e2': recorded_at 2026-01-01T12:00:00Z is b"),
        ([event("a", supersedes="b"), event("b", supersedes="a")], "'a': supersedes itself by way"),
        ([event(x, supersedes=y) for x, y in ("ab", "bc", "ca")], "itself by way of 'b' .3 such"),
        ([FIRST, event("e9", 2)], "'e9': rater 'ann' has judged review 'v1' on 'want_to_read' in"),
        ([FIRST, FIXED, event("e9", 7, supersedes="e1")], "has judged review 'v1'.*event 'e2'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_events_that_contradict_each_other_are_refused(events, message):
    with pytest.raises(ValueError, match=message):
        as_of(events, day(50))


def test_a_repeat_is_another_wave():
    check_events([FIRST, event("e9", 400, wave=1)])


def test_a_long_chain_of_corrections_is_checked_in_time():
    chain = [event("e0", 0)]
    chain += [event(f"e{i}", i / 100, supersedes=f"e{i - 1}") for i in range(1, 1500)]
    assert not faults(chain)


def test_dates_of_the_command_line():
    assert read_moment("2026-06-01") == datetime(2026, 6, 1, 23, 59, 59, 999999, tzinfo=UTC)
    assert read_moment("2026-06-01T02:00:00+02:00") == datetime(2026, 6, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="as_of must say its offset from UTC"):
        read_moment("2026-06-01T02:00:00")
    with pytest.raises(ValueError, match="as_of must be a date that exists, got 2026-06-31"):
        read_moment("2026-06-31")


def added(folder, *batches):
    log = FeedbackLog(folder)
    for i, events in enumerate(batches):
        log.append(events, name=f"{i}.csv", sha256=str(i), at=NOW)
    return log


def test_a_log_reads_what_was_added(tmp_path):
    added(tmp_path, [FIRST], [FIXED, event("x", 2, rater="ben")])
    log = FeedbackLog(tmp_path)
    assert ids(log.events) == ["e1", "e2", "x"] and log.entry_of == {"e1": 1, "e2": 2, "x": 2}
    assert log.find("1").entry == 2 and log.find("9") is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000001.jsonl", "000002.jsonl"]


def test_a_refused_batch_leaves_nothing(tmp_path):
    log = added(tmp_path, [FIRST])
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="event 'bad': supersedes 'nobody'"):
        log.append([event("good", rater="c"), event("bad", supersedes="nobody")], name="a",
                   sha256="a", at=NOW)  # fmt: skip
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert ids(log.events) == ["e1"]


def test_of_two_writers_the_second_is_refused(tmp_path):
    one, other = added(tmp_path, [FIRST]), FeedbackLog(tmp_path)
    one.append([event("x", rater="ben")], name="x", sha256="x", at=NOW)
    with pytest.raises(FileExistsError, match="000002.jsonl was written by somebody else"):
        other.append([event("y", rater="cem")], name="y", sha256="y", at=NOW)
    assert ids(FeedbackLog(tmp_path).events) == ["e1", "x"]
    assert not list(tmp_path.glob("*.part"))


def test_what_was_cut_off_by_a_kill_is_no_entry(tmp_path):
    added(tmp_path, [FIRST])
    (tmp_path / ".000002.jsonl.77.part").write_bytes(b'{"format":1,"ent')
    assert ids(FeedbackLog(tmp_path).events) == ["e1"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("000001.jsonl", lambda b: b.replace(b'"value":6.0', b'"value":5.0'),
         "000001.jsonl was changed: restore the folder"),
        ("000002.jsonl", lambda b: b.replace(b'"value":2.0', b'"value":3.0'),
         "000002.jsonl was changed: restore the folder"),
        ("000002.jsonl", lambda b: b.replace(b'"name":"', b'"name":"z'),
         "000002.jsonl was changed"),
        ("000001.jsonl", None, "000002.jsonl does not follow the entries before it"),
        ("000002.jsonl", lambda b: b[:-30], "000002.jsonl was changed"),
        ("000002.jsonl", lambda b: b.replace(b'"value":2.0', b'"value":9.0'),
         "000002.jsonl is damaged: value must be on its scale"),
        ("000001.jsonl", lambda b: b.replace(b'{"format":2', b'{"format":3'),
         "000001.jsonl has format 3, this version reads 2"),
        ("000001.jsonl", lambda _: b"", "000001.jsonl is damaged"),
    ],
    ids=range(8),
)  # fmt: skip
def test_a_log_that_was_changed_is_refused(tmp_path, name, change, message):
    added(tmp_path, [FIRST], [FIXED])
    path = tmp_path / name
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        FeedbackLog(tmp_path)


def test_what_was_exported_stays_what_it_was(tmp_path):
    log = added(tmp_path, [FIRST, FIXED])
    first = to_lines(log.export(day(6), name="a.jsonl", at=NOW))
    backdated = event("late", 6, rater="ben", rated_at=day(2))
    with pytest.raises(
        ValueError, match="'late': recorded_at .* is not after 2026-01-07T00:00:00Z, a"
    ):
        log.append([backdated], name="b", sha256="b", at=NOW)
    log.append([replace(backdated, recorded_at=day(8)), BACK], name="b", sha256="b", at=NOW)
    again = FeedbackLog(tmp_path)
    assert again.sealed == day(6)
    assert to_lines(again.export(day(6), name="a.jsonl", at=NOW)) == first
    assert len(again.entries) == 3  # the second export of the same date adds none
    header = json.loads((tmp_path / "000002.jsonl").read_text().splitlines()[0])
    assert header["kind"] == "export" and header["n_event"] == 1


def test_an_export_of_the_future_or_of_nothing_is_refused(tmp_path):
    log = added(tmp_path, [FIRST])
    with pytest.raises(ValueError, match="as_of must not be in the future"):
        log.export(NOW + timedelta(seconds=1), name="a", at=NOW)
    with pytest.raises(ValueError, match="no event was recorded by 2026.*the first is 2026-01-02"):
        log.export(day(0.5), name="a", at=NOW)
    with pytest.raises(ValueError, match="there is none at all"):
        FeedbackLog(tmp_path / "none").export(day(1), name="a", at=NOW)
    assert log.sealed is None and not (tmp_path / "none").exists()
