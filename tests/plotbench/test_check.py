"""The gate passes what is sound, and each planted leak makes it fail by the rule meant for it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from memformer.config.plotbench import MakeConfig
from memformer.plotbench import rules
from memformer.plotbench.check import check, gate_shortcuts, shortcut_scores
from memformer.plotbench.make import make
from memformer.plotbench.probe_text import by_tfidf, by_trigrams
from memformer.plotbench.rules import Asked, asked
from memformer.plotbench.shortcuts import GATE, SHORTCUTS, build_shortcut
from memformer.plotbench.story import FAMILIES
from memformer.plotbench.story_words import StoryWords, words_of
from memformer.plotbench.twin_check import group_faults, token_faults, twin_faults

SOUND = ("attr.static", "attr.update", "attr.alias")
BENCH = make(MakeConfig(seeds=(0, 40), buckets=(128,), lengths=(1024,), families=SOUND))
FEW = [build_shortcut(name) for name in ("option-length", "last-mentioned")]
SMALL = make(MakeConfig(seeds=(0, 3), buckets=(128,), lengths=(2048,), families=("all",)))


def verdicts(gate):
    return {finding.name: finding.verdict for finding in gate.findings}


def with_texts(bench, texts, swaps=None):
    """The first base's twins with other texts (and swaps)."""
    changed = [
        replace(story, text=text, swaps=story.swaps if swaps is None else swaps)
        for story, text in zip(bench.stories[:2], texts, strict=True)
    ]
    return replace(bench, stories=(*changed, *bench.stories[2:]))


def test_sound_data_pass():
    gate = check(BENCH)
    assert gate.passed, "\n".join(gate.lines())
    assert len(gate.findings) == 7 + len(GATE) == 5 + len(SHORTCUTS)  # not chance, not the truth
    assert gate.lines()[0] == "pass  readable: no faulty record"


def test_all_families_are_built_as_they_must_be():
    assert {probe.family for probe in SMALL.probes} <= set(FAMILIES)
    assert not list(twin_faults(SMALL)) and not list(group_faults(SMALL))


def test_leak_one_swapped_mention_forgotten():
    a, b = (story.text for story in BENCH.stories[:2])
    start, stop = BENCH.stories[0].swaps[0]
    forgotten = b[:start] + a[start:stop] + b[stop:]
    gate = check(with_texts(BENCH, (a, forgotten)), shortcuts=FEW)
    assert not gate.passed and verdicts(gate)["twins"] == "fail"
    assert any(f"both twins say {a[start:stop]!r}" in line for line in gate.lines())
    # forgotten in the list of swaps too: the twins agree there, but not in their words
    hidden = with_texts(BENCH, (a, forgotten), BENCH.stories[0].swaps[1:])
    assert any("words of A alone" in message for message in twin_faults(hidden))
    assert not check(hidden, shortcuts=FEW).passed


def test_leak_one_option_length_differs():
    group = next(p.group_id for p in BENCH.probes if p.family == "attr.alias")
    probes = tuple(
        replace(p, options=(p.options[0] + "s", p.options[1])) if p.group_id == group else p
        for p in BENCH.probes
    )
    gate = check(replace(BENCH, probes=probes), shortcuts=FEW)
    assert not gate.passed and verdicts(gate)["groups"] == "fail"
    assert any(f"{group}: options differ in length" in line for line in gate.lines())


def test_leak_one_name_stands_once_more_in_one_twin():
    a, b = BENCH.stories[:2]
    asked_x, asked_y = (
        next(q for p, q in asked(BENCH) if p.story_id == a.story_id and p.cell == ("A", side))
        for side in "xy"
    )
    x, y = asked_x.name[0].title(), asked_y.name[0].title()
    # some other word of equal length, before the first swap
    found = re.search(rf"\b[a-z]{{{len(x)}}}\b", a.text[: a.swaps[0][0]])
    start, stop = found.span()
    texts = (a.text[:start] + x + a.text[stop:], b.text[:start] + y + b.text[stop:])
    gate = check(with_texts(BENCH, texts, ((start, stop), *a.swaps)), shortcuts=FEW)
    assert not gate.passed and verdicts(gate)["twins"] == "fail"
    assert any(f"words of A alone {{'{x}': 1}}, of B alone {{'{y}': 1}}" in m for m in gate.lines())


