"""Shortcuts get what a prototype of them got: chance, halves, and nothing in groups."""

import math

import pytest

from memformer.config.plotbench import MakeConfig
from memformer.plotbench.make import make
from memformer.plotbench.metrics import CHANCE
from memformer.plotbench.ngram import KneserNey, mixed
from memformer.plotbench.shortcuts import SHORTCUTS, build_shortcut
from memformer.plotbench.story import CLAIM
from tests.plotbench.examples import example_bench

BENCH = make(
    MakeConfig(
        seeds=(0, 20),
        buckets=(512,),
        lengths=(2048,),
        families=("attr.static", "attr.update", "attr.alias", "attr.hearsay"),
    )
)


def shares(name, family, bench=BENCH):
    """Item, pair and group accuracy."""
    ranks = build_shortcut(name).rank(bench)
    held = {}
    for p in (p for p in bench.probes if p.family == family):
        margin = ranks[p.probe_id][p.gold] - ranks[p.probe_id][1 - p.gold]
        held.setdefault(p.group_id, {})[p.cell] = margin
    groups = list(held.values())
    items = [(m > 0) + (m == 0) / 2 for cells in groups for m in cells.values()]
    pairs = [
        cells["A", side] > 0 and cells["B", side] > 0 for cells in groups for side in ("x", "y")
    ]
    whole = [all(m > 0 for m in cells.values()) for cells in groups]
    return tuple(sum(each) / len(each) for each in (items, pairs, whole))


@pytest.mark.parametrize("name", ["options-only", "option-length", "unigram"])
@pytest.mark.parametrize("family", ["attr.static", "attr.update"])
def test_what_reads_no_order_gets_half_and_no_pair(name, family):
    assert shares(name, family) == (0.5, 0, 0)


def test_last_mentioned_gets_half_of_the_pairs_and_no_group():
    assert shares("last-mentioned", "attr.static", example_bench()) == (0.5, 0.5, 0)
    for family in ("attr.static", "attr.update", "attr.alias"):  # others may have the value too
        item, pair, group = shares("last-mentioned", family)
        assert (item, group) == (0.5, 0)
        assert pair <= 0.5


def test_cooccurrence_solves_static_facts_and_its_latest_updates_too():
    assert shares("cooccurrence", "attr.static") == (1, 1, 1)
    assert shares("cooccurrence", "attr.update") == (0.5, 0, 0)
    assert shares("latest-cooccurrence", "attr.static") == (1, 1, 1)
    assert shares("latest-cooccurrence", "attr.update") == (1, 1, 1)


@pytest.mark.parametrize("name", ["cooccurrence", "latest-cooccurrence", "bm25", "ngram"])
@pytest.mark.parametrize("family", ["attr.alias", "attr.hearsay"])
def test_no_shortcut_beats_chance_where_the_claim_is(name, family):
    assert family in CLAIM
    assert shares(name, family)[2] <= CHANCE["group"]


def test_word_statistics_get_no_group_of_facts_either():
    assert shares("ngram", "attr.static")[2] == 0
    assert shares("ngram", "attr.update")[2] == 0


def test_chance_is_chance_and_the_same_every_time():
    item, pair, group = (
        sum(shares("random", f)[i] for f in ("attr.static", "attr.update", "attr.alias")) / 3
        for i in range(3)
    )
    assert 0.4 < item < 0.6
    assert 0.1 < pair < 0.4
    assert group < 0.2
    assert build_shortcut("random").rank(BENCH) == build_shortcut("random").rank(BENCH)


def test_every_shortcut_ranks_every_probe():
    ids = {p.probe_id for p in BENCH.probes}
    for name in SHORTCUTS:
        ranks = build_shortcut(name).rank(BENCH)
        assert set(ranks) == ids
        assert all(math.isfinite(x) for pair in ranks.values() for x in pair)


def test_unknown_baseline_lists_the_known_ones():
    with pytest.raises(ValueError, match="baseline must be one of random, .*, got 'bm26'"):
        build_shortcut("bm26")


def test_probabilities_of_words_sum_to_one():
    model = KneserNey()
    model.add(["the", "cat", "saw", "the", "dog", "and", "the", "dog", "saw", "the", "cat", "run"])
    vocabulary = ["the", "cat", "saw", "dog", "and", "run"]
    for context in ([], ["the"], ["saw", "the"], ["no", "such"], ["dog", "and", "the", "dog"]):
        known = sum(model.probability(context, word) for word in vocabulary)
        assert known + model.probability(context, "unseen") == pytest.approx(1)


def test_a_long_match_makes_its_word_likely():
    model = KneserNey()
    model.add(["she", "took", "the", "key", "from", "the", "box", "and", "left"])
    context = ["took", "the", "key", "from", "the"]
    assert model.probability(context, "box") > 5 * model.probability(context, "key")
    assert mixed(((1.0, model),), context, "box") == model.probability(context, "box")


def test_words_counted_in_parts_count_as_at_once():
    words = ["a", "b", "a", "c", "a", "b", "d", "a", "b", "a", "c"]
    one, parts = KneserNey(), KneserNey()
    one.add(words)
    for stop in (3, 4, 9, len(words)):
        parts.add(words[:stop], {3: 0, 4: 3, 9: 4, len(words): 9}[stop])
    for word in "abcd":
        assert one.probability(["a", "b"], word) == parts.probability(["a", "b"], word)
