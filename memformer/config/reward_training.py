"""Settings of training a generator on a reward."""

from dataclasses import dataclass, field
from typing import Literal

from memformer.config.changes import check_at_least, check_choice, check_real
from memformer.config.sampling import SamplingConfig
from memformer.config.training import OptimiserConfig

Method = Literal["raft", "rloo", "direct"]


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """One rung of the ladder above best-of-n, and when to stop climbing it.

    "Tokens" of what is spent count one for a token read or written, two more for going backward
    through it.
    """

    method: Method = "rloo"
    """`raft`: fine-tune on the best branch of each prompt (Dong et al. 2023, arXiv:2304.06767).
    `rloo`: REINFORCE with the other branches' mean as baseline (Ahmadian et al. 2024,
    arXiv:2402.14740). `direct`: the reward's own gradient through relaxed tokens."""
    n_prompt: int = 8
    """Prompts of an update."""
    n_branch: int = 4
    """Continuations of each prompt: the k of RLOO, from one state by `fork`."""
    n_new: int = 64
    """Tokens of a continuation."""
    length: int | None = None
    """Declared length of the whole text in tokens, for the fraction u; None leaves it unknown."""
    end: int | None = None
    """Token that ends a continuation before `n_new`; None: all are equally long."""
    predictive_weight: float = 0.5
    """Of the predictive loss (nats a token) beside the reward loss, in the same update."""
    kl_weight: float = 0.02
    """Beta: what a nat of a whole continuation's log-ratio to the reference costs of its score."""
    kl_budget: float | None = None
    """Stop when KL (nats a continuation, mean of the last `kl_smoothing` updates) exceeds this."""
    kl_smoothing: int = 5
    """Updates that the budget's KL is averaged over."""
    log_ratio_clamp: float = 20.0
    """Log-ratios of a token are cut to plus or minus this before anything is made of them."""
    temperature: float = 1.0
    """Of the Gumbel softmax of `direct`, tau."""
    grad_segments: int = 1
    """With `direct`: the gradient reaches the last so many segments of the continuation."""
    partial: bool = False
    """With `direct`: allow continuations longer than that reach; older tokens are constant."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """How branches are drawn; its seed is not used. A changed distribution has no known KL: it is
    refused wherever KL counts."""
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(
            learning_rate=3e-4, gate_learning_rate=3e-4, weight_decay=0.0, schedule="constant",
            warmup_steps=5, ema_decay=0.9,
        )
    )  # fmt: skip
    """How weights move, and their moving average, which is what is judged and kept."""
    n_update: int = 100
    """Updates, at most."""
    max_tokens: int | None = None
    """Stop before an update that would spend more than so many tokens in all, if it costs what the
    one before it did (the first is always made); None: no limit."""
    max_unscorable: float = 0.2
    """A larger share of continuations without a score in one update stops the run; likewise of the
    reviews of a call, where the reward is a chain."""
    gold_every: int = 10
    """Updates between looks at held-out gold; a first look is taken before training."""
    gold_z: float = 1.0
    """Standard errors between gold's mean and its lower bound."""
    gold_patience: int = 2
    """Looks in a row whose lower bound lies below the running maximum, after which to stop."""
    checkpoint_every: int = 50
    """Updates between checkpoints; the last always makes one."""
    seed: int = 0
    """Of everything that is drawn; update n draws by seed and n alone."""

    def __post_init__(self) -> None:
        check_choice(self, "method")
        check_at_least(self, 1, "n_prompt", "n_branch", "n_new", "kl_smoothing", "grad_segments")
        check_at_least(self, 1, "n_update", "gold_every", "gold_patience", "checkpoint_every")
        check_at_least(self, 0, "seed")
        check_real(self, 0, 1e6, "predictive_weight", "kl_weight", "gold_z")
        check_real(self, 1e-3, 100, "temperature", "log_ratio_clamp")
        check_real(self, 0, 1, "max_unscorable")
        if self.kl_budget is not None:
            check_real(self, 0, 1e9, "kl_budget")
        for name in ("length", "max_tokens"):
            if getattr(self, name) is not None:
                check_at_least(self, 1, name)
        if self.end is not None:
            check_at_least(self, 0, "end")
        if self.method in ("raft", "rloo") and self.n_branch < 2:
            raise ValueError(
                f"n_branch must be at least 2 with method={self.method!r}, which compares "
                f"branches, got {self.n_branch}"
            )
        if self.method == "direct" and self.end is not None:
            raise ValueError(
                "end must be None with method='direct': where a text ends is no smooth choice; "
                f"fix the length by n_new, got end={self.end}"
            )
        if not self.has_kl and (self.method != "raft" or self.kl_weight or self.kl_budget):
            raise ValueError(
                "sampling must leave the model's own distribution (temperature=1, no top_k, top_p, "
                "min_p or repetition_penalty) where KL or RLOO needs its probabilities; use "
                "method='raft' with kl_weight=0 and kl_budget=None for another sampler"
            )

    @property
    def has_kl(self) -> bool:
        """Whether branches are drawn from the model's own distribution, so that KL is known."""
        s = self.sampling
        return (s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty) == (
            1, None, 1, 0, 1,
        )  # fmt: skip
