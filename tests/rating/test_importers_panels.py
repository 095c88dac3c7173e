"""Traps of batches of Mechanical Turk and of exports of Prolific."""

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from memformer.data.feedback_log import FeedbackLog
from memformer.rating.importers import import_ratings
from memformer.rating.importers_map import read_map
from memformer.rating.importers_mturk import read_pacific
from tests.rating.test_importers import GOLDEN, NOW, PEPPER

MTURK = read_map(GOLDEN / "mturk.toml")
PROLIFIC = read_map(GOLDEN / "prolific.toml")


def rows_of(name):
    with (GOLDEN / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def written(path, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), newline="", encoding="utf-8")
    return path


def batch(folder, changes, mapping=MTURK):
    """The golden batch with some cells of its last row changed."""
    rows = rows_of("mturk.csv")
    rows[-1] |= changes
    log = FeedbackLog(folder / "log")
    return import_ratings(log, written(folder / "b.csv", rows), mapping, now=NOW, pepper=PEPPER)


def test_pacific_times_are_moments():
    winter = read_pacific("Mon Jan 01 10:00:00 PST 2018", "t")
    summer = read_pacific("Sun Jul 01 10:00:00 PDT 2018", "t")
    assert winter == datetime(2018, 1, 1, 18, tzinfo=UTC)
    assert summer == datetime(2018, 7, 1, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1/1/2018 10:00", "has a spreadsheet changed it"),
        ("Mon Jan 01 10:00:00 CET 2018", "must be a time such as"),
        ("Mon Jan 32 10:00:00 PST 2018", "is no time, day is out of range"),
        ("Tue Jan 01 10:00:00 PST 2018", "was a Mon"),
        ("", "must be a time such as"),
    ],
)
def test_other_times_are_refused(text, message):
    with pytest.raises(ValueError, match=f"SubmitTime .*{message}|SubmitTime {message}"):
        read_pacific(text, "SubmitTime")


def test_rejected_work_is_kept_and_flagged(tmp_path):
    batch(tmp_path, {})
    flags = [event.flags for event in FeedbackLog(tmp_path / "log").events]
    assert flags.count(("rejected",)) == 3 and flags.count(()) == 6


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Answer.want1.5": "true"}, "want_to_read has several answers: 4, 5"),
        ({"Answer.want1.5": "maybe"}, "Answer.want1.5 must be true or false, got 'maybe'"),
        ({"Answer.positive1": "Splendid"}, "positive must be a number or a label .'Very negative'"),
        ({"Answer.positive1": "5"}, r"value must be on its scale \[-4, 4\], got 5"),
        ({"Answer.positive2": "1"}, "Input.review2 is empty, but positive is answered with '1'"),
        ({"AssignmentStatus": "Lost"}, "AssignmentStatus must be one of Submitted, Approved, Rej"),
        ({"AssignmentId": ""}, "AssignmentId must not be empty"),
        ({"AssignmentId": "A1"}, "AssignmentId 'A1' stands on line 2 already, with other cells"),
        ({"WorkerId": ""}, "rater must not be empty"),
        ({"SubmitTime": "01.01.2018"}, "SubmitTime must be a time such as"),
        ({"Input.review1": "v1", "WorkerId": "WONE"}, "has judged review 'v1' on 'positive' in wa"),
    ],
    ids=str,
)
def test_a_wrong_assignment_is_named(tmp_path, changes, reason):
    report = batch(tmp_path, changes)
    assert len({error.line for error in report.errors}) == 1 and not report.is_written
    assert re.search(reason, report.errors[0].reason)
    assert report.errors[0].line == 12  # cells with line ends are counted as an editor would


def test_a_cell_beyond_128_kb_and_a_worker_who_rates_again(tmp_path):
    waves = replace(MTURK, repeats="waves")
    changes = {"Input.review1": "v1", "WorkerId": "WONE", "Input.text1": "rain\n" * 40_000}
    assert batch(tmp_path, changes, waves).is_written
    again = [e for e in FeedbackLog(tmp_path / "log").events if e.wave == 1]
    assert {(e.item, e.criterion) for e in again} == {("v1", "positive"), ("v1", "want_to_read")}


@pytest.mark.parametrize(
    ("drop", "reason"),
    [
        ("WorkerId", "b.csv has no column 'WorkerId'"),
        ("Input.review2", "b.csv has only one of 'Input.review2' and 'Answer.positive2'"),
        ("Answer.positive2", "b.csv has only one of 'Input.review2' and 'Answer.positive2'"),
        ("Answer.positive", "b.csv has no column such as 'Answer.positive{n}'"),
    ],
)
def test_a_missing_column_is_named(tmp_path, drop, reason):
    rows = [
        {k: v for k, v in row.items() if k.rstrip("12" if drop[-1] == "e" else "") != drop}
        for row in rows_of("mturk.csv")
    ]
    path = written(tmp_path / "b.csv", rows)
    with pytest.raises(ValueError, match=reason):
        import_ratings(FeedbackLog(tmp_path / "log"), path, MTURK, now=NOW, pepper=PEPPER)


