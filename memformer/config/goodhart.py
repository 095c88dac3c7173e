"""Settings of the simulated readers and of the goodhart lab."""

from dataclasses import dataclass
from typing import Literal

from memformer.config.changes import check_at_least, check_choice, check_real


@dataclass(frozen=True, kw_only=True)
class IdealPointConfig:
    """A world of short texts and readers whose judgement is known.

    Reader r values a text with features z by c_r - 1/2 (z - p_r)' Q_r (z - p_r) (the ideal-point
    model; Coombs 1964, A Theory of Data).
    """

    n_token: int = 60
    """Words of a text."""
    n_rater: int = 200
    """Readers: the population that gold is the mean of."""
    n_cluster: int = 3
    """Groups of readers with neighbouring ideal points."""
    ideal_norm: float = 1.4
    """Length of the mean ideal point, in standard deviations of the features of ordinary texts: how
    much better than ordinary a text can be by going in one direction."""
    cluster_spread: float = 1.4
    """Distance of a cluster's centre from the mean ideal point."""
    rater_spread: float = 0.12
    """Standard deviation of an ideal point around its cluster's centre, each feature."""
    weight_spread: float = 1.0
    """Standard deviation of log Q's eigenvalues: 0 where everything matters as much."""
    bias: float = 0.6
    """Standard deviation of readers' leniency, in points of the scale."""
    slope: float = 1.1
    """Points of the scale by standard deviation of utility, for the median reader."""
    noise: float = 0.9
    """Standard deviation of a rating given again, in points of the scale."""
    spammers: float = 0.10
    """Share of raters whose ratings are uniform, whatever they read."""
    inverted: float = 0.05
    """Share of raters who use the scale upside down; their utilities count in gold as read."""
    missingness: Literal["random", "taste"] = "random"
    """Which texts a reader rates: any, or rather those that they will like."""
    taste: float = 1.5
    """Under `taste`, log odds of rating a text by standard deviation of the reader's utility."""
    n_calibration: int = 20_000
    """Ordinary texts that features and gold are standardised by."""

    def __post_init__(self) -> None:
        check_choice(self, "missingness")
        check_at_least(self, 6, "n_token")
        check_at_least(self, 1, "n_rater", "n_cluster")
        check_at_least(self, 200, "n_calibration")
        check_real(self, 0, 100, "ideal_norm", "cluster_spread", "rater_spread")
        check_real(self, 0, 100, "weight_spread", "bias", "noise")
        check_real(self, 0, 100, "taste")
        check_real(self, 0.01, 100, "slope")
        check_real(self, 0, 1, "spammers", "inverted")
        if self.n_rater < self.n_cluster:
            raise ValueError(
                f"n_rater must be at least n_cluster={self.n_cluster}, got {self.n_rater}"
            )
        if self.spammers + self.inverted > 1:
            raise ValueError(
                "spammers + inverted must be at most 1, got "
                f"{self.spammers} + {self.inverted}: each rater is of one kind"
            )


@dataclass(frozen=True, kw_only=True)
class DelayConfig:
    """Ratings that arrive after a delay, by readers whose judgement settles.

    Read a time `delta` ago, a text is judged f_inf + g exp(-delta / tau).
    """

    n_item: int = 200
    """Texts."""
    n_rating_per_item: int = 6
    """Ratings a text will have had in the end."""
    tau: float = 90.0
    """Days in which the first impression falls to 1/e."""
    mean_delay: float = 120.0
    """Mean of the delay between reading and rating, in days (exponential)."""
    release_span: float = 720.0
    """Days over which texts are released."""
    as_of: float = 720.0
    """Day on which the ratings are looked at: what arrives later is not known yet."""
    impression: float = 0.9
    """Standard deviation between texts of g, the first impression's excess, in points."""
    impression_mean: float = 0.5
    """Mean of g, in points."""
    early: float = 30.0
    """Days up to which a rating counts as early, for the mean that is compared with."""

    def __post_init__(self) -> None:
        check_at_least(self, 2, "n_item", "n_rating_per_item")
        check_real(self, 1e-3, 1e6, "tau", "mean_delay", "as_of", "early")
        check_real(self, 0, 1e6, "release_span", "impression")
        check_real(self, -10, 10, "impression_mean")
        if self.release_span > self.as_of:
            raise ValueError(
                f"release_span must be at most as_of={self.as_of}, got {self.release_span}: "
                "texts released later cannot have been read"
            )


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Training a small writer of the world's texts against a proxy."""

    looks: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128)
    """Updates after which gold is looked at; the last ends the training."""
    batch: int = 64
    """Texts an update."""
    learning_rate: float = 0.03
    """Of Adam, on the logits."""
    beta: float = 0.0
    """Weight of the KL to the ordinary writer, in standard deviations of the proxy by nat."""
    temperature: float = 1.0
    """Of the straight-through Gumbel softmax of the direct gradient."""
    n_gold: int = 2_000
    """Texts by which gold is measured where a curve is looked at."""
    n_rated: int = 1_000
    """Of those, texts that the early-stop raters see."""

    def __post_init__(self) -> None:
        if len(self.looks) < 3 or list(self.looks) != sorted(set(self.looks)) or self.looks[0] < 1:
            raise ValueError(
                f"looks must rise from at least 1 and be at least 3 for a fit, got {self.looks}"
            )
        check_at_least(self, 2, "batch", "n_gold", "n_rated")
        if self.n_rated > self.n_gold:
            raise ValueError(f"n_rated must be at most n_gold={self.n_gold}, got {self.n_rated}")
        check_real(self, 1e-6, 10, "learning_rate")
        check_real(self, 0, 100, "beta")
        check_real(self, 0.05, 10, "temperature")


