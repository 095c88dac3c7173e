"""Reviews and rating events: what they refuse, and as files."""

import importlib
import json
import math
import sys
from datetime import datetime

import pytest

from memformer.data.feedback import Novel, Review, flag_of, refuse_unknown_items
from memformer.data.feedback_files import (
    RowErrors,
    read_events,
    read_novels,
    read_reviews,
    to_json_values,
    write_records,
)
from memformer.data.records import read_time
from tests.data.made_events import day, event

EVENT = to_json_values(event())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": 8.0}, r"value must be on its scale \[1, 7\], got 8"),
        ({"value": 0.99}, r"value must be on its scale \[1, 7\], got 0.99"),
        ({"value": math.nan}, r"value must be on its scale \[1, 7\], got nan"),
        ({"value": None}, "value must be a number, or null with the flag cannot_judge or retract"),
        ({"flags": ("retracted",)}, "value must be null with the flag retracted, got 6"),
        ({"scale": (7.0, 1.0)}, "scale must run from a lesser to a greater number"),
        ({"propensity": 0.0}, r"propensity must be in \(0, 1\], or null if unknown, got 0"),
        ({"propensity": 1.01}, r"propensity must be in \(0, 1\]"),
        ({"propensity": math.nan}, r"propensity must be in \(0, 1\]"),
        ({"rated_at": day(2)}, "rated_at must not be after recorded_at 2026-01-02"),
        ({"read_at": day(1.5)}, "read_at must not be after rated_at 2026-01-02"),
        ({"rated_at": datetime(2026, 1, 1)}, "rated_at must say its offset from UTC"),
        ({"recorded_at": datetime(2026, 1, 3)}, "recorded_at must say its offset from UTC"),
        ({"supersedes": "e1"}, "supersedes must name another event"),
        ({"rater": ""}, "rater must be up to 500 printable characters"),
        ({"item": " v1"}, "item must be up to 500 printable characters without spaces around"),
        ({"criterion": "a\nb"}, "criterion must be up to 500 printable"),
        ({"wave": -1}, "wave must be at least 0, got -1"),
        ({"position": -1}, "position must be at least 0, got -1"),
        ({"flags": ("a", "a")}, "flags must be printable and differ"),
    ],
    ids=str,
)
def test_an_event_refuses_what_is_wrong(changes, message):
    with pytest.raises(ValueError, match=message):
        event(**changes)


def test_both_ends_of_scale_and_propensity_are_taken():
    assert event(value=1).normalised == 0.0 and event(value=7).normalised == 1.0
    assert event(propensity=1).propensity == 1.0
    assert event(value=None, flags=("cannot_judge",)).value is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-06-01T12:00:00", "must say its offset from UTC, such as .02:00 or Z, got 2026-06"),
        ("2026-06-01", "must say its offset from UTC"),
        ("1 June 2026", "must be an ISO 8601 time such as"),
        ("2026-06-31T12:00:00Z", "must be an ISO 8601 time such as"),
        ("0001-01-01T00:00:00+10:00", "lies outside the calendar"),
    ],
)
def test_a_time_without_its_offset_is_refused(text, message):
    with pytest.raises(ValueError, match=f"rated_at {message}"):
        read_time(text, "rated_at")


def test_times_are_moments_whatever_their_offset():
    one, other = read_time("2026-06-01T12:00:00+02:00"), read_time("2026-06-01T10:00:00Z")
    assert one == other and one.isoformat() == "2026-06-01T10:00:00+00:00"
    here = event(rated_at=one, recorded_at=one)
    assert to_json_values(here)["rated_at"] == "2026-06-01T10:00:00Z"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": " \n"}, "text must have a word"),
        ({"upto_u": 0.0}, r"upto_u must be in \(0, 1\], got 0"),
        ({"text": "half \ud800"}, "text must be Unicode, got half a character at 5"),
        ({"upto_u": 1.5}, r"upto_u must be in \(0, 1\]"),
        ({"stars": math.inf}, "stars must be finite"),
        ({"written_at": datetime(2026, 1, 1)}, "written_at must say its offset"),
    ],
    ids=str,
)
def test_a_review_refuses_what_is_wrong(changes, message):
    with pytest.raises(ValueError, match=message):
        Review(**{"review": "v1", "novel": "n1", "text": "Rain.", **changes})


