"""Nats of the stories' own text: which stretches, what they sum to, what telling the place does."""

import math
from dataclasses import replace

import pytest

from memformer.config.plotbench import MakeConfig
from memformer.config.plotbench_position import PositionConfig
from memformer.plotbench.arc_told import ArcRow
from memformer.plotbench.frames.arc import LATE
from memformer.plotbench.make import make
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.passages import PassageRow, stretches
from memformer.plotbench.position import (
    PositionRows,
    arc_contrast,
    load_position,
    perplexity,
    position_gain,
    run_position,
)
from memformer.plotbench.position_tables import position_tables
from memformer.plotbench.shortcuts import build_shortcut
from memformer.plotbench.story import Mention, Trace
from memformer.plotbench.told import fraction_at
from tests.plotbench.examples import example_bench
from tests.plotbench.models import PieceTokenizer, decoder
from tests.plotbench.test_memformer_scorer import whole

BENCH = example_bench()
CONFIG = PositionConfig(n_passage=4, passage_len=80)
TOLD = decoder("fourier")
ARCS = make(MakeConfig(
    seeds=(0, 1), buckets=(128,), lengths=(1024,), families=("arc.position", "attr.static"),
))  # fmt: skip


def scorer(model=TOLD, **settings):
    return MemformerScorer(model, PieceTokenizer(), **settings)


@pytest.mark.parametrize("n_passage", [1, 4, 30])
def test_stretches_are_whole_words_apart_from_each_other_and_from_facts(n_passage):
    config = PositionConfig(n_passage=n_passage, passage_len=90)
    for bench in (BENCH, ARCS):
        for story, trace in zip(bench.stories, bench.traces, strict=True):
            found = stretches(story, trace, config)
            assert {each.kind for each in found} == {"text", "fact"}
            end = 0
            for (start, stop), kind in found:
                assert end <= start < stop
                end = stop
                assert story.text[start].isspace() and not story.text[start - 1].isspace()
                assert not story.text[stop - 1].isspace()
                if kind == "text":
                    assert 40 <= stop - start <= 90
                    assert not any(m.span[0] < stop and start < m.span[1] for m in trace.mentions)
            texts = [each for each in found if each.kind == "text"]
            assert 1 <= len(texts) <= n_passage
            stripped = [m for m in trace.mentions if m.span[0] > 0]
            assert all(
                any(s <= m.span[0] and m.span[1] <= e + 1 for (s, e), k in found if k == "fact")
                for m in stripped
            )


def test_mentions_that_overlap_are_one_and_the_first_word_is_left_out():
    story = BENCH.stories[0]
    mentions = tuple(
        Mention(fact="f", span=span, role="establish") for span in ((0, 7), (20, 40), (30, 60))
    )
    trace = Trace(story_id=story.story_id, facts=(), mentions=mentions)
    facts = [each.span for each in stretches(story, trace, CONFIG) if each.kind == "fact"]
    assert len(facts) == 1 and facts[0][0] <= 20 and facts[0][1] in (59, 60)


def test_a_stretch_sums_to_what_the_whole_text_gives(tmp_path):
    model = decoder()
    found = run_position(
        BENCH, [scorer(model), build_shortcut("bm25")], out=tmp_path, fractions=["true"],
        config=CONFIG,
    )  # fmt: skip
    assert {row.kind for row in found.passages} == {"text", "fact"} and not found.arcs
    stories = {story.story_id: story.text for story in BENCH.stories}
    for row in found.passages:
        text = stories[row.story_id][: row.span[1]]
        assert row.logprob == pytest.approx(whole(model, text, row.n_tokens), abs=1e-4)
    only = [row for row in found.passages if row.kind == "fact"]
    nats, n = sum(row.logprob for row in only), sum(row.n_tokens for row in only)
    assert perplexity(found.passages, "fact").value == pytest.approx(math.exp(-nats / n))


def test_every_way_of_telling_is_scored_and_a_run_goes_on(tmp_path):
    asked = dict(
        conditions=["on", "off", "local"], fractions=["true", "shuffled", "header"], config=CONFIG
    )
    told = []
    found = run_position(
        BENCH, [scorer()], out=tmp_path, progress=lambda *each: told.append(each), **asked
    )
    ways = {(row.condition, row.fraction) for row in found.passages}
    assert ways == {(c, f) for c in ("on", "off") for f in ("true", "shuffled")}
    assert told[0] == ("memformer", "on passages", "true", 1, 4) and len(told) == 16
    true, shuffled = (
        [r for r in found.passages if (r.condition, r.fraction) == ("on", f)]
        for f in ("true", "shuffled")
    )
    gain = position_gain(true, shuffled)
    text = [[r for r in rows if r.kind == "text"] for rows in (true, shuffled)]
    mean = [sum(-r.logprob for r in rows) / sum(r.n_tokens for r in rows) for rows in text]
    assert gain.value == pytest.approx(mean[1] - mean[0]) and gain.value != 0
    path = tmp_path / "passages.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(FileExistsError, match="give --resume"):
        run_position(BENCH, [scorer()], out=tmp_path, **asked)
    assert run_position(BENCH, [scorer()], out=tmp_path, resume=True, **asked) == found
    assert load_position(tmp_path, BENCH) == found
    other = replace(CONFIG, n_passage=3, passage_len=100)
    with pytest.raises(ValueError, match="n_passage and passage_len do not choose"):
        run_position(BENCH, [scorer()], out=tmp_path, resume=True, **{**asked, "config": other})
    with pytest.raises(ValueError, match="share no stretch"):
        position_gain(true, [replace(true[0], span=(1, 2))])
    manifest = {**BENCH.manifest, "content_sha256": "0" * 64}
    with pytest.raises(ValueError, match=r"passages.jsonl line 1 \(s000003.d128.A\): rows are of"):
        load_position(tmp_path, replace(BENCH, manifest=manifest))


