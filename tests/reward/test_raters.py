"""The rater model on worlds whose truth is known."""

import pytest
import torch

from memformer.config.reward import RaterConfig
from memformer.memory.storage import UnreadableSave
from memformer.reward.choice import choose_raters, held_out_rmse
from memformer.reward.new_rater import expected_of, fit_new_rater, with_rater
from memformer.reward.raters import RaterModel, fit_raters
from memformer.reward.ratings import Ratings, folds, held_out, select
from tests.reward.known_worlds import corr, world

PLAIN = RaterConfig(learn_scale=False, learn_noise=False)
TIGHT = dict(tolerance=1e-12, max_iter=1000)


def everything(w):
    return torch.arange(w.ratings.n_item)


def test_rank_0_equals_closed_form_ridge():
    w = world(rank=0, n_rater=12, n_item=15, n_per_item=5)
    r = w.ratings
    config = RaterConfig(learn_scale=False, learn_noise=False, ridge=3, ridge_bias=5, **TIGHT)
    model = fit_raters(r, w.features, config, seed=0)
    z = (r.value - r.value.mean()) / r.value.std(correction=0)
    x = w.features - w.features[r.item.unique()].mean(0)
    x = x / (x[r.item.unique()] ** 2).sum(1).mean().sqrt()
    design = torch.cat((
        torch.ones(len(z), 1).double(), torch.eye(12).double()[r.rater], x[r.item]
    ), 1)  # fmt: skip
    ridge = torch.diag(torch.tensor([0.0] + [5.0] * 12 + [3.0] * 15).double())
    solved = torch.linalg.solve(design.T @ design + ridge, design.T @ z)
    plain = (
        torch.eye(12).double() @ solved[1:13, None] + solved[0] + (x @ solved[13:])[None]
    ) * r.value.std(correction=0) + r.value.mean()
    assert torch.allclose(model(w.features).T, plain, atol=1e-5)


def test_biases_are_recovered():
    w = world(rank=0, n_per_item=30)
    model = fit_raters(w.ratings, None, PLAIN, seed=0)
    assert corr(torch.tensor([c.bias for c in model.checks]), w.bias) > 0.995
    assert corr(model.score(everything(w)), w.mean) > 0.99


def test_tastes_are_recovered_and_rank_0_cannot():
    w = world(rank=2, n_per_item=30)
    errors = {}
    for rank in (0, 2):
        model = fit_raters(w.ratings, None, RaterConfig(rank=rank, learn_scale=False), seed=0)
        errors[rank] = (model(everything(w)).T - w.utility).square().mean().sqrt()
    assert errors[2] < 0.45 and errors[0] > 0.8


def test_rank_is_chosen_by_held_out_cells():
    candidates = [
        RaterConfig(rank=k, ridge_factor=2, learn_scale=False, learn_noise=False) for k in range(4)
    ]
    for rank in (0, 2):
        w = world(rank=rank, n_item=60, n_per_item=25)
        chosen = choose_raters(w.ratings, None, candidates, n_fold=4, seed=0)
        assert chosen.config.rank == rank
        assert len(chosen.trials) == 4 and len(chosen.trials[0].rmse) == 4


def test_the_simplest_within_an_error_of_the_best_is_chosen(monkeypatch):
    w = world(rank=0, n_rater=10, n_item=12, n_per_item=6)
    told = {0: [1.0, 1.2, 1.0, 1.1], 1: [0.99, 1.21, 1.0, 1.09]}
    left = {rank: list(errors) for rank, errors in told.items()}
    monkeypatch.setattr(
        "memformer.reward.choice.held_out_rmse", lambda model, *_: left[model.config.rank].pop(0)
    )
    candidates = [RaterConfig(rank=0), RaterConfig(rank=1)]
    for n_error, rank in ((1.0, 0), (0.0, 1)):
        left.update({rank: list(errors) for rank, errors in told.items()})
        found = choose_raters(w.ratings, None, candidates, n_fold=4, n_error=n_error, seed=0)
        assert found.config.rank == rank


def test_texts_predict_items_that_nobody_rated():
    w = world(rank=1, d=6, n_item=150, n_per_item=8)
    train, test = next(held_out(w.ratings, folds(w.ratings, 3, by="item", seed=0)))
    model = fit_raters(train, w.features, RaterConfig(rank=1, learn_scale=False), seed=0)
    unseen = test.item.unique()
    assert corr(model.score(w.features)[unseen], w.mean[unseen]) > 0.97
    assert model.report["n_item_unrated"] >= len(unseen)
    rank_0 = fit_raters(train, w.features, PLAIN, seed=0)
    error = held_out_rmse(model, test, w.features)
    assert error < 0.7 and error < 0.7 * held_out_rmse(rank_0, test, w.features)


