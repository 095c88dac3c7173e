"""Importing: golden files, all or nothing, each rating once, errors with their lines."""

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memformer.config.rating import ColumnMap, CriterionMap, ImportMap
from memformer.data.feedback_files import RowErrors, read_events, to_lines, write_records
from memformer.data.feedback_log import FeedbackLog
from memformer.rating.importers import import_ratings, refuse_errors
from memformer.rating.importers_map import read_map
from memformer.rating.importers_table import Pseudonyms
from tests.data.made_events import event

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PEPPER = "pepper of the tests"
FILES = {
    "long": ("long.csv", None),
    "mturk": ("mturk.csv", None),
    "prolific": ("prolific_answers.csv", GOLDEN / "prolific_export.csv"),
}
MAP = ImportMap(
    format="long",
    source="test",
    raters="as_is",
    criteria=(CriterionMap(name="c", scale=(1.0, 7.0), labels=(("good", 6.0),)),),
    columns=ColumnMap(rater="r", item="i", value="v", rated_at="t"),
)
HEAD = "r,i,v,t\n"
T = "2026-01-01T00:00:00Z"


def take(folder, name, *, file=None, mapping=None, **options):
    path, panel = FILES[name]
    return import_ratings(
        FeedbackLog(folder), file or GOLDEN / path, mapping or read_map(GOLDEN / f"{name}.toml"),
        **{"now": NOW, "panel": panel, "pepper": PEPPER, **options},
    )  # fmt: skip


def long(folder, text, mapping=MAP, head=HEAD, **options):
    path = folder / "a.csv"
    path.write_text(head + text, encoding="utf-8")
    return import_ratings(FeedbackLog(folder / "log"), path, mapping, **{"now": NOW, **options})


@pytest.mark.parametrize("name", FILES)
def test_golden_file(tmp_path, name):
    report = take(tmp_path, name)
    expected = read_events(GOLDEN / f"{name}.events.jsonl")
    assert to_lines(FeedbackLog(tmp_path).events) == to_lines(expected)
    assert report.is_written and report.n_new == len(expected) and not report.errors
    assert report.left_out == {
        "long": {"the same row again": 1},
        "mturk": {"no item": 2, "the same assignment again": 1, "unanswered": 1},
        "prolific": {"returned: consent was withdrawn": 1, "unanswered": 1},
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_dry_run_writes_nothing_and_reports_the_same(tmp_path, name):
    dry = take(tmp_path / "log", name, dry_run=True)
    assert not (tmp_path / "log").exists() and dry.lines()[-1] == "dry run: nothing written"
    wet = take(tmp_path / "log", name)
    assert dry.lines()[:-1] == wet.lines()[:-1] and wet.lines()[-1] == "written: entry 1"


@pytest.mark.parametrize("name", FILES)
def test_the_same_file_again_does_nothing(tmp_path, name):
    take(tmp_path, name)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    again = take(tmp_path, name, now=NOW + timedelta(days=9))
    assert again.lines()[-1] == "nothing to do: entry 1 has this file" and not again.is_written
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", FILES)
def test_known_ratings_of_a_longer_file_are_counted(tmp_path, name):
    path = GOLDEN / FILES[name][0]
    text = path.read_bytes().decode("utf-8-sig")
    (tmp_path / path.name).write_text(text + "\n", encoding="utf-8", newline="")  # another hash
    first = take(tmp_path / "log", name)
    again = take(tmp_path / "log", name, file=tmp_path / path.name, now=NOW + timedelta(days=1))
    assert again.n_new == 0 and again.n_known == first.n_new
    assert again.lines()[-1] == "nothing to do: nothing is new"
    assert len(FeedbackLog(tmp_path / "log").entries) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"a,v1,8,{T}", r"value must be on its scale \[1, 7\], got 8"),
        (f"a,v1,0,{T}", "value must be on its scale"),
        (f"a,v1,great,{T}", r"c must be a number or a label \('good'\), got 'great'"),
        (f"a,v1,nan,{T}", "c must be a number or a label"),
        (f"a,v1,1_0,{T}", "c must be a number or a label"),
        (f'a,v1,"4,5",{T}', "c must be a number or a label"),
        (f"a,v1,٤,{T}", "c must be a number or a label"),
        (f"a,v1,,{T}", "v must not be empty"),
        (f",v1,4,{T}", "r must not be empty"),
        (f"a,,4,{T}", "i must not be empty"),
        ("a,v1,4,", "t must not be empty"),
        ("a,v1,4,2026-01-01T00:00:00", "rated_at must say its offset from UTC, .*give timezone in"),
        ("a,v1,4,yesterday", "rated_at must be an ISO 8601 time"),
        ("a,v1,4,2027-01-01T00:00:00Z", "rated_at must not be after recorded_at 2026-11-20"),
        (f"a,v1,4,{T},extra", "has 5 cells, the header has 4"),
        ("a,v1,4", "has 3 cells, the header has 4"),
        (f"ann,v9,5,{T}", "is the same judgement as line 2 and says something else: value 4.0, n"),
        (f"a,v0,5,{T}", "review 'v0' is none of the 3 known"),
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_a_wrong_row_is_named_and_nothing_is_written(tmp_path, row, reason):
    text = f"ann,v9,4,{T}\nx y,v1,4,{T}\n"
    report = long(tmp_path, f"{text}{row}\nb,v2,good,{T}\n",
                  items={"review": ["v1", "v2", "v9"]})  # fmt: skip
    assert [error.line for error in report.errors] == [4]
    with pytest.raises(RowErrors, match=f"a.csv line 4: {reason}"):
        refuse_errors(report)
    assert report.lines()[-1] == "nothing written: 1 rows cannot be used"
    assert not (tmp_path / "log").exists()


