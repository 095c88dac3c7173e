"""Agreement against published figures, plain twins and worlds whose variances are known."""

import math
import sys
from itertools import combinations

import krippendorff
import numpy as np
import pytest

from memformer.data.feedback_cells import RatedCells
from memformer.rating.agreement import (
    agreement,
    code,
    krippendorff_alpha,
    value_counts,
    weighted_alpha,
)
from memformer.rating.variance import tally, variance_split

# Shrout and Fleiss 1979, table 2: six targets by four judges
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", part D: four observers
_ = math.nan
KRIPPENDORFF = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
])  # fmt: skip


def cells(values, wave=0):
    """Cells of (R, I) ratings; NaN where nobody rated."""
    values = np.asarray(values, dtype=float)
    rater, item = np.nonzero(~np.isnan(values))
    given = values[rater, item]
    return RatedCells(
        criterion="c", rater=rater, item=item, wave=np.full(len(given), wave), value=given,
        propensity=np.full(len(given), np.nan), raters=tuple(f"r{i}" for i in range(len(values))),
        items=tuple(f"v{i}" for i in range(values.shape[1])),
        scale=(float(given.min()) - 1, float(given.max()) + 1),
    )  # fmt: skip


def joined(a, b):
    """The cells of two waves."""
    parts = {
        name: np.concatenate([getattr(a, name), getattr(b, name)])
        for name in ("rater", "item", "wave", "value", "propensity")
    }
    return a._replace(**parts)


def variance_split_of(given, *weights):
    return variance_split(tally(given), *weights)


def world(seed, R=40, I=60, sd=(0.7, 1.0, 0.5), share=0.3):
    """Whole ratings of a world with known variances, thinned at random."""
    rng = np.random.default_rng(seed)
    y = 4 + sd[0] * rng.normal(size=(R, 1)) + sd[1] * rng.normal(size=(1, I))
    y = y + sd[2] * rng.normal(size=(R, I))
    return np.where(rng.random((R, I)) < share, y, np.nan)


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_is_the_published_one(level, published):
    counts, domain = value_counts(cells(KRIPPENDORFF))
    assert krippendorff_alpha(counts, domain, level, "c") == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(3))
def test_weights_of_one_give_what_the_library_gives(level, seed):
    given = cells(np.rint(world(seed, R=9, I=31, share=0.4)))
    u, w = np.ones(31), np.ones(9)
    counts, domain = value_counts(given)
    expected = krippendorff.alpha(
        value_counts=counts, value_domain=domain, level_of_measurement=level
    )
    assert weighted_alpha(code(given), level, u, w) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_resampled_items_are_items_that_stand_several_times(level):
    values = np.rint(world(3, R=7, I=20, share=0.5))
    u = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20)).astype(float)
    drawn = cells(np.repeat(values, u.astype(int), axis=1))
    counts, domain = value_counts(drawn)
    plain = krippendorff_alpha(counts, domain, level, "c")
    assert weighted_alpha(code(cells(values)), level, u, np.ones(7)) == pytest.approx(
        plain, abs=1e-12
    )


def test_a_rater_drawn_twice_is_not_paired_with_himself():
    values = np.rint(world(4, R=6, I=25, share=0.6))
    w = np.array([2.0, 0, 1, 3, 1, 0])
    given = cells(values)
    place = np.unique(given.value)
    observed = np.zeros((len(place), len(place)))  # by its definition, pair by pair
    for i in range(25):
        rated = [r for r in range(6) if not np.isnan(values[r, i]) and w[r]]
        total = sum(w[r] for r in rated)
        pairs = sum(2 * w[a] * w[b] for a, b in combinations(rated, 2))
        for a, b in combinations(rated, 2):
            x, y = np.searchsorted(place, [values[a, i], values[b, i]])
            observed[x, y] += total / pairs * w[a] * w[b]
            observed[y, x] += total / pairs * w[a] * w[b]
    n = observed.sum(0)
    d = (place[:, None] - place) ** 2
    expected = ((np.outer(n, n) - np.diag(n)) / (n.sum() - 1) * d).sum()
    plain = 1 - (observed * d).sum() / expected
    assert weighted_alpha(code(given), "interval", np.ones(25), w) == pytest.approx(
        plain, abs=1e-12
    )


def test_balanced_ratings_give_the_reliabilities_of_shrout_and_fleiss():
    split = variance_split_of(cells(SHROUT_FLEISS.T))
    assert split.icc(1) == pytest.approx(0.29, abs=0.005)
    assert split.icc(4) == pytest.approx(0.62, abs=0.005)
    assert split.consistency(1) == pytest.approx(0.71, abs=0.006)
    assert split.consistency(4) == pytest.approx(0.91, abs=0.005)
    assert split.noise is None