def test_arcs_are_told_both_acts_and_change_with_them(tmp_path, monkeypatch):
    at = []
    inner = fraction_at

    def seen(told, places, n_total, factor):
        u = inner(told, places, n_total, factor)
        if told == "estimated" and places.shape[0] > 1:  # branches
            at.append(float(u[0, 0]))
        return u

    monkeypatch.setattr("memformer.plotbench.memformer_scorer.fraction_at", seen)
    found = run_position(ARCS, [scorer()], out=tmp_path, fractions=["true"], config=CONFIG)
    probes = [p for p in ARCS.probes if p.family == "arc.position"]
    assert probes and sorted(row.probe_id for row in found.arcs) == sorted(
        p.probe_id for p in probes
    )
    assert {round(u, 1) for u in at} <= {0.1, 0.9, 1.0}  # places by characters, u by tokens
    assert min(at) < 0.2 and max(at) > 0.85
    assert all(row.contrast != 0 for row in found.arcs)
    assert arc_contrast(found.arcs).value == pytest.approx(
        sum(row.contrast for row in found.arcs) / len(found.arcs)
    )
    again = run_position(
        ARCS, [scorer()], out=tmp_path, fractions=["true"], config=CONFIG, resume=True
    )
    assert again == found
    with pytest.raises(ValueError, match="was told .* choose another folder"):
        run_position(
            ARCS, [scorer()], out=tmp_path, fractions=["true"], resume=True,
            config=replace(CONFIG, late=0.9),
        )  # fmt: skip
    assert all(p.options[0].strip() in LATE for p in probes)
    first = next(row for row in found.arcs if row.probe_id == probes[0].probe_id)
    assert first.told == (0.95, 0.1) and first.fraction == "estimated"


def made_arc(late, early):
    return ArcRow(
        probe_id="p", story_id="s", seed=0, bucket=128, model="m", condition="on",
        fraction="estimated", told=(0.95, 0.1), late=late, early=early, bench_version="0",
        bench_sha256="0", config_sha256="0",
    )  # fmt: skip


def test_arc_contrast_is_what_a_scene_gains_in_its_own_act():
    assert made_arc((-1.0, -3.0), (-2.0, -2.0)).contrast == 1.0
    assert made_arc((-1.0, -3.0), (-1.0, -3.0)).contrast == 0.0  # likelier late, both of them
    with pytest.raises(ValueError, match="must be finite"):
        made_arc((math.nan, 0.0), (0.0, 0.0))


def made_passage(story, logprob, kind="text", **fields):
    plain = dict(
        story_id=f"s{story}", seed=story, bucket=128, model="m", condition="on", fraction="true",
        kind=kind, span=(10, 60), n_tokens=10, bench_version="0", bench_sha256="0",
        config_sha256="0",
    )  # fmt: skip
    return PassageRow(logprob=logprob, **plain | fields)


def test_gain_is_paired_by_stretch_and_its_interval_over_stories():
    true = [made_passage(s, -20.0 - s) for s in range(12)]
    worse = [replace(row, fraction="shuffled", logprob=row.logprob - 5.0) for row in true]
    gain = position_gain(true, worse)
    assert gain == pytest.approx((0.5, 0.5, 0.5, 12))  # stories differ, their difference does not
    facts = [made_passage(s, -10.0, kind="fact", span=(70, 90)) for s in range(12)]
    (gains, words) = position_tables(
        PositionRows([*true, *worse, *facts], [made_arc((0, -1), (-1, 0))])
    )
    assert [cell.main for cell in gains.rows[0]] == ["m on", "+0.5000", "–", "–", "–", "+1.000"]
    assert [row[0].main for row in words.rows] == ["m on", "m on, fraction shuffled"]
    assert words.rows[0][1].main == f"{math.e:.2f}"
    assert not list(position_tables(PositionRows([], [])))


def test_a_model_that_takes_no_fraction_is_given_headings(tmp_path):
    found = run_position(
        BENCH, [scorer(decoder())], out=tmp_path, fractions=["true", "header", "shuffled"],
        config=CONFIG,
    )  # fmt: skip
    assert {row.fraction for row in found.passages} == {"true", "header"}
    (gains, words) = position_tables(found)
    assert [cell.main == "–" for cell in gains.rows[0][1:]] == [True, False, True, True, True]
    assert [row[0].main for row in words.rows] == [
        "memformer on", "memformer on, fraction header",
    ]  # fmt: skip


def test_early_and_late_must_be_apart():
    with pytest.raises(ValueError, match="early must be below late=0.95, got 0.96"):
        PositionConfig(early=0.96)
