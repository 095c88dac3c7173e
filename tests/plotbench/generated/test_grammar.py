"""What sentences are taken to say, and of whom."""

import pytest

from memformer.plotbench.generated.grammar import extract
from memformer.plotbench.generated.patterns import RULES, rules
from memformer.plotbench.generated.sentences import Lexicon, sentences
from memformer.plotbench.names import person

PEOPLE = Lexicon(
    people=(person("Anna", "f"), person("Adam", "m"), person("Jane", "f")),
    aliases=(("the Heron", "c_anna"),),
)


def found(text, *voices):
    return [
        (a.kind, *a.states) for a in extract(text, PEOPLE)[1]
        if a.kind != "act" and (not voices or a.voice in voices)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anna's eyes, as ever, were very blue.", ("eyes", "eyes", "c_anna", "blue")),
        ("Nobody forgot the grey eyes of Adam.", ("eyes", "eyes", "c_adam", "grey")),
        ("In came Jane, green-eyed and late.", ("eyes", "eyes", "c_jane", "green")),
        ("Jane had dyed her hair black.", ("hair*", "hair", "c_jane", "black")),
        ("Adam, who was born in Leeds, smiled.", ("birthplace", "birthplace", "c_adam", "Leeds")),
        ("Adam, a tall printer, came in.", ("trade", "trade", "c_adam", "printer")),
        ("By then Anna had become a nurse.", ("trade*", "trade", "c_anna", "nurse")),
        ("Jane played the violin until ten.", ("plays", "plays", "c_jane", "violin")),
        ("Adam had moved to the mill.", ("home*", "home", "c_adam", "mill")),
        ("Anna gave the silver ring to Jane.", ("give", "holder", "ring", "c_jane")),
        ("Jane got the ring from Adam.", ("give", "holder", "ring", "c_jane")),
        ("The ring was in Adam's pocket.", ("holder", "holder", "ring", "c_adam")),
        ("They buried Adam on Friday.", ("dead", "alive", "c_adam", "no")),
        ("Adam recovered in the spring.", ("alive", "alive", "c_adam", "yes")),
        ("Jane knew the money was in the drawer.", ("knows", "knows", "c_jane", "money.drawer")),
        ("The will was in the drawer.", ("spot", "place", "will", "drawer")),
        ("Anna hid the money under the cushion.", ("spot", "place", "money", "cushion")),
        ("Jane's mother, Anna, laughed.", ("mother", "mother", "c_jane", "c_anna")),
        ("Jane saw her brother Adam.", ("brother", "brother", "c_jane", "c_adam")),
        ("Jane kept her promise.", ("fulfil", "fulfil", "c_jane", "")),
        ("Adam borrowed ten crowns from Jane.", ("borrow", "borrow", "c_adam", "c_jane")),
        ("Anna stood in the kitchen.", ("at", "at", "c_anna", "kitchen")),
        ("The Heron was a nurse.", ("trade", "trade", "c_anna", "nurse")),
    ],
)  # fmt: skip
def test_a_sentence_asserts(text, expected):
    assert expected in found(text, "told")


def test_a_pronoun_is_the_last_one_named_of_its_gender():
    text = "Anna came in with Adam. She was a nurse, and his eyes were blue."
    assert ("trade", "trade", "c_anna", "nurse") in found(text)
    assert ("eyes", "eyes", "c_adam", "blue") in found(text)
    (first, second) = sentences(text, PEOPLE)
    assert set(first.people) == set(second.people) == {"c_anna", "c_adam"}


def test_i_is_who_speaks():
    assert ("trade", "trade", "c_adam", "printer") in found(
        '"I\'m a printer," said Adam.', "spoken"
    )
    assert found('"I\'m a printer," said the stranger.') == []


@pytest.mark.parametrize(
    "text",
    [
        "Anna was told that Adam was a printer.",
        "Perhaps Adam was a printer.",
        "A card came, to the effect that Adam was a printer.",
        '"Adam was a printer?" said Anna.',
        "If Adam was a printer, nobody knew.",
    ],
)
def test_hearsay_guesses_and_questions_are_claims(text):
    assert ("trade", "trade", "c_adam", "printer") in found(text, "claimed")
    assert ("trade", "trade", "c_adam", "printer") not in found(text, "told", "spoken")


def test_what_is_denied_is_not_told():
    assert found("Adam was never a printer.", "told") == []
    assert found("Jane had not played the violin.", "told") == []
    assert found("Jane had not played the violin.", "denied") != []


def test_an_asserted_thing_counts_once_and_its_parts_not_at_all():
    assert found("Anna's eyes were blue, and Anna's blue eyes shone.") == [
        ("eyes", "eyes", "c_anna", "blue")
    ]
    assert found("Jane knew that the money was in the drawer.") == [
        ("knows", "knows", "c_jane", "money.drawer")
    ]


def test_memories_and_letters_are_asides():
    text = '"Come," said Adam.\n\nJane remembered it: "Come," Adam said.'
    assert [a.is_aside for a in extract(text, PEOPLE)[1] if a.kind == "speak"] == [False, True]
    letter = 'Dear Jane, all is well here. "Come," says Adam.'
    assert [a.is_aside for a in extract(letter, PEOPLE)[1] if a.kind == "speak"] == [True]


def test_sentences_cover_the_text_and_know_their_scene():
    text = 'Anna sat. "No!" she said. "Go."\n\n* * *\n\nMr. Hale left. Later Adam came.'
    cut = list(sentences(text, PEOPLE))
    assert [text[slice(*each.span)] for each in cut] == [each.text for each in cut]
    assert [each.text for each in cut] == [
        "Anna sat.", '"No!" she said.', '"Go."', "Mr. Hale left.", "Later Adam came.",
    ]  # fmt: skip
    assert [each.scene for each in cut] == [0, 0, 0, 1, 2]
    assert cut[1].told == '"" @0 said.'


def test_without_people_nothing_is_found():
    assert extract("Anna's eyes were blue.", Lexicon(people=()))[1] == []


def test_every_pattern_compiles_and_names_whom_it_is_about():
    assert {each.kind for each in rules()} == set(RULES)
    for each in rules():
        groups = each.pattern.groupindex
        assert "s" in groups or each.kind == "spot", each.pattern.pattern
        assert "v" in groups or each.kind not in ("eyes", "hair", "trade", "plays", "at")
