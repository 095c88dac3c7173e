"""From rating events to a folder of raters: what is kept, what is refused, what is counted."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
import torch

from memformer.config.reward import RaterConfig, RaterRunConfig
from memformer.data.feedback import Novel, RatingEvent, Review
from memformer.data.feedback_log import as_of
from memformer.data.manuscripts import Manuscript
from memformer.reward.event_cells import (
    cells_to_fit,
    events_of_part,
    split_criteria,
    without_leaks,
)
from memformer.reward.rater_run import (
    MODEL,
    NEXT,
    RECORD,
    REPORT,
    VALUES,
    fit_events,
    load_raters,
    refuse_same_raters,
)
from memformer.reward.ratings import select

START = datetime(2026, 2, 1, tzinfo=UTC)
CONFIG = RaterRunConfig(ranks=(0,), n_fold=2)


class Words:
    """Features of a text: how many words it has that are good, bad, and neither."""

    kind, source, n_cut = "run", "words", 0

    def __init__(self, digest="d0"):
        self.digest, self.n_read = digest, 0

    def __call__(self, texts):
        self.n_read += len(texts)
        rows = [[text.count("good"), text.count("bad"), len(text.split()) / 10] for text in texts]
        return torch.tensor(rows, dtype=torch.float32)


def event(n, rater, item, value, **changes):
    at = START + timedelta(minutes=n)
    return RatingEvent(
        **{"event": f"e{n}", "rater": rater, "item": item, "item_kind": "review",
           "criterion": "want_to_read", "value": value, "scale": (1, 7), "rated_at": at,
           "recorded_at": at, "source": "test", "propensity": 0.5, **changes}
    )  # fmt: skip


def world(n_novel=40, n_rater=12, seed=0):
    """Readers who like what is called good, each with a bias of his own."""
    rng = random.Random(seed)
    reviews, events = [], []
    for i in range(n_novel):
        for j in range(3):
            good = rng.randint(0, 4)
            text = " ".join(["good"] * good + ["bad"] * (4 - good) + ["word"] * rng.randint(1, 9))
            reviews.append(Review(review=f"n{i}.{j}", novel=f"n{i}", text=text))
    for r in range(n_rater):
        bias = rng.gauss(0, 0.5)
        for review in rng.sample(reviews, len(reviews) // 2):
            value = 2 + review.text.count("good") + bias + rng.gauss(0, 0.5)
            events.append(event(len(events), f"p{r}", review.review, round(min(7, max(1, value)))))
    return reviews, events


@pytest.fixture(scope="module")
def data():
    return world()


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("raters") / "a"
    told = []
    run = fit_events(data[1], data[0], Words(), CONFIG, out, exchangeable=False, told=told.append)
    return out, run, told


def test_folder_holds_model_report_and_values(fitted, data):
    out, run, told = fitted
    model, record = load_raters(out)
    x = Words()([each.text for each in data[0]])
    assert torch.equal(model.score(x), run.model.score(x))
    assert record["asked"]["config"]["seed"] == 0 and record["rank"] == model.config.rank
    assert record["raters"] == [*run.cells.raters] and not record["unreported"]
    assert (out / REPORT).read_text() == run.report.text() + "\n"
    values = json.loads((out / VALUES).read_text())
    mine = [each.novel == "n7" for each in data[0]]
    assert values["n7"] == pytest.approx(float(model.score(x)[mine].mean()), rel=1e-5)
    assert any("features of 120/120" in line for line in told)


def test_report_is_of_novels_that_nothing_was_fitted_to(fitted, data):
    _, run, _ = fitted
    cells = run.cells
    novel = {each.review: each.novel for each in data[0]}
    held = {novel[cells.items[i]] for i in cells.ratings.item[cells.is_held]}
    trained = {novel[cells.items[i]] for i in cells.ratings.item[~cells.is_held]}
    assert held == set(cells.held_novels) and len(held) == 10 and not held & trained
    assert run.report.n == int(cells.is_held.sum()) and run.report.n + run.model.report["n"] == len(
        data[1]
    )
    assert run.report.correlation.value > 0.9  # these readers are easily known


def test_saved_raters_are_not_written_over(fitted, data):
    out, *_ = fitted
    before = (out / RECORD).read_bytes()
    with pytest.raises(ValueError, match="go on with them by --resume"):
        fit_events(data[1], data[0], Words(), CONFIG, out, exchangeable=False)
    other = RaterRunConfig(ranks=(0,), n_fold=4)
    with pytest.raises(ValueError, match=r"made with config\.n_fold=2, now it is 4"):
        fit_events(data[1], data[0], Words(), other, out, exchangeable=False, resume=True)
    with pytest.raises(ValueError, match=r"features\.digest='d0'"):
        fit_events(data[1], data[0], Words("d1"), CONFIG, out, exchangeable=False, resume=True)
    assert (out / RECORD).read_bytes() == before


def test_interrupted_run_goes_on_with_the_features_it_has(data, tmp_path, fitted):
    def stop(line):
        if line.startswith("rank"):
            raise KeyboardInterrupt

    out = tmp_path / "b"
    with pytest.raises(KeyboardInterrupt):
        fit_events(data[1], data[0], Words(), CONFIG, out, exchangeable=False, told=stop)
    with pytest.raises(ValueError, match="holds no raters: make them"):
        load_raters(out)
    again = Words()
    run = fit_events(data[1], data[0], again, CONFIG, out, exchangeable=False, resume=True)
    assert again.n_read == 0
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, fitted[1].model.state_dict()[name]), name
    with pytest.raises(ValueError, match="holds no raters to go on with"):
        fit_events(
            data[1], data[0], Words(), CONFIG, tmp_path / "c", exchangeable=False, resume=True
        )


def test_later_events_change_no_bit_of_an_earlier_fit(data, tmp_path, fitted):
    reviews, events = data
    later = event(99_999, "p0", "n0.0", 1.0, wave=1)
    stood = as_of([later, *reversed(events)], START + timedelta(minutes=50_000))
    run = fit_events(stood, reviews, Words(), CONFIG, tmp_path / "b", exchangeable=False)
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, fitted[1].model.state_dict()[name]), name


def test_raters_of_one_rating_are_kept_with_a_bias_alone(data, tmp_path):
    reviews, events = data
    mine = [*events, event(len(events), "single", "n0.0", 7.0)]
    seed = next(s for s in range(20) if "n0" not in cells_to_fit(
        mine, reviews, RaterRunConfig(seed=s)).held_novels)  # fmt: skip
    config = RaterRunConfig(ranks=(0, 1), n_fold=2, seed=seed, choose_by="item")
    run = fit_events(mine, reviews, Words(), config, tmp_path / "b", exchangeable=False)
    number = run.cells.raters.index("single")
    assert run.model.report["n_rater_single"] == 1
    assert [trial.config.rank for trial in run.choice.trials] == [0, 1]
    assert run.model.checks[number].n == 1 and run.model.checks[number].bias > 0


def test_few_ratings_give_no_report_unless_that_is_accepted(tmp_path):
    reviews, events = world(n_novel=6, n_rater=4)
    with pytest.raises(ValueError, match="a report needs 20 held-out reviews"):
        fit_events(events, reviews, Words(), CONFIG, tmp_path / "b", exchangeable=True)
    assert not (tmp_path / "b").exists()
    run = fit_events(
        events, reviews, Words(), CONFIG, tmp_path / "b", exchangeable=True, unreported=True
    )
    assert run.report is None and load_raters(tmp_path / "b")[1]["unreported"]
    assert "no report" in (tmp_path / "b" / REPORT).read_text()


def test_what_to_ask_next_was_not_rated_and_may_be_of_an_unrated_review(data, tmp_path):
    reviews, events = data
    fresh = [Review(review="fresh", novel="n99", text="good " * 30)]  # like no other
    run = fit_events(
        events, [*reviews, *fresh], Words(), CONFIG, tmp_path / "b", exchangeable=False, n_next=5
    )
    rows = [json.loads(line) for line in (tmp_path / "b" / NEXT).read_text().splitlines()]
    rated = {(each.item, each.rater) for each in events}
    assert len(rows) == 5 and not rated & {(row["review"], row["rater"]) for row in rows}
    assert rows[0]["review"] == "fresh" and rows[0]["rater"] in run.cells.raters
    variance = [row["variance"] for row in rows]
    assert variance == sorted(variance, reverse=True) and min(variance) > 0


def test_exchangeable_raters_are_said_to_be(data, tmp_path):
    run = fit_events(data[1], data[0], Words(), CONFIG, tmp_path / "b", exchangeable=True)
    assert "a column is no person" in run.report.text() and not run.report.bias_removed


def test_raters_who_all_agree_are_refused(data):
    same = [event(i, each.rater, each.item, 4.0) for i, each in enumerate(data[1])]
    with pytest.raises(ValueError, match=r"every rating of 'want_to_read' is 0\.5"):
        cells_to_fit(same, data[0], CONFIG)


def test_one_rater_is_refused(data):
    mine = [each for each in data[1] if each.rater == "p3"]
    with pytest.raises(ValueError, match="raters must be at least two, got one, 'p3'"):
        cells_to_fit(mine, data[0], CONFIG)


def test_unknown_reviews_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match=r"about review 'n39\.2', which is none of the 119 known"):
        fit_events(data[1], data[0][:-1], Words(), CONFIG, tmp_path / "b", exchangeable=False)
    assert not (tmp_path / "b").exists()


def test_ratings_off_the_asked_scale_are_refused(data):
    config = RaterRunConfig(scale=(1.0, 5.0))
    with pytest.raises(ValueError, match=r"event 'e0' is on \[1\.0, 7\.0\], not on \[1\.0, 5\.0\]"):
        cells_to_fit(data[1], data[0], config)


def test_several_scales_are_brought_to_one(data):
    mixed = [
        event(i, e.rater, e.item, (e.value - 1) * 10, scale=(0, 60)) if i % 2 else e
        for i, e in enumerate(data[1])
    ]
    plain, found = (cells_to_fit(each, data[0], CONFIG).ratings for each in (data[1], mixed))
    assert plain.scale == (1.0, 7.0) and found.scale == (0.0, 1.0)
    torch.testing.assert_close(found.value, (plain.value - 1) / 6)


def test_criteria_are_normalised_by_training_novels_and_averaged(data):
    reviews, events = data
    doubled = [
        event(50_000 + i, e.rater, e.item, 8 - e.value, criterion="dull")
        for i, e in enumerate(events)
    ]
    config = RaterRunConfig(criteria=("want_to_read", "dull"), weights=(1.0, -1.0))
    both = cells_to_fit([*events, *doubled[:-2]], reviews, config)
    alone = cells_to_fit(events, reviews, CONFIG)
    assert both.left_out == {"judgement without every criterion": 2}
    kept = select(both.ratings, ~both.is_held)
    assert float(kept.value.mean()) == pytest.approx(0, abs=0.01)
    assert both.held_novels == alone.held_novels
    assert split_criteria(["a", "b"]) == (("a", "b"), ())
    assert split_criteria(["a=2", "b"]) == (("a", "b"), (2.0, 1.0))
    with pytest.raises(ValueError, match="name or name=number"):
        split_criteria(["a=x"])


def test_a_review_whose_features_are_nan_is_named_and_nothing_is_lost(data, tmp_path):
    class Broken(Words):
        def __call__(self, texts):
            found = super().__call__(texts)
            found[5] = torch.nan
            return found

    out = tmp_path / "b"
    with pytest.raises(ValueError, match=r"features of review 'n1\.2' are not finite \(1 such"):
        fit_events(data[1], data[0], Broken(), CONFIG, out, exchangeable=False)
    assert not (out / MODEL).exists()
    run = fit_events(data[1], data[0], Words(), CONFIG, out, exchangeable=False)  # begun anew
    assert run.report is not None


def test_wordless_reviews_go_with_their_ratings_and_are_counted(data, tmp_path):
    reviews, events = data
    starred = [
        Review(review=each.review, novel=each.novel, text="★★★★") if each.review == "n1.1" else each
        for each in reviews
    ]
    n = sum(each.item == "n1.1" for each in events)
    kept, left, gone = without_leaks(starred, events, ())
    assert len(kept) == len(reviews) - 1 and len(left) == len(events) - n and gone == n > 0
    run = fit_events(events, starred, Words(), CONFIG, tmp_path / "b", exchangeable=False)
    assert run.cells.left_out == {"of a review without a word": n}


def test_titles_go_where_novels_are_given():
    novel = Manuscript(
        id="n", author="Ada Lark", title="The Last Ship", text="x", source="s", raw_hash=""
    )
    review = Review(review="v", novel="n", text="The Last Ship is good. 4/5")
    ((told,), _, _) = without_leaks([review], [], [novel])
    assert told.text == "this book is good."
    ((told,), _, _) = without_leaks([review], [], [])
    assert told.text == "The Last Ship is good."


def test_parts_share_no_rater_and_no_novel(data):
    reviews, events = data
    novels = [
        Novel(novel=f"n{i}", author=f"A{i}", split="train" if i % 2 else "validation")
        for i in range(40)
    ]
    found = {
        part: events_of_part(events, reviews, novels, part, 5) for part in ("train", "early_stop")
    }
    novel = {each.review: each.novel for each in reviews}
    for name, of in (("rater", lambda e: e.rater), ("novel", lambda e: novel[e.item])):
        sets = [{of(each) for each in part.events} for part in found.values()]
        assert sets[0] and sets[1] and not sets[0] & sets[1], name
    assert sum(len(part.events) for part in found.values()) + found["train"].n_crossed == len(
        events
    )
    with pytest.raises(ValueError, match="no rating is of the part 'report'"):
        events_of_part(events, reviews, novels, "report", 5)


def test_gold_of_the_same_people_is_refused():
    one, other = {"raters": ["a", "b"], "novels": ["n"]}, {"raters": ["b"], "novels": ["m"]}
    with pytest.raises(ValueError, match="must share no raters with the reward's, got 'b'"):
        refuse_same_raters(one, other)
    refuse_same_raters(one, {"raters": ["c"], "novels": ["m"]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"criteria": ()}, "criteria must be different names"),
        ({"weights": (1.0, 2.0)}, "weights must be one number a criterion"),
        ({"weights": (0.0,)}, "weights must be finite and not 0"),
        ({"ranks": (1, 0)}, "ranks must rise"),
        ({"scale": (7.0, 1.0)}, "scale must run"),
        ({"held_out": 0.0}, "held_out"),
    ],
)
def test_settings_say_what_is_wrong(changes, message):
    with pytest.raises(ValueError, match=message):
        RaterRunConfig(**changes)
    assert RaterRunConfig().raters == RaterConfig(learn_scale=False)
