import re
from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache

import pytest

from memformer.plotbench.make import make_base
from memformer.plotbench.names import CHARS_PER_TOKEN
from memformer.plotbench.probes import answer
from memformer.plotbench.story import EXTENDED, FAMILIES, RETRIEVAL_FLOOR

SPLITS = ("train", "dev", "test")
BASES = [
    make_base(seed, bucket=bucket, length=length, families=("all",), split=split)
    for split in SPLITS
    for seed in range(16)
    for bucket, length in ((512, 4096), (2048, 16_384))
]


def groups():
    for base in BASES:
        held = defaultdict(dict)
        for probe in base.probes:
            held[probe.group_id][probe.cell] = probe
        texts = {story.story_id: story.text for story in base.stories}
        traces = {trace.story_id: trace for trace in base.traces}
        for cells in held.values():
            yield cells, texts, traces


def test_all_families_are_asked():
    assert {cells["A", "x"].family for cells, _, _ in groups()} == set(FAMILIES)


def test_the_trace_alone_answers_every_probe():
    n = 0
    for base in BASES:
        traces = {trace.story_id: trace for trace in base.traces}
        for probe in base.probes:
            n += 1
            assert answer(traces[probe.story_id], replace(probe, gold=0, suffix="")) == probe.gold
    assert n > 1000


def test_the_answer_follows_the_trace_and_not_the_options_order():
    for cells, _, traces in groups():
        probe = cells["A", "x"]
        turned = replace(probe, options=probe.options[::-1])
        assert answer(traces[probe.story_id], turned) == 1 - probe.gold
        other = traces[cells["B", "x"].story_id]
        assert answer(other, replace(probe, support=cells["B", "x"].support)) == 1 - probe.gold


def test_an_unknown_family_or_person_is_an_error():
    base = BASES[0]
    probe, trace = base.probes[0], base.traces[0]
    with pytest.raises(ValueError, match="answers no family 'attr.hat'"):
        answer(trace, replace(probe, family="attr.hat"))
    with pytest.raises(ValueError, match="the stem must name one person"):
        answer(trace, replace(probe, stem=" Nobody was"))


def test_groups_are_latin_squares_of_one_wording():
    for cells, _, _ in groups():
        assert len(cells) == 4
        gold = {cell: probe.gold for cell, probe in cells.items()}
        assert gold["A", "x"] == gold["B", "y"] != gold["A", "y"] == gold["B", "x"]
        assert len({p.options for p in cells.values()}) == 1
        assert len({p.suffix for p in cells.values()}) == 1
        assert len({p.insert_at_char for p in cells.values()}) == 1
        for side in ("x", "y"):
            assert cells["A", side].stem == cells["B", side].stem
        assert len({re.sub(r"\b[A-Z][a-z]+\b", "N", p.stem) for p in cells.values()}) == 1
        assert len({len(p.stem) for p in cells.values()}) == 1


def test_stems_options_and_licences_are_prose():
    for base in BASES:
        for p in base.probes:
            assert p.stem.startswith("\n\n") and not p.stem[-1].isspace()
            assert all(re.fullmatch(" [A-Za-z]+", option) for option in p.options)
            assert len(set(p.options)) == 2
            assert p.suffix.rstrip('"')[-1] in ".!?" and not re.search(
                r"[{}\[\]|]", p.stem + p.suffix
            )
            assert p.licence.startswith("\n\n") and p.licence.endswith(".")
            assert not re.search(r"[{}\[\]|]", p.licence)


def test_distances_are_those_of_the_bucket_and_of_the_spans():
    for base in BASES:
        story = base.stories[0]
        gap = story.bucket * CHARS_PER_TOKEN
        for p in base.probes:
            gold = [s.span[1] for s in p.support if s.of == "gold"]
            assert gold and p.d_near_chars == p.insert_at_char - max(gold)
            assert p.d_first_chars == p.insert_at_char - min(gold)
            assert p.d_swap_chars == p.insert_at_char - story.swaps[-1][1] >= gap
            assert gap <= p.d_near_chars < 4 * gap
            assert p.n_mentions == len(gold) and p.hops >= 1 and p.n_distractors >= 0
            assert story.text[p.insert_at_char : p.insert_at_char + 2] == "\n\n"
            assert p.insert_at_char > 0.75 * len(story.text)


def test_support_is_where_the_twins_differ_and_names_known_facts():
    for cells, texts, traces in groups():
        for probe in cells.values():
            trace = traces[probe.story_id]
            known = {f.id for f in trace.facts} | {k.id for k in trace.knowledge}
            known |= {t.id for t in trace.threads}
            assert {s.fact for s in probe.support} <= known
        a, b = (texts[cells[twin, "x"].story_id] for twin in "AB")
        spans = [s.span for s in cells["A", "x"].support]
        assert any(a[slice(*span)] != b[slice(*span)] for span in spans)


def test_the_probe_text_decides_nothing():
    seen: Counter[tuple[str, str, int]] = Counter()
    for base in BASES:
        for p in base.probes:
            seen[p.stem, p.suffix, p.gold] += 1
    for (stem, suffix, gold), n in seen.items():
        assert seen[stem, suffix, 1 - gold] == n


@cache
def sentences(text):
    units = re.split(r"(?<=[.!?])[\"']?\s+|\n\n", text)
    return [set(re.findall("[A-Za-z]+", unit)) for unit in units]


def latest(units, name, options):
    for words in reversed(units):
        held = [option.strip() in words for option in options]
        if name in words and held[0] != held[1]:
            return held.index(True)
    return None


def test_latest_sentence_with_name_and_value_solves_the_floor_and_nothing_else():
    right: dict[str, list[bool]] = defaultdict(list)
    for cells, texts, traces in groups():
        hits = []
        for probe in cells.values():
            text = texts[probe.story_id]
            names = {f.o for f in traces[probe.story_id].facts if f.p == "name"}
            (name,) = names & set(re.findall("[A-Za-z]+", probe.stem))
            hits.append(latest(sentences(text), name, probe.options) == probe.gold)
        right[cells["A", "x"].family].append(all(hits))
    for family, each in right.items():
        rate = sum(each) / len(each)
        assert rate >= 0.95 if family in RETRIEVAL_FLOOR else rate <= 0.0625, (family, rate)


def test_last_and_most_frequent_option_are_never_right_in_a_whole_group():
    for cells, texts, _ in groups():
        for measure in (str.rfind, str.count):
            hits = []
            for probe in cells.values():
                text = texts[probe.story_id][: probe.insert_at_char]
                a, b = (measure(text, option) for option in probe.options)
                hits.append(a != b and (0 if a > b else 1) == probe.gold)
            assert not all(hits)


def test_extended_families_need_more_than_one_step():
    for cells, _, _ in groups():
        probe = cells["A", "x"]
        if probe.family in (*EXTENDED, "attr.alias", "know.secret", "thread.payoff"):
            assert probe.hops >= 2
        if probe.family == "attr.update":
            assert probe.n_updates == 1
