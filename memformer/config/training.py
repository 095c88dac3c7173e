"""Settings of a training run: texts, order of reading, optimiser, what is kept and watched."""

import math
from dataclasses import dataclass, field
from typing import Literal

from memformer.config.changes import check_at_least, check_choice, check_real
from memformer.config.model import DecoderConfig


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """How weights move. Steps count updates of the weights."""

    name: Literal["adamw"] = "adamw"
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101)."""
    learning_rate: float = 1e-3
    """Peak, of all but gates and scales."""
    gate_learning_rate: float = 1e-2
    """Peak, of gates, query scales and read-time biases: at the others' rate they hardly move."""
    weight_decay: float = 0.1
    """Of matrices only: embeddings, norms, convolutions, gates and scales never decay."""
    beta1: float = 0.9
    """Decay of the mean gradient."""
    beta2: float = 0.95
    """Decay of the mean squared gradient."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    schedule: Literal["cosine", "trapezoid", "constant"] = "cosine"
    """After the warm-up: half a cosine; flat, then a straight line down; or flat."""
    warmup_steps: int = 100
    """Steps of a straight line from 0 to the peak."""
    decay_share: float = 0.2
    """With `trapezoid`: the share of all steps in which the rate falls."""
    final_share: float = 0.1
    """Rate at the last step, as a share of the peak."""
    ema_decay: float | None = None
    """Keep a moving average of the weights, with this factor a step (smaller at the start); it is
    what is validated and published. None keeps none."""

    def __post_init__(self) -> None:
        check_choice(self, "name", "schedule")
        check_real(self, 0, 10, "learning_rate", "gate_learning_rate", "weight_decay")
        check_real(self, 0, 0.999999, "beta1", "beta2")
        check_real(self, 0, 1, "decay_share", "final_share")
        check_real(self, 1e-12, 1e12, "clip_norm")
        check_at_least(self, 0, "warmup_steps")
        if self.ema_decay is not None:
            check_real(self, 0, 0.999999, "ema_decay")


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of a run: which texts, how many tokens of them."""

    n_token: int = 0
    """Tokens read in this stage, padding included; 0 leaves it out."""
    corpora: tuple[str, ...] = ("classics",)
    """`classics` and `austen` stand for their training part of the split classics-1 (`moby-dick`
    has none); anything else is a folder of texts or a .jsonl file, all of which is trained on."""
    weights: tuple[float, ...] = ()
    """Share of the tokens, one number a corpus; none: equal shares."""
    length_power: float = 0.0
    """Tokens read of a manuscript grow with its length to this power: 0 favours no book by its
    length, 1 reads every book equally often."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "n_token")
        check_real(self, 0, 4, "length_power")
        if self.n_token and not self.corpora:
            raise ValueError("corpora must name at least one corpus, got none")
        if self.weights and len(self.weights) != len(self.corpora):
            raise ValueError(
                f"weights must be one number a corpus ({len(self.corpora)}), got {self.weights}"
            )
        if any(not 0 < weight < math.inf for weight in self.weights):
            raise ValueError(f"weights must be above 0, got {self.weights}")


@dataclass(frozen=True, kw_only=True)
class LowRankConfig:
    """Low-rank changes of matrices are trained instead of the weights (LoRA, Hu et al. 2021,
    arXiv:2106.09685). Gates, query scales and what carries the fraction are trained themselves."""

    rank: int = 0
    """Of each change, the r of the paper; 0 trains all weights themselves."""
    scale: float = 2.0
    """Factor of a change, α / r of the paper."""
    of: tuple[str, ...] = ("q", "k", "v", "o")
    """Matrices that are changed in every block: of attention `q`, `k`, `v`, `o`, of the
    feed-forward layer `gate`, `up`, `down`."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "rank")
        check_real(self, 0, 1000, "scale")
        known = ("q", "k", "v", "o", "gate", "up", "down")
        if not self.of or not set(self.of) <= set(known):
            raise ValueError(f"of must name some of {', '.join(known)}, got {self.of}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A training run: everything that decides what comes out of it."""

    model: DecoderConfig
    """The decoder; `vocab_size` is also that of the tokenizer to train."""
    start: str = ""
    """What to begin from, with its tokenizer: `smollm2`, a GGUF file, a folder of a Llama-family
    checkpoint, or a run; its sizes must be those of `model`. Empty for new weights."""
    low_rank: LowRankConfig = field(default_factory=LowRankConfig)
    """Whether low-rank changes are trained instead of all weights."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    """How weights move."""
    general: StageConfig = field(default_factory=StageConfig)
    """First stage, a general corpus; left out by default."""
    novels: StageConfig = field(default_factory=lambda: StageConfig(n_token=4_000_000))
    """Second stage."""
    validation: tuple[str, ...] = ("classics",)
    """Held-out texts, named as in `StageConfig.corpora`: here for their validation part."""
    split_by: Literal["author", "manuscript"] = "author"
    """`author`: an author on both sides of training and validation is refused."""
    n_lane: int = 8
    """Manuscripts read side by side."""
    grad_segments: int = 1
    """Segments of a passage: keys and values stay in the graph within it, and one backward pass
    goes through all of it."""
    accumulate: int = 1
    """Passages whose gradients are summed for one step."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: matrix products under autocast; weights and optimiser stay float32."""
    recompute: bool = False
    """Keep no activations within blocks and compute them again going backward (Chen et al. 2016,
    arXiv:1604.06174): less memory, about a third more time."""
    compile: bool = False
    """Blocks by `torch.compile` (`Decoder.compile_blocks`): a minute at the start, then quicker
    steps."""
    watch_every: int = 50
    """Steps between looks at how memory is used."""
    validate_every: int = 500
    """Steps between validations; the last step is always validated."""
    validation_tokens: int = 16_384
    """Tokens read of each held-out manuscript, from its start."""
    checkpoint_every: int = 500
    """Steps between checkpoints; the last step always makes one."""
    loggers: tuple[str, ...] = ()
    """Besides metrics.csv: `tensorboard`, `wandb`, each an extra of its own."""
    seed: int = 0
    """Of weights, order of manuscripts and hidden fractions."""

    def __post_init__(self) -> None:
        check_choice(self, "split_by", "precision")
        check_at_least(self, 1, "n_lane", "grad_segments", "accumulate", "watch_every")
        check_at_least(self, 1, "validate_every", "validation_tokens", "checkpoint_every")
        check_at_least(self, 0, "seed")
        if self.low_rank.rank and not self.start:
            raise ValueError(
                f"low_rank.rank={self.low_rank.rank} changes a trained decoder: name it by start"
            )
        if self.low_rank.rank and self.compile:
            raise ValueError(
                f"compile=True has no use for low_rank.rank={self.low_rank.rank}: blocks with "
                "low-rank changes are not compiled, so leave it at False"
            )
        if self.seed >= 1 << 63:
            raise ValueError(f"seed must be below 2^63, got {self.seed}")
        if self.validation_tokens < self.model.window + 2:
            raise ValueError(
                f"validation_tokens must be at least model.window + 2 = {self.model.window + 2}, "
                f"got {self.validation_tokens}"
            )
        for name in self.loggers:
            if name not in ("tensorboard", "wandb"):
                raise ValueError(f"loggers must be of tensorboard, wandb, got {name!r}")
        if self.general.n_token + self.novels.n_token == 0:
            raise ValueError("one of general.n_token and novels.n_token must be above 0")
        for name, stage in (("general", self.general), ("novels", self.novels)):
            if 0 < stage.n_token < self.step_tokens:
                raise ValueError(
                    f"{name}.n_token must be at least the tokens of a step, {self.step_tokens} "
                    f"(n_lane · segment_len · grad_segments · accumulate), got {stage.n_token}"
                )

    @property
    def step_tokens(self) -> int:
        """Tokens of a step, padding included."""
        return self.n_lane * self.model.segment_len * self.grad_segments * self.accumulate

    @property
    def stage_steps(self) -> tuple[int, int]:
        """Steps of the general stage and of the novels'."""
        return (
            self.general.n_token // self.step_tokens,
            self.novels.n_token // self.step_tokens,
        )

    @property
    def n_step(self) -> int:
        """Steps of the run."""
        return sum(self.stage_steps)
