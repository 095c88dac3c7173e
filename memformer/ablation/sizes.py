"""How big a cell is before it runs: parameters, tokens, and how long one step takes."""

import time
from typing import Any, NamedTuple

import torch

from memformer.config import DecoderConfig, RunConfig
from memformer.data.lanes import Segment
from memformer.model.decoder import Decoder
from memformer.training.low_rank import add_low_rank
from memformer.training.optimiser import build_optimiser
from memformer.training.step import train_step


class Trial(NamedTuple):
    """One step of training on random tokens."""

    seconds: float
    """Of the second step; the first warms up."""
    total_s: float
    """Of all steps of the run at that rate."""


def n_token(config: Any) -> int:
    """Tokens that a cell trains on; 0 for configs of other kinds."""
    if not isinstance(config, RunConfig):
        return 0
    return config.n_step * config.step_tokens


def n_parameter(config: Any) -> int:
    """Weights of the decoder that a config describes; 0 where it describes none."""
    model = config if isinstance(config, DecoderConfig) else getattr(config, "model", None)
    if not isinstance(model, DecoderConfig):
        return 0
    with torch.device("meta"):
        return sum(each.numel() for each in Decoder(model).parameters())


def try_steps(config: RunConfig) -> Trial:
    """Two steps of a new decoder on random tokens: shapes and memory fail now, not after hours.

    Raises:
        Exception: whatever the first step of the run would raise.
    """
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # as `training.run`
    model = Decoder(config.model).to(device).train()
    if config.low_rank.rank:
        add_low_rank(model, config.low_rank)
    optimiser = build_optimiser(model, config.optimiser)
    state = model.new_state(config.n_lane)
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        train_step(
            model, state, optimiser, [_passage(config, device) for _ in range(config.accumulate)],
            clip_norm=config.optimiser.clip_norm, precision=config.precision,
            recompute=config.recompute,
        )  # fmt: skip
        seconds = time.perf_counter() - started
    return Trial(seconds, seconds * config.n_step)


def _passage(config: RunConfig, device: torch.device) -> list[Segment]:
    return [_segment(config, device) for _ in range(config.grad_segments)]


def _segment(config: RunConfig, device: torch.device) -> Segment:
    B, L = config.n_lane, config.model.segment_len
    tokens = torch.randint(config.model.vocab_size, (B, L), device=device)
    return Segment(
        tokens=tokens,
        targets=tokens,
        mask=torch.ones(B, L, dtype=torch.bool, device=device),
        weight=torch.ones(B, L, device=device),
        fraction=torch.full((B, L), 0.5, device=device),
        begins=[],
        books=[],
    )