def test_leak_a_family_that_the_latest_sentence_solves():
    probes = tuple(
        replace(p, family="know.secret") if p.family == "attr.static" else p for p in BENCH.probes
    )
    latest = build_shortcut("latest-cooccurrence")
    scores = shortcut_scores(replace(BENCH, probes=probes), [latest])
    (score,) = (s for s in scores if s.family == "know.secret")
    assert score.group.value == 1 and not score.is_within


def test_floors_are_solved_by_looking_name_and_value_up_and_by_nothing_else():
    scores = {(s.shortcut, s.family): s for s in shortcut_scores(BENCH, gate_shortcuts())}
    floor = scores["baseline:latest-cooccurrence", "attr.static"]
    assert floor.group.value == 1 and floor.is_exempt and floor.is_within
    update = scores["baseline:cooccurrence", "attr.update"]
    assert update.group.value == 0  # both values stand beside the name once
    assert scores["baseline:latest-cooccurrence", "attr.update"].group.value == 1
    for each in gate_shortcuts():
        if not each.is_cooccurrence:
            assert scores[each.name, "attr.static"].is_within
    assert scores["baseline:last-mentioned", "attr.alias"].group.value == 0


def test_rules_of_order_solve_stories_in_which_names_trade_places():
    """The rule that made the gate fail version 0.1.0: here X and Y trade places, as they did."""
    told = "{} sang. {} slept. The well fell in. The mill burnt."
    texts = [told.format("Ada", "Bea"), told.format("Bea", "Ada")]
    names = {"x": "Ada", "y": "Bea"}
    stories = tuple(
        replace(BENCH.stories[i], text=text, swaps=((0, 3), (10, 13)))
        for i, text in enumerate(texts)
    )
    probes = tuple(
        replace(
            BENCH.probes[0], probe_id=f"g.{twin}.{side}", group_id="g", cell=(twin, side),
            story_id=stories["AB".index(twin)].story_id, stem=f" {name} owned the",
            options=(" well", " mill"), gold=int((twin == "A") == (side == "y")),
            insert_at_char=len(texts[0]),
        )
        for twin in "AB"
        for side, name in names.items()
    )  # fmt: skip
    bench = replace(BENCH, stories=stories, probes=probes)
    for name, expected in (("order-last", 1), ("order-last-flipped", 0), ("unigram", 0)):
        (score,) = shortcut_scores(bench, [build_shortcut(name)])
        assert score.group.value == expected, name
        assert not score.is_within or not expected


def test_under_ten_stories_nothing_is_passed():
    gate = check(SMALL, shortcuts=FEW)
    assert verdicts(gate)["oracle"] == verdicts(gate)["twins"] == "pass"
    assert verdicts(gate)["baseline:option-length"] == "undecided" and not gate.passed
    assert any("without a bound: under 10 stories" in line for line in gate.lines())


def leaking(probes):
    """In twin B the stem has a word more: it gives the answer away."""
    return tuple(replace(p, stem=f"{p.stem} once") if p.cell[0] == "B" else p for p in probes)


@pytest.mark.parametrize("learner", [by_tfidf, by_trigrams])
def test_what_is_trained_on_probes_alone_learns_nothing_from_sound_ones(learner):
    seeds = {story.story_id: story.seed for story in BENCH.stories}
    margins = learner(BENCH.probes, [seeds[p.story_id] for p in BENCH.probes])
    assert ((margins > 0) + (margins == 0) / 2).mean() == 0.5


@pytest.mark.parametrize("learner", [by_tfidf, by_trigrams])
def test_what_is_trained_on_probes_alone_finds_a_word_that_tells(learner):
    probes = [replace(p, suffix=f"{p.suffix} {'ab'[p.gold]}") for p in BENCH.probes]
    if learner is by_trigrams:  # reads on from the option
        probes = [replace(p, options=(" yes", " no"), suffix="", gold=0) for p in probes]
    seeds = {story.story_id: story.seed for story in BENCH.stories}
    margins = learner(probes, [seeds[p.story_id] for p in probes])
    assert (margins > 0).mean() > 0.95


