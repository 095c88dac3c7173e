"""Settings of the rater model."""

import math
from dataclasses import dataclass, field
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


@dataclass(frozen=True, kw_only=True)
class RaterRunConfig:
    """From a file of rating events to a rater model that was judged on novels held out."""

    criteria: tuple[str, ...] = ("want_to_read",)
    """Questions whose answers count. Several are each brought to mean 0 and standard deviation 1
    first, by training ratings, and then averaged."""
    weights: tuple[float, ...] = ()
    """Of the criteria, one number each; negative: less is better. None: equal."""
    scale: tuple[float, float] | None = None
    """The scale that every rating must have been given on. None: that of the ratings; if they came
    on several, each is brought to [0, 1]."""
    without_flags: tuple[str, ...] = ()
    """Ratings with one of these flags are left out, and counted."""
    ranks: tuple[int, ...] = (0, 1, 2)
    """Candidates, least first; the simplest within a standard error of the best is taken."""
    choose_by: Literal["cell", "item"] = "cell"
    """What the choice of rank holds out: ratings of known reviews, or all ratings of a review."""
    n_fold: int = 5
    """Folds of that choice."""
    held_out: float = 0.25
    """Share of novels that the report judges by; nothing is fitted to ratings of their reviews."""
    drop_length: bool = True
    """Whether what a review's log length explains is fitted along and dropped at use."""
    mixed_propensity: Literal["refuse", "ignore"] = "refuse"
    """What to do where propensities are known for some ratings only: an error, or ignore all."""
    raters: RaterConfig = field(default_factory=lambda: RaterConfig(learn_scale=False))
    """Everything else of the rater model; its rank is chosen."""
    split_seed: int = 0
    """Of the parts that novels and raters are drawn into, if a part is asked for."""
    seed: int = 0
    """Of folds, held-out novels, fits and resamples."""

    def __post_init__(self) -> None:
        check_choice(self, "choose_by", "mixed_propensity")
        check_at_least(self, 2, "n_fold")
        check_at_least(self, 0, "seed", "split_seed")
        check_real(self, 0.01, 0.9, "held_out")
        if not self.criteria or len(set(self.criteria)) < len(self.criteria):
            raise ValueError(f"criteria must be different names, at least one, got {self.criteria}")
        if self.weights and len(self.weights) != len(self.criteria):
            raise ValueError(
                f"weights must be one number a criterion ({len(self.criteria)}), got {self.weights}"
            )
        if not all(w and math.isfinite(w) for w in self.weights):
            raise ValueError(f"weights must be finite and not 0, got {self.weights}")
        if not self.ranks or list(self.ranks) != sorted(set(self.ranks)) or self.ranks[0] < 0:
            raise ValueError(f"ranks must rise from at least 0, got {self.ranks}")
        if self.scale is not None and not self.scale[0] < self.scale[1]:
            raise ValueError(f"scale must run from a lesser to a greater number, got {self.scale}")
