"""Texts are written on branches, kept by story, and judged in the world they go on with."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from memformer.config.plotbench import MakeConfig
from memformer.config.plotbench_generated import GenerateConfig
from memformer.plotbench.generated.known import draft_of, known_at, known_of
from memformer.plotbench.generated.rates import Rates, divergence, tallies, tally
from memformer.plotbench.generated.report import generated_table
from memformer.plotbench.generated.texts import (
    TEXTS,
    cut_at,
    load_texts,
    own_texts,
    write,
)  # fmt: skip
from memformer.plotbench.make import make
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.shortcuts import build_shortcut
from memformer.plotbench.world import check_consistency
from tests.plotbench.generated.examples import BENCH, NOT_READ, STORY, text_of
from tests.plotbench.models import PieceTokenizer, decoder

CONFIG = GenerateConfig(places=(0.25, 0.75), n_words=12)


class Parrot:
    """Says the same of everybody, wherever it is asked."""

    name, max_context = "parrot", None

    def __init__(self, says="It rained."):
        self.says, self.opened, self.stems = says, [], []

    def open(self, text, *, fraction="true"):
        self.opened.append(text)
        return self

    def advance(self, to_char):
        self.char = to_char

    def generate(self, stem, max_words, seed):
        self.stems.append(stem)
        return f"{self.says} {self.char}."


def test_a_model_goes_on_with_each_story_at_each_place(tmp_path):
    bench = make(MakeConfig(seeds=(0, 1), buckets=(128,), lengths=(640,)))
    scorer, story = MemformerScorer(decoder(), PieceTokenizer()), bench.stories[0]
    rows = write(bench, scorer, out=tmp_path, config=CONFIG, conditions=["on", "off"])
    assert [row.condition for row in rows] == ["on", "on", "off", "off"]  # twin A alone
    assert all(1 <= len(row.text.split()) <= 12 for row in rows)
    assert all(story.text[row.cut : row.cut + 2] == "\n\n" for row in rows)
    assert load_texts(tmp_path / TEXTS) == rows
    again = write(bench, scorer, out=tmp_path / "again", config=CONFIG, conditions=["on"])
    assert [row.text for row in again] == [row.text for row in rows[:2]]


def test_a_text_may_have_to_begin_with_somebody_who_lives(tmp_path):
    parrot = Parrot(" laughed")
    rows = write(BENCH, parrot, out=tmp_path, config=replace(CONFIG, opening="name"))
    for row in rows:
        story = next(s for s in BENCH.stories if s.story_id == row.story_id)
        known = known_of(story, BENCH.manifest, row.cut)
        assert row.text.split(" ")[0] in {each.name for each in known.main}
        assert parrot.stems[rows.index(row)] == "\n\n" + row.text.split(" ")[0]
    with pytest.raises(ValueError, match="opening must be free or name, got 'x'"):
        GenerateConfig(opening="x")


def test_finished_stories_are_kept(tmp_path):
    whole = write(BENCH, Parrot(), out=tmp_path, config=CONFIG)
    path = tmp_path / TEXTS
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    second = Parrot()
    assert write(BENCH, second, out=tmp_path, config=CONFIG, resume=True) == whole
    assert len(second.opened) == 2  # one to see that it fits, one for the story begun
    with pytest.raises(ValueError, match="generate.n_words=12, it now has 13"):
        write(BENCH, Parrot(), out=tmp_path, config=replace(CONFIG, n_words=13), resume=True)


def test_a_changed_text_is_refused(tmp_path):
    write(BENCH, Parrot(), out=tmp_path, config=CONFIG)
    path = tmp_path / TEXTS
    path.write_text(path.read_text().replace("It rained", "It poured", 1))
    with pytest.raises(ValueError, match=r"texts.jsonl line 1: .*it was changed; write it anew"):
        load_texts(path)


def test_bad_requests(tmp_path):
    with pytest.raises(ValueError, match="'local' write nothing"):
        write(BENCH, Parrot(), out=tmp_path, config=CONFIG, conditions=["local"])
    with pytest.raises(ValueError, match="shortcuts"):
        write(BENCH, build_shortcut("oracle"), out=tmp_path, config=CONFIG)
    with pytest.raises(ValueError, match=r"places must be fractions within \(0, 1\), got \(1.0,\)"):
        GenerateConfig(places=(1.0,))
    with pytest.raises(ValueError, match="n_words must be at least 1, got 0"):
        GenerateConfig(n_words=0)
    with pytest.raises(ValueError, match="no paragraph of .* ends before 0.0001"):
        cut_at(STORY, 0.0001)
    assert not list(tmp_path.iterdir())


def test_what_is_known_is_what_was_told_and_no_more():
    draft = draft_of(STORY, BENCH.manifest)
    early, late = (known_at(draft, 0, cut_at(STORY, u)) for u in (0.3, 0.75))
    assert set(early.events) < set(late.events)
    assert check_consistency(late.events) == []
    whole = known_at(draft, 0, len(STORY.text))
    told = {fact.id for fact in whole.state.facts if fact.p not in ("eyes", "birthplace", "plays")}
    assert {f.id for f in BENCH.traces[0].facts if f.p not in ("eyes", "birthplace", "plays")} <= (
        told
    )  # fmt: skip
    other = known_of(BENCH.stories[1], BENCH.manifest, len(STORY.text))
    assert other.events != whole.events


def test_another_text_or_story_is_refused():
    with pytest.raises(ValueError, match="its seed does not make this text"):
        draft_of(replace(STORY, text=STORY.text + " More."), BENCH.manifest)
    with pytest.raises(ValueError, match="only simulated worlds"):
        draft_of(replace(STORY, track="novel"), BENCH.manifest)
    known = known_of(STORY, BENCH.manifest, 500)
    with pytest.raises(ValueError, match="write it anew"):
        tally(text_of(STORY, "It rained."), BENCH.stories[1], known)
    with pytest.raises(ValueError, match="judge it on its own data"):
        tallies(BENCH, [replace(text_of(STORY, "It rained."), bench_sha256="ab")])


def test_the_stories_own_texts_are_what_stands_there_and_contradict_nothing():
    own = own_texts(BENCH, replace(CONFIG, n_words=120))
    for each in own:
        story = next(s for s in BENCH.stories if s.story_id == each.story_id)
        assert story.text[each.cut :].lstrip().startswith(each.text)
        assert len(each.text.split()) <= 120
    rates = Rates(tallies(BENCH, own)["simulator plain"])
    assert rates.contradictions.value == 0
    assert rates.n_words > 300


def test_contradictions_and_silence_are_told_apart():
    story, known, fact = next(
        (story, known, fact)
        for story in BENCH.stories
        for known in (known_of(story, BENCH.manifest, cut_at(story, 0.75)),)
        for fact in known.state.facts
        if fact.p in ("trade", "birthplace", "eyes") and fact.t[1] is None
    )
    name = next(p.name for p in known.lexicon.people if p.id == fact.s)
    true, false = (_sentence(fact.p, name, v) for v in (fact.o, _other(fact.p, fact.o)))
    for text, n, consistency in ((true, 0, 1.0), (false, 1, 0.0)):
        rates = Rates(tallies(BENCH, [text_of(story, f"{text} It rained all day.")])["m on"])
        assert rates.consistency.value == consistency
        assert rates.contradictions.value == pytest.approx(1000 * n / rates.n_words)
        assert rates.n_checkable == 1
    silent = Rates(tallies(BENCH, [text_of(STORY, "It rained, and rained, and rained.")])["m on"])
    assert silent.contradictions.value == 0
    assert math.isnan(silent.consistency.value)
    assert silent.density.value == 0 and silent.entity_recall.value == 0
    assert not silent.has_guards


def _other(predicate, value):
    match predicate:
        case "trade":
            return "miner" if value != "miner" else "nurse"
        case "birthplace":
            return "Leeds" if value != "Leeds" else "Dover"
        case _:
            return "blue" if value != "blue" else "grey"


def _sentence(predicate, name, value):
    match predicate:
        case "trade":
            return f"{name} was a {value}."
        case "birthplace":
            return f"{name} was born in {value}."
        case _:
            return f"{name}'s eyes were {value}."


def test_a_rate_is_a_ratio_of_sums():
    short, long = "Anna was here.", "Anna was here, and it rained, and nobody said a word more."
    rows = [text_of(STORY, short), text_of(STORY, long)]
    rates = Rates(tallies(BENCH, rows)["m on"])
    assert rates.n_words == 3 + 12
    assert rates.end_gap.value == pytest.approx(0.25, abs=0.06)
    ended = Rates(tallies(BENCH, [text_of(STORY, f"{long}\n\nTHE END\n\n{long * 9}")])["m on"])
    assert ended.end_gap.value == pytest.approx(rates.end_gap.value, abs=0.02)


def test_nothing_seen_has_no_interval_of_no_width():
    known = known_of(STORY, BENCH.manifest, cut_at(STORY, 0.75))
    silent = tally(text_of(STORY, "It rained, and rained."), STORY, known)
    rates = Rates([silent._replace(seed=seed) for seed in range(12)])
    assert rates.contradictions.value == 0 and math.isnan(rates.contradictions.high)
    assert math.isnan(rates.consistency.value) and rates.consistency.n_stories == 12


def test_divergence_is_zero_for_equals_and_one_for_strangers():
    a, b = {3: Counter(speak=30)}, {3: Counter(give=25), 4: Counter(give=99)}
    assert divergence(a, a) == {3: 0}
    assert divergence(a, b) == {3: 1}
    assert divergence(a, {3: Counter(speak=19)}) == {}


def test_no_row_without_validity_or_guards():
    own = Rates(tallies(BENCH, own_texts(BENCH, CONFIG))["simulator plain"])
    mute = Rates(tallies(BENCH, [text_of(STORY, "It rained.")])["m on"])
    with pytest.raises(ValueError, match="no extractor's precision and recall for m on"):
        generated_table({"m on": own}, {}, own)
    table = generated_table({"a": own, "m on": mute}, {"a": NOT_READ, "m on": NOT_READ}, own)
    assert [row[0].main for row in table.rows] == ["a"]
    assert "Not shown, since their texts are too short or name nobody: m on" in table.caption
    assert all(len(row) == len(table.head) for row in table.rows)
