"""Reviews by template: what a reader missed in a text, what there was too much of, and a verdict.

B texts, A aspects named in a review, N its tokens
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from memformer.reward.worlds.ideal_point import ASPECTS, D, IdealPointWorld

N_NAMED = 5
VERDICTS = ("I could not finish it", "It left me cold", "I read it through", "I liked it",
            "I loved it")  # fmt: skip
DEGREES = ("far too little", "rather little", "just enough", "rather much", "far too much")
TOKENS = [*VERDICTS, *DEGREES, *ASPECTS]
"""A token is a phrase or an aspect; a review is a verdict, then pairs of degree and aspect."""
_DEGREE, _ASPECT = len(VERDICTS), len(VERDICTS) + len(DEGREES)
_CUTS = torch.tensor([-1.5, -0.5, 0.5, 1.5], dtype=torch.float64)
_OPINION_NOISE, _CHOICE_NOISE = 0.5, 0.5


def review(world: IdealPointWorld, z: Tensor, rater: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 1 + 2 A) int64: one review a text, by the reader given beside it.

    Named are the five aspects that pull hardest at the reader, sqrt(Q_kk) |z_k - p_k|, with some
    chance; the degree is where z_k - p_k lies, the verdict where the reader's utility does.
    Spammers write of a text that they have not read; inverted raters write what they mean.

    Args:
        world: whose reader writes.
        z: (B, 16), features of the texts.
        rater: (B,) int64, who reviews each.
        generator: of what is chosen and of noise.
    """
    readers = world.readers
    unread = torch.randn(z.shape, generator=generator, dtype=z.dtype)
    seen = torch.where(readers.kind[rater, None] == 1, unread, z)
    gap = seen - readers.ideal[rater]  # (B, D)
    weight = readers.weight[rater]
    pull = weight.diagonal(dim1=1, dim2=2).sqrt() * gap.abs()
    pull = pull + _CHOICE_NOISE * torch.randn(z.shape, generator=generator, dtype=z.dtype)
    named = pull.topk(N_NAMED, dim=-1).indices  # (B, A)
    degree = torch.bucketize(gap.gather(1, named), _CUTS)
    utility = readers.level[rater] - 0.5 * torch.einsum("bd,bde,be->b", gap, weight, gap)
    felt = (utility - world.utility_mean) / world.utility_sd
    felt = felt + _OPINION_NOISE * torch.randn(len(z), generator=generator, dtype=z.dtype)
    verdict = torch.bucketize(felt, _CUTS)
    pairs = torch.stack((_DEGREE + degree, _ASPECT + named), dim=-1).flatten(1)
    return torch.cat((verdict[:, None], pairs), dim=1)


def told_review(tokens: Sequence[int]) -> str:
    """A review as it is read: "I liked it: rather little wit, far too much dread, ..."."""
    verdict, *rest = (TOKENS[i] for i in tokens)
    pairs = [" ".join(pair) for pair in zip(rest[::2], rest[1::2], strict=True)]
    return f"{verdict}: {', '.join(pairs)}."


def ngrams(reviews: Tensor) -> Tensor:
    """(B, n + n^2) float64: how often each token, and each two in a row, stand in a review.

    Args:
        reviews: (B, N) ids of `TOKENS`; the reader of these counts need not know the template.
    """
    n = len(TOKENS)
    found = torch.zeros(len(reviews), n + n * n, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    found.scatter_add_(1, reviews, one.expand(reviews.shape))
    pairs = n + reviews[:, :-1] * n + reviews[:, 1:]
    return found.scatter_add_(1, pairs, one.expand(pairs.shape))


assert len(TOKENS) == _ASPECT + D
