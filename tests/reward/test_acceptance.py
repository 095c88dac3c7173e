import json
import math

import numpy as np
import pytest
import torch

from memformer.config.reward import RaterConfig
from memformer.reward.acceptance import accept
from memformer.reward.agreement_ceiling import correlations, item_draws, partial, split_half
from memformer.reward.raters import fit_raters
from memformer.reward.ratings import Ratings, folds, held_out
from tests.reward.known_worlds import corr, world

QUICK = dict(n_draw=200, n_split=5)


def parted(w, **config):
    train, test = next(held_out(w.ratings, folds(w.ratings, 2, by="item", seed=0)))
    return fit_raters(train, w.features, RaterConfig(**config), seed=0), test


@pytest.fixture(scope="module")
def judged():
    w = world(rank=0, d=4, n_item=300, n_per_item=10, noise=1.5)
    model, test = parted(w)
    g = torch.Generator().manual_seed(0)
    length = torch.rand(300, generator=g) * 90 + 10
    source = ["page" if r % 2 else "panel" for r in test.rater.tolist()]
    report = accept(
        model, test, w.features, exchangeable=False, length=length, source=source, **QUICK
    )
    return w, model, test, report


def test_reliability_of_the_mean_is_the_known_one():
    rng = np.random.default_rng(0)
    true, k = rng.normal(size=2000), 8
    value = np.repeat(true, k) + 2 * rng.normal(size=2000 * k)
    item = np.repeat(np.arange(2000), k)
    found = split_half(item, value, item_draws(2000, 50, 0), n_split=10, seed=0)
    assert found[0] == pytest.approx(1 / (1 + 4 / k), abs=0.02)
    assert found.std() < 0.02


def test_correlations_of_draws_are_numpys():
    rng = np.random.default_rng(0)
    x, y, z = rng.normal(size=(3, 40))
    draws = item_draws(40, 3, seed=1)
    found = correlations(draws, x, y)
    held = np.repeat(np.arange(40), draws[2].astype(int))
    assert found[0] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found[2] == pytest.approx(np.corrcoef(x[held], y[held])[0, 1])
    design = np.stack((np.ones(40), z), 1)
    rest = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y)]
    r = partial(found[:1], correlations(draws, x, z)[:1], correlations(draws, y, z)[:1])
    assert r[0] == pytest.approx(np.corrcoef(*rest)[0, 1])
    assert math.isnan(correlations(draws, x, np.ones(40))[0])


def test_a_perfect_score_reaches_the_ceiling(judged):
    _, _, _, report = judged
    assert report.corrected.value == pytest.approx(1, abs=0.05)
    assert report.correlation.value < report.corrected.value
    assert report.correlation.low < report.correlation.value < report.correlation.high
    assert report.reliability.value == pytest.approx(1 / (1 + 1.5**2 / 10), abs=0.12)


def test_intervals_cover_what_they_promise(judged):
    for each in judged[3].coverage:
        assert each.covered == pytest.approx(each.level, abs=0.06)
    wide = {(c.target, c.level): c.half_width for c in judged[3].coverage}
    assert wide["single rating", 0.9] > wide["item mean", 0.9] > wide["item mean", 0.5]


def test_a_score_of_length_falls_when_length_is_held_constant():
    w = world(rank=0, d=3, n_item=200, n_per_item=10)
    length = (w.features[:, 0]).exp() * 50
    g = torch.Generator().manual_seed(0)
    value = 2 * w.features[w.ratings.item, 0] + torch.randn(len(w.ratings.value), generator=g)
    w = w._replace(ratings=w.ratings._replace(value=value.clamp(-9, 9)))
    model, test = parted(w)
    report = accept(model, test, w.features, exchangeable=False, length=length, **QUICK)
    assert report.correlation.value > 0.95 and abs(report.length_partial.value) < 0.3


