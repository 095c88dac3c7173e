"""Settings of the rater model."""

from dataclasses import dataclass
from typing import Literal

from memformer.config.changes import check_at_least, check_choice, check_real

Aggregate = Literal["mean", "median", "cvar", "maxmin"]


@dataclass(frozen=True, kw_only=True)
class RaterConfig:
    """How ratings are explained by raters and texts. Every ridge counts in ratings: a ridge of 5
    weighs as much as five ratings that say "like everybody else"."""

    rank: int = 0
    """Directions of taste besides what all raters share; 0: raters differ only in bias and
    scale. Choose it by held-out cells (`choose_raters`)."""
    head: Literal["mse", "ordinal", "huber"] = "mse"
    """Squared error; cumulative logits over whole-numbered ratings; or Huber's loss, which a few
    wild ratings move less."""
    ridge: float = 1.0
    """On what all raters share: of each item without text, or of the map from text, whose features
    are scaled to a mean square length of 1."""
    ridge_bias: float = 2.0
    """On each rater's bias."""
    ridge_scale: float = 10.0
    """On each rater's scale, towards 1."""
    ridge_factor: float = 5.0
    """On each rater's tastes and on the map to them."""
    ridge_hidden: float = 0.01
    """On the hidden layer's weights."""
    hidden: int = 0
    """Width of a tanh layer between text features and ratings; 0: linear in the features."""
    learn_scale: bool = True
    """Whether raters differ in how far they spread their ratings, and in which direction."""
    learn_noise: bool = True
    """Whether raters differ in noise: then a rating counts by the inverse of its rater's variance
    (not with the ordinal head, whose scale does this)."""
    noise_prior: float = 10.0
    """Ratings of average noise that each rater is credited with."""
    min_propensity: float = 0.001
    """A smaller logged propensity counts as this one, which bounds the weights. Keep it well below
    the share of cells that are rated, else all weights are equal; clipped cells are counted."""
    huber_delta: float = 1.345
    """Where Huber's loss becomes linear, in standard deviations of the noise."""
    aggregate: Aggregate = "mean"
    """Social choice over the population of raters: mean utility, the median rater, the mean of the
    unhappiest `cvar_share`, or the unhappiest rater who is not weighted down."""
    cvar_share: float = 0.2
    """Share of the population that `cvar` averages over."""
    bad_rater_weight: float = 0.1
    """Weight in the population of a rater who failed a check. Never 0: nobody is deleted."""
    min_scale: float = 0.2
    """A rater whose scale is smaller hardly reacts to what is rated and is weighted down; below 0
    it is inverted."""
    max_noise: float = 3.0
    """A rater whose noise is more than so many times the median is weighted down."""
    max_iter: int = 500
    """Steps of L-BFGS in each round."""
    tolerance: float = 1e-9
    """A round ends when a step lowers the loss, which is about 1, by less."""

    def __post_init__(self) -> None:
        check_choice(self, "head", "aggregate")
        check_at_least(self, 0, "rank", "hidden")
        check_at_least(self, 1, "max_iter")
        check_real(
            self, 1e-6, 1e9, "ridge", "ridge_bias", "ridge_scale", "ridge_factor", "ridge_hidden",
            "noise_prior", "huber_delta", "max_noise",
        )  # fmt: skip
        check_real(self, 1e-15, 1.0, "tolerance")
        check_real(self, 1e-9, 1.0, "min_propensity", "cvar_share", "bad_rater_weight")
        check_real(self, 0.0, 1.0, "min_scale")
