"""Template reviews of stories: what a reader minds most comes first.

J features
"""

import torch
from torch import Tensor

from memformer.reward.worlds.plot import FEATURES, PlotWorld

_SAID = {  # by feature: too little of it, too much
    "contradictions": ("it holds together", "it contradicts itself"),
    "unresolved": ("every thread is tied up", "threads are left hanging"),
    "opening": ("it begins in haste", "it is slow to begin"),
    "closing": ("it gives its end away", "the end comes late"),
    "threads": ("little happens", "too much happens"),
    "broken": ("the prose is clean", "the prose breaks off"),
}
_VERDICTS = ("I gave it up", "I was bored", "I read it to the end", "I would read it again")
_TOLD = 2


def review(world: PlotWorld, z: Tensor, rater: int) -> str:
    """What one reader writes of a story with features z (J,).

    The `_TOLD` features that cost the reader most, most costly first, then a verdict by the
    quarter of the reader's own scale; so the text follows from z *and* reader.
    """
    r = world.readers
    off = z - r.ideal[rater]
    cost = 0.5 * r.weight[rater] * off.square()
    worst = cost.argsort(descending=True, stable=True)[:_TOLD].tolist()
    said = [_SAID[FEATURES[j]][int(off[j] > 0)] for j in worst]
    felt = float((-cost.sum() - r.centre[rater]) / r.spread[rater])
    quarter = int(torch.bucketize(torch.tensor(felt), torch.tensor([-0.7, 0.0, 0.7])))
    return f"{said[0]}, and {said[1]}. {_VERDICTS[quarter]}."
