import math
from itertools import accumulate, product

import numpy as np
import pytest

from memformer.evaluation.metrics import (
    BlockDraws,
    BookDraws,
    bytes_per_token,
    estimate,
    ratio,
    share_of_gap,
    words_per_token,
)


def autocorrelated(n, seed, rho=0.8):
    noise = np.random.default_rng(seed).standard_normal(n + 100)
    return np.array(list(accumulate(noise, lambda before, e: rho * before + e)))[100:]


def mean(draws, x):
    return ratio(draws, [x], [np.ones(len(x))])


def test_value_of_a_ratio_is_exact():
    draws = BlockDraws([4, 2], block_len=1, n_draw=10, seed=0)
    top = [np.array([1.0, 2.0, 3.0, 4.0]), np.array([5.0, 6.0])]
    bottom = [np.array([1, 0, 1, 0]), np.array([2, 0])]
    assert ratio(draws, top, bottom)[0] == 21 / 4


def test_draws_are_sums_of_whole_blocks_each_token_equally_often():
    draws = BlockDraws([12], block_len=3, n_draw=2000, seed=0)
    x = np.arange(12.0) ** 2
    blocks = [sum(x[(i + j) % 12] for j in range(3)) for i in range(12)]  # the last ones wrap
    sums = draws.sums([x])
    assert sums[0] == x.sum() and set(sums[1:]) <= set(map(sum, product(blocks, repeat=4)))
    each = [draws.sums([row])[1:].mean() for row in np.eye(12)]
    np.testing.assert_allclose(each, 1, atol=0.12)


def test_a_resample_holds_as_many_tokens_of_each_book_as_the_book():
    draws = BlockDraws([103, 57], block_len=10, n_draw=20, seed=0)
    ones = draws.sums([np.ones(103), np.zeros(57)])
    np.testing.assert_allclose(ones, 103)


def test_same_seed_same_draws():
    x = autocorrelated(200, 0)
    a, b, c = (BlockDraws([200], 10, 50, seed).sums([x]) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_block_intervals_cover_and_token_intervals_do_not():
    """AR(1), rho .8, mean 0: 95% nominal. Over 120 runs chance stays within 7 points of it."""
    covered = {64: 0, 1: 0}
    for seed in range(120):
        x = autocorrelated(2048, seed)
        for block_len in covered:
            draws = BlockDraws([len(x)], block_len, 200, seed)
            low, high = estimate(mean(draws, x), draws.n_unit)[1:]
            covered[block_len] += low <= 0 <= high
    assert covered[64] / 120 >= 0.88
    assert covered[1] / 120 <= 0.7


def test_few_blocks_widen_the_interval():
    values = np.concatenate(([0.0], np.random.default_rng(0).standard_normal(20_000)))
    wide, narrow = estimate(values, 8), estimate(values, 10_000)
    assert narrow.high == pytest.approx(1.96, abs=0.05)
    # sqrt(8/7) times Student's 2.365 with 7 degrees of freedom
    assert wide.high == pytest.approx(2.53, abs=0.15)


def test_pairing_makes_the_interval_of_a_difference_narrower():
    hard = autocorrelated(2048, 0)
    a, b = hard + 0.1 * autocorrelated(2048, 1), hard + 0.2 + 0.1 * autocorrelated(2048, 2)
    draws, others = BlockDraws([2048], 64, 500, 0), BlockDraws([2048], 64, 500, 1)
    paired = estimate(mean(draws, b) - mean(draws, a), draws.n_unit)
    unpaired = estimate(mean(draws, b) - mean(others, a), draws.n_unit)
    assert paired.value == unpaired.value
    assert paired.high - paired.low < 0.3 * (unpaired.high - unpaired.low)
    assert paired.low > 0 > unpaired.low


def test_share_of_gap_is_exact_and_paired():
    hard = autocorrelated(2048, 0)
    draws = BlockDraws([2048], 64, 500, 0)
    base, rival = mean(draws, hard + 1), mean(draws, hard)
    share = share_of_gap(base, mean(draws, hard + 0.25), rival, draws.n_unit)
    # the differences are the same in every block, so nothing is left to vary
    assert share == pytest.approx((0.75, 0.75, 0.75))


def test_share_of_a_gap_that_may_be_zero_has_no_interval():
    x, y = autocorrelated(512, 0), autocorrelated(512, 1)
    draws = BlockDraws([512], 16, 200, 0)
    share = share_of_gap(mean(draws, x), mean(draws, x / 2), mean(draws, y), draws.n_unit)
    assert math.isfinite(share.value) and math.isnan(share.low) and math.isnan(share.high)


def test_a_mean_over_what_most_resamples_lack_has_no_interval():
    draws = BlockDraws([400], 10, 200, 0)
    where = np.zeros(400)
    where[7] = 1
    found = estimate(ratio(draws, [where * 3], [where]), draws.n_unit)
    assert found.value == 3 and math.isnan(found.low)


def test_books_are_drawn_whole():
    draws = BookDraws(5, 100, 0)
    books = [np.full(10, 10.0**i) for i in range(5)]
    sums = draws.sums(books) / 10
    assert sums[0] == 11111
    # five books: the digits say how often each was drawn
    assert {sum(map(int, str(int(total)))) for total in sums} == {5}
    assert len(set(sums)) > 20


def test_no_interval_over_fewer_than_five_books():
    with pytest.raises(ValueError, match="needs at least 5, got 2"):
        BookDraws(2, 100, 0)


def test_bad_plans_are_refused():
    with pytest.raises(ValueError, match="block_len must be at most a quarter of the 100 tokens"):
        BlockDraws([100], 26, 10, 0)
    with pytest.raises(ValueError, match="must be positive"):
        BlockDraws([100], 0, 10, 0)
    with pytest.raises(ValueError, match="n_token must be at least 1"):
        BlockDraws([100, 0], 5, 10, 0)
    with pytest.raises(ValueError, match=r"values must have \(100,\) entries, got \[99\]"):
        BlockDraws([100], 5, 10, 0).sums([np.ones(99)])


def test_bytes_belong_to_the_token_that_ends_after_them():
    spans = np.array([[0, 1], [1, 2], [3, 5], [3, 5], [5, 6]])
    text = "aé  b€"  # é takes two bytes, the euro sign three
    assert bytes_per_token(text, spans).tolist() == [1, 2, 3, 0, 3]
    assert bytes_per_token(text, spans).sum() == len(text.encode())


def test_words_belong_to_the_token_with_their_last_letter():
    text = "one  two\nthree "
    spans = np.array([[0, 2], [2, 4], [4, 8], [8, 12], [12, 15]])
    assert words_per_token(text, spans).tolist() == [0, 1, 1, 0, 1]