def test_hidden_layer_learns_what_no_linear_map_can():
    w = world(rank=0, d=4, n_item=200, n_per_item=10)
    bent = w.features[w.ratings.item].square().sum(1) - 4
    ratings = w.ratings._replace(value=bent.clamp(-9, 9))
    linear = fit_raters(ratings, w.features, PLAIN, seed=0)
    config = RaterConfig(hidden=24, learn_scale=False, learn_noise=False, max_iter=150)
    bowl = fit_raters(ratings, w.features, config, seed=0)
    g = torch.Generator().manual_seed(5)
    fresh = torch.randn(200, 4, generator=g, dtype=torch.float64)
    truth = fresh.square().sum(1)
    assert corr(bowl.score(fresh), truth) > 0.9 > 0.4 > abs(corr(linear.score(fresh), truth))


def test_known_propensities_beat_none_where_people_rate_what_they_like():
    lead = []
    for seed in range(4):
        w = world(rank=2, taste=2.0, by_taste=2.0, n_rater=200, n_item=60, n_per_item=30, seed=seed)
        with_p = fit_raters(w.ratings, None, PLAIN, seed=0).score(everything(w))
        without = w.ratings._replace(propensity=None)
        none = fit_raters(without, None, PLAIN, seed=0).score(everything(w))
        lead.append(corr(with_p, w.mean) - corr(none, w.mean))
    assert min(lead) > 0.02 and sum(lead) / 4 > 0.05


def test_clipping_most_propensities_is_said(caplog):
    w = world(rank=0, by_taste=1.0)
    config = RaterConfig(learn_scale=False, learn_noise=False, min_propensity=0.9)
    assert fit_raters(w.ratings, None, config, seed=0).report["n_clipped"] > 100
    assert "are below min_propensity=0.9 and count as it" in caplog.text


def test_order_of_raters_items_and_rows_changes_nothing_but_order():
    w = world(rank=2)
    config = RaterConfig(rank=2, **TIGHT)
    g = torch.Generator().manual_seed(3)
    of_rater, of_item = torch.randperm(40, generator=g), torch.randperm(80, generator=g)
    moved = w.ratings._replace(rater=of_rater[w.ratings.rater], item=of_item[w.ratings.item])
    moved = select(moved, torch.randperm(len(moved.value), generator=g))
    one = fit_raters(w.ratings, None, config, seed=0)
    other = fit_raters(moved, None, config, seed=0)
    assert torch.allclose(other(of_item)[:, of_rater], one(everything(w)), atol=2e-3)
    assert torch.allclose(other.factor[of_rater], one.factor, atol=5e-3)


def test_two_seeds_and_two_turns_of_the_tastes_give_one_form():
    w = world(rank=2)
    config = RaterConfig(rank=2, **TIGHT)
    one, other = (fit_raters(w.ratings, None, config, seed=seed) for seed in (0, 1))
    assert torch.allclose(one.factor, other.factor, atol=5e-3)
    taste = one.item_part(w.ratings.item.unique())[:, 1:]
    assert torch.allclose(taste.T @ taste / len(taste), torch.eye(2), atol=1e-4)
    square = one.factor.T @ one.factor
    assert abs(square[0, 1]) < 1e-4 * square[0, 0] and square[0, 0] > square[1, 1]
    for mean in (one.bias.mean(), one.factor.mean(), taste.mean(), one.stretch.mean() - 1):
        assert abs(mean) < 1e-4


def test_what_all_tastes_share_is_everybodys_opinion():
    """With next to no room for it in f0 it comes out of the tastes, and predictions stay."""
    w = world(rank=0)
    config = RaterConfig(rank=1, ridge=1e6, ridge_factor=0.01, learn_scale=False)
    model = fit_raters(w.ratings, None, config, seed=0)
    assert abs(model.factor.mean()) < 1e-4
    assert corr(model.score(everything(w)), w.mean) > 0.9


def test_means_are_zero_over_items_that_were_rated():
    w = world(rank=1, d=4)
    rated = w.features[:, 0] < 0.5
    some = select(w.ratings, rated[w.ratings.item])
    part = fit_raters(some, w.features, RaterConfig(rank=1), seed=0).item_part(w.features)
    assert part[rated].mean(0).abs().max() < 1e-6 < part.mean(0).abs().min()