@pytest.mark.parametrize("learner", [by_tfidf, by_trigrams])
def test_what_is_learnt_of_a_story_is_never_asked_of_the_same_story(learner):
    rng = np.random.default_rng(0)
    seeds = list(range(300))
    probes = [
        replace(BENCH.probes[0], stem=f"only{i}", options=(f" a{i}", f" b{i}"), gold=int(gold))
        for i, gold in enumerate(rng.integers(0, 2, 300))
    ]
    margins = learner(probes, seeds)
    assert ((margins > 0) + (margins == 0) / 2).mean() < 0.65


def test_a_probe_that_is_asked_in_other_words_in_the_other_twin_fails():
    gate = check(replace(BENCH, probes=leaking(BENCH.probes)), shortcuts=FEW)
    assert verdicts(gate)["groups"] == "fail"
    assert any("twins ask about x in other words" in line for line in gate.lines())


def test_a_wrong_gold_fails_oracle_balance_and_groups():
    p = BENCH.probes[0]
    wrong = replace(BENCH, probes=(replace(p, gold=1 - p.gold), *BENCH.probes[1:]))
    found = verdicts(check(wrong, shortcuts=FEW))
    assert found["oracle"] == found["gold positions"] == found["groups"] == "fail"


def test_a_group_that_is_no_latin_square_is_named():
    first = [p for p in BENCH.probes if p.group_id == BENCH.probes[0].group_id]
    golds = {p.cell: p.gold for p in first}
    same = {**golds, ("B", "x"): golds["A", "x"]}
    both_alike = {**golds, ("A", "y"): golds["A", "x"], ("B", "y"): golds["B", "x"]}
    for wrong, message in (
        (same, "both twins have the same answer for x"),
        (both_alike, "x and y have the same answer"),
    ):
        changed = [replace(p, gold=wrong[p.cell]) for p in first]
        rest = [p for p in BENCH.probes if p.group_id != first[0].group_id]
        found = list(group_faults(replace(BENCH, probes=(*changed, *rest))))
        assert found == [f"{first[0].group_id}: {message}"]


def test_a_probe_before_the_last_swap_or_of_a_wrong_distance_fails():
    p = BENCH.probes[0]
    (message,) = group_faults(
        replace(BENCH, probes=(replace(p, d_swap_chars=p.d_swap_chars + 1), *BENCH.probes[1:]))
    )
    assert "d_swap_chars is" in message
    near = [replace(q, d_swap_chars=-9, insert_at_char=BENCH.stories[0].swaps[-1][1] - 9)
            if q.group_id == p.group_id else q for q in BENCH.probes]  # fmt: skip
    assert any(
        "before the last swap" in m for m in group_faults(replace(BENCH, probes=tuple(near)))
    )


def test_a_licence_that_both_twins_share_fails():
    p = BENCH.probes[0]
    moved = tuple(replace(s, span=(0, 4)) for s in p.support)
    (message,) = group_faults(replace(BENCH, probes=(replace(p, support=moved), *BENCH.probes[1:])))
    assert message == f"{p.probe_id}: what licenses the answer is the same in both twins"


def test_unreadable_data_are_asked_nothing_else():
    gate = check(replace(BENCH, probes=(*BENCH.probes, BENCH.probes[0])), shortcuts=FEW)
    assert len(gate.findings) == 1 and not gate.passed


def test_tokens_are_compared_where_their_ends_are_told():
    assert not list(token_faults(SMALL, len))  # equal in characters

    def characters(text):
        return range(1, len(text) + 1)

    def up_to_each_e(text):
        return [m.end() for m in re.finditer("e|$", text)]

    assert verdicts(check(SMALL, shortcuts=FEW, ends=characters))["tokens"] == "pass"
    gate = check(SMALL, shortcuts=FEW, ends=up_to_each_e)
    assert verdicts(gate)["tokens"] == "fail" and not gate.passed
    uneven = list(token_faults(SMALL, lambda text: text.count("e")))
    assert any("twins have" in m or "end at" in m for m in uneven)


