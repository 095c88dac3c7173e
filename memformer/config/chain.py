"""Settings of the chain from novels over reviews to a score."""

from dataclasses import dataclass
from typing import Literal

from memformer.config.changes import check_at_least, check_choice


@dataclass(frozen=True, kw_only=True)
class ChainConfig:
    """How reviews are written and how a gradient comes back through them."""

    ending: Literal["drawn", "fixed"] = "drawn"
    """`drawn`: a review ends with its end token, and one that does not end in time cannot be
    scored. `fixed`: the end is never drawn and every review has max_len tokens."""
    temperature: float = 1.0
    """Of the Gumbel softmax through which `st_gumbel` goes back; drawing is at 1 always, so that
    the value is that of the reviewer's own reviews."""
    is_hard: bool = True
    """`st_gumbel` goes forward with whole tokens (straight-through) or with the soft rows."""
    n_grad_token: int | None = None
    """`st_gumbel` goes back through so many last tokens of each review; None: all."""
    max_token_norm: float | None = None
    """`st_gumbel`: longest gradient at one token of a review; longer ones are scaled to it."""
    has_control: bool = False
    """`score_function` on relaxed novels: the amortised value is the baseline in place of the
    sibling reviews. Needs a head."""
    max_unscorable: float = 0.2
    """Share of a call's reviews that may be unscorable before it stops."""

    def __post_init__(self) -> None:
        check_choice(self, "ending")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if self.n_grad_token is not None:
            check_at_least(self, 1, "n_grad_token")
        if self.max_token_norm is not None and not self.max_token_norm > 0:
            raise ValueError(
                f"max_token_norm must be above 0, or None to clip nothing, got "
                f"{self.max_token_norm}"
            )
        if not 0 <= self.max_unscorable <= 1:
            raise ValueError(f"max_unscorable must be in [0, 1], got {self.max_unscorable}")


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """How the amortised head learns from sampled scores."""

    width: int = 64
    """Of the head's tanh layer; 0: linear."""
    n_review: int = 16
    """Reviews drawn of each novel: the target is their mean, its noise their variance over n."""
    ridge: float = 3.0
    """On the squared weights of the head, in novels: the data weigh more as they grow."""
    n_iter: int = 300
    """Most steps of L-BFGS."""
    held_out: float = 0.2
    """Share of the novels, the last ones, on which the correlation is measured."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "width")
        check_at_least(self, 2, "n_review")
        check_at_least(self, 1, "n_iter")
        if self.ridge < 0:
            raise ValueError(f"ridge must be at least 0, got {self.ridge}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must be in (0, 1), got {self.held_out}")
