"""A run goes on where it stopped, and refuses what would make its rows meaningless."""

import copy
import json
import math
from dataclasses import replace

import pytest

from memformer.config.plotbench import ScoreConfig
from memformer.plotbench.make import content_hash
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.metrics import groups_of, scores
from memformer.plotbench.results import Result
from memformer.plotbench.row_file import RowFile
from memformer.plotbench.rows import by_run, load_results, refuse_bad_rows
from memformer.plotbench.run import run
from memformer.plotbench.run_folder import config_hash
from memformer.plotbench.scorers import OptionScore
from memformer.plotbench.session import BranchingSession
from memformer.plotbench.shortcuts import build_shortcut
from tests.plotbench.examples import example_bench
from tests.plotbench.models import PieceTokenizer, decoder

BENCH = example_bench()
MODEL = decoder()


def scorer(**settings):
    return MemformerScorer(MODEL, PieceTokenizer(), **settings)


class Told:
    """A scorer that knows the protocol alone; `of` says what it gives to an option."""

    max_context = None

    def __init__(self, of=len, name="told"):
        self.of, self.name, self.opened = of, name, []

    def open(self, text, *, fraction="true"):
        self.opened.append(text)
        return self

    def advance(self, to_char):
        self.char = to_char

    def score(self, stem, options, suffix=""):
        return [OptionScore(self.of(option), 2, 7, 100) for option in options]


def test_distances_can_be_left_for_later(tmp_path):
    near = run(BENCH, Told(), out=tmp_path, buckets=[128])
    assert {row.bucket for row in near} == {128} and len(near) == 4
    both = run(BENCH, Told(), out=tmp_path, resume=True)
    assert both[:4] == near and [row.bucket for row in both] == [128] * 4 + [512] * 4
    with pytest.raises(ValueError, match=r"buckets must be among \[128, 512\], got \[7\]"):
        run(BENCH, Told(), out=tmp_path / "none", buckets=[7])


def test_damaged_rows_are_named_with_their_file(tmp_path):
    path = tmp_path / "results.jsonl"
    with pytest.raises(FileNotFoundError, match="give a folder that `run` wrote"):
        load_results(path, BENCH)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="results.jsonl holds no row"):
        load_results(path, BENCH)
    path.write_bytes(b'{}\n{"a": "\xff"}\n')
    with pytest.raises(ValueError, match="results.jsonl line 2 is not UTF-8"):
        load_results(path, BENCH)


def test_a_scorer_that_tells_no_settings_is_named_in_the_log(tmp_path, caplog):
    run(BENCH, Told(), out=tmp_path / "a")
    assert "told has no `settings`" in caplog.text
    caplog.clear()
    run(BENCH, [scorer(), build_shortcut("bm25")], out=tmp_path / "b")
    assert "settings" not in caplog.text


def test_rows_hold_all_that_judging_needs(tmp_path):
    rows = run(BENCH, scorer(), out=tmp_path, conditions=["on", "off"])
    assert len(rows) == 2 * len(BENCH.probes)
    refuse_bad_rows(rows, BENCH)
    assert load_results(tmp_path / "results.jsonl", BENCH) == rows
    config = json.loads((tmp_path / "config.json").read_text())
    told = config["models"]["memformer"]
    assert {row.config_sha256 for row in rows} == {told["sha256"]}
    assert told["sha256"] == config_hash(config["data"], told["settings"])
    row = next(r for r in rows if r.probe_id == BENCH.probes[0].probe_id)
    (gold,) = (each for each in row.support if each[2] == "gold")
    text = BENCH.stories[0].text
    tokens = PieceTokenizer().encode(text[gold[1] :] + BENCH.probes[0].stem).ids
    assert abs(row.d_near_tokens - len(tokens)) <= 1
    assert row.context_tokens > row.d_near_tokens
    assert row.seed == 3 and row.bucket == 128 and row.model == "memformer"
    for each in by_run(rows).values():
        assert len(groups_of(each).ids) == 2


def test_hard_truncation_gives_a_difference_of_exactly_zero(tmp_path):
    rows = run(BENCH, scorer(), out=tmp_path, conditions=["truncated"])
    assert groups_of(rows).did.tolist() == [0, 0]
    assert scores(rows).pair.value == 0


def test_no_retrieved_pair_equals_no_memory_and_other_book_runs(tmp_path):
    rows = run(BENCH, scorer(), out=tmp_path, conditions=["off", "K0", "other_book", "on"])
    found = {run.condition: [row.logprob for row in each] for run, each in by_run(rows).items()}
    assert found["K0"] == found["off"]
    assert found["other_book"] != found["on"]
    one_seed = replace(BENCH.stories[0], seed=4), *BENCH.stories[1:]
    with pytest.raises(ValueError, match="other_book.* needs a story of another seed"):
        stories = tuple(replace(s, seed=4) for s in one_seed)
        told = BENCH.manifest | {"content_sha256": content_hash(stories, BENCH.probes)}
        lone = replace(BENCH, stories=stories, manifest=told)
        run(lone, scorer(), out=tmp_path / "lone", conditions=["other_book"])


