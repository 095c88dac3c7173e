"""`memformer reward raters`, and `chain` and `tune` with what it leaves: words, codes, files."""

import json
import math

import pytest
import torch

from memformer import Decoder
from memformer.config.reviewer import ReviewConfig
from memformer.data.feedback_files import write_records
from memformer.data.sentencepiece_tokenizer import train_tokenizer
from memformer.evaluation.store import read_json
from memformer.interop import text_features
from memformer.interop.saved_chain import load_chain
from memformer.interop.text_features import build_text_features
from memformer.model.saved_model import save_model
from memformer.reward.chain_reward import ChainReward, TextAgain
from memformer.reward.rater_run import load_raters
from memformer.reward.review_features import DecoderFeatures
from memformer.reward.review_text import review_vocabulary, with_review_tokens
from memformer.reward.reviewer import Reviewer
from memformer.reward.saved_reviewer import save_reviewer
from tests.model.conftest import small_config
from tests.reward.test_rater_run import event, world
from tests.test_cli import process as process  # the fixture that keeps verbs within this process
from tests.test_cli import run

FEW = ("--set", "ranks=[0]", "--set", "n_fold=2", "--set", "raters.learn_noise=false")
TUNE = ("--set", "n_update=1", "--set", "n_prompt=2", "--set", "n_branch=2", "--set", "n_new=6",
        "--set", "max_unscorable=1.0", "--prompt-tokens", 8, "--n-reviews", 2,
        "--ungated")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, a reviewer of it, novels, reviews and ratings."""
    folder = tmp_path_factory.mktemp("raters")
    reviews, events = world(n_novel=30, n_rater=8)
    write_records(folder / "reviews.jsonl", reviews)
    write_records(folder / "events.jsonl", events)
    rows = [{"novel": f"n{i}", "author": f"A{i}", "split": ("train", "validation")[i % 2]}
            for i in range(30)]  # fmt: skip
    (folder / "novels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("texts", "held"):
        (folder / name).mkdir()
        (folder / name / f"{name}.txt").write_text(f"a {name} word and a bad word. " * 8)
    tokenizer = train_tokenizer(["good bad word. a good word and a bad word. " * 9], 275)
    torch.manual_seed(0)
    model = Decoder(small_config(vocab_size=275, memory=dict(layers=(1,), n_retrieved=4)))
    save_model(model, folder / "run" / "model")
    tokenizer.save_in(folder / "run" / "model")
    vocabulary = review_vocabulary(tokenizer, ReviewConfig(max_len=12), n_text=275)
    reviewer = Reviewer(with_review_tokens(model, vocabulary).eval(), vocabulary, max_len=12)
    with torch.no_grad():  # so that reviews end
        ids = torch.randint(3, 270, (4, 8))
        hidden = reviewer.model(ids, reviewer.model.new_state(4), want_hidden=True).hidden
        mean = hidden.mean((0, 1))
        reviewer.model.embedding.weight[vocabulary.end] = 3.5 * mean / mean.square().sum()
    for name in ("reviewer", "gold"):
        (folder / name).mkdir()
        (folder / name / "review.json").write_text("{}\n")
        save_reviewer(folder / name / "reviewer", reviewer)
        tokenizer.save_in(folder / name / "reviewer")
        with torch.no_grad():
            reviewer.model.embedding.weight[3] += 0.1  # another one
    return folder


def raters(folder, out, *words, events="events.jsonl", reviews="reviews.jsonl",
           features="reviewer", people="--persons"):  # fmt: skip
    return run(
        "reward", "raters", folder / events, "--reviews", folder / reviews, "--features",
        folder / features, people, "--out", out, *FEW, *words,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(folder):
    result = raters(folder, folder / "raters", "--seed", 4)
    assert result.exit_code == 0, result.output
    return folder / "raters", result


def test_verb_prints_the_report_and_keeps_config_and_seed(fitted):
    out, result = fitted
    assert "want_to_read: 360 ratings of 90 reviews by 8 raters; " in result.stdout
    assert "human ceiling: reliability" in result.stdout and "rank 0 is taken" in result.stdout
    assert "features of 90/90 reviews" in result.stderr
    record = read_json(out / "raters.json")
    assert record["asked"]["config"]["seed"] == 4
    assert record["asked"]["features"]["kind"] == "reviewer"
    assert record["made_with"]["torch"] == torch.__version__


def test_again_is_refused_resumed_it_says_the_same(folder, fitted):
    out, first = fitted
    again = raters(folder, out, "--seed", 4)
    assert again.exit_code == 2 and "go on with them by --resume" in again.stderr
    resumed = raters(folder, out, "--seed", 4, "--resume")
    assert resumed.exit_code == 0 and resumed.stdout == first.stdout


def bad_files(folder):
    """What cannot be used: name of the test, files by name, message."""
    reviews, events = world(n_novel=30, n_rater=8)
    off = json.loads((folder / "events.jsonl").read_text().splitlines()[3]) | {"value": 9}
    same = [event(i, each.rater, each.item, 4.0) for i, each in enumerate(events)]
    return {
        "off-scale": ([json.dumps(off)], r"value must be on its scale [1, 7], got 9"),
        "one-rater": ([e for e in events if e.rater == "p3"], "raters must be at least two"),
        "agree": (same, "every rating of 'want_to_read' is 0.5"),
        "unknown": ([*events, event(9999, "p1", "n99.0", 3.0)], "about review 'n99.0', which is"),
        "twice": ([*events, event(0, "p1", "n1.0", 3.0)], "e0"),
        "nothing": ([], "is empty"),
    }


@pytest.mark.parametrize("name", ["off-scale", "one-rater", "agree", "unknown", "twice", "nothing"])
def test_bad_ratings_are_one_line_and_code_2(folder, tmp_path, name):
    rows, message = bad_files(folder)[name]
    path = tmp_path / "bad.jsonl"
    if rows and isinstance(rows[0], str):
        path.write_text("\n".join(rows) + "\n")
    else:
        write_records(path, rows)
    result = raters(folder, tmp_path / "out", events=path)
    assert result.exit_code == 2 and message in result.stderr, result.stderr
    told = [line for line in result.stderr.splitlines() if not line.endswith("events stand")]
    assert len(told) == 1 and told[0].startswith("error: ") and result.stdout == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "files", "message"),
    [
        ((), {"events": "none.jsonl"}, "No such file"),
        ((), {"reviews": "none.jsonl"}, "No such file"),
        ((), {"features": "none"}, "which is no folder"),
        ((), {"features": "texts"}, "is no run of `memformer train`"),
        (("--scale", "1-7"), {}, "--scale must be LOW,HIGH"),
        (("--scale", "1,5"), {}, "not on [1.0, 5.0]"),
        (("--criterion", "fun"), {}, "criterion 'fun' has no rating"),
        (("--part", "train"), {}, "--part and --novels go together"),
        (("--as-of", "2020-01-01"), {}, "criterion 'want_to_read' has no rating"),
        (("--set", "held=2"), {}, "has no field 'held'"),
        (("--set", "ranks=[8]"), {}, "rank must be below"),
        (("--resume",), {}, "holds no raters to go on with"),
    ],
)
def test_bad_settings_are_one_line_and_code_2(folder, tmp_path, words, files, message):
    result = raters(folder, tmp_path / "out", *words, **files)
    assert result.exit_code == 2 and message in result.stderr, result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_who_does_not_say_whether_raters_are_people_is_asked(folder, tmp_path):
    result = run("reward", "raters", folder / "events.jsonl", "--reviews", folder / "reviews.jsonl",
                 "--features", "minilm", "--out", tmp_path / "out")  # fmt: skip
    assert result.exit_code == 2 and "--exchangeable" in result.stderr


def test_nan_features_are_refused_by_name(folder, tmp_path, monkeypatch):
    real = text_features.TextFeatures.__call__
    monkeypatch.setattr(text_features.TextFeatures, "__call__",
                        lambda self, texts, **how: real(self, texts, **how) * math.nan)  # fmt: skip
    result = raters(folder, tmp_path / "out")
    assert result.exit_code == 2 and "features of review 'n0.0' are not finite" in result.stderr
    monkeypatch.undo()
    assert raters(folder, tmp_path / "out").exit_code == 0  # begun anew, in the same place


def test_a_rater_of_one_rating_is_said(folder, tmp_path):
    _, events = world(n_novel=30, n_rater=8)
    path = tmp_path / "more.jsonl"
    more = [event(9000 + i, f"one{i}", f"n{i}.0", 5.0) for i in range(30)]
    write_records(path, [*events, *more])
    result = raters(folder, tmp_path / "out", events=path)
    assert result.exit_code == 0, result.stderr
    assert "raters have one rating to be fitted to: a bias and nothing else" in result.stdout


def test_parts_and_their_gold_reach_tune(folder, tmp_path):
    for part, features in (("train", "reviewer"), ("early_stop", "gold")):
        result = raters(
            folder, tmp_path / part, "--novels", folder / "novels.jsonl", "--part", part, "--set",
            "split_seed=5", "--unreported", features=features,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        assert f"part {part}: " in result.stdout
    one, other = (load_raters(tmp_path / part)[1] for part in ("train", "early_stop"))
    assert not set(one["raters"]) & set(other["raters"])
    call = ("reward", "tune", folder / "run", "--reviewer", folder / "reviewer", "--texts",
            folder / "texts", "--held", folder / "held", *TUNE)  # fmt: skip
    result = run(*call, "--out", tmp_path / "tuned", "--raters", tmp_path / "train",
                 "--gold-reviewer", folder / "gold", "--gold-raters",
                 tmp_path / "early_stop")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "reviews left out: empty" in result.stdout and "gold: " in result.stdout
    found = read_json(tmp_path / "tuned" / "result.json")
    assert found["ungated"] and found["looks"] and found["unreported"] is one["unreported"]
    same = run(*call, "--out", tmp_path / "x", "--raters", tmp_path / "train", "--gold-reviewer",
               folder / "gold", "--gold-raters", tmp_path / "train")  # fmt: skip
    assert same.exit_code == 1 and "gold raters must share no raters" in same.stderr
    lost = run(*call, "--out", tmp_path / "x", "--gold-raters", tmp_path / "train", "--raters",
               tmp_path / "train")  # fmt: skip
    assert lost.exit_code == 1 and "gold raters need a gold reviewer" in lost.stderr


def test_chain_scores_novels(folder, fitted, tmp_path):
    out = tmp_path / "scores.json"
    call = ("reward", "chain", folder / "reviewer", "--raters", fitted[0], "--texts",
            folder / "texts", "--n-reviews", 12, "--out", out)  # fmt: skip
    closed = run(*call)
    assert closed.exit_code == 1 and "it was not measured" in closed.stderr
    strict = run(*call, "--ungated", "--set", "max_unscorable=0")
    assert strict.exit_code == 1 and "could not be scored" in strict.stderr and not out.exists()
    result = run(*call, "--ungated", "--set", "max_unscorable=0.7")
    assert result.exit_code == 0, result.stderr
    assert "ungated" in result.stdout
    found = read_json(out)
    assert found["ungated"] and found["scores"][0]["n_review"] > 1


def test_direct_gradient_goes_through_raters_of_the_reviewers_own_features(folder, fitted):
    chain = load_chain(folder / "reviewer", fitted[0], ungated=True)
    assert isinstance(chain.gated.chain.features, DecoderFeatures)
    chain.gated.chain.config = type(chain.gated.chain.config)(max_unscorable=1.0)
    reward = ChainReward(chain.gated.chain, chain.reviewer, 6)
    ids = torch.randint(3, 270, (2, 8), generator=torch.Generator().manual_seed(0))
    rows = torch.nn.functional.one_hot(ids, 275).float().requires_grad_()
    score = reward(rows)
    hard = reward(ids)
    torch.testing.assert_close(score.detach(), hard, equal_nan=True, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(reward(ids), hard, equal_nan=True)
    assert reward.n_drawn == 36 and bool(score.isfinite().any())
    score[score.isfinite()].sum().backward()
    assert float(rows.grad.abs().sum()) > 0


def test_raters_of_other_features_read_the_text(folder, tmp_path):
    assert raters(folder, tmp_path / "out", "--next", 2, features="run").exit_code == 0
    assert len((tmp_path / "out" / "next.jsonl").read_text().splitlines()) == 2
    chain = load_chain(folder / "reviewer", tmp_path / "out", ungated=True)
    features = chain.gated.chain.features
    assert isinstance(features, DecoderFeatures)  # of the same ids, with the run's own weights
    again = TextAgain(chain.tokenizer.decode, build_text_features(str(folder / "run")))
    ids = torch.tensor([list(chain.tokenizer.encode("a good word").ids) + [277]])
    weight = torch.ones(ids.shape)
    weight[:, -1] = 0
    plain = build_text_features(str(folder / "run"))(["a good word"])
    torch.testing.assert_close(again(ids, weight), plain)
    with pytest.raises(ValueError, match="give no gradient to relaxed tokens"):
        again(torch.zeros(1, 2, 280), torch.ones(1, 2))


def test_features_of_changed_weights_are_refused(folder, fitted, tmp_path):
    record = read_json(fitted[0] / "raters.json")
    moved = tmp_path / "moved"
    moved.mkdir()
    record["asked"]["features"] = {"kind": "run", "source": str(folder / "run"), "digest": "00"}
    (moved / "raters.json").write_text(json.dumps(record))
    (moved / "raters").symlink_to(fitted[0] / "raters")
    with pytest.raises(ValueError, match="has other weights than when the raters were fitted"):
        load_chain(folder / "reviewer", moved, ungated=True)


def test_texts_too_long_are_cut_and_counted_and_batches_do_not_matter(folder):
    features = build_text_features(str(folder / "reviewer"))
    texts = ["a good word", "bad " * 400, "a"]
    found = features(texts)
    assert features.n_cut == 1 and features.kind == "reviewer"
    alone = torch.cat([features([text], batch_size=1) for text in texts])
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="one with a token"):
        features([""])
    assert bool(features(["", "a"])[0].isnan().all())
