"""The study of the ladder in the plot world: its parts, and the committed rows."""

import json
from pathlib import Path

import pytest
import torch
import tune_plot_world as study

RESULT = Path(__file__).parents[2] / "experiments" / "results" / "tune_plot_world.json"


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    return study.Decoder(study.MODEL).eval()


def test_decoder_is_as_small_as_said(base):
    assert 300_000 < sum(w.numel() for w in base.parameters()) < 1_000_000


def test_proxy_scores_rows_as_it_scores_ids(base):
    proxy = study.TextReader(base)
    torch.nn.init.normal_(proxy.score.weight)
    stories = study.write_stories(study.WORLD, 3, seed=0)
    rows = torch.nn.functional.one_hot(stories, study.VOCAB_SIZE).float().requires_grad_()
    scores = proxy(rows)
    torch.testing.assert_close(scores, proxy(stories), atol=1e-5, rtol=1e-4)
    scores.sum().backward()
    assert bool((rows.grad.abs().sum((0, 2)) > 0).all())  # every token counts


def test_held_gold_is_of_readers_whom_the_proxy_never_saw(monkeypatch):
    world = study.make_plot_world(study.WORLD, seed=0)
    asked = []

    class Watched:
        def collect(self, z, raters, per_item, rng):
            asked.append(raters)
            return world.collect(z, raters, per_item, rng)

    gold = study.held_gold(Watched(), 0)
    stories = study.write_stories(study.WORLD, 5, seed=0)
    assert torch.equal(gold(stories), gold(stories))  # looks differ by texts alone
    assert int(asked[0].min()) == study.N_TRAINER and len(asked[0]) >= 4


def test_judge_counts_contradictions_of_the_continuation_alone(base):
    world = study.make_plot_world(study.WORLD, seed=0)
    stories = study.write_stories(study.WORLD, 8, seed=0)
    told = study.judge(world, study.TextReader(base), stories)
    n = sum(fault.at >= study.P for row in stories.tolist() for fault in study.follow(row).faults)
    n_word = int((stories[:, study.P :] != study.ID[study.STOP]).sum())
    assert told["contradictions_per_1000_new"] == pytest.approx(1000 * n / n_word)
    assert sum(told["kinds"].values()) == pytest.approx(1)


def test_committed_rows_are_whole_and_at_equal_compute():
    rows = json.loads(RESULT.read_text())
    arms = {"before", "best_of_n", *study.ARMS}
    for seed in study.SEEDS:
        mine = {row["arm"]: row for row in rows if row["seed"] == seed}
        assert set(mine) == arms
        n = mine["best_of_n"]["n"]
        spent = [n * study.N_TEST * 2 * study.T]
        spent += [mine[arm]["spent"] + study.N_TEST * study.T for arm in study.ARMS]
        assert max(spent) <= study.BUDGET and min(spent) > 0.9 * study.BUDGET
    assert {row["machine"]["commit"][-5:] for row in rows} != {"dirty"}
