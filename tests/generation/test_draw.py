"""Draws follow the distribution, and depend on seed, lane and position alone."""

import pytest
import torch

from memformer.generation.draw import draw, uniform

# upper 0.1% points of chi-square
CRITICAL = {3: 16.27, 9: 27.88, 19: 43.82}


def chi_square(tokens, p):
    expected = p.double() * len(tokens)
    got = torch.bincount(tokens, minlength=len(p)).double()
    kept = expected > 0
    assert got[~kept].sum() == 0
    return float(((got - expected)[kept] ** 2 / expected[kept]).sum())


@pytest.mark.parametrize("p", [[0.5, 0.3, 0.15, 0.05], [0.0, 0.7, 0.1, 0.0, 0.1, 0.1, 0.0]])
@pytest.mark.parametrize("over", ["lanes", "positions", "seeds"])
def test_draws_follow_the_distribution(p, over):
    p, n = torch.tensor(p), 6000
    if over == "lanes":
        tokens = draw(p.expand(n, -1), 7, [3] * n)
    elif over == "positions":
        tokens = torch.cat([draw(p[None], 7, [position]) for position in range(n)])
    else:
        tokens = torch.cat([draw(p[None], seed, [3]) for seed in range(n)])
    assert chi_square(tokens, p) < CRITICAL[3]


def test_uniform_numbers_are_uniform_and_neighbours_independent():
    numbers = torch.tensor([uniform(0, 0, t) for t in range(20_000)], dtype=torch.float64)
    assert chi_square((numbers * 20).long(), torch.full((20,), 0.05)) < CRITICAL[19]
    pairs = torch.stack((numbers[:-1], numbers[1:])) - 0.5
    assert abs(float(torch.corrcoef(pairs)[0, 1])) < 0.03


def test_uniform_is_the_same_on_every_machine():
    assert uniform(0, 0, 0) == 0.42098526545066806
    assert len({uniform(*each) for each in [(1, 2, 3), (12, 0, 3), (1, 23, 0), (3, 2, 1)]}) == 4


def test_ends_of_the_distribution_are_safe(monkeypatch):
    p = torch.tensor([[0.0, 0.3, 0.7, 0.0]])
    for u, token in ((0.0, 1), (1 - 2**-52, 2)):
        monkeypatch.setattr("memformer.generation.draw.uniform", lambda *_, u=u: u)
        assert draw(p, 0, [0]).tolist() == [token]
        assert draw(p * 0.37, 0, [0]).tolist() == [token]
