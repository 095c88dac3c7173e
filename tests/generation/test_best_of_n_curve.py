"""Best-of-n for every n from one pool, against drawing it again and again."""

import math

import pytest
import torch

from memformer.generation.best_of_n_curve import (
    best_of_n_curve,
    best_of_n_weights,
    fall_after_peak,
    kl_upper_bound,
)


def pool(m, seed=0):
    g = torch.Generator().manual_seed(seed)
    proxy = torch.randn(m, generator=g, dtype=torch.float64)
    return proxy, torch.sin(3 * proxy) + torch.randn(m, generator=g, dtype=torch.float64)


def test_curve_equals_drawing_again_and_again_within_three_standard_errors():
    proxy, gold = pool(60)
    sizes = (1, 2, 7, 30, 60)
    curve = best_of_n_curve(proxy, gold, sizes)
    g = torch.Generator().manual_seed(1)
    lots = torch.rand(20_000, 60, generator=g).argsort(1)  # without replacement
    for value, n in zip(curve, sizes, strict=True):
        drawn = lots[:, :n]
        best = gold[drawn.gather(1, proxy[drawn].argmax(1, keepdim=True))[:, 0]]
        assert abs(float(value - best.mean())) <= 3 * float(best.std()) / len(best) ** 0.5 + 1e-12


def test_one_is_the_mean_and_all_is_the_best():
    proxy, gold = pool(41)
    ends = best_of_n_curve(proxy, gold, (1, 41))
    torch.testing.assert_close(ends, torch.stack((gold.mean(), gold[proxy.argmax()])))


@pytest.mark.parametrize("n", [1, 3, 10, 20])
def test_weights_equal_those_by_binomials(n):
    exact = [math.comb(i - 1, n - 1) / math.comb(20, n) for i in range(1, 21)]
    torch.testing.assert_close(best_of_n_weights(20, n), torch.tensor(exact, dtype=torch.float64))


def test_weights_of_a_large_pool_sum_to_one():
    for n in (1, 256, 4_096, 20_000):
        assert float(best_of_n_weights(20_000, n).sum()) == pytest.approx(1, abs=1e-8)


def test_samples_of_equal_proxy_share_their_gold_in_any_order():
    proxy = torch.tensor([0.0, 1.0, 1.0, 1.0])
    for gold in ([0.0, 3.0, 6.0, 0.0], [0.0, 0.0, 3.0, 6.0]):
        assert float(best_of_n_curve(proxy, torch.tensor(gold), (4,))) == pytest.approx(3)


def test_gold_as_proxy_never_falls_and_a_parabola_does():
    proxy, _ = pool(4_000)
    sizes = (1, 4, 16, 64, 256)
    assert bool((best_of_n_curve(proxy, proxy, sizes).diff() > 0).all())
    assert fall_after_peak(proxy, proxy, sizes) == (0.0, 0.0)
    fall, error = fall_after_peak(proxy, proxy - proxy.square(), sizes)
    assert fall > 2 * error > 0


def test_standard_error_of_the_fall_is_its_spread_over_pools():
    sizes = (1, 4, 64)
    told = [
        fall_after_peak(p := pool(400, seed)[0], p - p.square(), sizes, seed=seed)
        for seed in range(60)
    ]
    falls = torch.tensor([fall for fall, _ in told])
    errors = torch.tensor([error for _, error in told])
    assert float(errors.mean()) == pytest.approx(float(falls.std()), rel=0.35)


def test_kl_lies_below_its_bound():
    p = torch.tensor([0.5, 0.2, 0.2, 0.1], dtype=torch.float64)  # best last
    upto = torch.cat((torch.zeros(1).double(), p.cumsum(0)))
    for n in (1, 2, 8, 64):
        best = (upto**n).diff()
        exact = float((best * (best / p).log()).sum())
        assert exact <= kl_upper_bound(n) + 1e-12
    assert kl_upper_bound(1) == 0


def test_what_cannot_be_is_refused():
    proxy, gold = pool(5)
    with pytest.raises(ValueError, match=r"n must be in \[1, M=5\], got 6"):
        best_of_n_curve(proxy, gold, (6,))
    with pytest.raises(ValueError, match=r"must be \(M,\) both"):
        best_of_n_curve(proxy, gold[:3], (1,))
    proxy[2] = math.nan
    with pytest.raises(ValueError, match="proxy is NaN for 1 of 5 samples"):
        best_of_n_curve(proxy, gold, (1,))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        kl_upper_bound(0)