@dataclass(frozen=True, kw_only=True)
class GoodhartConfig:
    """The protocol: how gold and proxy part as more is optimised, by how much feedback there is."""

    world: IdealPointConfig = IdealPointConfig()
    """The readers."""
    delays: DelayConfig = DelayConfig()
    """Of the part on ratings that arrive later."""
    policy: PolicyConfig = PolicyConfig()
    """Of the curves by reinforcement learning and direct gradient."""
    first_seed: int = 1_000
    """Of the first world; the settings above were chosen on worlds 0 to 2."""
    n_seed: int = 5
    """Worlds; each seed draws texts, readers, ratings, proxies and policies anew."""
    n_rating: tuple[int, ...] = (100, 300, 1_000, 3_000, 10_000)
    """Ratings that proxies are trained on; smaller sets are parts of the larger ones."""
    n_rating_per_item: int = 4
    """Ratings of each text that is rated."""
    pool: int = 20_000
    """Texts that the best of n is taken from."""
    n_best: tuple[int, ...] = (1, 4, 16, 64, 256, 1_024, 4_096)
    """n of best of n."""
    train_raters: float = 0.6
    """Share of raters that train proxies; the rest is halved: early stop, report."""
    n_report: int = 400
    """Held-out texts, each rated by every rater of the report."""
    stop_texts: int = 1_000
    """Texts rated for the early stop of one proxy, spread over all n."""
    stop_ratings_per_text: int = 4
    """Ratings of each of those, by the early-stop raters."""
    stop_z: float = 1.0
    """Standard errors below the mean at which gold's lower bound lies."""
    n_reviewed: int = 8_000
    """Texts with one review and no rating, from which the reviewer's features are learned."""
    width: int = 16
    """Hidden units of the linear reviewer that proxies read."""
    stop_patience: int = 2
    """Looks in a row at which the bound must lie below its maximum before one stops."""
    ridges: tuple[float, ...] = (10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0)
    """Penalties that are tried, each on held-out fifths of the training texts."""
    ensemble: int = 5
    """Members of the conservative ensembles."""
    uwo: float = 0.5
    """lambda of `mean - lambda var` (uncertainty-weighted optimisation, Coste et al. 2023,
    arXiv:2310.02743); members are in standard deviations over the rated texts."""
    n_bootstrap: int = 6
    """Refits on resampled raters, for intervals."""
    policy_n_rating: tuple[int, ...] = (100, 1_000, 10_000)
    """Ratings of the proxies that policies are trained against."""
    rank_n_rating: tuple[int, ...] = (10_000,)
    """Ratings at which the rater model's rank is tried."""
    rank_ridge: float = 10.0
    """Its ridge on what all raters share, in ratings."""
    min_propensity: float = 0.1
    """Propensities count as at least this share of their mean."""

    def __post_init__(self) -> None:
        check_at_least(self, 2, "n_seed", "ensemble", "n_report", "stop_texts")
        check_at_least(self, 1, "n_rating_per_item", "stop_ratings_per_text", "width")
        check_at_least(self, 1, "stop_patience")
        check_at_least(self, 0, "n_bootstrap", "first_seed")
        check_at_least(self, 100, "n_reviewed")
        check_real(self, 0.1, 0.9, "train_raters")
        check_real(self, 1e-3, 1, "min_propensity")
        check_real(self, 1e-6, 1e9, "rank_ridge")
        check_real(self, 0, 100, "uwo", "stop_z")
        for name in ("n_rating", "n_best", "ridges"):
            values = getattr(self, name)
            if not values or list(values) != sorted(set(values)) or values[0] <= 0:
                raise ValueError(f"{name} must rise and be above 0, got {values}")
        if len(self.n_rating) < 3:
            raise ValueError(f"n_rating must hold at least 3 for a fit, got {self.n_rating}")
        if len(self.n_best) < 4:
            raise ValueError(f"n_best must hold at least 4 for a fit, got {self.n_best}")
        if self.n_best[0] != 1 or self.n_best[-1] > self.pool:
            raise ValueError(
                f"n_best must begin with 1 and end at most at pool={self.pool}, got {self.n_best}"
            )
        if self.n_rating[0] < 10 * self.n_rating_per_item:
            raise ValueError(
                f"n_rating must be at least 10 x n_rating_per_item={self.n_rating_per_item}, "
                f"got {self.n_rating[0]}"
            )
        if 1_024 not in self.n_best:
            raise ValueError(
                f"n_best must hold 1024, where ensembles are compared, got {self.n_best}"
            )
        for name in ("policy_n_rating", "rank_n_rating"):
            missing = set(getattr(self, name)) - set(self.n_rating)
            if missing:
                raise ValueError(f"{name} must be among n_rating, got {sorted(missing)}")
