"""Verdicts follow from the world's own rules."""

import pytest

from memformer.plotbench.generated.grammar import Assertion, extract
from memformer.plotbench.generated.judge import judge
from memformer.plotbench.generated.sentences import Lexicon
from memformer.plotbench.names import person
from memformer.plotbench.world import Event, check_consistency, replay

LEXICON = Lexicon(people=(person("Anna", "f"), person("Adam", "m"), person("Jane", "f")))
BEFORE = (
    Event("observe", ("c_anna", "eyes", "blue"), 1),
    Event("acquire", ("c_anna", "ring"), 2),
    Event("give", ("c_anna", "c_jane", "ring"), 3),
    Event("move", ("c_anna", "away"), 4),
    Event("hide", ("c_jane", "money", "drawer", "c_adam"), 5),
    Event("borrow", ("c_jane", "c_anna"), 6),
    Event("repay", ("c_jane",), 7),
    Event("promise", ("c_anna", "lamp"), 8),
    Event("fall_ill", ("c_adam",), 9),
    Event("die", ("c_adam",), 10),
)


def judged(text):
    found = judge(replay(BEFORE)[0], extract(text, LEXICON)[1])
    return [(each.assertion.kind, each.verdict) for each in found if each.assertion.kind != "act"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anna's eyes were blue.", ("eyes", "consistent")),
        ("Anna's eyes were brown.", ("eyes", "contradicted")),
        ("Jane's eyes were brown.", ("eyes", "new")),
        ("Jane gave the ring to Anna.", ("give", "consistent")),
        ("Anna gave Adam the ring.", ("give", "contradicted")),
        ("The ring belonged to Anna.", ("holder", "contradicted")),
        ("The ring belonged to Jane.", ("holder", "consistent")),
        ("Jane knew that the money was in the drawer.", ("knows", "consistent")),
        ("Anna knew that the money was in the drawer.", ("knows", "contradicted")),
        ("The money was in the cabinet.", ("spot", "new")),
        ("The money was in the drawer.", ("spot", "consistent")),
        ("Adam was dead.", ("dead", "consistent")),
        ("Adam recovered.", ("alive", "contradicted")),
        ('"Well," said Adam.', ("speak", "contradicted")),
        ('"Well," said Jane.', ("speak", "new")),
        ("Jane repaid everything.", ("repay", "contradicted")),
        ("Jane still owed Anna a crown.", ("owes", "contradicted")),
        ("Anna kept her promise.", ("fulfil", "consistent")),
        ("Jane kept her promise.", ("fulfil", "new")),
        ("Perhaps Anna's eyes were brown.", ("eyes", "unjudged")),
    ],
)
def test_verdict(text, expected):
    assert expected in judged(text)


def test_the_dead_may_speak_in_memories_dreams_and_letters_alone():
    assert ("speak", "unjudged") in judged('Jane dreamt of it. In the dream, "Come," said Adam.')
    assert ("speak", "unjudged") in judged('Jane remembered how "Come," said Adam, and wept.')
    assert ("speak", "contradicted") in judged('It rained. "Come," said Adam.')


def test_nobody_is_at_two_places_in_one_scene():
    here = "Anna sat in the kitchen. Jane laughed. Anna stood in the church."
    assert judged(here)[-1] == ("at", "contradicted")
    assert judged(here.replace("Anna stood", "Later Anna stood"))[-1] == ("at", "new")
    assert judged(here.replace("Jane laughed", "Anna went to the church"))[-1] == (
        "at", "consistent",
    )  # fmt: skip


def test_a_text_can_contradict_itself():
    assert judged("Jane's eyes were brown. Jane's eyes were green.") == [
        ("eyes", "new"), ("eyes", "contradicted"),
    ]  # fmt: skip


def test_a_change_is_no_contradiction_and_holds_from_then_on():
    text = "Jane's hair was black. Jane dyed her hair white. Jane's hair was black."
    assert [verdict for _, verdict in judged(text)] == ["new", "consistent", "contradicted"]


def test_contradictions_are_what_the_check_of_the_world_finds():
    said = [("c_anna", "eyes", v) for v in ("brown", "blue")] + [("c_jane", "plays", "horn")] * 2
    assertions = [
        Assertion(p, s, o, "", "told", False, (0, 1), i, 0) for i, (s, p, o) in enumerate(said)
    ]
    found = [each.verdict for each in judge(replay(BEFORE)[0], assertions)]
    events = [*BEFORE, *(Event("observe", each, 20 + i) for i, each in enumerate(said))]
    broken = {each.event.t - 20 for each in check_consistency(events)}
    assert broken == {i for i, verdict in enumerate(found) if verdict == "contradicted"} == {0}
    assert found == ["contradicted", "consistent", "new", "consistent"]