def test_words_sentences_and_paragraphs_are_cut_where_they_end():
    story = StoryWords("Ada sang. Bo had hazel eyes.\n\nAda slept; hazel leaves fell.")
    assert story.words[:4] == ["ada", "sang", "bo", "had"]
    assert story.units["sentence"] == [0, 0, 1, 1, 1, 1, *[story.units["sentence"][6]] * 5]
    assert story.units["sentence"][6] > 1
    assert story.units["paragraph"] == [0] * 6 + [1] * 5
    assert story.places(["hazel"], 11) == [4, 8] and story.places(["hazel"], 8) == [4]
    assert story.places(["hazel", "eyes"], 11) == [4] and story.places(["hazel", "eyes"], 5) == []
    assert story.n_read(9) == 2 and words_of("Ada's eye.") == ["ada", "s", "eye"]


def test_bm25_is_that_of_its_formula():
    story = StoryWords("one two two.\n\none three.\n\nfour five six.")
    found = story.bm25(["two"], "paragraph", 8)
    rarity, mean = np.log(1 + 2.5 / 1.5), 8 / 3
    assert found == {0: pytest.approx(rarity * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / mean)))}
    assert story.bm25(["two"], "paragraph", 0) == {}


def test_rules_rank_a_story_written_by_hand():
    story = StoryWords("Ada had green eyes. Ada had hazel eyes. Ada had green eyes. Bo saw hazel.")
    q = Asked(story, 15, ["ada"], ["bea"], words_of("Ada had"), (["green"], ["hazel"]), (5, 6))
    chosen = {
        "shorter": "green",
        "more_frequent": "tie",
        "last_mentioned": "hazel",
        "first_mentioned": "green",
        "longest_match": "green",  # both after "Ada had", green more often
        "nearest_to_name": "tie",
        "most_sentences": "green",
        "latest_sentence": "green",
    }
    ranked = {name: getattr(rules, name)(q) for name in chosen}
    ranked |= {unit: rules.best_by_bm25(unit)(q) for unit in ("sentence", "paragraph")}
    preferred = {name: "tie" if a == b else "green" if a > b else "hazel"
                 for name, (a, b) in ranked.items()}  # fmt: skip
    assert preferred == {**chosen, "sentence": "tie", "paragraph": "tie"}
    unread = Asked(story, 7, ["ada"], ["bea"], words_of("Ada had"), (["green"], ["hazel"]), (5, 5))
    assert rules.latest_sentence(unread) == (0, 1)


@pytest.mark.parametrize(
    ("last", "flipped", "chosen"),
    [(True, False, 1), (True, True, 0), (False, False, 1), (False, True, 0)],
)
def test_order_ties_the_later_person_to_the_later_option(last, flipped, chosen):
    # Bea is named after Ada, hazel after green; sentences that hold both, or a tie, are skipped
    text = "Ada sang. It was green. Bea slept. A hazel nut fell. Ada had hazel eyes. Ada met Bea."
    story = StoryWords(text)
    n_read = len(words_of(text))
    rule = rules.by_order(last=last, flipped=flipped)

    def asked_of(name, other, n_read=n_read):
        options = ["green"], ["hazel"]
        return rule(Asked(story, n_read, [name], [other], [name], options, (5, 5)))

    bea, ada = asked_of("bea", "ada"), asked_of("ada", "bea")
    assert bea[chosen] == 1 and ada == bea[::-1]  # trading places flips the choice
    assert asked_of("bea", "ada", n_read=3) == (0, 0)  # Bea has not been named yet
    unsaid = Asked(story, n_read, ["bea"], ["ada"], ["bea"], (["said"], ["done"]), (4, 4))
    # words that are never used: the second is the later one's; "Ada had hazel eyes" counts now
    assert rule(unsaid)[1 - chosen if last else chosen] == 1


def test_novels_are_not_judged_by_rules_of_the_simulator():
    bench = make(MakeConfig(seeds=(0, 1), buckets=(128,), families=("life",)))
    stories = tuple(replace(story, track="novel") for story in bench.stories)
    with pytest.raises(ValueError, match="track of s000000.d128.A is 'novel': the gate judges"):
        check(replace(bench, stories=stories))
