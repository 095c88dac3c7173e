"""Settings of the reviewer: what a review is, and how a decoder learns to write and to score it."""

from dataclasses import dataclass, field
from typing import Literal

from memformer.config.changes import check_at_least, check_choice, check_real
from memformer.config.training import OptimiserConfig


@dataclass(frozen=True, kw_only=True)
class ReviewConfig:
    """What a review is, and what is known of who wrote it and when."""

    max_len: int = 256
    """Longest review in tokens, its end included."""
    too_long: Literal["leave_out", "cut"] = "leave_out"
    """Of a longer review: nothing is used, or its first max_len tokens, which then have no end. It
    is counted either way."""
    groups: tuple[str, ...] = ()
    """Names of groups of readers that have a token of their own; any other group is unknown."""
    delay_edges: tuple[float, ...] = ()
    """Rising bounds in days between the kinds of delay from reading to writing; n bounds make n + 1
    kinds, none makes none."""

    def __post_init__(self) -> None:
        check_choice(self, "too_long")
        check_at_least(self, 2, "max_len")
        if len(set(self.groups)) != len(self.groups) or any(not name for name in self.groups):
            raise ValueError(f"groups must be different names, none empty, got {self.groups}")
        if list(self.delay_edges) != sorted(set(self.delay_edges)):
            raise ValueError(f"delay_edges must rise, got {self.delay_edges}")


@dataclass(frozen=True, kw_only=True)
class ReviewerConfig:
    """How a decoder learns to write reviews, and a head to score those that it writes.

    Three steps as in CLoud (Ankner et al. 2024, arXiv:2408.11791): real reviews; reviews drawn from
    the model; the head on the drawn ones, jointly with the language model.
    """

    review: ReviewConfig = field(default_factory=ReviewConfig)
    """What a review is."""
    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(warmup_steps=20))
    """How weights move, in both steps that train."""
    n_learn: int = 1000
    """Updates on real reviews."""
    n_head: int = 500
    """Updates of head and model on drawn reviews."""
    n_novel: int = 8
    """Novels read side by side for an update."""
    n_review: int = 2
    """Reviews of each novel for an update, drawn with replacement where there are fewer."""
    n_drawn: int = 4
    """Reviews drawn of each novel for the head."""
    grad_segments: int = 4
    """Segments of a novel before its end that keep their graph: how far the loss of a review goes
    back into the novel."""
    p_unknown: float = 0.3
    """Share of reviews whose reader's group, and apart from that whose delay, is hidden."""
    p_without: float = 0.25
    """Share of novels that are left out, in both steps that train, so that the model also knows the
    reviews alone, with which the information gain compares. At 0 the gain is overstated."""
    novel_weight: float = 0.0
    """Weight of the loss on the novel's own tokens, against 1 on the review's."""
    language_weight: float = 1.25
    """Weight of the reviews' loss in nats a token beside the head's squared error (CLoud's λ; not
    checked against the paper)."""
    most_unusable: float = 0.2
    """Share of drawn reviews that may be empty or without end before the run stops."""
    checkpoint_every: int = 200
    """Updates between checkpoints."""
    seed: int = 0
    """Of batches, draws, hidden metadata and the new rows of the embedding."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "n_learn", "n_head", "seed")
        check_at_least(self, 1, "n_novel", "n_review", "n_drawn", "grad_segments")
        check_at_least(self, 1, "checkpoint_every")
        check_real(self, 0, 1, "p_unknown", "most_unusable", "novel_weight")
        check_real(self, 0, 100, "language_weight")
        check_real(self, 0, 0.9, "p_without")
        if self.n_learn + self.n_head == 0:
            raise ValueError("one of n_learn and n_head must be above 0")
        if self.optimiser.ema_decay is not None:
            raise ValueError(
                "optimiser.ema_decay must be None: a moving average is not kept here, got "
                f"{self.optimiser.ema_decay}"
            )
