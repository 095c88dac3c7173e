"""From a run, texts and a file of reviews to a reviewer, its gain and the verb's words."""

import dataclasses
import json
import math

import pytest
import torch
import typer
from typer.testing import CliRunner

from memformer import Decoder
from memformer.cli.review import review_novels
from memformer.config import OptimiserConfig
from memformer.config.reviewer import ReviewConfig, ReviewerConfig
from memformer.data.feedback_files import read_reviews
from memformer.data.own import read_texts
from memformer.data.sentencepiece_tokenizer import train_tokenizer
from memformer.evaluation.store import read_json
from memformer.model.saved_model import save_model
from memformer.reward.gain import Gain, GateClosed, gain_json
from memformer.training.review_run import is_reviewer, measure_gain, read_gain, train_on_reviews
from tests.model.conftest import small_config

CONFIG = ReviewerConfig(
    review=ReviewConfig(max_len=40), optimiser=OptimiserConfig(warmup_steps=2), n_learn=4, n_head=0,
    n_novel=2, n_review=2, seed=3,
)  # fmt: skip
TEXT = "the {} sailed at dawn and the {} was never seen again on the cold grey sea. "
THINGS = ("ship", "boat", "whale", "captain", "gull", "raft", "crew", "light", "storm", "king",
          "child", "bell")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, novels of twelve authors, and reviews of all of them."""
    folder = tmp_path_factory.mktemp("review")
    books = [
        {"id": f"n{i}", "author": f"Writer, {name.title()}", "title": f"The Last {name.title()}",
         "text": TEXT.format(name, name) * 3}
        for i, name in enumerate(THINGS)
    ]  # fmt: skip
    reviews = [
        {"review": f"v{i}.{j}", "novel": f"n{i}", "text": f"The Last {name}: {j} stars. a cold sea",
         "stars": j, "written_at": f"2026-0{j}-01T00:00:00+00:00"}
        for i, name in enumerate(THINGS) for j in (1, 2)
    ]  # fmt: skip
    for name, rows in (("first", books[:6]), ("rest", books[6:]), ("reviews", reviews)):
        lines = [json.dumps(row) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    tokenizer = train_tokenizer([book["text"] for book in books], 290)
    torch.manual_seed(0)
    model = Decoder(small_config(vocab_size=290, memory=dict(layers=(1,), n_retrieved=4)))
    save_model(model, folder / "run" / "model")
    tokenizer.save_in(folder / "run" / "model")
    (folder / "values.json").write_text(json.dumps({f"n{i}": i / 6 for i in range(6)}))
    return folder


def verb(*args):
    app = typer.Typer()
    app.command()(review_novels)
    return CliRunner().invoke(app, [str(each) for each in args])


@pytest.fixture(scope="module")
def trained(folder):
    out = folder / "reviewer"
    done = verb(
        folder / "run", "--reviews", folder / "reviews.jsonl", "--texts", folder / "first.jsonl",
        "--out", out, "--seed", 3, *(f"--set={key}" for key in (
            "n_learn=4", "n_novel=2", "review.max_len=40", "n_head=0", "optimiser.warmup_steps=2",
        )),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return out, done


def test_verb_trains_and_says_what_became_of_the_reviews(trained, folder):
    out, done = trained
    assert is_reviewer(out) and not is_reviewer(folder / "run")
    assert "12 of 24 reviews used; without novel 12; title 12; stars 12" in done.output
    record = read_json(out / "review.json")
    assert record["config"]["seed"] == 3 and record["config"]["n_learn"] == 4
    assert [each["id"] for each in record["trained_on"]] == [f"n{i}" for i in range(6)]
    assert record["reviews"]["n_used"] == 12 and record["made_with"]["torch"]


def test_verb_measures_the_gain_on_novels_not_trained_on(trained, folder):
    out, _ = trained
    args = (out, "--reviews", folder / "reviews.jsonl", "--gain", "--as-of", "2026-01-15")
    done = verb(*args, "--texts", folder / "rest.jsonl", "--ungated")
    assert done.exit_code == 0, done.output
    assert "6 reviews of 6 novels" in done.output and "results are marked" in done.output
    found = read_json(out / "review.json")["information_gain"]
    assert found["n_novel"] == 6 and found["reviews"]["n_later"] == 6
    assert gain_json(read_gain(out)) == {k: v for k, v in found.items() if k in Gain._fields}
    closed = verb(*args, "--texts", folder / "rest.jsonl")
    assert isinstance(closed.exception, GateClosed)
    known = verb(*args, "--texts", folder / "first.jsonl")
    assert "12 reviews are of texts or authors that it was trained on" in str(known.exception)


def test_verb_refuses_what_makes_no_sense(folder, trained):
    rest = ("--reviews", folder / "reviews.jsonl", "--texts", folder / "first.jsonl")
    assert "give --out" in str(verb(folder / "run", *rest).exception)
    assert "holds no reviewer" in str(verb(folder / "run", *rest, "--gain").exception)
    again = verb(folder / "run", *rest, "--out", trained[0])
    assert "go on with it by --resume" in str(again.exception)
    unknown = verb(folder / "run", *rest, "--out", folder / "x", "--set", "n_lern=4")
    assert "n_lern" in str(unknown.exception) and not (folder / "x").exists()


def test_head_learns_values_of_manuscripts_and_a_run_resumes(folder, tmp_path):
    from memformer.interop.run import load_run

    decoder, tokenizer = load_run(folder / "run")
    books, reviews = read_texts(folder / "first.jsonl"), read_reviews(folder / "reviews.jsonl")
    config = dataclasses.replace(CONFIG, n_head=3, most_unusable=1.0, checkpoint_every=2,
                                 n_drawn=8)  # fmt: skip
    with torch.no_grad():  # ends are drawn from the start
        decoder.embedding.weight.mul_(0.01)
    values = read_json(folder / "values.json")
    run = train_on_reviews(decoder, tokenizer, books, reviews, config, tmp_path, values=values)
    assert run.trained.head is not None and run.trained.is_finished
    again = train_on_reviews(
        decoder, tokenizer, books, reviews, config, tmp_path, values=values, resume=True
    )
    for name, tensor in run.trained.head.state_dict().items():
        assert torch.equal(tensor, again.trained.head.state_dict()[name])
    with pytest.raises(ValueError, match="there is no manuscript 'n77' among the texts"):
        train_on_reviews(
            decoder, tokenizer, books, reviews, config, tmp_path / "y", values={"n77": 1.0}
        )
    for wrong in ("7", None, True, math.nan):
        with pytest.raises(ValueError, match="values: .* must be a finite number, got"):
            train_on_reviews(
                decoder, tokenizer, books, reviews, config, tmp_path / "y",
                values={**values, books[0].id: wrong},
            )  # fmt: skip
    with pytest.raises(ValueError, match="holds no reviewer to go on with"):
        train_on_reviews(decoder, tokenizer, books, reviews, config, tmp_path / "z", resume=True)


def test_gain_of_a_reviewer_of_another_tokenizer_is_refused(trained, folder):
    other = train_tokenizer(["an other text for other pieces altogether. " * 9], 280)
    books, reviews = read_texts(folder / "rest.jsonl"), read_reviews(folder / "reviews.jsonl")
    with pytest.raises(ValueError, match="the reviewer reads tokenizer"):
        measure_gain(trained[0], other, books, reviews)
