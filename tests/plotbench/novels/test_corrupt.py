"""Twin A is the book; in twin B two values trade places everywhere and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest

from memformer.config.plotbench_novels import NovelConfig
from memformer.plotbench.files import load, save
from memformer.plotbench.metrics import scores
from memformer.plotbench.novels.corrupt import make_novels, memorisation_index, swap_edits
from memformer.plotbench.novels.edited import Edit, Edited
from memformer.plotbench.novels.rename import fresh_names, renamed
from memformer.plotbench.run import run
from memformer.plotbench.shortcuts import build_shortcut
from memformer.plotbench.validity import faults, incomplete_groups
from tests.plotbench.made_rows import rows_on
from tests.plotbench.novels.made import NOVEL, manuscript, recipe, swap

TEXTS = {"made": NOVEL}
WHOLE = make_novels(NovelConfig(), TEXTS, [recipe()])
PARTS = make_novels(NovelConfig(context_chars=2600), TEXTS, [recipe()])
RENAMED = make_novels(NovelConfig(renamed=True), TEXTS, [recipe()])


def story(bench, id):
    return next(each for each in bench.stories if each.story_id == id)


@pytest.mark.parametrize("bench", [WHOLE, PARTS, RENAMED], ids=["whole", "parts", "renamed"])
def test_benchmark_is_without_fault_and_every_group_has_four_cells(bench):
    assert not list(faults(bench))
    assert not incomplete_groups(bench.probes)
    assert len(bench.probes) % 4 == 0 < len(bench.probes)


def test_twin_a_is_the_book_and_b_swaps_every_mention_back_and_forth():
    a, b = story(WHOLE, "made.home.A"), story(WHOLE, "made.home.B")
    assert a.text == NOVEL.text
    assert b.text.count("Ashby") == a.text.count("Wold") == 3
    assert b.text.count("Wold") == a.text.count("Ashby") == 4
    assert "Mr. Orme lived at Wold with" in b.text


def test_outside_their_swaps_twins_are_equal_though_lengths_differ():
    for id in ("made.home", "made.home.x00", "made.home.y00"):
        bench = PARTS if id.count(".") == 2 else WHOLE
        a, b = story(bench, f"{id}.A"), story(bench, f"{id}.B")
        assert len(a.swaps) == len(b.swaps) > 0
        assert rest(a) == rest(b)
        assert [a.text[i:j] for i, j in a.swaps] != [b.text[i:j] for i, j in b.swaps]


def rest(told):
    edges = [0, *(edge for span in told.swaps for edge in span), len(told.text)]
    return [told.text[i:j] for i, j in zip(edges[::2], edges[1::2], strict=True)]


def test_article_follows_the_value_and_is_part_of_both_swaps():
    a, b = story(WHOLE, "made.home.A"), story(WHOLE, "made.home.B")
    assert "An Ashby man drove by." in a.text
    assert "A Wold man drove by." in b.text
    assert "An Ashby" in [a.text[i:j] for i, j in a.swaps]
    assert "A Wold" in [b.text[i:j] for i, j in b.swaps]


@pytest.mark.parametrize("bench", [WHOLE, PARTS], ids=["whole", "parts"])
def test_published_line_is_gold_in_a_and_the_contradiction_in_b(bench):
    for p in bench.probes:
        told = story(bench, p.story_id)
        line = p.stem + p.options[p.gold] + p.suffix
        assert told.text.startswith(line, p.insert_at_char)
        published = p.stem + p.options[1 - p.gold] + p.suffix
        assert (line in NOVEL.text) == (p.cell[0] == "A")
        assert (published in NOVEL.text) == (p.cell[0] == "B")
        assert p.gold == int((p.cell[0] == "B") != (p.cell[1] == "y"))


def test_options_stems_and_suffixes_are_alike_in_all_cells_of_a_side():
    for group in {p.group_id for p in WHOLE.probes}:
        own = [p for p in WHOLE.probes if p.group_id == group]
        assert {p.options for p in own} == {(" Ashby", " Wold")}
        for side in "xy":
            assert len({(p.stem, p.suffix) for p in own if p.cell[1] == side}) == 1


def test_distance_and_support_are_those_of_the_earlier_mention():
    p = next(p for p in WHOLE.probes if p.probe_id == "made.home.g00.B.y")
    text = story(WHOLE, p.story_id).text
    assert text[: p.insert_at_char].rindex("Ashby") + 5 == p.insert_at_char - p.d_near_chars
    gold = [text[slice(*s.span)] for s in p.support if s.of == "gold"]
    assert gold[0] == "Mrs. Vane had an old house at Ashby, and an old carriage."
    (other,) = [text[slice(*s.span)] for s in p.support if s.of == "other"]
    assert "Orme" in other and "Wold" in other
    assert p.licence.strip() in text[: p.insert_at_char]
    assert p.d_first_chars >= p.d_near_chars >= p.d_swap_chars > 0


def test_trace_holds_both_facts_as_each_twin_tells_them():
    values = {t.story_id[-1]: {f.s: f.o for f in t.facts} for t in WHOLE.traces}
    assert values == {
        "A": {"orme": "Ashby", "vane": "Wold"}, "B": {"orme": "Wold", "vane": "Ashby"},
    }  # fmt: skip
    for trace in WHOLE.traces:
        text, owner = story(WHOLE, trace.story_id).text, {f.id: f.o for f in trace.facts}
        assert all(text[slice(*m.span)] == owner[m.fact] for m in trace.mentions)


def test_lines_that_are_lost_are_counted():
    assert WHOLE.manifest["lost"] == {"out_of_context": 0, "unpaired": 0}
    one_side = recipe(swaps=(swap(verdicts=["good", "good", "good", "untied"]),))
    bench = make_novels(NovelConfig(), TEXTS, [one_side])
    assert bench.manifest["lost"] == {"out_of_context": 0, "unpaired": 1}
    assert len(bench.probes) == 4
    with pytest.raises(ValueError, match="no group is left: let context_chars be longer"):
        make_novels(NovelConfig(context_chars=50), TEXTS, [recipe()])


def test_renamed_copy_names_nobody_of_the_book_and_asks_the_same_groups():
    fresh = fresh_names(recipe(), NOVEL.text)
    assert len(set(fresh.values())) == 4
    for each in RENAMED.stories:
        assert not [name for name in fresh if name in each.text]
    assert {p.probe_id for p in RENAMED.probes} == {p.probe_id for p in WHOLE.probes}
    assert "Mr. Ashgrave lived at Aldermoor with" in story(RENAMED, "made.home.A").text
    assert "An Aldermoor man" in story(RENAMED, "made.home.A").text
    assert "A Bramfold man" in story(RENAMED, "made.home.B").text


def test_fresh_names_avoid_the_text_and_keep_plurals_and_capitals():
    taken = fresh_names(recipe(), NOVEL.text + " Ashgrave")
    assert "Ashgrave" not in taken.values()
    assert renamed("the Ormes, ORME's, Ormeling", {"Orme": "Hex"}) == "the Hexs, HEX's, Ormeling"
    with pytest.raises(ValueError, match="more names of kind 's' than fresh"):
        fresh_names(recipe(names=tuple((f"N{i}", "s") for i in range(99))), "")


def test_a_form_in_capitals_swaps_in_capitals():
    text = "At Ashby. ASHBY! Then Wold."
    held = replace(
        swap(), forms=(("Ashby", "Wold"), ("ASHBY", "WOLD")), mentions=((3, 10), (22,)), lines=()
    )
    assert Edited(text, swap_edits(text, held, "B", {})).text == "At Wold. WOLD! Then Ashby."
    with pytest.raises(ValueError, match="at 4 is no form of 'Ashby'"):
        swap_edits(text, replace(held, mentions=((4,), ())), "B", {})


def test_offsets_follow_edits_within_a_part():
    told = Edited("one two three four", [Edit(4, 7, "2", True), Edit(8, 13, "third", False)], 4)
    assert told.text == "2 third four"
    assert [told.at(i) for i in (4, 5, 7, 8, 13, 14)] == [0, 0, 1, 2, 7, 8]
    assert told.swaps == ((0, 1),)
    with pytest.raises(ValueError, match="must lie apart"):
        Edited("one two", [Edit(0, 3, "", True), Edit(2, 5, "", True)])


def test_memorisation_index_is_one_for_who_recites_and_zero_for_who_reads():
    reads = rows_on(WHOLE, [1.0] * len(WHOLE.probes))
    assert memorisation_index(reads).value == 0
    recites = rows_on(WHOLE, [1.0 if p.cell[0] == "A" else -1.0 for p in WHOLE.probes])
    assert memorisation_index(recites).value == 1
    assert scores(recites).pair.value == 0
    with pytest.raises(ValueError, match="twin B"):
        memorisation_index([row for row in reads if row.cell[0] == "A"])


def test_memorisation_index_has_an_interval_over_books():
    rng = np.random.default_rng(0)
    books = [
        make_novels(NovelConfig(), TEXTS, [recipe(number=i)]) for i in range(1, 13)
    ]  # fmt: skip
    rows = [
        row
        for bench in books
        for row in rows_on(bench, rng.choice([-1.0, 1.0], len(bench.probes)).tolist())
    ]
    found = memorisation_index(rows)
    assert found.n_stories == 12
    assert found.low < found.value < found.high


def test_folder_and_run_take_the_benchmark_as_any_other(tmp_path):
    save(tmp_path / "pb", PARTS)
    assert load(tmp_path / "pb") == PARTS
    rows = run(PARTS, build_shortcut("latest-cooccurrence"), out=tmp_path / "out")
    assert len(rows) == len(PARTS.probes)
    assert {row.family for row in rows} == {"attr.static"}


def test_a_text_that_is_missing_or_not_the_recipes_is_refused():
    with pytest.raises(ValueError, match="manuscripts must hold 'made', got \\[\\]"):
        make_novels(NovelConfig(), {}, [recipe()])
    with pytest.raises(ValueError, match="the recipe's offsets belong to the text with SHA-256"):
        make_novels(NovelConfig(), {"made": manuscript(["Else."])}, [recipe()])
    with pytest.raises(ValueError, match="context_chars must be at least 1 or None, got 0"):
        NovelConfig(context_chars=0)
