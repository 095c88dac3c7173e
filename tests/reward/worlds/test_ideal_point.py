"""The world of readers with ideal points: what is claimed in closed form, drawn instead."""

import dataclasses

import pytest
import torch

from memformer.config.goodhart import IdealPointConfig
from memformer.reward.worlds.ideal_point import D, make_world
from memformer.reward.worlds.ideal_point_ratings import (
    collect,
    expected_rating,
    first,
    propensities,
    rate,
)
from memformer.reward.worlds.ideal_point_reviews import (
    TOKENS,
    VERDICTS,
    ngrams,
    review,
    told_review,
)
from memformer.reward.worlds.ideal_point_text import (
    V,
    Writer,
    allowed,
    counts,
    kl,
    log_prob,
    told,
    write,
    write_relaxed,
)

CONFIG = IdealPointConfig(n_token=24, n_rater=60, n_calibration=4_000)


@pytest.fixture(scope="module")
def world():
    return make_world(CONFIG, seed=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def texts(world):
    return write(world.writer, 600, CONFIG.n_token, generator(5))


def test_texts_obey_the_grammar_and_can_be_read(world, texts):
    assert bool(allowed()[texts[:, :-1], texts[:, 1:]].all())
    assert bool((texts[:, 0] < 12).all())  # a subject begins
    assert told([0, 12, 28, 60, 1]) == "Ada loves letters. Ben"


def test_words_are_drawn_with_the_writers_probabilities(world, texts):
    p = world.writer.log_probs().exp()
    torch.testing.assert_close(p.sum(-1), torch.ones(V).double())
    first_words = texts[:, 0].bincount(minlength=V) / len(texts)
    error = (p[60] * (1 - p[60]) / len(texts)).sqrt()
    assert bool(((first_words - p[60]).abs() <= 4 * error + 1e-12).all())


def test_kl_is_exact_has_its_sign_and_is_zero_to_itself(world):
    other = Writer(world.writer.logits + 0.3 * torch.randn(V, V, generator=generator(1)).double())
    assert float(kl(other, other, 24)) == pytest.approx(0, abs=1e-12)
    drawn = write(other, 6_000, 24, generator(2))
    ratio = log_prob(other, drawn) - log_prob(world.writer, drawn)
    exact = float(kl(other, world.writer, 24))
    assert exact > 0
    assert abs(exact - float(ratio.mean())) <= 3 * float(ratio.std()) / len(ratio) ** 0.5


def test_relaxed_texts_are_one_hot_obey_the_grammar_and_carry_a_gradient(world):
    logits = world.writer.logits.clone().requires_grad_()
    rows = write_relaxed(Writer(logits), 40, 12, 1.0, generator(3))
    ids = rows.detach().argmax(-1)
    torch.testing.assert_close(rows.detach().amax(-1), torch.ones(40, 12).double())
    assert bool(allowed()[ids[:, :-1], ids[:, 1:]].all())
    world.features(rows).square().sum().backward()
    assert float(logits.grad.abs().sum()) > 0
    assert float(logits.grad[~allowed()].abs().max()) == 0


def test_features_of_one_hot_rows_equal_those_of_ids(world, texts):
    rows = torch.nn.functional.one_hot(texts[:20], V).double()
    torch.testing.assert_close(world.features(rows), world.features(texts[:20]))


def test_features_are_standardised_over_ordinary_texts(world):
    z = world.features(write(world.writer, 4_000, CONFIG.n_token, generator(7)))
    assert float(z.mean(0).abs().max()) < 4 / 4_000**0.5 * 1.5
    torch.testing.assert_close(torch.cov(z.T), torch.eye(D).double(), atol=0.12, rtol=0)


def test_true_loss_equals_minus_the_mean_utility(world, texts):
    z = world.features(texts)
    torch.testing.assert_close(world.l_novel(z), -world.utilities(z).mean(1))


def test_true_loss_equals_drawing_readers_within_three_standard_errors(world, texts):
    z = world.features(texts[:5])
    n = 20_000
    rater = torch.randint(CONFIG.n_rater, (n,), generator=generator(8))
    noise = torch.randn(5, n, generator=generator(9)).double()
    drawn = world.utilities(z)[:, rater] + noise
    off = (world.l_novel(z) + drawn.mean(1)).abs()
    assert bool((off <= 3 * drawn.std(1) / n**0.5).all())


def test_nothing_is_better_than_the_best(world):
    z = torch.randn(5_000, D, generator=generator(10)).double() * 2
    gold = (-world.l_novel(z) - world.gold_mean) / world.gold_sd
    assert float(gold.max()) <= world.best_gold()


def test_same_seed_makes_the_same_world(world, texts):
    again = make_world(CONFIG, seed=0)
    assert torch.equal(world.gold(texts), again.gold(texts))
    assert not torch.equal(world.gold(texts), make_world(CONFIG, seed=1).gold(texts))


def test_raters_use_the_scale_as_their_kind_does(world, texts):
    z = world.features(texts)
    honest = expected_rating(world, z)
    kinds = world.readers.kind
    assert kinds.bincount().tolist() == [51, 6, 3]
    item = torch.arange(len(z))
    for r in range(CONFIG.n_rater):
        value = rate(world, z, torch.full((len(z),), r), item, generator(r))
        assert bool(((value >= 1) & (value <= 7) & (value == value.round())).all())
        tied = torch.corrcoef(torch.stack((value, honest[:, r])))[0, 1]
        match int(kinds[r]):
            case 0:
                assert tied > 0.4
            case 1:
                assert abs(tied) < 0.2
            case 2:
                assert tied < -0.4


def test_ratings_by_taste_are_biased_and_propensities_mend_it(world, texts):
    taste = world._replace(config=dataclasses.replace(CONFIG, missingness="taste"))
    z, raters = world.features(texts), torch.arange(CONFIG.n_rater)
    chance = propensities(taste, z, raters, 6.0)
    assert float(chance.mean()) == pytest.approx(6 / CONFIG.n_rater, rel=0.05)
    honest = expected_rating(world, z)
    rated = torch.rand(chance.shape, generator=generator(3)).double() < chance
    value, weight = honest[rated], 1 / chance[rated]
    true = float(honest.mean())
    error = float(value.std()) / len(value) ** 0.5
    assert float(value.mean()) - true > 5 * error
    mended = float((weight * value).sum() / weight.sum())
    spread = float(((weight / weight.mean()).square() * (value - mended).square()).mean()) ** 0.5
    assert abs(mended - true) <= 3 * spread / len(value) ** 0.5


def test_first_ratings_of_many_are_those_of_few(world, texts):
    z, raters = world.features(texts), torch.arange(40)
    many, few = (
        collect(world, z, raters, n_rating=n, per_item=4, generator=generator(4))
        for n in (2_000, 300)
    )
    part = first(many, 300)
    assert torch.equal(part.item, few.item) and torch.equal(part.rater, few.rater)
    assert part.n_item == few.n_item == int(part.item.max()) + 1
    assert bool((part.rater < 40).all())
    with pytest.raises(ValueError, match="n_rating=9000 needs more texts"):
        collect(world, z, raters, n_rating=9_000, per_item=4, generator=generator(4))
    with pytest.raises(ValueError, match=r"per_item must be in \(0, 40\]"):
        propensities(world, z, raters, 41.0)


def test_review_is_a_verdict_and_pairs_and_can_be_read(world, texts):
    z = world.features(texts)
    tokens = review(world, z, torch.zeros(len(z), dtype=torch.int64), generator(6))
    assert tokens.shape == (len(z), 11)
    assert bool((tokens[:, 0] < len(VERDICTS)).all())
    assert told_review(tokens[0].tolist()).count(",") == 4
    named = tokens[:, 2::2].sort(1).values
    assert bool((named.diff(dim=1) > 0).all())  # no aspect twice


def test_a_model_of_text_reads_the_reviewers_opinion_off_the_review(world):
    z = world.features(write(world.writer, 3_000, CONFIG.n_token, generator(11)))
    rater = torch.randint(CONFIG.n_rater, (len(z),), generator=generator(12))
    x = ngrams(review(world, z, rater, generator(13)))
    gold = -world.l_novel(z)
    found = {}
    for name, order in (
        ("own", torch.arange(2_000)),
        ("shuffled", torch.randperm(2_000, generator=generator(14))),
    ):
        y = gold[:2_000][order]
        a = x[:2_000] - x[:2_000].mean(0)
        ridge = a.T @ a + 300 * torch.eye(x.shape[1]).double()
        w = torch.linalg.solve(ridge, a.T @ (y - y.mean()))
        found[name] = float(torch.corrcoef(torch.stack((x[2_000:] @ w, gold[2_000:])))[0, 1])
    assert found["own"] > 0.4
    assert abs(found["shuffled"]) < 0.15


def test_ngrams_count_tokens_and_pairs():
    n = len(TOKENS)
    found = ngrams(torch.tensor([[0, 5, 10, 5, 10]]))[0]
    assert found[:n].tolist()[5] == 2 and float(found[:n].sum()) == 5
    assert float(found[n + 5 * n + 10]) == 2 and float(found[n:].sum()) == 4


def test_counts_refuse_what_is_no_text():
    with pytest.raises(ValueError, match=r"texts must hold ids in \[0, 64\), got 3 to 64"):
        counts(torch.tensor([[3, 64]]))
    with pytest.raises(ValueError, match=r"texts must be \(B, L\) ids"):
        counts(torch.zeros(2, 3, 5))


def test_counts_tell_early_words_from_late_ones():
    found = counts(torch.tensor([[0, 1, 2]]))
    assert found[0, 0, :3].tolist() == [1, 1, 1]
    assert found[0, 1, :3].tolist() == [-1, 0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spammers": 0.8, "inverted": 0.3}, "spammers \\+ inverted must be at most 1"),
        ({"n_rater": 2}, "n_rater must be at least n_cluster=3, got 2"),
        ({"missingness": "some"}, "missingness must be one of random, taste"),
    ],
)
def test_impossible_worlds_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        IdealPointConfig(**change)
