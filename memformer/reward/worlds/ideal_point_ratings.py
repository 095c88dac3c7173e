"""What readers say on a scale of 1 to 7, and which texts they rate.

B texts, R raters, n ratings
"""

import torch
from torch import Tensor

from memformer.reward.ratings import Ratings
from memformer.reward.worlds.ideal_point import IdealPointWorld

SCALE = (1.0, 7.0)


def rate(
    world: IdealPointWorld, z: Tensor, rater: Tensor, item: Tensor, generator: torch.Generator
) -> Tensor:
    """(n,): what each rater says of each item: whole points from 1 to 7.

    4 + bias + slope x (utility in standard deviations) + noise, cut to the scale and rounded;
    inverted raters say 8 minus that, spammers any point.

    Args:
        world: whose readers rate.
        z: (B, 16), features of the texts.
        rater: (n,) int64.
        item: (n,) int64, rows of `z`.
        generator: of noise and spam; rating again gives another value.
    """
    r = world.readers
    noise = torch.randn(len(rater), generator=generator, dtype=z.dtype)
    spam = torch.randint(1, 8, (len(rater),), generator=generator).to(z.dtype)
    felt = expected_rating(world, z)[item, rater]
    value = (felt + r.noise[rater] * noise).clamp(*SCALE).round()
    value = torch.where(r.kind[rater] == 2, sum(SCALE) - value, value)
    return torch.where(r.kind[rater] == 1, spam, value)


def expected_rating(world: IdealPointWorld, z: Tensor) -> Tensor:
    """(B, R): an honest rating before noise, cutting and rounding."""
    return sum(SCALE) / 2 + world.readers.bias + world.readers.slope * _standard(world, z)


def propensities(world: IdealPointWorld, z: Tensor, raters: Tensor, per_item: float) -> Tensor:
    """(B, len(raters)): the probability that each of `raters` rates each text.

    With `missingness="random"` the same for all; with `taste` proportional to the logistic function
    of the rater's own utility. The mean over cells is `per_item` / len(raters).

    Raises:
        ValueError: more ratings an item than raters.
    """
    share = per_item / len(raters)
    if not 0 < share <= 1:
        raise ValueError(
            f"per_item must be in (0, {len(raters)}], the number of raters, got {per_item}"
        )
    if world.config.missingness == "random":
        return torch.full((len(z), len(raters)), share, dtype=z.dtype)
    wish = torch.sigmoid(world.config.taste * _standard(world, z)[:, raters])
    return (share * wish / wish.mean()).clamp(max=1.0)


def collect(
    world: IdealPointWorld,
    z: Tensor,
    raters: Tensor,
    *,
    n_rating: int,
    per_item: int,
    generator: torch.Generator,
) -> Ratings:
    """The first `n_rating` ratings of texts, each cell rated with its propensity or not at all.

    Texts that nobody rated stay texts without ratings. Ratings come text by text, so that the first
    of a longer collection with the same generator are a shorter one.

    Args:
        world: whose readers rate.
        z: (B, 16), features of texts in the order in which they are offered.
        raters: ids of those who are asked.
        n_rating, per_item: how many in all, and on average for a text.

    Raises:
        ValueError: the texts do not suffice.
    """
    chance = propensities(world, z, raters, per_item)
    is_rated = torch.rand(chance.shape, generator=generator, dtype=z.dtype) < chance
    cells = is_rated.nonzero()[:n_rating]  # row by row
    if len(cells) < n_rating:
        raise ValueError(
            f"n_rating={n_rating} needs more texts: {len(z)} at {per_item} a text gave {len(cells)}"
        )
    item, rater = cells[:, 0], raters[cells[:, 1]]
    return Ratings(
        rater=rater, item=item, value=rate(world, z, rater, item, generator),
        propensity=chance[cells[:, 0], cells[:, 1]], n_rater=world.config.n_rater,
        n_item=int(item[-1]) + 1, scale=SCALE,
    )  # fmt: skip


def first(ratings: Ratings, n_rating: int) -> Ratings:
    """The first ratings of a collection; items after the last rated one are cut off."""
    if not 1 <= n_rating <= len(ratings.value):
        raise ValueError(f"n_rating must be in [1, {len(ratings.value)}], got {n_rating}")
    rater, item, value = (x[:n_rating] for x in (ratings.rater, ratings.item, ratings.value))
    chance = None if ratings.propensity is None else ratings.propensity[:n_rating]
    return ratings._replace(
        rater=rater, item=item, value=value, propensity=chance, n_item=int(item.max()) + 1
    )


def _standard(world: IdealPointWorld, z: Tensor) -> Tensor:
    return (world.utilities(z) - world.utility_mean) / world.utility_sd
