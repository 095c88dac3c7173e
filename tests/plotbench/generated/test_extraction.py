"""Precision, recall and the judge's own errors are measured against what is known."""

import json
import math
from dataclasses import replace

import pytest

from memformer.config.plotbench_generated import GenerateConfig
from memformer.data.records import from_record, to_record
from memformer.plotbench.generated.extraction import (
    Planted,
    ReadSentence,
    ReadText,
    accuracy_of,
    corrected,
    labelled_reach,
    reach_of,
    simulator_accuracy,
    simulator_reach,
)
from memformer.plotbench.generated.rates import Rates, tallies
from memformer.plotbench.generated.report import Validity, generated_table
from memformer.plotbench.generated.texts import own_texts
from tests.plotbench.generated.examples import (
    BENCH,
    NOT_READ,
    PUT_IN,
    ROWS,
)  # fmt: skip


def test_precision_and_recall_are_shares_with_intervals():
    reach = NOT_READ.simulator
    assert reach.precision.value == reach.recall.value == 0.5
    assert reach.recall_by_kind == {"eyes": (0.5, 24)}
    assert not reach.is_enough
    assert reach_of([]).n_gold == 0 and math.isnan(reach_of([]).recall.value)


def test_sensitivity_and_specificity_count_what_could_be_checked():
    accuracy = NOT_READ.accuracy
    assert accuracy.sensitivity.value == pytest.approx(21 / 24)
    assert accuracy.specificity.value == 1
    silent = [Planted(0, "life", True, False, False)]
    assert accuracy_of([*PUT_IN, *silent]).sensitivity == accuracy.sensitivity
    assert accuracy_of([*PUT_IN, *silent]).checkable.value == pytest.approx(36 / 37)


def test_correction_undoes_what_a_judge_of_known_errors_does():
    true, se, sp = 0.2, 0.7, 0.95
    observed = true * se + (1 - true) * (1 - sp)
    assert corrected(observed, se, sp) == pytest.approx(true)
    assert corrected(0.01, se, sp) == 0 and corrected(0.99, se, sp) == 1
    with pytest.raises(ValueError, match="sensitivity . specificity must be above 1"):
        corrected(0.1, 0.5, 0.5)


def test_on_held_out_prose_little_is_found_but_what_is_found_is_right():
    reach = simulator_reach(range(6))
    assert reach.n_gold > 100
    assert 0.1 < reach.recall.value < 0.9  # the patterns are not the frames
    assert reach.precision.value > 0.8
    accuracy = simulator_accuracy(range(6))
    assert accuracy.sensitivity.value > 0.7 and accuracy.specificity.value > 0.9
    assert accuracy.by_kind["retold"][3] > 50


def test_labels_are_compared_sentence_by_sentence():
    read = [
        ("Anna was a nurse.", [("trade", "c_anna", "nurse")]),
        ("Adam nursed the sick.", [("trade", "c_adam", "nurse")]),
        ("It rained.", []),
    ]
    text = ReadText(
        id="t", seed=0, text=" ".join(each for each, _ in read),
        people=(("Anna", "f"), ("Adam", "m")), aliases=(),
        sentences=tuple(
            ReadSentence(number=i, text=each, states=tuple(states))
            for i, (each, states) in enumerate(read)
        ),
    )  # fmt: skip
    assert from_record(ReadText, json.loads(json.dumps(to_record(text)))) == text
    reach = labelled_reach([text])
    assert (reach.n_gold, reach.n_extracted) == (2, 1)
    assert (reach.recall.value, reach.precision.value) == (0.5, 1.0)
    with pytest.raises(ValueError, match="text t has 1, got number 2"):
        labelled_reach([replace(text, text="Anna was a nurse.", sentences=text.sentences[2:])])


def test_the_table_says_where_recall_is_too_low():
    own = Rates(
        tallies(BENCH, own_texts(BENCH, GenerateConfig(n_words=80)))["simulator plain"]
    )  # fmt: skip
    found = reach_of(2 * [row for row in ROWS if row.is_gold and row.is_extracted])
    good = Validity(NOT_READ.simulator, NOT_READ.accuracy, found)
    bad = Validity(NOT_READ.simulator, NOT_READ.accuracy, NOT_READ.simulator)
    spoken = bad._replace(labelled=reach_of([row._replace(kind="speak") for row in ROWS]))
    table = generated_table(
        dict.fromkeys("abcd", own), {"a": good, "b": bad, "c": NOT_READ, "d": spoken}, own
    )  # fmt: skip
    notes = [row[0].small for row in table.rows]
    assert notes[0] == ""
    assert notes[1].startswith("recall on free text 0.50, below 0.6")
    assert notes[2].startswith("nobody has read its sentences")
    assert notes[3].startswith("facts in the sentences that were read: 0;")