def test_variances_of_a_world_are_found_where_most_ratings_are_missing():
    found = [variance_split_of(cells(world(seed))) for seed in range(30)]
    for name, true in (("rater", 0.49), ("item", 1.0), ("interaction", 0.25)):
        each = np.array([getattr(split, name) for split in found])
        error = each.std(ddof=1) / math.sqrt(len(each))
        assert abs(each.mean() - true) < 4 * error, (name, each.mean(), error)


def test_repeats_tell_noise_from_taste():
    found = []
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        first = world(seed)  # taste is in it
        waves = [cells(first + 0.6 * rng.normal(size=first.shape), wave) for wave in (0, 1)]
        found.append(variance_split_of(joined(*waves)))
    for name, true in (("interaction", 0.25), ("noise", 0.36)):
        each = np.array([getattr(split, name) for split in found])
        error = each.std(ddof=1) / math.sqrt(len(each))
        assert abs(each.mean() - true) < 4 * error, (name, each.mean(), error)


def test_split_is_what_all_pairs_say():
    values = world(5, R=8, I=12, share=0.6)
    again = np.where(np.random.default_rng(9).random(values.shape) < 0.4, values + 0.3, np.nan)
    given = joined(cells(values), cells(again, wave=1))
    rng = np.random.default_rng(2)
    u = rng.multinomial(12, np.full(12, 1 / 12)).astype(float)
    w = rng.multinomial(8, np.full(8, 1 / 8)).astype(float)
    found = variance_split_of(given, u, w)
    rows = list(zip(given.rater, given.item, given.value, strict=True))
    in_item = {i: sum(w[r] for r, j, _ in rows if j == i) for i in range(12)}
    in_rater = {r: sum(u[i] for s, i, _ in rows if s == r) for r in range(8)}
    sums = np.zeros((3, 2))  # within an item, within a rater, neither
    for r, i, a in rows:
        for s, j, b in rows:
            half = (a - b) ** 2 / 2
            if i == j and r != s and w[r] * w[s] * u[i]:
                sums[0] += w[r] * w[s] * u[i] / in_item[i] * np.array([half, 1])
            if r == s and i != j and u[i] * u[j] * w[r]:
                sums[1] += u[i] * u[j] * w[r] / in_rater[r] * np.array([half, 1])
            if r != s and i != j:
                sums[2] += w[r] * w[s] * u[i] * u[j] * np.array([half, 1])
    within, between, apart = sums[:, 0] / sums[:, 1]
    assert found.within == pytest.approx(within, abs=1e-10)
    assert found.item == pytest.approx(apart - within, abs=1e-10)
    assert found.rater == pytest.approx(apart - between, abs=1e-10)
    assert found.noise == pytest.approx(0.3**2 / 2, abs=1e-10)  # of two that differ by .3
    total = within + between - apart
    assert found.interaction + found.noise == pytest.approx(total, abs=1e-10)


@pytest.mark.parametrize("unit", ["items", "raters"])
def test_resamples_lie_around_the_estimate(unit):
    # noise alone: a rater paired with his own copy would look like agreement
    ratings = tally(cells(world(6, R=30, I=50, sd=(0.0, 0.0, 1.0))))
    point = variance_split(ratings)
    rng = np.random.default_rng(0)
    n = ratings.n_item if unit == "items" else ratings.n_rater
    drawn = []
    for _ in range(400):
        weight = rng.multinomial(n, np.full(n, 1 / n)).astype(float)
        drawn.append(variance_split(ratings, *((weight,) if unit == "items" else (None, weight))))
    for name in ("item", "rater", "within"):
        each = np.array([getattr(split, name) for split in drawn])
        assert abs(each.mean() - getattr(point, name)) < 0.02


def test_reliability_is_the_correlation_of_means_with_the_truth():
    rng = np.random.default_rng(0)
    item, k = rng.normal(size=20_000), 4
    mean = item + (0.7 * rng.normal(size=(k, 20_000)) + 0.5 * rng.normal(size=(k, 20_000))).mean(0)
    split = variance_split_of(cells(world(1, R=60, I=200)))
    assert split.icc(k) == pytest.approx(np.corrcoef(mean, item)[0, 1] ** 2, abs=0.05)


