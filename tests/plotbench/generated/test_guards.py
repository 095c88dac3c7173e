"""What degenerate texts do shows."""

from memformer.plotbench.generated.grammar import extract
from memformer.plotbench.generated.guards import guards_of, longest_copy
from memformer.plotbench.generated.sentences import Lexicon
from memformer.plotbench.names import person

PEOPLE = Lexicon(people=(person("Anna", "f"),))


def guards(text, before=""):
    return guards_of(text, before, *extract(text, PEOPLE))


def test_repetition_and_distinct_pairs():
    loop = guards("and then it rained " * 25)
    assert loop.n_distinct_bigrams == 4 and loop.n_bigrams == 99
    assert loop.n_repeated_fourgrams == 97 - 4
    plain = guards("The boat came in at nine and nobody stood on the quay to meet it.")
    assert plain.n_repeated_fourgrams == 0 and plain.n_distinct_bigrams == plain.n_bigrams


def test_longest_copy_is_the_longest_run_of_words():
    before = "the tide was out and the boats lay on their sides in the mud"
    assert (
        longest_copy(
            ["he", "saw", "that", "the", "boats", "lay", "on", "their", "backs"], before.split()
        )
        == 5
    )
    assert longest_copy(before.split(), before.split()) == 14
    assert longest_copy(["nothing", "here"], before.split()) == 0
    assert longest_copy([], []) == 0
    assert guards("He said: THE TIDE was, out!", before).longest_copy == 4


def test_unparsed_are_sentences_with_somebody_and_nothing_said():
    found = guards("Anna's eyes were blue. Poor Anna, alas! It rained.")
    assert (found.n_named, found.n_unparsed) == (2, 1)
