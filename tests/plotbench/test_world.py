import random

import pytest

from memformer.plotbench.beats import Draw
from memformer.plotbench.planner import N_GROUPS, cast_of, families_named, plan_groups, recipe
from memformer.plotbench.story import CORE, FAMILIES
from memformer.plotbench.twins import build, events_of
from memformer.plotbench.world import Event, Inconsistent, State, apply, check_consistency, replay


def story(*steps):
    return [Event(op, tuple(args), t) for t, (op, *args) in enumerate(steps)]


KNOWN = "k.will.clock"
BROKEN = {
    "dead_speaks": [("die", "ann"), ("speak", "ann")],
    "dies_twice": [("die", "ann"), ("die", "ann")],
    "eyes_contradicted": [("observe", "ann", "eyes", "green"), ("observe", "ann", "eyes", "brown")],
    "hair_dyed_as_it_was": [("observe", "ann", "hair", "red"), ("dye_hair", "ann", "red")],
    "by_name_of_another": [("call", "ann", "the Owl"), ("call", "bob", "the Owl")],
    "rumour_is_true": [("rumour", "x", "ann", "eyes", "blue"), ("observe", "ann", "eyes", "blue")],
    "teleport": [("move", "ann", "mill"), ("be", "ann", "quay")],
    "gives_what_another_has": [("acquire", "ann", "hat"), ("give", "bob", "cat", "hat")],
    "finds_what_is_held": [("acquire", "ann", "hat"), ("find", "bob", "hat")],
    "gives_to_the_dead": [("acquire", "ann", "hat"), ("die", "bob"), ("give", "ann", "bob", "hat")],
    "inherits_from_the_living": [("acquire", "ann", "hat"), ("inherit", "bob", "ann", "hat")],
    "loses_what_is_lost": [("acquire", "ann", "x"), ("lose", "ann", "x"), ("lose", "ann", "x")],
    "witness_away": [("move", "ann", "away"), ("hide", "bob", "will", "clock", "ann")],
    "tells_what_is_unknown": [("hide", "bob", "will", "clock"), ("tell", "ann", "cat", KNOWN)],
    "acts_on_what_is_unknown": [("hide", "bob", "will", "clock"), ("use_secret", "ann", KNOWN)],
    "overhears_from_afar": [
        ("hide", "bob", "will", "clock"), ("move", "ann", "away"),
        ("overhear", "ann", "bob", KNOWN),
    ],
    "married_twice": [("marry", "ann", "bob"), ("marry", "ann", "cat")],
    "recovers_from_nothing": [("recover", "ann")],
    "makes_up_without_a_quarrel": [("reconcile", "ann", "bob")],
    "quarrels_twice": [("quarrel", "ann", "bob"), ("quarrel", "ann", "bob")],
    "fulfils_no_promise": [("fulfil", "ann")],
    "repays_twice": [("borrow", "ann", "bob"), ("repay", "ann"), ("repay", "ann")],
    "arc_runs_backwards": [("stage", "ann", "voyage", "3"), ("stage", "ann", "voyage", "1")],
    "own_mother": [("parent", "ann", "ann")],
}  # fmt: skip