@pytest.mark.parametrize("head", ["mse", "huber", "ordinal"])
def test_a_row_given_twice_is_a_weight_of_two(head):
    w = world(rank=0, n_rater=10, n_item=12, n_per_item=6)
    ratings = w.ratings._replace(value=w.ratings.value.round())
    config = RaterConfig(head=head, tolerance=1e-11, max_iter=300)
    n = len(ratings.value)
    twice = select(ratings, torch.cat((torch.arange(n), torch.tensor([0, 3]))))
    weight = torch.ones(n, dtype=torch.float64).index_fill(0, torch.tensor([0, 3]), 2.0)
    one = fit_raters(ratings, w.features, config, seed=0, weight=weight)
    other = fit_raters(twice, w.features, config, seed=0)
    assert torch.allclose(one(w.features), other(w.features), atol=1e-3)


@pytest.mark.parametrize("head", ["mse", "huber", "ordinal"])
@pytest.mark.parametrize("rule", ["mean", "median", "cvar", "maxmin"])
def test_scores_are_differentiable_in_the_features(head, rule):
    w = world(rank=1, d=3, n_rater=9, n_item=30, n_per_item=6)
    ratings = w.ratings._replace(value=w.ratings.value.round())
    config = RaterConfig(rank=1, head=head, hidden=4, max_iter=20)
    model = fit_raters(ratings, w.features, config, seed=0)
    x = w.features[:3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: model.score(f, rule), x)


def test_ordinal_head_sees_through_a_bent_scale():
    w = world(rank=0, n_per_item=30, noise=0.5)
    bent = torch.bucketize(w.ratings.value, torch.tensor([-2.5, -2.2, -1.9, 1.5]).double())
    ratings = w.ratings._replace(value=bent.double() + 1, scale=(1.0, 5.0))
    model = fit_raters(ratings, None, RaterConfig(head="ordinal"), seed=0)
    latent = model.latent(everything(w)).T
    assert corr(latent, w.utility) > 0.95
    rows = model(everything(w))
    assert rows.min() >= 1 and rows.max() <= 5


def test_huber_is_moved_less_by_wild_ratings():
    w = world(rank=0, n_per_item=10)
    wild = w.ratings.value.clone()
    wild[::15] = 9.0
    ratings = w.ratings._replace(value=wild)
    errors = {
        head: 1 - corr(
            fit_raters(ratings, None, RaterConfig(
                head=head, learn_scale=False, learn_noise=False, huber_delta=0.5
            ), seed=0).score(everything(w)), w.mean,
        )
        for head in ("mse", "huber")
    }  # fmt: skip
    assert errors["huber"] < errors["mse"] / 2


def test_a_new_rater_is_placed_by_the_frozen_basis():
    w = world(rank=2, n_rater=41, n_per_item=30)
    known = select(w.ratings, w.ratings.rater < 40)._replace(n_rater=40)
    model = fit_raters(known, None, RaterConfig(rank=2, learn_scale=False), seed=0)
    own = select(w.ratings, w.ratings.rater == 40)
    new = fit_new_rater(model, own.item, own.value)
    found = expected_of(model, new, everything(w))
    average = model(everything(w)).mean(1)
    truth = w.utility[40]
    assert (found - truth).square().mean() < 0.5 * (average - truth).square().mean()
    grown = with_rater(model, new)
    assert torch.allclose(grown(everything(w))[:, -1], found, atol=1e-5)
    assert torch.allclose(grown(everything(w))[:, :-1], model(everything(w)), atol=1e-5)
    alone = fit_new_rater(model, own.item[:1], own.value[:1])
    assert alone.factor.abs().max() == 0 and alone.bias != 0
    with pytest.raises(ValueError, match="value must be on the scale"):
        fit_new_rater(model, own.item[:1], torch.tensor([10.0]))


def test_a_new_raters_fit_equals_ridge_in_closed_form():
    w = world(rank=2, n_per_item=30)
    model = fit_raters(w.ratings, None, RaterConfig(rank=2), seed=0).double()
    own = select(w.ratings, w.ratings.rater == 3)
    new = fit_new_rater(model, own.item, own.value)
    part = model.item_part(own.item)
    z = (own.value - model.centre) / model.spread - model.intercept - part[:, 0]
    design = torch.cat((torch.ones(len(z), 1).double(), part[:, 1:]), 1)
    ridge = torch.block_diag(torch.tensor([[model.config.ridge_bias]]).double(), model.precision)
    solved = torch.linalg.solve(design.T @ design + ridge, design.T @ z)
    assert torch.allclose(torch.cat((new.bias[None], new.factor)), solved, atol=1e-4)