def test_local_puts_the_licence_before_the_probe(tmp_path):
    asked = []

    class Asked(Told):
        def score(self, stem, options, suffix=""):
            asked.append(stem)
            return super().score(stem, options, suffix)

    rows = run(BENCH, Asked(), out=tmp_path, conditions=["plain", "local"])
    assert {row.condition for row in rows} == {"plain", "local"}
    assert sorted(asked) == sorted(
        s for p in BENCH.probes for s in (p.stem, p.licence + p.stem)
    )  # fmt: skip


def test_a_scorer_without_conditions_runs_once(tmp_path):
    rows = run(BENCH, [Told(), build_shortcut("oracle")], out=tmp_path, conditions=["on", "off"])
    labels = [each.label for each in by_run(rows)]
    assert labels == ["told plain", "baseline:oracle shortcut"]
    assert scores(by_run(rows).popitem()[1]).group.value == 1
    assert all(row.d_near_tokens > 0 for row in rows)


def test_finished_stories_are_kept_and_a_half_line_is_dropped(tmp_path):
    whole = run(BENCH, Told(), out=tmp_path / "whole")

    class Killed(Exception):
        pass

    def stop(model, condition, fraction, n_done, n):
        assert n == len(BENCH.stories)
        if n_done == 2:
            raise Killed

    with pytest.raises(Killed):
        run(BENCH, Told(), out=tmp_path / "part", progress=stop)
    path = tmp_path / "part" / "results.jsonl"
    content = path.read_bytes()
    assert content.count(b"\n") == 4
    path.write_bytes(content + content.split(b"\n")[0][:50])  # killed while writing
    second = Told()
    rows = run(BENCH, second, out=tmp_path / "part", resume=True)
    assert rows == whole
    # one opening to see that it fits, then the stories that were missing
    assert second.opened == [s.text for s in (BENCH.stories[0], *BENCH.stories[2:])]
    assert path.read_bytes() == (tmp_path / "whole" / "results.jsonl").read_bytes()


def test_a_story_with_a_part_of_its_rows_is_asked_again(tmp_path):
    whole = run(BENCH, Told(), out=tmp_path)
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert run(BENCH, Told(), out=tmp_path, resume=True) == whole
    assert path.read_text() == "".join(lines)


def test_models_conditions_and_fractions_are_added_to_a_folder(tmp_path):
    first = run(BENCH, Told(), out=tmp_path)
    added = run(BENCH, scorer(), out=tmp_path, conditions=["on"], resume=True)
    assert added[: len(first)] == first  # of a model that this run does not name
    more = run(
        BENCH, [scorer(), Told()], out=tmp_path, conditions=["off", "on"],
        fractions=["true", "header"], resume=True,
    )  # fmt: skip
    assert [each.label for each in by_run(more)] == [
        "told plain", "memformer on", "memformer off", "memformer off, fraction header",
        "memformer on, fraction header",
    ]  # fmt: skip
    assert {len(rows) for rows in by_run(more).values()} == {len(BENCH.probes)}
    refuse_bad_rows(more, BENCH)
    config = json.loads((tmp_path / "config.json").read_text())
    assert set(config["models"]) == {"told", "memformer"}
    digests = {name: each["sha256"] for name, each in config["models"].items()}
    assert all(row.config_sha256 == digests[row.model] for row in more)
    alone = run(BENCH, scorer(), out=tmp_path / "alone", conditions=["on"])
    assert alone[0].config_sha256 == digests["memformer"]  # whatever stands beside it


def test_a_model_that_changed_is_not_gone_on_with(tmp_path):
    run(BENCH, scorer(), out=tmp_path)
    with pytest.raises(FileExistsError, match="give --resume"):
        run(BENCH, scorer(), out=tmp_path)
    other = scorer(config=ScoreConfig(n_held=5))
    with pytest.raises(ValueError, match=r"memformer with score.n_held=8, it now has 5"):
        run(BENCH, other, out=tmp_path, resume=True)
    trained = MemformerScorer(copy.deepcopy(MODEL), PieceTokenizer())
    trained.model.embedding.weight.data[3] += 1
    with pytest.raises(ValueError, match=r"memformer with weights=[\w.]+, it now has [\w.]+"):
        run(BENCH, trained, out=tmp_path, resume=True)
    named = scorer(config=ScoreConfig(n_held=5), name="held-5")
    assert len(run(BENCH, named, out=tmp_path, resume=True)) == 2 * len(BENCH.probes)


