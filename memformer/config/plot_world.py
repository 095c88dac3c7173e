"""Settings of the world of tiny stories whose plot has a known truth."""

from dataclasses import dataclass

from memformer.config.changes import check_at_least, check_real


@dataclass(frozen=True, kw_only=True)
class PlotWorldConfig:
    """Stories, the flaws that ordinary ones have, and readers who dislike flaws differently."""

    n_token: int = 96
    """Tokens of a story, all of one length; with full stops and the mark of the beginning."""
    n_person: int = 4
    """Cast of a story."""
    n_place: int = 3
    """Places of a story."""
    n_thing: int = 3
    """Things of a story."""
    flaw_rate: float = 0.15
    """Share of sentences of an ordinary story that contradict what was told."""
    late_rate: float = 0.4
    """Share of ordinary stories with bad pacing: threads open late and close early."""
    n_rater: int = 60
    """Readers: the population that gold is the mean of. Three clusters of equal size mind most
    contradictions, unresolved threads, and pacing."""
    ideal_spread: float = 0.2
    """Standard deviation of a reader's ideal point around the common one, in units of features."""
    weight_spread: float = 0.3
    """Standard deviation of the logarithm of how much a reader minds a feature."""
    bias: float = 0.6
    """Standard deviation of readers' leniency, in points of the scale of 1 to 7."""
    slope: float = 1.2
    """Points of the scale by standard deviation of a reader's own utility over ordinary stories."""
    noise: float = 0.9
    """Standard deviation of a rating given again, in points of the scale."""
    n_calibration: int = 400
    """Ordinary stories that utilities and gold are standardised by."""

    def __post_init__(self) -> None:
        check_at_least(self, 16, "n_token")
        check_at_least(self, 2, "n_person", "n_place")
        check_at_least(self, 1, "n_thing")
        check_at_least(self, 3, "n_rater")
        check_at_least(self, 50, "n_calibration")
        check_real(self, 0, 0.9, "flaw_rate")
        check_real(self, 0, 1, "late_rate")
        check_real(self, 0, 100, "ideal_spread", "weight_spread", "bias", "noise")
        check_real(self, 0.01, 100, "slope")
        for name, most in (("n_person", 12), ("n_place", 10), ("n_thing", 12)):
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, got {getattr(self, name)}")