def test_a_report_has_every_number_with_its_intervals():
    found = agreement(cells(np.rint(world(7))), ks=(1, 5), n_draw=200, level="ordinal")
    assert not found.notes and found.n_repeat == 0 and found.n_pairable <= found.n_rating
    for spread in (found.alpha, *found.icc.values(), *found.consistency.values()):
        for low, high in (spread.over_items, spread.over_raters):
            assert low < spread.value < high
    assert found.icc[1].value < found.icc[5].value < found.consistency[5].value
    text = "\n".join(found.lines())
    assert "Krippendorff's alpha (ordinal): 0." in text and "] over raters" in text
    assert agreement(cells(np.rint(world(7))), ks=(1, 5), n_draw=200, level="ordinal") == found


@pytest.mark.slow
def test_intervals_over_items_cover_the_truth():
    big = cells(np.rint(world(0, R=40, I=60_000, share=0.15)))
    rng = np.random.default_rng(0)
    y = np.rint(world(0, R=40, I=60_000, share=0.15))
    truth = weighted_alpha(code(big), "interval", np.ones(60_000), np.ones(40))
    hits = 0
    for _ in range(100):
        some = cells(y[:, rng.choice(60_000, 60, replace=False)])
        low, high = agreement(some, ks=(1,), n_draw=200).alpha.over_items
        hits += low <= truth <= high
    assert hits >= 85  # of 100; 95 are meant, 85 leaves 4.6 standard errors


def test_a_repeat_is_no_second_rater():
    once = cells(np.rint(world(8, R=12, I=20)))
    again = once._replace(wave=once.wave + 1, value=once.value[::-1])
    both = agreement(joined(once, again), n_draw=100)
    assert both.n_repeat == len(once.value)
    assert both.alpha.value == agreement(once, n_draw=100).alpha.value


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        ([[4, 4, 4], [4, 4, 4]], ["every rating of an item with two raters is 4, and where"]),
        ([[1, 2, _], [_, _, 3]], ["no item has ratings of two raters", "cannot be told apart"]),
        ([[4, 4, 9], [4, 4, _]], ["every rating of an item with two raters is 4"]),
        ([[1, 2, 3]], ["no item has ratings of two raters", "got 1 raters, 3 items and 3 ratings"]),
        ([[1], [2], [3]], ["it needs an item with two raters, and another item and r"]),
        ([[1, 2, 3], [1, 2, 4]], ["no interval over items: it needs 10, got 3"]),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_computed_is_said_and_nothing_warns(values, notes):
    found = agreement(cells(values), n_draw=100)
    said = " / ".join(found.notes)
    for note in notes:
        assert note in said
    assert math.isnan(found.alpha.value) == ("alpha of 'c'" in said)
    assert ("cannot be told apart" in said) == (found.split is None)
    assert found.lines()


def test_raters_of_one_item_each_are_an_exchangeable_panel():
    values = np.full((24, 12), np.nan)
    values[np.arange(24), np.arange(24) % 12] = np.random.default_rng(0).integers(1, 8, 24)
    found = agreement(cells(values), n_draw=100)
    assert found.split.rater is None and not math.isnan(found.alpha.value)
    one = found.split  # the one-way analysis of variance of twelve pairs
    pairs = np.array([[values[i, i], values[i + 12, i]] for i in range(12)])
    inside = ((pairs[:, 0] - pairs[:, 1]) ** 2 / 2).mean()
    between = 2 * pairs.mean(1).var(ddof=1)
    assert one.within == pytest.approx(inside)
    assert one.item == pytest.approx((between - inside) / 2)
    assert math.isnan(one.consistency(1)) and "raters and all else" in found.lines()[2]


def test_raters_who_always_agree_have_alpha_one():
    same = np.tile(np.arange(12.0), (10, 1))
    found = agreement(cells(same), n_draw=100)
    assert found.alpha.value == 1.0 and found.alpha.over_items == (1.0, 1.0)
    assert found.icc[1].value == pytest.approx(1.0)


def test_wrong_arguments_and_a_missing_library_are_named(monkeypatch):
    given = cells([[1, 2, 3], [1, 2, 4]])
    with pytest.raises(ValueError, match="level must be nominal, ordinal or interval, got 'ratio'"):
        agreement(given, level="ratio")
    with pytest.raises(ValueError, match=r"ks must be numbers of raters, at least 1, got \[0\]"):
        agreement(given, ks=[0])
    monkeypatch.setitem(sys.modules, "krippendorff", None)
    with pytest.raises(ImportError, match=r"agreement needs krippendorff: .*memformer-lm\[rate\]"):
        agreement(given)
