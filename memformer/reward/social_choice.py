"""From many raters' utilities to one number, by a social choice that has a name.

m items, R raters
"""

from typing import get_args

import torch
from torch import Tensor

from memformer.config.reward import Aggregate


def aggregate(
    utility: Tensor, weight: Tensor, rule: Aggregate | Tensor, *, cvar_share: float = 0.2
) -> Tensor:
    """One number an item, differentiable in the utilities (almost everywhere).

    Args:
        utility: (m, R) expected rating of each item by each rater.
        weight: (R,) how much each rater counts in the population, none negative.
        rule: `mean`: mean utility (utilitarian). `median`: the weighted median rater. `cvar`: mean
            over the unhappiest `cvar_share` of the population, chosen anew for each item
            (Rockafellar and Uryasev 2000). `maxmin`: the unhappiest rater among those of at least
            half the greatest weight (Rawls): a rater who was weighted down has no veto. Or (R,)
            weights of your own, which replace the population's.
        cvar_share: share of the population, in (0, 1].

    Returns:
        (m,).

    Raises:
        ValueError: another rule; weights of another shape, negative, or all 0.
    """
    if isinstance(rule, Tensor):
        weight = rule
    if weight.shape != utility.shape[-1:]:
        raise ValueError(
            f"weights must have shape ({utility.shape[-1]},), one a rater, "
            f"got {tuple(weight.shape)}"
        )
    if not (torch.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
        raise ValueError("weights must be finite, none negative and not all 0")
    share = (weight / weight.sum()).to(utility.dtype)
    if isinstance(rule, Tensor):
        return utility @ share
    match rule:
        case "mean":
            return utility @ share
        case "median":
            return _median(utility, share)
        case "cvar":
            return _lowest(utility, share, cvar_share)
        case "maxmin":
            return utility[:, share >= share.max() / 2].amin(-1)
        case _:
            known = ", ".join(get_args(Aggregate))
            raise ValueError(f"aggregate must be one of {known} or weights (R,), got {rule!r}")


def _median(utility: Tensor, share: Tensor) -> Tensor:
    """The middle of the raters in ascending order, each as wide as its weight; between two raters
    their mean, so that equal weights give the usual median."""
    ranked, order = utility.sort(-1)
    upto = share[order].cumsum(-1)
    tiny = 1e-6  # halves are compared up to rounding
    low = (upto < 0.5 - tiny).sum(-1, keepdim=True)
    high = (upto <= 0.5 + tiny).sum(-1, keepdim=True)
    last = utility.shape[-1] - 1
    middle = ranked.gather(-1, low.clamp(max=last)) + ranked.gather(-1, high.clamp(max=last))
    return middle[:, 0] / 2


def _lowest(utility: Tensor, share: Tensor, part: float) -> Tensor:
    ranked, order = utility.sort(-1)
    each = share[order]
    before = each.cumsum(-1) - each
    taken = (part - before).clamp(min=0).minimum(each)  # the rater on the edge counts in part
    return (ranked * taken).sum(-1) / taken.sum(-1)
