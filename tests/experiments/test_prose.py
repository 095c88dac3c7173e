"""Facts in prose: questions have the answers that were stated, where they say they were."""

import random

import pytest
import torch
from prose import FORMS, ID, NAMES, QUESTIONS, VALUES, VOCABULARY, draw, written

KINDS = [
    dict(n_token=150, n_name=4, n_fact=8, n_ask=2),
    dict(n_token=120, n_name=7, n_fact=7, n_ask=1),
    dict(n_token=400, n_name=4, n_fact=12, n_ask=1, gap=200),
    dict(n_token=200, n_name=3, n_fact=6, n_ask=3),
]
RELATION = {value: name for name, values in VALUES.items() for value in values}


def sentences(words):
    """(first, last) of each sentence; an answer is one of its own."""
    found, first = [], 0
    for i, word in enumerate(words):
        if word in (".", "?"):
            found.append((first, i))
            first = i + 1
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_answer_is_the_value_last_stated_of_that_person_and_relation(kind):
    questions = draw(random.Random(1), 20, **kind)
    batch = questions.batch
    assert batch.is_asked.sum() > 20
    for lane, at in batch.is_asked.nonzero().tolist():
        words = [VOCABULARY[i] for i in batch.tokens[lane].tolist()]
        answer = words[at + 1]
        stated = at - int(batch.distance[lane, at])
        first, last = next(s for s in sentences(words) if s[1] == stated)
        if words[first - 1] == "?":  # the fact was last stated by an answer: with its question
            first = next(s[0] for s in sentences(words) if s[1] == first - 1)
        assert answer in words[first:last]
        question = next(s for s in sentences(words) if s[0] <= at <= s[1])
        name = [w for w in words[question[0] : at + 1] if w in NAMES][-1]
        assert name in words[first:last]
        # no other value of this person and relation is ever stated
        for a, b in sentences(words):
            said = set(words[a:b]) & set(VALUES[RELATION[answer]])
            if name in words[a:b] and said:
                assert said == {answer}


def test_facts_are_asked_again_so_that_no_answer_follows_from_what_was_not_asked_yet():
    batch = draw(random.Random(2), 50, n_token=300, n_name=4, n_fact=4, n_ask=3).batch
    again = 0
    for lane in range(50):
        words = [VOCABULARY[i] for i in batch.tokens[lane].tolist()]
        asked = batch.is_asked[lane].nonzero()[:, 0].tolist()
        names = [[w for w in words[at - 8 : at + 1] if w in NAMES][-1] for at in asked]
        again += sum(a == b for a, b in zip(names, names[1:], strict=False))
    assert again > 20


def test_gap_keeps_questions_that_far_from_their_facts():
    batch = draw(random.Random(3), 10, n_token=500, n_name=4, n_fact=12, n_ask=1, gap=250).batch
    first = [int(batch.is_asked[lane].nonzero()[0]) for lane in range(10)]
    assert all(int(batch.distance[lane, at]) > 230 for lane, at in enumerate(first))


def test_rules_score_what_a_copier_would():
    questions = draw(random.Random(4), 30, n_token=400, n_name=4, n_fact=12, n_ask=1, gap=96)
    n = int(questions.batch.is_asked.sum())
    assert questions.copy_any.shape == questions.copy_last.shape == (n,)
    assert set(questions.copy_last.tolist()) == {0.0, 1.0}
    assert float(questions.copy_any.min()) >= 1 / 4  # one of four people has the right one
    alone = draw(random.Random(5), 30, n_token=60, n_name=1, n_fact=1, n_ask=2)
    assert torch.equal(alone.copy_any, torch.ones_like(alone.copy_any))


def test_each_form_names_person_and_value_once():
    for relation, forms in (*FORMS.items(), *QUESTIONS.items()):
        for form in forms:
            assert form.count("{n}") == form.count("{v}") == 1, (relation, form)
            assert set(form.replace("{n}", "").replace("{v}", "").split()) <= set(ID)


def test_written_prose_has_capitals_and_spans():
    words = [
        "anna",
        "'s",
        "eyes",
        "were",
        "grey",
        ".",
        "in",
        "whitby",
        "bertha",
        "slept",
        ".",
        "where",
        "was",
        "anna",
        "born",
        "?",
        "durham",
        ".",
    ]
    text, spans = written(words)
    assert text == ("Anna's eyes were grey. In Whitby Bertha slept. Where was Anna born? Durham.")
    assert [text[a:b].lower() for a, b in spans] == words