def test_every_wrong_row_is_reported_with_the_line_it_begins_on(tmp_path):
    report = long(tmp_path, f'"a\nb",v1,4,{T}\n"a",v1,9,{T}\n\nc,v1,0,{T}\n')
    assert [error.line for error in report.errors] == [2, 4, 6]  # a name of two lines is none
    assert "rater must be up to 500 printable" in str(report.errors[0])
    many = long(tmp_path, "".join(f"a{i},v1,9,{T}\n" for i in range(30)))
    assert many.lines()[-2] == "and 10 more lines" and len(many.lines()) == 23


@pytest.mark.parametrize(
    ("p", "reason"),
    [("0", r"propensity must be in \(0, 1\]"), ("1.2", "propensity must"), ("nan", "propensity m"),
     ("often", r"propensity must be a number in \(0, 1\], got 'often'")],
)  # fmt: skip
def test_a_propensity_outside_its_range_is_refused(tmp_path, p, reason):
    mapping = replace(MAP, columns=replace(MAP.columns, propensity="p"))
    report = long(tmp_path, f"a,v1,4,{T},{p}\n", mapping, head="r,i,v,t,p\n")
    with pytest.raises(RowErrors, match=f"line 2: {reason}"):
        refuse_errors(report)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a.csv is empty"),
        (HEAD, "must have a header and at least one row, got 1 rows"),
        ("r,i,v,v\n1,2,3,4\n", "a.csv has the column 'v' twice"),
        ("r,i,v,when\na,v1,4,x\n", "a.csv has no column 't'; it has r, i, v, when"),
        (f'{HEAD}a,"v1,4,{T}\nb,v2,4,{T}\n', "a.csv line 2: unexpected end of data"),
        (f'{HEAD}a,"v1"x,4,{T}\n', "a.csv line 2: .* quotes within a quoted cell must be doubled"),
        (f"{HEAD}a,v1\0,4,{T}\n", "a.csv must be text, got a zero byte"),
    ],
    ids=range(7),
)
def test_a_file_that_is_no_table_is_refused(tmp_path, text, reason):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason):
        import_ratings(FeedbackLog(tmp_path / "log"), path, MAP, now=NOW)


