"""Settings of writing: which tokens may be drawn, and how likely each is."""

from dataclasses import dataclass

from memformer.config.changes import check_at_least, check_real


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """From the model's logits to the distribution that is drawn from, in the order of the fields.

    `generation/distribution.py` is the definition.
    """

    repetition_penalty: float = 1.0
    """Scores of tokens written lately are divided by this, negative ones multiplied (CTRL, Keskar
    et al. 2019, arXiv:1909.05858, §4.1, θ, there 1.2); 1 leaves them, below 1 favours them."""
    repetition_window: int = 256
    """How many of the last tokens, those of the prompt included, count as written lately."""
    temperature: float = 1.0
    """Logits are divided by this; 0 takes the likeliest token and leaves the rest without use."""
    top_k: int | None = None
    """Only this many of the likeliest tokens are drawn from; None for all."""
    top_p: float = 1.0
    """Only the likeliest tokens that together reach this share of what is left are drawn from
    (nucleus sampling, Holtzman et al. 2019, arXiv:1904.09751)."""
    min_p: float = 0.0
    """Only tokens at least this share as likely as the likeliest are drawn from (Nguyen et al.
    2024, arXiv:2407.01082)."""
    seed: int = 0
    """Of the draws: a draw depends on it, the lane's number and the token's position alone."""

    def __post_init__(self) -> None:
        check_real(self, 0.01, 100, "repetition_penalty")
        check_at_least(self, 1, "repetition_window")
        check_real(self, 0, 1000, "temperature")
        if 0 < self.temperature < 1e-4:
            raise ValueError(f"temperature must be 0 or at least 1e-4, got {self.temperature}")
        if self.top_k is not None:
            check_at_least(self, 1, "top_k")
        check_real(self, 0, 1, "top_p", "min_p")
        if self.top_p == 0:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        check_at_least(self, 0, "seed")
