"""The audit sees each way of pleasing a judge without writing well."""

import pytest

from memformer.reward.audit import audit

TEXTS = [[1, 5, 6, 0, 2, 7, 8, 0], [3, 9, 10, 0, 4, 11, 12, 0], [1, 13, 14, 0, 3, 15, 16, 0]]
NAMES = {1, 2, 3, 4}


def of(texts, **changes):
    return audit(texts, names=NAMES, stop=0, **changes)


def test_different_texts_are_distinct():
    seen = of(TEXTS)
    assert seen.length == 8 and seen.distinct_2 == 1 and seen.repeated == 0
    assert seen.names == pytest.approx(0.25)
    assert seen.self_bleu < 0.5


def test_equal_texts_have_self_bleu_1():
    assert of([TEXTS[0]] * 3).self_bleu == pytest.approx(1)


def test_repeated_sentences_show():
    seen = of([[1, 5, 6, 0] * 3, *TEXTS])
    assert seen.repeated == pytest.approx((2 / 3) / 4)
    assert seen.distinct_2 < 1


def test_names_avoided_show():
    assert of([[5, 6, 0, 7], [8, 9, 0, 7]]).names == 0


def test_what_follows_the_end_does_not_count():
    assert of([[1, 5, 99, 6, 6], [2, 7, 99, 8, 8]], end=99).length == 3


def test_self_bleu_equals_its_definition_on_two_texts():
    a, b = [1, 2, 3, 4, 5], [1, 2, 3, 4, 6]
    share = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25  # of 1 to 4 neighbours, both ways alike
    assert of([a, b]).self_bleu == pytest.approx(share)


def test_self_bleu_clips_at_the_most_that_one_other_text_has():
    texts = [[7, 7, 7, 7, 7], [7, 1, 2, 3, 4], [7, 5, 6, 8, 9]]
    one = (1 / 5 * 0.5 / 4 * 0.5 / 3 * 0.5 / 2) ** 0.25  # a shared 7, and no neighbours
    assert audit(texts, names=(), stop=0).self_bleu == pytest.approx(one)


def test_too_few_texts_are_named():
    with pytest.raises(ValueError, match="two or more"):
        of([[1, 2]])