def test_bad_raters_are_weighted_down_and_reported_never_deleted():
    w = world(rank=0, n_rater=40, n_per_item=25)
    g = torch.Generator().manual_seed(2)
    value, rater = w.ratings.value.clone(), w.ratings.rater
    value[rater == 0] = -value[rater == 0]
    value[rater == 1] = 18 * torch.rand(int((rater == 1).sum()), generator=g).double() - 9
    value[rater == 2] = 4.0
    failed = torch.zeros(40, dtype=torch.bool)
    failed[3] = True
    model = fit_raters(
        w.ratings._replace(value=value), None, RaterConfig(ridge_scale=3), seed=0, failed=failed
    )
    reasons = {c.rater: " ".join(c.reasons) for c in model.checks if c.reasons}
    assert set(reasons) == {0, 1, 2, 3}
    assert "inverted" in reasons[0] and "noisy" in reasons[1]
    assert "one rating for everything" in reasons[2] and "failed checks" in reasons[3]
    assert len(model.checks) == 40 and model(everything(w)).shape == (80, 40)
    assert model.population[:4].tolist() == pytest.approx([0.1] * 4)
    assert model.population[4:].min() == 1
    assert corr(model.score(everything(w)), w.mean) > 0.98


def test_length_is_dropped_at_use():
    w = world(rank=0, d=5, n_item=200, n_per_item=8)
    g = torch.Generator().manual_seed(4)
    length = torch.randn(200, 1, generator=g, dtype=torch.float64)
    swayed = w.ratings.value + 2 * length[w.ratings.item, 0]
    ratings = w.ratings._replace(value=swayed.clamp(-9, 9))
    seen = torch.cat((w.features, length), 1)  # texts show their length too
    without = fit_raters(ratings, seen, PLAIN, seed=0).score(seen)
    model = fit_raters(ratings, seen, PLAIN, seed=0, nuisance=length)
    assert abs(corr(model.score(seen), length[:, 0])) < 0.2 < abs(corr(without, length[:, 0]))
    assert corr(model.score(seen), w.mean) > corr(without, w.mean) + 0.2
    assert model.report["nuisance"][0] > 0


def test_saved_raters_are_read_back_to_the_bit(tmp_path):
    w = world(rank=2, d=5)
    ratings = w.ratings._replace(value=w.ratings.value.round())
    for head in ("mse", "ordinal"):
        config = RaterConfig(rank=2, head=head, hidden=6, max_iter=30)
        model = fit_raters(ratings, w.features, config, seed=0)
        model.save(tmp_path / head)
        again = RaterModel.load(tmp_path / head)
        assert torch.equal(again(w.features), model(w.features))
        assert (again.config, again.checks, again.report) == (
            model.config, model.checks, model.report,
        )  # fmt: skip
        assert {p.suffix for p in (tmp_path / head).iterdir()} == {".json", ".safetensors"}
    with pytest.raises(UnreadableSave):
        RaterModel.load(tmp_path)


def test_a_grown_population_is_saved_too(tmp_path):
    w = world(rank=1)
    model = fit_raters(w.ratings, None, RaterConfig(rank=1), seed=0)
    grown = with_rater(model, fit_new_rater(model, torch.tensor([3, 5]), torch.tensor([1.0, 2.0])))
    grown.save(tmp_path)
    assert torch.equal(RaterModel.load(tmp_path)(everything(w)), grown(everything(w)))


def test_relaxed_rows_over_items_are_read_as_items():
    w = world(rank=1)
    model = fit_raters(w.ratings, None, RaterConfig(rank=1), seed=0)
    assert torch.allclose(model(torch.eye(80)), model(everything(w)), atol=1e-6)


# bad input


def test_a_rater_with_one_rating_gets_a_bias_only():
    w = world(rank=2)
    keep = w.ratings.rater != 0
    keep[(w.ratings.rater == 0).nonzero()[0]] = True
    model = fit_raters(select(w.ratings, keep), None, RaterConfig(rank=2), seed=0)
    apart = model(everything(w))[:, 0] - model(everything(w)).mean(1)
    others = model.latent(everything(w))[:, 1:]
    assert others.std(0).min() > 0
    assert model.report["n_rater_single"] == 1 and not model.checks[0].reasons
    # everybody's scale differs, so the one who has none differs from the mean by bias and by that
    assert apart.std() < 0.35 * model(everything(w)).std(0).mean()


