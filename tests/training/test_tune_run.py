"""`memformer reward tune`: from a run, a reviewer and novels to a tuned run."""

import json
import shutil

import pytest
import torch

from memformer import Decoder
from memformer.config import OptimiserConfig
from memformer.config.reviewer import ReviewConfig
from memformer.config.reward_training import TuneConfig
from memformer.data.sentencepiece_tokenizer import train_tokenizer
from memformer.evaluation.store import read_json
from memformer.interop.run import load_run
from memformer.model.saved_model import save_model
from memformer.reward.review_text import review_vocabulary, with_review_tokens
from memformer.reward.reviewer import Reviewer
from memformer.reward.saved_reviewer import save_reviewer
from memformer.reward.score_head import ScoreHead
from memformer.training.tune_run import tune_run
from tests.model.conftest import small_config
from tests.test_cli import process as process  # the fixture that keeps verbs within this process
from tests.test_cli import run

TEXT = "The ship sailed at dawn and Anna was never seen again on the cold grey sea. "
FEW = ("--set", "n_update=2", "--set", "n_prompt=2", "--set", "n_branch=2", "--set", "n_new=6",
       "--set", "max_unscorable=1.0", "--prompt-tokens", 8)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, a reviewer with a head and one without, novels."""
    folder = tmp_path_factory.mktemp("tune")
    for name in ("novels", "held"):
        (folder / name).mkdir()
        (folder / name / f"{name}.txt").write_text(TEXT * (6 if name == "novels" else 7))
    tokenizer = train_tokenizer([TEXT * 6], 290)
    torch.manual_seed(0)
    model = Decoder(small_config(vocab_size=290, memory=dict(layers=(1,), n_retrieved=4)))
    save_model(model, folder / "run" / "model")
    tokenizer.save_in(folder / "run" / "model")
    vocabulary = review_vocabulary(tokenizer, ReviewConfig(max_len=24), n_text=290)
    reviewer = Reviewer(
        with_review_tokens(model, vocabulary, seed=0).eval(), vocabulary, max_len=24
    )
    head = ScoreHead(model.config.n_embd)
    other = Reviewer(with_review_tokens(model, vocabulary, seed=1).eval(), vocabulary, max_len=24)
    for name, who, with_head in (
        ("critic", reviewer, head), ("mute", reviewer, None), ("gold", other, head),
    ):  # fmt: skip
        (folder / name).mkdir()
        read = [{"id": name, "text": name, "author": f"Author of {name}"}]
        (folder / name / "review.json").write_text(json.dumps({"trained_on": read}) + "\n")
        save_reviewer(folder / name / "reviewer", who, with_head)
        tokenizer.save_in(folder / name / "reviewer")
    return folder


def tune(folder, out, *words, reviewer="critic"):
    return run(
        "reward", "tune", folder / "run", "--reviewer", folder / reviewer, "--texts",
        folder / "novels", "--held", folder / "held", "--out", out, *FEW, *words,
    )  # fmt: skip


def test_verb_leaves_a_run_that_can_be_loaded(folder, tmp_path):
    out = tmp_path / "tuned"
    result = tune(folder, out, "--ungated", "--seed", 3)
    assert result.exit_code == 0, result.stderr
    assert "all 2 updates are made" in result.stdout and "self-bleu" in result.stdout
    assert "nothing watches for hacking" in result.stderr
    found = read_json(out / "result.json")
    assert found["ungated"] and found["updates"] == 2 and found["audit"]["before"]["length"] == 6
    decoder, tokenizer = load_run(out)
    assert tokenizer.hash == load_run(folder / "run")[1].hash
    assert json.loads((out / "tune.json").read_text())["config"]["seed"] == 3
    again = tune(folder, out, "--ungated", "--seed", 3)  # it is finished: nothing is done twice
    assert again.exit_code == 0
    same, _ = load_run(out)
    assert all(torch.equal(a, b) for a, b in zip(decoder.parameters(), same.parameters(),
                                                 strict=True))  # fmt: skip


def test_gold_is_another_reviewer(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "memformer.reward.critic.Critic.__call__",  # reviews of a few letters do not always end
        lambda critic, text: text.float().mean(1) + critic.n_review,
    )
    out = tmp_path / "tuned"
    result = tune(folder, out, "--ungated", "--gold-reviewer", folder / "gold")
    assert result.exit_code == 0, result.stderr
    assert "update 0: gold" in result.stderr and "nothing watches" not in result.stderr
    assert read_json(out / "result.json")["gold"] == {"ungated": True, "information_gain": None}
    again = tune(folder, out, "--ungated")
    assert again.exit_code == 1 and "another reward or other gold" in again.stderr


def test_gold_that_learned_from_the_rewards_novels_is_refused(folder, tmp_path):
    same = tune(folder, tmp_path / "a", "--ungated", "--gold-reviewer", folder / "critic")
    assert same.exit_code == 1 and "has the weights of" in same.stderr
    for name, value in (("text", "critic"), ("author", "Author of critic")):
        near = tmp_path / name
        shutil.copytree(folder / "gold", near)
        read = {"id": "gold", "text": "gold", "author": "Author of gold"} | {name: value}
        (near / "review.json").write_text(json.dumps({"trained_on": [read]}) + "\n")
        found = tune(folder, tmp_path / "b", "--ungated", "--gold-reviewer", near)
        assert found.exit_code == 1 and f"gold must share no {name}" in found.stderr


def test_other_novels_on_resuming_and_held_out_ones_that_are_trained_on_are_refused(
    folder, tmp_path
):
    config = TuneConfig(n_new=4, n_update=1, n_prompt=2, n_branch=2)
    texts, held = [list(range(20, 40))], [list(range(40, 60))]

    def go(texts, held, **more):
        decoder, tokenizer = load_run(folder / "run")
        return tune_run(
            decoder, tokenizer, texts, held, lambda text: text.float().mean(1), config,
            tmp_path, n_prompt_token=4, n_held=2, **more,
        )  # fmt: skip

    go(texts, held)
    for more in ({"texts": [list(range(21, 41))]}, {"held": texts}, {"judges": "another"}):
        wants = "held must hold no text" if more.get("held") else "was made with other texts"
        with pytest.raises(ValueError, match=wants):
            go(**{"texts": texts, "held": held} | more)


def test_reviewer_whose_gain_was_not_measured_is_refused(folder, tmp_path):
    result = tune(folder, tmp_path / "tuned")
    assert result.exit_code == 1 and "it was not measured" in result.stderr


def test_reviewer_without_a_head_is_refused(folder, tmp_path):
    result = tune(folder, tmp_path / "tuned", "--ungated", reviewer="mute")
    assert result.exit_code == 1 and "no score head" in result.stderr


def test_direct_gradient_through_drawn_reviews_is_refused(folder, tmp_path):
    result = tune(folder, tmp_path / "tuned", "--ungated", "--method", "direct")
    assert result.exit_code == 1 and "no gradient goes" in result.stderr


def test_prompts_are_not_where_the_last_update_has_just_learned(folder, tmp_path, monkeypatch):
    given = []

    def caught(model, reference, data, *_, **__):
        given.append(data)
        raise KeyboardInterrupt

    monkeypatch.setattr("memformer.training.tune_run.tune", caught)
    decoder, tokenizer = load_run(folder / "run")
    config = TuneConfig(n_new=4, n_prompt=8)
    with pytest.raises(KeyboardInterrupt):
        tune_run(decoder, tokenizer, [list(range(280))], [[1] * 9], lambda text: text[:, 0].float(),
                 config, tmp_path, n_prompt_token=4, n_held=2)  # fmt: skip
    data = given[0]
    gaps = torch.stack(
        [(data.passages(n)[0].tokens[:, 0] - data.prompts(n + 1)[:, 0]).abs() for n in range(4)]
    )
    assert (gaps > 20).float().mean() > 0.5


def test_texts_too_short_are_named(folder, tmp_path):
    decoder, tokenizer = load_run(folder / "run")
    config = TuneConfig(n_new=8, optimiser=OptimiserConfig(learning_rate=1e-3))
    with pytest.raises(ValueError, match="texts must hold a text of at least 13 tokens"):
        tune_run(decoder, tokenizer, [[1, 2, 3]], [[1] * 9], lambda text: text[:, 0].float(),
                 config, tmp_path, n_prompt_token=4)  # fmt: skip
