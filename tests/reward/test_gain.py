"""The information gain and its gate."""

import math

import numpy as np
import pytest
import torch

from memformer.evaluation.metrics import Estimate
from memformer.reward.gain import (
    Gain,
    GateClosed,
    gain_from_json,
    gain_json,
    gate,
    information_gain,
)
from memformer.reward.review_set import ReviewIds
from tests.reward.small_reviewer import novels, small_reviewer


@pytest.fixture(scope="module")
def reviewer():
    return small_reviewer()


def reviews_of(reviewer, n_novel=6, n_review=2, upto=(1.0,)):
    words, random = reviewer.vocabulary, np.random.default_rng(0)
    return [
        ReviewIds(
            f"v{novel}.{i}", novel, (*random.integers(1, 31, size=1 + i).tolist(), words.end),
            words.group_id(("young", None)[i % 2]), words.delay_id((None, 20.0)[i % 2]),
            upto[i % len(upto)],
        )
        for novel in range(n_novel) for i in range(n_review)
    ]  # fmt: skip


def bits_one_by_one(reviewer, novel, length, review):
    """A review's bits, token by token, in a state of its own."""
    state = reviewer.new_state(1)
    x = torch.tensor([novel], dtype=torch.int64)
    state = reviewer.read_novel(x, state, length=length)
    reading = reviewer.ask(state, torch.tensor([review.group]), torch.tensor([review.delay]))
    logits, state, total = reading.logits, reading.state, 0.0
    for token in review.ids:
        total -= float(logits.detach()[0].double().log_softmax(-1)[token]) / math.log(2)
        if token != reviewer.end:
            logits, state = reviewer.write(torch.tensor([token]), state)
    return total


def test_gain_is_that_of_reading_every_pair_alone(reviewer):
    books = novels(6, 25).tolist()
    reviews = reviews_of(reviewer, upto=(1.0, 0.5))
    told = []
    gain = information_gain(
        reviewer, books, reviews, seed=3, n_draw=100, progress=lambda *n: told.append(n)
    )
    order = np.random.default_rng(3).permutation(6).tolist()
    other = {novel: order[(i + 1) % 6] for i, novel in enumerate(order)}
    assert all(novel != rival for novel, rival in other.items())
    bits = {"alone": 0.0, "own": 0.0, "other": 0.0}
    for each in reviews:
        n = round(each.upto_u * 25)
        bits["alone"] += bits_one_by_one(reviewer, [], None, each)
        bits["own"] += bits_one_by_one(reviewer, books[each.novel][:n], [25], each)
        bits["other"] += bits_one_by_one(reviewer, books[other[each.novel]][:n], [25], each)
    n_token = sum(len(each.ids) for each in reviews)
    assert gain.n_token == n_token and gain.n_novel == 6 and gain.n_review == 12
    assert gain.bits_alone == pytest.approx(bits["alone"] / n_token, abs=1e-4)
    assert gain.own.value == pytest.approx((bits["alone"] - bits["own"]) / n_token, abs=1e-4)
    assert gain.shuffled.value == pytest.approx((bits["alone"] - bits["other"]) / n_token, abs=1e-4)
    assert gain.beyond_shuffled.value == pytest.approx(gain.own.value - gain.shuffled.value)
    assert gain.own.low < gain.own.value < gain.own.high
    assert told[-1] == (12, 12)  # a novel at each of two places


def test_gain_leaves_the_model_as_it_was(reviewer):
    reviewer.model.train()
    information_gain(reviewer, novels(5, 9).tolist(), reviews_of(reviewer, 5), n_draw=10)
    assert reviewer.model.training
    reviewer.model.eval()


def test_gain_refuses_what_it_cannot_measure(reviewer):
    books = novels(6, 9).tolist()
    reviews = reviews_of(reviewer)
    end = reviewer.end
    with pytest.raises(ValueError, match="at least 5, got 4"):
        information_gain(reviewer, books, reviews_of(reviewer, 4))
    for ids, message in (
        ((end,), "review bad is empty"),
        ((1, 2, 3, 4, 5, 6, end), "review bad has 7 tokens, the reviewer writes 6 at most"),
        ((1, end, 2), "has its end before its last token"),
    ):
        with pytest.raises(ValueError, match=message):
            information_gain(reviewer, books, [*reviews, reviews[0]._replace(id="bad", ids=ids)])
    with pytest.raises(ValueError, match="there is no novel 9 among 6"):
        information_gain(reviewer, books, [reviews[0]._replace(novel=9)])
    with pytest.raises(ValueError, match=r"upto_u must be in \(0, 1\], got 0"):
        information_gain(reviewer, books, [each._replace(upto_u=0.0) for each in reviews])


def test_gain_refuses_a_model_that_gives_nan():
    reviewer = small_reviewer()
    with torch.no_grad():
        reviewer.model.norm.weight[0] = torch.nan
    with pytest.raises(ValueError, match=r"review v0\.0: its loss is nan"):
        information_gain(reviewer, novels(6, 9).tolist(), reviews_of(reviewer))


def gain_of(own, beyond):
    return Gain(
        Estimate(*own), Estimate(0.0, -0.1, 0.1), Estimate(*beyond), 9, 20, 100, 3.0, "3f9a0c"
    )


def test_gate_lets_a_gain_above_zero_pass():
    found = gate(gain_of((0.2, 0.1, 0.3), (0.2, 0.05, 0.3)))
    assert not found.is_ungated
    assert found.marks()["information_gain"]["own"] == {"value": 0.2, "low": 0.1, "high": 0.3}


@pytest.mark.parametrize(
    "gain",
    [
        None,
        gain_of((0.2, -0.01, 0.3), (0.2, 0.05, 0.3)),
        gain_of((0.2, 0.1, 0.3), (0.0, -0.05, 0.05)),  # another novel says as much
        gain_of((0.2, math.nan, math.nan), (0.2, 0.05, 0.3)),
    ],
)
def test_gate_refuses_any_other_and_ungated_marks_the_result(gain):
    with pytest.raises(GateClosed, match="--ungated, which marks the results"):
        gate(gain)
    marks = gate(gain, ungated=True).marks()
    assert marks["ungated"] is True
    assert (marks["information_gain"] is None) == (gain is None)


def test_a_pass_is_not_marked_where_the_gate_was_open():
    assert not gate(gain_of((0.2, 0.1, 0.3), (0.2, 0.05, 0.3)), ungated=True).is_ungated


def test_gain_in_json_has_no_nan():
    found = gain_json(gain_of((0.2, math.nan, math.nan), (0.2, 0.05, 0.3)))
    assert found["own"] == {"value": 0.2, "low": None, "high": None} and found["n_novel"] == 9
    assert gain_json(gain_from_json(found | {"seed": 3})) == found
    with pytest.raises(ValueError, match="no information gain: 'shuffled' is missing"):
        gain_from_json({"own": found["own"]})


def test_gain_of_other_weights_does_not_open_the_gate():
    gain = gain_of((0.2, 0.1, 0.3), (0.2, 0.05, 0.3))
    assert not gate(gain, weights="3f9a0c").is_ungated
    with pytest.raises(GateClosed, match="measured with weights 3f9a0c, these are 77c1e2"):
        gate(gain, weights="77c1e2d0")
    assert gate(gain, weights="77c1e2d0", ungated=True).is_ungated
