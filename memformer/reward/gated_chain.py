"""The chain over a decoder's reviewer, once the reviewer has passed the gate."""

from typing import Any, NamedTuple

from memformer.config.chain import ChainConfig
from memformer.model.saved_state import weights_hash
from memformer.reward.amortised import AmortisedHead
from memformer.reward.chain import Chain
from memformer.reward.gain import Gain, GatePass, gate
from memformer.reward.interfaces import Raters, ReviewFeatures
from memformer.reward.reviewer import Reviewer


class GatedChain(NamedTuple):
    """A chain, and the leave to run it."""

    chain: Chain
    leave: GatePass
    """`leave.marks()` belongs into every result."""


def open_chain(
    reviewer: Reviewer,
    features: ReviewFeatures,
    raters: Raters,
    gain: Gain | None,
    *,
    ungated: bool = False,
    aggregate: Any = "mean",
    head: AmortisedHead | None = None,
    config: ChainConfig | None = None,
) -> GatedChain:
    """Make the chain of a reviewer whose information gain is above 0.

    Args:
        gain: of this very reviewer, from `information_gain`; None if it was not measured.
        ungated: make it in any case, with the marks that say so.
        features, raters, aggregate, head, config: as in `Chain`.

    Raises:
        GateClosed: as `gate`; also where the weights changed since the gain was measured.
    """
    leave = gate(gain, ungated=ungated, weights=weights_hash(reviewer.model))
    chain = Chain(reviewer, features, raters, aggregate, head=head, config=config)
    return GatedChain(chain, leave)
