"""Readers of one sentence or two find what they were made for, and nothing in other families."""

from dataclasses import replace

import pytest

from memformer.config.plotbench import MakeConfig
from memformer.plotbench.check import shortcut_scores
from memformer.plotbench.frames import payoff
from memformer.plotbench.make import make
from memformer.plotbench.readers import (
    POLES,
    along_names,
    learned_shape,
    learned_words,
    shared_letters,
    smaller_number,
)
from memformer.plotbench.shortcuts import Shortcut, build_shortcut
from memformer.plotbench.story import CLAIM


def bench(families, split="dev", n=40):
    config = MakeConfig(
        seeds=(0, n), buckets=(128,), lengths=(1024,), families=families, split=split
    )
    return make(config)


def shares(data, rank):
    return {s.family: s.group.value for s in shortcut_scores(data, [Shortcut("reader", rank)])}


def test_comparing_two_numbers_solves_time_order():
    found = shares(bench(("time.order", "life"), n=20), smaller_number)
    assert found == {"time.order": 1, "life": 0}


def test_lexical_steps_lead_from_a_name_over_a_by_name():
    found = shares(bench(("attr.alias", "attr.hearsay", "attr.static"), n=20), along_names)
    assert found["attr.alias"] > 0.4 and found["attr.hearsay"] < 0.1
    assert found["attr.static"] == 0  # it skips sentences with a name and an option


def test_words_of_other_stories_tell_an_end_from_a_beginning_and_nothing_without_training():
    data, train = bench(("arc.position",)), bench(("arc.position",), "train")
    assert shares(data, lambda asked: learned_words(train, asked))["arc.position"] > 0.3
    claims = shares(bench(CLAIM, n=12), lambda asked: learned_words(train, asked))
    assert set(claims.values()) == {0} and not set(POLES) & set(CLAIM)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_who_left_and_who_died_shows_in_no_build_of_a_sentence(split):
    families = ("know.secret", "life")
    train, data = bench(families, "train", 100), bench(families, split, 100)
    reader = Shortcut("reader", lambda asked: learned_shape(train, asked))
    rules = [build_shortcut("longer"), build_shortcut("named-first"), reader]
    scores = list(shortcut_scores(data, rules))
    assert len(scores) == 6
    for each in scores:
        assert each.group.value > 0.3  # it follows the swap
        assert each.net.low <= 0 <= each.net.high or abs(each.net.value) < 0.1, each


def test_letters_of_the_option_in_the_need_are_found_and_there_are_none(monkeypatch):
    families = ("thread.payoff",)
    for split in ("dev", "test"):
        (clean,) = shortcut_scores(bench(families, split), [Shortcut("reader", shared_letters)])
        assert clean.net.low <= 0 <= clean.net.high and clean.group.value < 0.1
    for thing, need in payoff.NEEDS.items():
        monkeypatch.setitem(payoff.NEEDS, thing, f"{need}, said the {thing}ers")
    told = bench(families)
    assert shares(told, shared_letters)["thread.payoff"] > 0.8


def test_a_shape_is_of_the_sentence_and_the_place_of_its_name_and_of_no_word():
    data, train = bench(("life",), n=4), bench(("life",), "train", 12)
    ranks = learned_shape(train, data)
    assert any(one for one, _ in ranks.values())
    words = {w for s in data.stories for w in s.text.split() if w.islower() and len(w) > 3}
    turned = {w: w[::-1] for w in words if w.isalpha()}

    def mirrored(text):
        return " ".join(turned.get(w, w) for w in text.split(" "))

    stories = tuple(replace(s, text=mirrored(s.text)) for s in data.stories)
    assert learned_shape(train, replace(data, stories=stories)) == ranks


@pytest.mark.parametrize("rank", [smaller_number, along_names, shared_letters])
def test_every_probe_is_ranked(rank):
    data = bench(("all",), n=3)
    assert rank(data).keys() == {p.probe_id for p in data.probes}