def test_results_of_other_data_or_of_unknown_models_are_not_gone_on_with(tmp_path):
    run(BENCH, Told(), out=tmp_path)
    half = BENCH.stories[:2], tuple(p for p in BENCH.probes if p.story_id.startswith("s000003"))
    other = replace(
        BENCH, stories=half[0], traces=BENCH.traces[:2], probes=half[1],
        manifest={**BENCH.manifest, "content_sha256": content_hash(*half)},
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"results of data with content_sha256=[\w.]+, these have"):
        run(other, Told(), out=tmp_path, resume=True)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "models": {}}))
    with pytest.raises(ValueError, match=r"line 1: told has config_sha256 .* says None"):
        run(BENCH, scorer(), out=tmp_path, resume=True)
    for text, message in (
        ('{"tasks": []}', "config.json must be an object of data and models"),
        ("null", "config.json must be an object of data and models"),
        ('{"data": null, "models": {}}', "data must be an object, and each of models one of"),
        ('{"data": {}, "models": {"m": {}}}', "data must be an object, and each of models one of"),
        ('{"data"', r"config.json is no JSON \("),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            run(BENCH, scorer(), out=tmp_path, resume=True)
    path.write_text(json.dumps({"tasks": []}))
    with pytest.raises(ValueError, match="must be an object of data and models"):
        run(BENCH, Told(), out=tmp_path, resume=True)
    path.unlink()
    with pytest.raises(FileExistsError, match=r"without config.json"):
        run(BENCH, Told(), out=tmp_path, resume=True)


def test_a_damaged_line_is_named(tmp_path):
    run(BENCH, Told(), out=tmp_path)
    path = tmp_path / "results.jsonl"
    path.write_text("{" + path.read_text())
    with pytest.raises(ValueError, match=r"results.jsonl line 1 is no JSON"):
        RowFile(path, Result)


def test_changed_data_are_refused(tmp_path):
    story = replace(BENCH.stories[0], text=BENCH.stories[0].text + " More.")
    changed = replace(BENCH, stories=(story, *BENCH.stories[1:]))
    with pytest.raises(ValueError, match="were changed after they were made"):
        run(changed, Told(), out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_an_error(tmp_path, value):
    with pytest.raises(ValueError, match=rf"g00.A.x: log-probability of option 0 is {value}"):
        run(BENCH, Told(lambda _: value), out=tmp_path)
    assert not (tmp_path / "results.jsonl").exists()


class Few(Told):
    """Leaves out an option."""

    def score(self, stem, options, suffix=""):
        return super().score(stem, options, suffix)[:1]


def test_scores_that_are_too_few_are_an_error(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"told plain, .*g00.*each of the 2 options.*got 1"):
        run(BENCH, Few(), out=tmp_path)
    monkeypatch.setattr(BranchingSession, "score_all", lambda *_: [])
    with pytest.raises(ValueError, match=r"on, .*g00.*2 questions must be scored .* of 0"):
        run(BENCH, scorer(), out=tmp_path / "ours")


class Short:
    """Takes 60 tokens."""

    name, max_context = "short", 60

    def __init__(self, **settings):
        self.inner = scorer(**settings)

    def open(self, text, *, fraction="true"):
        session = self.inner.open(text, fraction=fraction)
        session._max_context = self.max_context
        return session


def test_too_long_a_context_is_refused_or_cut_and_marked(tmp_path):
    with pytest.raises(ValueError, match=r"s000003.*exceed max_context=60: take shorter"):
        run(BENCH, Short(), out=tmp_path / "a")
    rows = run(BENCH, Short(config=ScoreConfig(truncate=True)), out=tmp_path / "b")
    assert all(row.truncated for row in rows)
    assert all(row.context_tokens + max(row.n_tokens) == 60 for row in rows)
    (label,) = by_run(rows)
    assert label.truncated


def test_bad_requests_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="condition must be one of on, off, .*, got 'onn'"):
        run(BENCH, Told(), out=tmp_path, conditions=["onn"])
    with pytest.raises(ValueError, match="conditions and fractions must name at least one"):
        run(BENCH, Told(), out=tmp_path, conditions=[])
    with pytest.raises(ValueError, match="with different names"):
        run(BENCH, [Told(), Told()], out=tmp_path)
    with pytest.raises(ValueError, match="fraction: memformer can be told true, header"):
        run(BENCH, scorer(), out=tmp_path, fractions=["shuffled"])
    with pytest.raises(ValueError, match="fraction must be one of true, .*, got 'shufled'"):
        run(BENCH, scorer(), out=tmp_path, fractions=["true", "shufled"])
    bare = MemformerScorer(
        MODEL.reconfigure({"memory.layers": ()}), PieceTokenizer(), condition="off"
    )
    with pytest.raises(ValueError, match="memory.layers"):
        run(BENCH, bare, out=tmp_path, conditions=["off", "shuffled"])
    assert not list(tmp_path.iterdir())


def test_a_way_of_telling_that_some_cannot_take_is_left_out_and_logged(tmp_path, caplog):
    rows = run(BENCH, [scorer(), Told()], out=tmp_path, fractions=["true", "header"])
    labels = [each.label for each in by_run(rows)]
    assert labels == ["memformer on", "memformer on, fraction header", "told plain"]
    assert "told cannot be told the fraction as 'header'" in caplog.text


def test_a_run_that_fails_does_not_cost_the_others(tmp_path):
    broken = Told(lambda option: math.nan, name="broken")
    with pytest.raises(ValueError, match=r"^1 of 2 runs failed, the others are finished .*broken"):
        run(BENCH, [broken, Told()], out=tmp_path)
    rows = load_results(tmp_path / "results.jsonl", BENCH)
    assert {row.model for row in rows} == {"told"} and len(rows) == len(BENCH.probes)