def test_residuals_find_the_source_that_rates_higher(judged):
    w, model, test, report = judged
    assert {g.name for g in report.residuals["source"]} == {"page", "panel"}
    assert len(report.residuals["length"]) == 4 and len(report.residuals["rater"]) == 40
    odd = torch.where(test.rater % 2 == 1, test.value + 1, test.value).clamp(-9, 9)
    source = ["page" if r % 2 else "panel" for r in test.rater.tolist()]
    again = accept(
        model, test._replace(value=odd), w.features, exchangeable=False, source=source, **QUICK
    )
    page, panel = again.residuals["source"]
    assert page.low > 0.6 and panel.low < 0 < panel.high
    assert page.mean - panel.mean == pytest.approx(
        1 + report.residuals["source"][0].mean - report.residuals["source"][1].mean, abs=0.1
    )


def test_text_says_what_is_not_known(judged):
    w, model, test, report = judged
    text = report.text()
    assert "propensities are unknown" in text and "exchangeable" not in text
    assert "length held constant" in text and "residuals by rater: 40 groups" in text
    one = test._replace(rater=torch.zeros_like(test.rater), n_rater=1)
    panel = fit_raters(one, w.features, RaterConfig(learn_scale=False), seed=0)
    blind = accept(panel, one, w.features, exchangeable=True, **QUICK)
    assert "raters are exchangeable" in blind.text() and "length: not given" in blind.text()
    assert "rater" not in blind.residuals and not blind.bias_removed
    known = one._replace(propensity=torch.full_like(one.value, 0.5))
    assert "unknown" not in accept(panel, known, w.features, exchangeable=True, **QUICK).text()


def test_bad_raters_are_named():
    w = world(rank=0, d=4, n_item=200, n_per_item=15)
    value = torch.where(w.ratings.rater == 5, -w.ratings.value, w.ratings.value)
    w = w._replace(ratings=w.ratings._replace(value=value))
    model, test = parted(w, ridge_scale=3)
    report = accept(model, test, w.features, exchangeable=False, **QUICK)
    assert [c.rater for c in report.bad_raters] == [5]
    assert "rater 5: weight 0.1 in the population: inverted" in report.text()


def test_report_is_json(judged):
    found = json.loads(json.dumps(judged[3].to_json(), allow_nan=False))
    assert found["exchangeable"] is False and found["propensities_known"] is False
    assert set(found["correlation"]) == {"value", "low", "high"}
    assert corr(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0])) == pytest.approx(1)


def test_a_constant_score_has_no_correlation_and_says_so():
    w = world(rank=0, d=4, n_item=100, n_per_item=10)
    model, test = parted(w)
    model.weight.data.zero_()
    report = accept(model, test, w.features, exchangeable=False, **QUICK)
    assert math.isnan(report.correlation.value)
    assert report.to_json()["correlation"]["value"] is None


@pytest.mark.parametrize(("changes", "message"), [
    (dict(length=torch.zeros(300)), "length must be positive, one for each of 300 items"),
    (dict(source=["a"]), "source must name each of .* cells, got 1 names"),
])  # fmt: skip
def test_bad_arguments_are_errors(judged, changes, message):
    w, model, test, _ = judged
    with pytest.raises(ValueError, match=message):
        accept(model, test, w.features, exchangeable=False, **changes)


def test_raters_and_scales_that_the_model_does_not_know_are_named(judged):
    w, model, test, _ = judged
    for changes, message in (
        (dict(n_rater=test.n_rater + 1), "number raters as the model does, which knows 40 raters"),
        (dict(scale=(-9.0, 10.0)), "must be on the model's scale"),
    ):
        with pytest.raises(ValueError, match=message):
            accept(model, test._replace(**changes), w.features, exchangeable=False)


def test_too_few_items_are_an_error(judged):
    w, model, _, _ = judged
    few = Ratings(
        torch.tensor([0, 1]), torch.tensor([3, 3]), torch.tensor([1.0, 2.0]), None, 40, 300,
        (-9.0, 9.0),
    )  # fmt: skip
    with pytest.raises(ValueError, match="at least 20 items with two ratings, got 1"):
        accept(model, few, w.features, exchangeable=False)