def test_who_has_one_rating_is_told_by_counting_not_by_propensities():
    w = world(rank=0)
    keep = w.ratings.rater > 1
    keep[(w.ratings.rater == 0).nonzero()[0]] = True  # and nothing of rater 1
    some = select(w.ratings, keep)
    likely = torch.full_like(some.value, 0.01)
    likely[some.rater == 0] = 0.0002  # one rating that stands for many
    likely[some.rater == 2] = 1.0  # many that stand for little
    config = RaterConfig(min_propensity=1e-6, ridge_scale=0.1)
    stretch = fit_raters(some._replace(propensity=likely), None, config, seed=0).stretch
    assert stretch[0] == stretch[1] != stretch[2]


def test_all_raters_agreeing_is_a_constant_and_nobodys_fault():
    w = world(rank=0)
    same = w.ratings._replace(value=torch.full_like(w.ratings.value, 2.0))
    for head in ("mse", "ordinal"):
        model = fit_raters(same, None, RaterConfig(head=head, rank=1), seed=0)
        assert torch.allclose(model(everything(w)), torch.tensor(2.0), atol=0.1)
        assert all(not check.reasons for check in model.checks)


def test_raters_who_agree_on_every_item_leave_no_noise():
    w = world(rank=0, noise=0.0)
    flat = w.ratings._replace(value=w.ratings.value - w.bias[w.ratings.rater])
    model = fit_raters(flat, None, RaterConfig(), seed=0)
    assert torch.isfinite(model(everything(w))).all()
    assert corr(model.score(everything(w)), w.mean) > 0.995


def test_an_item_or_rater_without_ratings_is_predicted_and_counted():
    w = world(rank=1)
    some = select(w.ratings, (w.ratings.item != 7) & (w.ratings.rater != 4))
    model = fit_raters(some, None, RaterConfig(rank=1), seed=0)
    assert (model.report["n_item_unrated"], model.report["n_rater_unrated"]) == (1, 1)
    assert torch.isfinite(model(everything(w))).all()
    assert (model.score(everything(w))[7] - some.value.mean()).abs() < 0.5


@pytest.mark.parametrize(("features", "changes", "message"), [
    (torch.zeros(79, 3), {}, r"features must be float \(80, d\), a row for each item, got"),
    (torch.full((80, 3), torch.nan), {}, "features must be finite, got .*nan.* at item 0"),
    (None, dict(rank=40), "rank must be below 40 raters, 80 rated items and 80 features, got 40"),
    (torch.zeros(80, 3), dict(rank=3), "rank must be below .* and 3 features, got 3"),
    (None, dict(head="ordinal"), "head='ordinal' needs ratings in whole numbers"),
])  # fmt: skip
def test_bad_fits_are_errors(features, changes, message):
    with pytest.raises(ValueError, match=message):
        fit_raters(world().ratings, features, RaterConfig(**changes), seed=0)


def test_features_of_another_width_are_an_error():
    w = world(rank=0, d=5)
    model = fit_raters(w.ratings, w.features, PLAIN, seed=0)
    with pytest.raises(
        ValueError, match=r"features must be float \(m, 5\) as the model was fitted"
    ):
        model(w.features[:, :4])
    with pytest.raises(ValueError, match="failed must be bool"):
        fit_raters(w.ratings, None, PLAIN, seed=0, failed=torch.zeros(3))


def test_one_rater_and_few_items_are_fitted():
    lonely = Ratings(
        torch.zeros(3, dtype=torch.int64), torch.tensor([0, 1, 2]),
        torch.tensor([1.0, 2.0, 5.0]), None, 1, 3, (1.0, 5.0),
    )  # fmt: skip
    scores = fit_raters(lonely, None, RaterConfig(), seed=0).score(torch.arange(3))
    assert scores[0] < scores[1] < scores[2]


@pytest.mark.parametrize(("changes", "message"), [
    (dict(rank=-1), "rank must be an integer of at least 0, got -1"),
    (dict(head="mae"), "head must be one of mse, ordinal, huber, got 'mae'"),
    (dict(aggregate="sum"), "aggregate must be one of mean, median, cvar, maxmin, got 'sum'"),
    (dict(min_propensity=0.0), r"min_propensity must be in \[1e-09, 1\], got 0.0"),
    (dict(ridge=0.0), "ridge must be in .*, got 0.0"),
    (dict(bad_rater_weight=0.0), "bad_rater_weight must be in .*, got 0.0"),
])  # fmt: skip
def test_bad_settings_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        RaterConfig(**changes)
