"""The optimiser's groups of parameters, and the learning rate as a function of the step."""

import math
from typing import Any, assert_never

import torch
from torch import nn

from memformer.config import OptimiserConfig

_GATES = (
    ".attention.gate", ".attention.tanh_gate", ".compressive.gate", ".fraction_bias.weight",
    ".attention.scale",
)  # fmt: skip
_APART = ("embedding", "conv", "fraction", "film", "recurrent")


def is_gate(name: str) -> bool:
    """Whether a parameter of the decoder is a gate, a query scale or a read-time bias."""
    return name.endswith(_GATES)


def parameter_groups(model: nn.Module, config: OptimiserConfig) -> list[dict[str, Any]]:
    """Matrices, which decay; gates and scales, with a rate of their own; all others.

    The others are embeddings, norms, convolutions, memory tokens and what carries the fraction.
    Frozen parameters are left out.

    Returns:
        Groups for a torch optimiser, each with its `peak` learning rate; none is empty.
    """
    matrices, gates, others = [], [], []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        if is_gate(name):
            gates.append(weight)
        elif weight.dim() >= 2 and not any(part in name for part in _APART):
            matrices.append(weight)
        else:
            others.append(weight)
    kinds = (
        ("matrices", matrices, config.learning_rate, config.weight_decay),
        ("gates and scales", gates, config.gate_learning_rate, 0.0),
        ("others", others, config.learning_rate, 0.0),
    )
    return [
        {"params": weights, "name": name, "lr": rate, "peak": rate, "weight_decay": decay}
        for name, weights, rate, decay in kinds
        if weights
    ]


def build_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser over all parameters of `model` that are not frozen.

    Raises:
        ValueError: every parameter is frozen.
    """
    groups = parameter_groups(model, config)
    if not groups:
        raise ValueError("the model has no parameter to train: every one has requires_grad=False")
    match config.name:
        case "adamw":
            return torch.optim.AdamW(groups, betas=(config.beta1, config.beta2), fused=True)
        case name:
            assert_never(name)


def rate_share(step: int, n_step: int, config: OptimiserConfig) -> float:
    """Learning rate of a step, counted from 0, as a share of the peak.

    Warm-up is a line from 1/warmup_steps to 1. Then `cosine`: half a cosine from 1 to
    `final_share` (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts);
    `trapezoid`: flat until the last `decay_share` of all steps, then a line; `constant`: flat.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    low = config.final_share
    match config.schedule:
        case "cosine":
            left = max(1, n_step - 1 - config.warmup_steps)
            done = min(1.0, (step - config.warmup_steps) / left)
            return low + (1 - low) * (1 + math.cos(math.pi * done)) / 2
        case "trapezoid":
            n_decay = max(1, round(config.decay_share * n_step))
            return low + (1 - low) * min(1.0, max(0, n_step - 1 - step) / n_decay)
        case "constant":
            return 1.0
        case schedule:
            assert_never(schedule)


def set_rate(optimiser: torch.optim.Optimizer, share: float) -> None:
    """Give each group this share of its peak learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = share * group["peak"]
