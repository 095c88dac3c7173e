"""What best-of-n gives for every n, from one pool of samples.

M samples, n drawn, R resamples
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def best_of_n_curve(proxy: Tensor, gold: Tensor, n: Sequence[int]) -> Tensor:
    """E[gold of the sample whose proxy is largest among n], for each n.

    The n are drawn from the pool without replacement, so that with `gold_(i)` sorted by proxy from
    the least, E_n = sum_i C(i-1, n-1) / C(M, n) gold_(i): the unbiased estimator of pass@k (Chen et
    al. 2021, arXiv:2107.03374, §2.1) for a value instead of a hit. Samples of equal proxy share
    their mean gold: among equals any may be taken.

    Args:
        proxy: (M,), what is maximised.
        gold: (M,), what is wanted, of the same samples.
        n: sizes in [1, M].

    Returns:
        (len(n),) float64.

    Raises:
        ValueError: other shapes, NaN, or an n outside [1, M].
    """
    if proxy.shape != gold.shape or proxy.dim() != 1:
        raise ValueError(
            f"proxy and gold must be (M,) both, got {tuple(proxy.shape)}, {tuple(gold.shape)}"
        )
    for name, values in (("proxy", proxy), ("gold", gold)):
        if values.isnan().any():
            raise ValueError(
                f"{name} is NaN for {int(values.isnan().sum())} of {len(values)} samples: leave "
                "out what cannot be scored, and say how many"
            )
    ordered, mean = _sorted(proxy, gold)
    return torch.stack([best_of_n_weights(len(ordered), size) @ mean for size in n])


def best_of_n_weights(m: int, n: int) -> Tensor:
    """(M,) float64: the probability that the i-th smallest of M is the largest of n drawn.

    C(i-1, n-1) / C(M, n), by logarithms of the gamma function.

    Raises:
        ValueError: n outside [1, M].
    """
    if not 1 <= n <= m:
        raise ValueError(f"n must be in [1, M={m}], got {n}")
    below = torch.arange(m, dtype=torch.float64)  # i - 1
    log = torch.where(
        below >= n - 1,
        torch.lgamma(below + 1) - torch.lgamma((below - n + 2).clamp(min=1)) - math.lgamma(n),
        -math.inf,
    )
    whole = math.lgamma(m + 1) - math.lgamma(n + 1) - math.lgamma(m - n + 1)
    return (log - whole).exp()


def fall_after_peak(
    proxy: Tensor, gold: Tensor, n: Sequence[int], *, n_draw: int = 64, seed: int = 0
) -> tuple[float, float]:
    """How far gold at the largest n lies below the curve's peak, and that difference's standard
    error by a bootstrap of the pool.

    Returns:
        (fall, standard error); (0, 0) where the largest n is the peak.
    """
    curve = best_of_n_curve(proxy, gold, n)
    peak = int(curve.argmax())
    if peak == len(n) - 1:
        return 0.0, 0.0
    _, mean = _sorted(proxy, gold)
    M = len(mean)
    upto = [torch.cat((torch.zeros(1).double(), best_of_n_weights(M, n[i]).cumsum(0)))
            for i in (peak, -1)]  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.empty(n_draw, dtype=torch.float64)
    for r in range(n_draw):
        picks = torch.randint(M, (M,), generator=generator)
        held = torch.cat((torch.zeros(1, dtype=torch.int64), picks.bincount(minlength=M).cumsum(0)))
        weight = upto[0][held].diff() - upto[1][held].diff()  # (M,)
        drawn[r] = weight @ mean
    return float(curve[peak] - curve[-1]), float(drawn.std())


def kl_upper_bound(n: int) -> float:
    """log n - (n - 1) / n nats: an *upper bound* of the KL of best-of-n from what it draws from.

    Equal only where no two samples tie and none has a large share (Beirami et al. 2024,
    arXiv:2401.01879).

    Raises:
        ValueError: n below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return math.log(n) - (n - 1) / n


def _sorted(proxy: Tensor, gold: Tensor) -> tuple[Tensor, Tensor]:
    """Proxy ascending, and gold beside it, its mean where the proxy ties."""
    ordered, index = proxy.detach().sort(stable=True)
    _, group = torch.unique_consecutive(ordered, return_inverse=True)
    beside = gold.detach().double()[index]
    sums = torch.zeros(int(group[-1]) + 1, dtype=torch.float64).index_add(0, group, beside)
    return ordered, (sums / group.bincount())[group]