@pytest.mark.parametrize("steps", BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_reported_once_and_has_no_effect(steps):
    events = story(*steps)
    (violation,) = check_consistency(events)
    culprit = violation.event
    assert culprit == (events[0] if culprit.op == "rumour" else events[-1])
    if culprit.op != "rumour":
        with_it, without = replay(events)[0], replay(events[:-1])[0]
        assert (with_it.facts, with_it.threads, with_it.knows) == (
            without.facts, without.threads, without.knows,
        )  # fmt: skip


def test_a_sound_world_has_no_violation():
    events = story(
        ("observe", "ann", "hair", "red"), ("dye_hair", "ann", "black"), ("acquire", "ann", "ring"),
        ("hide", "ann", "will", "clock", "bob"), ("tell", "bob", "cat", "k.will.clock"),
        ("use_secret", "cat", "k.will.clock"), ("rumour", "x", "ann", "hair", "red"),
        ("quarrel", "ann", "bob"), ("reconcile", "ann", "bob"), ("marry", "ann", "bob"),
        ("promise", "ann", "gate"), ("fulfil", "ann"), ("borrow", "bob", "cat"), ("repay", "bob"),
        ("fall_ill", "ann"), ("recover", "ann"), ("wound", "ann"), ("die", "ann"),
        ("inherit", "bob", "ann", "ring"), ("steal", "bob", "cat", "ring"), ("lose", "cat", "ring"),
        ("find", "bob", "ring"), ("take_trade", "bob", "miner"), ("move_house", "bob", "mill"),
        ("move", "bob", "quay"), ("be", "bob", "quay"), ("speak", "bob"), ("act", "cat"),
        ("parent", "bob", "eve"), ("sibling", "eve", "gus"), ("promise", "cat", "roof"),
        ("release", "cat"), ("stage", "bob", "voyage", "1"), ("call", "bob", "the Owl"),
        ("overhear", "eve", "cat", "k.will.clock"),
    )  # fmt: skip
    state, broken = replay(events)
    assert broken == []
    red, black = (fact for fact in state.facts if fact.p == "hair" and fact.s == "ann")
    assert (red.o, red.t, black.o, black.t) == ("red", (0, 1), "black", (1, None))
    assert black.supersedes == red.id
    assert state.knows["k.will.clock"] == {"ann": 3, "bob": 3, "cat": 4, "eve": 34}
    assert [t.status for t in state.threads.values()] == ["closed", "closed", "foreclosed"]


def test_unknown_operator_is_an_error_and_not_a_violation():
    with pytest.raises(ValueError, match="no operator 'fly' of 1 arguments") as info:
        apply(State(), Event("fly", ("ann",), 0))
    assert not isinstance(info.value, Inconsistent)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_recipe_makes_sound_worlds_in_both_twins(family):
    for seed in range(20):
        rng = random.Random(seed)
        split = ("train", "dev", "test")[seed % 3]
        cast = cast_of(seed, split)
        groups = plan_groups(rng, split, cast, (family,), 700)
        for group in groups:
            worlds = [events_of([group], group.beats, twin) for twin in (0, 1)]
            assert worlds[0] != worlds[1]
            assert [check_consistency(world) for world in worlds] == [[], []]


def test_a_whole_story_is_sound_until_somebody_dead_speaks():
    draft = build(3, bucket=512, length=4096, families=("life", "attr.static"), split="dev")
    events = events_of(draft.groups, draft.beats, 0)
    assert check_consistency(events) == []
    dead = next(event.args[0] for event in events if event.op == "die")
    later = Event("speak", (dead,), len(draft.beats) + 1)
    assert [v.rule for v in check_consistency([*events, later])] == [f"{dead} is dead"]


def test_families_are_named_in_bulk_or_one_by_one():
    assert families_named(("core", "attr.static")) == CORE
    assert families_named(("all",)) == FAMILIES
    with pytest.raises(ValueError, match="families must be among core, .* got 'attr.hat'"):
        families_named(("attr.hat",))


def test_where_there_is_room_all_groups_fit_and_nobody_is_asked_the_same_twice():
    cast = cast_of(1, "test")
    groups = plan_groups(random.Random(0), "test", cast, FAMILIES, 10**6)
    assert len(groups) == N_GROUPS and len({group.family for group in groups}) == N_GROUPS
    asked = [(group.pair, group.about) for group in groups]
    assert len(set(asked)) == len(asked)


def test_recipes_of_unknown_families_are_our_mistake():
    cast = cast_of(1, "dev")
    with pytest.raises(AssertionError, match="no recipe"):
        recipe(Draw(random.Random(0), "dev", cast.helpers), "attr.hat", cast.pairs[0], "hat")
