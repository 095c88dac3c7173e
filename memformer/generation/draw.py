"""Drawing tokens: each draw is a function of seed, lane and position, so there is nothing to save.

B lanes, V vocabulary
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(seed: int, lane: int, position: int) -> float:
    """A number in [0, 1) with 52 bits, from BLAKE2b of its arguments (a counter-based generator).

    The same on every machine and device. A lane's number does not depend on its neighbours, and
    writing on from a saved state draws what would have been drawn without the pause.
    """
    digest = hashlib.blake2b(f"{seed} {lane} {position}".encode(), digest_size=8).digest()
    # with 53 bits, the product with a sum could round up to the sum itself
    return (int.from_bytes(digest) >> 12) / 2**52


def draw(probability: Tensor, seed: int, positions: Sequence[int]) -> Tensor:
    """One token a lane, by inverting the cumulative distribution.

    Sums are float64 on the CPU: neither the order of a GPU's sum nor its rounding decides a token.

    Args:
        probability: (B, V), none negative, each row's sum above 0.
        seed: of the draws.
        positions: where in its manuscript each lane's token will stand; lane numbers count from 0.

    Returns:
        (B,) int64 on the device of `probability`; never a token of probability 0.
    """
    u = [uniform(seed, lane, position) for lane, position in enumerate(positions)]
    return invert(probability, u)


def invert(probability: Tensor, u: Sequence[float]) -> Tensor:
    """The token of each lane at which the cumulative distribution passes u in [0, 1).

    Args:
        probability: as in `draw`.
        u: one number a lane.

    Returns:
        As `draw`.
    """
    cumulative = probability.cpu().double().cumsum(-1)  # (B, V)
    target = torch.tensor(list(u), dtype=torch.float64)[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, target, right=True)[:, 0]
    return token.to(probability.device)