def join(folder, answer=None, export=None, mapping=PROLIFIC, **options):
    """The golden answers and export with cells of their first rows changed."""
    answers, submissions = rows_of("prolific_answers.csv"), rows_of("prolific_export.csv")
    answers[0] |= answer or {}
    submissions[0] |= export or {}
    return import_ratings(
        FeedbackLog(folder / "log"), written(folder / "answers.csv", answers), mapping,
        panel=written(folder / "export.csv", submissions), now=NOW, pepper=PEPPER, **options,
    )  # fmt: skip


def test_demographics_are_off_unless_asked_for(tmp_path):
    plain = join(tmp_path / "", mapping=replace(PROLIFIC, demographics=()), dry_run=True)
    assert plain.facts == {}
    asked = join(tmp_path)
    assert sorted(str(facts["Age"]) for facts in asked.facts.values()) == ["34", "None", "None"]
    content = (tmp_path / "log" / "000001.jsonl").read_text()
    assert "34" not in {cell.strip('"') for cell in content.split(",")}
    assert "5f0000" not in content and "66aa" not in content  # nobody's id, nor a submission's


def test_columns_of_the_export_are_found_by_name(tmp_path):
    renamed = [
        {"New column": "", **{k.replace("Participant id", "Who"): row[k] for k in reversed(row)}}
        for row in rows_of("prolific_export.csv")
    ]
    mapping = replace(PROLIFIC, panel=replace(PROLIFIC.panel, participant="Who"))
    log = FeedbackLog(tmp_path / "log")
    path = written(tmp_path / "e.csv", renamed)
    report = import_ratings(log, GOLDEN / "prolific_answers.csv", mapping, now=NOW, panel=path,
                            pepper=PEPPER)  # fmt: skip
    assert report.n_new == 5
    with pytest.raises(ValueError, match="e.csv has no column 'Participant id'; it has New column"):
        import_ratings(log, GOLDEN / "prolific_answers.csv", PROLIFIC, now=NOW, panel=path,
                       pepper=PEPPER)  # fmt: skip


def test_a_status_is_a_flag(tmp_path):
    join(tmp_path, export={"Status": "REJECTED"})
    flags = {event.flags for event in FeedbackLog(tmp_path / "log").events}
    assert flags == {("rejected",), ("timed_out",), ()}


@pytest.mark.parametrize(
    ("answer", "export", "reason"),
    [
        ({"SESSION_ID": "preview"}, {}, "is of nobody in the panel's export"),
        ({"PROLIFIC_PID": "5f000000000000000000000b"}, {}, "is of another participant in the pan"),
        ({"EndDate": ""}, {"Completed at": ""}, "Completed at of its submission is empty"),
        ({"EndDate": ""}, {"Completed at": "DATA_EXPIRED"}, "Completed at of its submission is e"),
        ({"EndDate": "10/01/2026"}, {}, "EndDate must be an ISO 8601 time"),
        ({}, {"Status": ""}, "Status of its submission is empty in the panel's export"),
        ({"Q1": "Rather"}, {}, "positive must be a number or a label .none., got 'Rather'"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_answer_is_named(tmp_path, answer, export, reason):
    report = join(tmp_path, answer, export)
    assert [error.line for error in report.errors] == [2] and not report.is_written
    assert re.search(reason, report.errors[0].reason)


def test_answers_of_nobody_can_be_kept_unverified(tmp_path):
    report = join(tmp_path, {"SESSION_ID": "preview"}, mapping=replace(PROLIFIC, unmatched="keep"))
    assert report.n_new == 5
    events = FeedbackLog(tmp_path / "log").events
    assert [(e.flags, e.verified) for e in events[:2]] == [(("unmatched",), False)] * 2
    assert all(event.verified for event in events[2:])


def test_without_submissions_a_participant_must_be_there_once(tmp_path):
    mapping = replace(PROLIFIC, columns=replace(PROLIFIC.columns, submission=None))
    assert join(tmp_path, mapping=mapping, dry_run=True).n_new == 5
    twice = {"Participant id": "5f000000000000000000000b"}
    report = join(tmp_path, None, twice, mapping)
    assert "the participant has 2 submissions" in str(report.errors[-1])


@pytest.mark.parametrize(
    ("export", "reason"),
    [
        ({"Submission id": "66aa00000000000000000002"}, "line 3: .* a submission stands once"),
        ({"Participant id": ""}, "line 2: Submission id and Participant id must not be empty"),
    ],
)
def test_a_wrong_export_is_refused(tmp_path, export, reason):
    with pytest.raises(ValueError, match=f"export.csv {reason}"):
        join(tmp_path, None, export)


def test_an_export_is_for_prolific_and_needed_there(tmp_path):
    log = FeedbackLog(tmp_path / "log")
    with pytest.raises(ValueError, match="must be given for the format prolific and no other"):
        import_ratings(log, GOLDEN / "prolific_answers.csv", PROLIFIC, now=NOW, pepper=PEPPER)
    with pytest.raises(ValueError, match="must be given for the format prolific and no other"):
        import_ratings(log, GOLDEN / "mturk.csv", MTURK, now=NOW, pepper=PEPPER,
                       panel=GOLDEN / "prolific_export.csv")  # fmt: skip
