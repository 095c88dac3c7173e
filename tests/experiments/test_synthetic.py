import json
import random

import pytest
import torch
from prose import FORMS, NAMES, QUESTIONS, VALUES, VOCABULARY, draw
from synthetic import Recall, Rows, mean_interval, segments_of


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("n_token", "n_ask"), [(64, 2), (64, 1), (256, 1)])
def test_answer_in_recall_is_the_value_that_stands_the_said_distance_back(n_token, n_ask):
    batch = Recall().draw(8, n_token, n_pair=8, n_ask=n_ask, rng=rng())
    assert batch.tokens.shape == (8, n_token + 1)
    assert batch.is_asked.sum() == 8 * 8 * n_ask
    for lane, at in batch.is_asked.nonzero().tolist():
        tokens, stated = batch.tokens[lane], at - int(batch.distance[lane, at])
        assert tokens[stated] == tokens[at + 1]
        assert tokens[stated - 1] == tokens[at]
        between = tokens[stated + 1 : at]
        assert tokens[at] not in between  # no nearer statement


def test_recall_asks_at_the_end_what_stood_at_the_start():
    batch = Recall().draw(4, 1024, n_pair=8, n_ask=1, rng=rng())
    assert int(batch.distance[batch.is_asked].min()) >= 1024 - 2 * 8 - 2 * 8


def test_recall_refuses_a_text_too_short_for_its_questions():
    with pytest.raises(ValueError, match="hold all pairs and questions: 46"):
        Recall().draw(1, 46, n_pair=8, n_ask=2, rng=rng())


def test_every_relation_has_five_forms_with_name_and_value_in_both_orders():
    assert sum(len(forms) for forms in FORMS.values()) == 15
    for forms in FORMS.values():
        before = {form.index("{n}") < form.index("{v}") for form in forms}
        assert before == {True, False}
    assert len(set(NAMES)) == len(NAMES)
    values = [value for each in VALUES.values() for value in each]
    assert len(set(values)) == len(values)


def statement_of(words, name, value):
    """End of the last sentence that holds both words."""
    ends = [i for i, word in enumerate(words) if word == "."]
    starts = [0, *(end + 1 for end in ends)]
    held = [
        end for start, end in zip(starts, ends, strict=False)
        if {name, value} <= set(words[start:end])
    ]  # fmt: skip
    return held[-1] if held else None


@pytest.mark.parametrize("gap", [None, 96])
def test_every_answer_in_prose_was_stated_where_the_distance_says(gap):
    questions = draw(random.Random(1), 6, 400, n_name=4, n_fact=9, n_ask=1, gap=gap)
    batch = questions.batch
    assert batch.tokens.shape == (6, 401)
    assert len(questions.copy_any) == len(questions.copy_last) == int(batch.is_asked.sum()) > 0
    for lane, at in batch.is_asked.nonzero().tolist():
        words = [VOCABULARY[i] for i in batch.tokens[lane].tolist()]
        assert words[at] == "?"
        answer = words[at + 1]
        before = words[:at]
        start = max(i for i, word in enumerate(before) if word == ".") + 1
        name = next(word for word in words[start:at] if word in NAMES)
        assert statement_of(before, name, answer) == at - int(batch.distance[lane, at])


def test_gap_sets_statements_and_questions_apart():
    batch = draw(random.Random(2), 4, 800, n_name=4, n_fact=12, n_ask=1, gap=400).batch
    assert int(batch.is_asked.sum()) == 4 * 12
    distance = batch.distance[batch.is_asked]
    # back to the statement, or to the answer of an earlier question about the same fact
    assert ((distance >= 350) | (distance < 200)).all() and (distance >= 350).sum() > 20
    first = [int(batch.is_asked[lane].nonzero()[0]) for lane in range(4)]
    assert all(int(batch.distance[lane, at]) >= 350 for lane, at in enumerate(first))


def test_copying_any_value_is_right_as_often_as_a_blind_pick_among_those_stated():
    questions = draw(random.Random(3), 64, 400, n_name=4, n_fact=12, n_ask=1, gap=96)
    # 4 people, 8 values: 1/4 for one's own and 1/8 for each of three others
    assert float(questions.copy_any.mean()) == pytest.approx(1 / 4 + 3 / 4 / 8, abs=0.04)
    assert float(questions.copy_last.mean()) < 0.5


def test_every_question_ends_in_its_answer():
    for questions in QUESTIONS.values():
        assert all(question.endswith("? {v} .") for question in questions)


def test_segments_of_a_batch_are_the_batch():
    batch = Recall().draw(2, 64, n_pair=8, n_ask=2, rng=rng())
    segments = segments_of(batch, batch.is_asked.float(), 24)
    assert [segment.tokens.shape[1] for segment in segments] == [24, 24, 16]
    assert torch.equal(torch.cat([s.tokens for s in segments], dim=1), batch.tokens[:, :-1])
    assert torch.equal(torch.cat([s.targets for s in segments], dim=1), batch.tokens[:, 1:])
    assert float(sum(s.weight.sum() for s in segments)) == int(batch.is_asked.sum())


def test_interval_of_three_seeds_is_students_t():
    mean, half = mean_interval([0.9, 1.0, 0.8])
    assert mean == pytest.approx(0.9)
    assert half == pytest.approx(4.303 * 0.1 / 3**0.5)


def test_rows_that_were_written_are_not_made_anew(tmp_path):
    rows = Rows(tmp_path / "rows.json")
    rows.add({"arm": "a", "seed": 0}, started=0)
    again = Rows(tmp_path / "rows.json")
    assert again.has(arm="a", seed=0)
    assert not again.has(arm="a", seed=1)
    assert json.loads((tmp_path / "rows.json").read_text())[0]["machine"]["torch"]