def test_another_encoding_names_the_way_out(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(f"{HEAD}bén,v1,4,{T}\n".encode("windows-1252"))
    with pytest.raises(ValueError, match="a.csv must be UTF-8, got byte 0xe9.*iconv"):
        import_ratings(FeedbackLog(tmp_path / "log"), path, MAP, now=NOW)


def test_cells_longer_than_the_limit_of_csv_are_read_and_the_limit_is_put_back(tmp_path):
    before = csv.field_size_limit()
    report = long(tmp_path, f'a,v1,4,{T},"{"word " * 60_000}"\n', head="r,i,v,t,x\n")
    assert report.n_new == 1 and csv.field_size_limit() == before


def test_a_changed_rating_is_an_error_or_a_correction(tmp_path):
    long(tmp_path, f"a,v1,4,{T}\n")
    changed = f"a,v1,6,{T}\n"
    report = long(tmp_path, changed)
    with pytest.raises(
        RowErrors, match="line 2: entry 1 has this judgement otherwise: value 4.0, n"
    ):
        refuse_errors(report)
    later = NOW + timedelta(days=2)
    report = long(tmp_path, changed, correct=True, now=later)
    assert report.n_new == report.n_corrected == 1
    log = FeedbackLog(tmp_path / "log")
    old, new = log.events
    assert new.supersedes == old.event and new.value == 6.0 and new.recorded_at == later
    again = long(tmp_path, f"{changed}\n", now=later)
    assert again.n_known == 1 and again.n_new == 0
    third = long(tmp_path, f"a,v1,1,{T}\n", correct=True, now=later + timedelta(days=1))
    assert (
        third.n_corrected == 1 and FeedbackLog(tmp_path / "log").events[2].supersedes == new.event
    )


def test_repeats_are_refused_or_numbered_by_time(tmp_path):
    rows = f"a,v1,4,2026-03-01T00:00:00Z\na,v1,6,{T}\n"
    refused = long(tmp_path, rows)
    assert "is the same judgement as line 2" in str(refused.errors[0])
    waves = replace(MAP, repeats="waves")
    assert long(tmp_path, rows, waves).n_new == 2
    events = FeedbackLog(tmp_path / "log").events
    assert [(e.value, e.wave) for e in events] == [(6.0, 0), (4.0, 1)]
    more = long(tmp_path, f"{rows}a,v1,1,2026-09-01T00:00:00Z\n", waves)
    assert (more.n_new, more.n_known) == (1, 2)
    assert FeedbackLog(tmp_path / "log").events[-1].wave == 2


def test_local_times_need_a_zone_and_one_meaning(tmp_path):
    berlin = replace(MAP, timezone="Europe/Berlin")
    good = long(tmp_path, "a,v1,4,2026-07-01 12:00:00\n", berlin)
    assert good.n_new == 1
    assert FeedbackLog(tmp_path / "log").events[0].rated_at.hour == 10
    for text in ("2026-10-25 02:30:00", "2026-03-29 02:30:00"):
        report = long(tmp_path, f"b,v1,4,{text}\n", berlin)
        assert "is twice or never on the clocks of Europe/Berlin" in str(report.errors[0])
    fixed = replace(MAP, timezone="-08:00")
    assert long(tmp_path, "c,v1,4,2026-07-01 12:00:00\n", fixed).n_new == 1
    assert FeedbackLog(tmp_path / "log").events[1].rated_at.hour == 20
    with pytest.raises(ValueError, match="timezone must be a name such as Europe/Berlin.*'Berlin'"):
        long(tmp_path, f"d,v1,4,{T}\n", replace(MAP, timezone="Berlin"))


def test_people_become_pseudonyms_under_a_secret(tmp_path):
    secret = replace(MAP, raters="hmac")
    with pytest.raises(ValueError, match="set MEMFORMER_PEPPER to 16 or more characters"):
        long(tmp_path, f"a,v1,4,{T}\n", secret)
    with pytest.raises(ValueError, match="the pepper must have at least 16 characters, got 3"):
        long(tmp_path, f"a,v1,4,{T}\n", secret, pepper="abc")
    long(tmp_path, f"WORKER,v1,4,{T}\n", secret, pepper=PEPPER)
    content = (tmp_path / "log" / "000001.jsonl").read_text()
    assert "WORKER" not in content and '"rater":"p_' in content
    one, other = Pseudonyms(PEPPER, "mturk"), Pseudonyms(PEPPER, "prolific")
    assert one("A") == one("A") != one("B") and one("A") != other("A")
    assert one("A") != Pseudonyms(PEPPER + "2", "mturk")("A")


def test_events_are_imported_as_they_are(tmp_path):
    path = tmp_path / "a.jsonl"
    write_records(path, [event("e1", 1), event("e2", 3, supersedes="e1", value=2)])
    log = tmp_path / "log"
    assert import_ratings(FeedbackLog(log), path, None, now=NOW).n_new == 2
    write_records(path, [event("e1", 1), event("e3", 4, rater="ben")])
    again = import_ratings(FeedbackLog(log), path, None, now=NOW)
    assert (again.n_new, again.n_known) == (1, 1)
    write_records(path, [event("e1", 1, value=5)])
    report = import_ratings(FeedbackLog(log), path, None, now=NOW, correct=True)
    assert "line 1: entry 1 has this judgement otherwise: value 6.0, now 5.0" in report.lines()[-2]
    write_records(path, [event("e9", 9, rater="cem", supersedes="nobody"), event("e8", 9)])
    report = import_ratings(FeedbackLog(log), path, None, now=NOW)
    assert [str(error)[:30] for error in report.errors] == [
        "line 1: supersedes 'nobody', w", "line 2: rater 'ann' has judged"]  # fmt: skip
    with pytest.raises(ValueError, match="panel is for a map of the format prolific"):
        import_ratings(FeedbackLog(log), path, None, now=NOW, panel=path)
    later = NOW + timedelta(seconds=1)
    write_records(path, [event("e7", 9, rater="dee", recorded_at=later)])
    report = import_ratings(FeedbackLog(log), path, None, now=NOW)
    assert str(report.errors[0]).startswith("line 1: recorded_at must not be in the future")
    assert not report.is_written


def test_an_import_cannot_change_what_was_exported(tmp_path):
    long(tmp_path, f"a,v1,4,{T}\n")
    log = FeedbackLog(tmp_path / "log")
    log.export(NOW + timedelta(days=1), name="x", at=NOW + timedelta(days=2))
    report = long(tmp_path, f"b,v1,4,{T}\n")
    assert "is not after 2026-11-21T12:00:00Z, as of which events were exported" in str(
        report.errors[0]
    )
    assert long(tmp_path, f"b,v1,4,{T}\n", now=NOW + timedelta(days=3)).is_written


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("format = ", "a.toml is no TOML"),
        ('format = "long"', "a.toml: field 'source' is missing"),
        ('format = "potato"\nsource = "x"\ncriteria = []', "format must be .* got 'potato'"),
        ('format = "long"\nsource = "x"\nitem = "v"\ncriteria = []', "criteria must be at least"),
        ('format = "long"\nsource = "x"\nitem = "v"\ncolour = 1\ncriteria = []', "no field 'colou"),
        ('format = "long"\nsource = "x"\nitem = "v"\n[[criteria]]\nname = "c"\nscale = [5, 1]',
         r"scale of 'c' must rise, got \[5.0, 1.0\]"),
        ('format = "long"\nsource = "x"\nitem = "v"\n[[criteria]]\nname = "c"\nscale = [1, 5]\n'
         'labels = { bad = 0 }', r"label 'bad' of 'c' must be on its scale \[1, 5\], got 0"),
        ('format = "long"\nsource = "x"\nitem = "v"\n[[criteria]]\nname = "c"\nscale = [1, 5]\n'
         'labels = { bad = 1, "Bad " = 2 }', "labels of 'c' must differ"),
        ('format = "long"\nsource = "x"\nitem = "v"\n[[criteria]]\nname = "c"\nscale = [1, 5]',
         "columns.value must name a column in the format long"),
        ('format = "mturk"\nsource = "x"\nitem = "v"\n[[criteria]]\nname = "c"\nscale = [1, 5]\n'
         'column = "A{n}"', r"\{n\} must stand in columns.item and in column of 'c', or in n"),
        ('format = "mturk"\nsource = "x"\n[[criteria]]\nname = "c"\nscale = [1, 5]\n'
         'column = "A"', "give either item or columns.item"),
    ],
    ids=range(11),
)  # fmt: skip
def test_a_wrong_map_is_named(tmp_path, text, reason):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_map(path)