RECORDS = {
    "events": [event(), event("e2", 2, value=None, flags=("cannot_judge", "straße"), propensity=0.1,
                              read_at=day(0), position=3, rater="bén")],
    "reviews": [Review(review="v1", novel="n1", text="Rain, \"rain\"\nand rain.", stars=4.5,
                       written_at=day(1)), Review(review="v2", novel="n1", text="x")],
    "novels": [Novel(novel="n1", author=None), Novel(novel="n2", author="Woolf", split="test")],
}  # fmt: skip
READ = {"events": read_events, "reviews": read_reviews, "novels": read_novels}


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_what_is_written_is_read_again(tmp_path, kind, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow", reason="an extra")
    path = tmp_path / f"a.{ending}"
    write_records(path, RECORDS[kind])
    assert READ[kind](path) == RECORDS[kind]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for act in (lambda p: write_records(p, [event()]), read_events):
        with pytest.raises(ImportError, match=r"Parquet needs pyarrow: .*memformer-lm\[rate\]"):
            act(tmp_path / "a.parquet")


def test_broken_parquet_is_refused(tmp_path):
    pytest.importorskip("pyarrow", reason="an extra")
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(ValueError, match="a.parquet is no Parquet file"):
        read_events(path)
    write_records(path, [event()])
    parquet = importlib.import_module("pyarrow.parquet")
    pa = importlib.import_module("pyarrow")
    rows = parquet.read_table(path).to_pylist()
    naive = [{**row, "rated_at": row["rated_at"].replace(tzinfo=None)} for row in rows]
    parquet.write_table(pa.Table.from_pylist(naive), path)
    with pytest.raises(ValueError, match="line 1: rated_at must say its offset from UTC"):
        read_events(path)


def line(**changes) -> str:
    return json.dumps({**EVENT, **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (line(value=9), r"line 2: value must be on its scale \[1, 7\], got 9"),
        (line(value="6"), "line 2: value must be float, got '6'"),
        (line(value=True), "line 2: value must be float, got True"),
        (line(value=10**400), "line 2: value is too large a number: 401 digits"),
        (line(propensity=0), r"line 2: propensity must be in \(0, 1\]"),
        (line(rated_at="2026-06-01T12:00:00"), "line 2: rated_at must say its offset"),
        (line(rated_at=1767225600), "line 2: rated_at must be datetime"),
        (line(rated_at="2026-01-03T00:00:00Z"), "line 2: rated_at must not be after recorded_at"),
        (line(item_kind="film"), "line 2: item_kind must be .*got 'film'"),
        (line(scale=[1, 4, 7]), "line 2: scale must be"),
        (line(mood="good"), "line 2: has no field 'mood'; known are event, rater"),
        (json.dumps({k: v for k, v in EVENT.items() if k != "rater"}), "'rater' is missing"),
        (line()[:-1] + ', "value": 7}', "line 2: has 'value' twice"),
        (line().replace("6.0", "NaN"), "line 2: has NaN, which is no JSON"),
        (line().replace('"wave": 0', '"wave": 1e400'), "line 2: wave must be int"),
        ('{"event": ', "line 2: is no JSON"),
        ("[]", "line 2: must be a JSON object, got list"),
        ("[" * 100_000, "line 2: is no "),
    ],
    ids=lambda text: text[-40:],
)
def test_a_wrong_line_is_named_with_its_reason(tmp_path, text, message):
    path = tmp_path / "a.jsonl"
    path.write_text(f"{line(event='first')}\n{text}\n")
    with pytest.raises(RowErrors, match=message) as caught:
        read_events(path)
    assert len(caught.value.errors) == 1


def test_every_wrong_line_is_found(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(f"{line(value=0)}\n\n{line()}\n{line(value=8)}\n")
    with pytest.raises(RowErrors, match=r"a.jsonl line 1: .* \(and 1 more lines\)") as caught:
        read_events(path)
    assert [error.line for error in caught.value.errors] == [1, 4]


def test_a_review_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    row = json.dumps({"review": "v1", "novel": "n1", "text": "Rain."})
    path.write_text(f"{row}\n{row}\n")
    with pytest.raises(RowErrors, match="line 2: review 'v1' stands on line 1 already"):
        read_reviews(path)


def test_other_endings_and_other_encodings_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x")
    with pytest.raises(ValueError, match="a.csv must end in .jsonl or .parquet"):
        read_events(path)
    with pytest.raises(ValueError, match="must end in .jsonl or .parquet"):
        write_records(path, [event()])
    path = tmp_path / "a.jsonl"
    path.write_bytes(line(rater="bén").encode("utf-16"))
    with pytest.raises(ValueError, match="a.jsonl must be text, got a zero byte"):
        read_events(path)
    path.write_bytes(b"\xef\xbb\xbf" + line().encode() + b"\r\n")
    assert read_events(path) == [event()]


def test_an_unknown_review_is_refused():
    every = [event(), event("e2", item="v2"), event("e3", item="n1", item_kind="novel")]
    refuse_unknown_items(every, ["v1", "v2"], "review")
    with pytest.raises(ValueError, match="event 'e2' is about review 'v2', which is none of the 1"):
        refuse_unknown_items(every, ["v1"], "review")


def test_flags_are_words():
    assert flag_of(" TIMED-OUT ") == "timed_out"
