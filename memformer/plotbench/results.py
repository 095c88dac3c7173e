"""One probe under one model and condition: a row of `results.jsonl`."""

import math
from dataclasses import dataclass

from memformer.plotbench.story import Side, Span, Twin


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a scorer said of one probe, with all that metrics and reports need to know of both.

    Raises:
        ValueError: a log-probability that is NaN or infinite: an error of the model, never a miss.
    """

    probe_id: str
    group_id: str
    story_id: str
    seed: int
    """Of the story: the unit of all statistics."""
    family: str
    cell: tuple[Twin, Side]
    bucket: int
    """Distance in tokens for which the story was built."""
    model: str
    condition: str
    """`plain` for scorers that know no conditions."""
    fraction: str
    gold: int
    logprob: tuple[float, float]
    """Nats of each option with its suffix; of shortcuts a rank, the larger preferred."""
    n_tokens: tuple[int, int]
    """Tokens summed over."""
    n_bytes: tuple[int, int]
    """UTF-8 bytes of option and suffix."""
    d_near_tokens: int
    """From the end of the latest mention that licenses the answer to the first scored token, in the
    scorer's own tokens."""
    context_tokens: int
    """Before the first scored token."""
    truncated: bool
    """Whether the beginning was cut to fit the scorer's context."""
    retrieved: tuple[Span, ...] | None
    """Characters under the pairs that the memory found, most attended first; None without one."""
    support: tuple[tuple[int, int, str], ...]
    """Spans that license the answer (`gold`) or the rival's counterpart (`other`)."""
    bench_version: str
    bench_sha256: str
    """The manifest's `content_sha256`."""
    config_sha256: str
    """Of the data and the model's settings, as the run's `config.json` tells them."""

    def __post_init__(self) -> None:
        for i, value in enumerate(self.logprob):
            if not math.isfinite(value):
                raise ValueError(
                    f"{self.probe_id}: log-probability of option {i} is {value} under "
                    f"{self.model} {self.condition}; it must be finite: look at the model"
                )
