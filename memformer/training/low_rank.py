"""Fine-tuning by low-rank changes of a trained decoder's matrices (LoRA, Hu et al. 2021,
arXiv:2106.09685).

r rank, n_out and n_in of a matrix
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from memformer.config import LowRankConfig
from memformer.model.decoder import Decoder
from memformer.training.optimiser import is_gate

_NEW = ("fraction", "film")


class LowRank(nn.Module):
    """W -> W + scale · B A, with B = 0 at the start (arXiv:2106.09685, eq. 3).

    Args:
        weight: the matrix to change, (n_out, n_in).
        rank: r.
        scale: α / r in the paper.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        n_out, n_in = weight.shape
        self.scale = scale
        drawn = torch.randn(rank, n_in, device=weight.device) * n_in**-0.5
        self.a = nn.Parameter(drawn.to(weight.dtype))
        self.b = nn.Parameter(weight.new_zeros(n_out, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """(n_out, n_in) -> (n_out, n_in)."""
        return weight + self.scale * (self.b @ self.a)


def add_low_rank(model: Decoder, config: LowRankConfig) -> None:
    """Give the named matrices of every block a low-rank change and freeze every other weight, but
    for gates, query scales, read-time biases and what carries the fraction. The function is not
    changed.

    Args:
        model: changed in place; `merged` gives a plain decoder back.
        config: `rank` of at least 1.

    Raises:
        ValueError: the rank is 0, or above a matrix's width; the model has changes already.
    """
    if config.rank < 1:
        raise ValueError(f"rank must be at least 1 to change a matrix, got {config.rank}")
    if any(parametrize.is_parametrized(module) for module in model.modules()):
        raise ValueError("the model has low-rank changes already: take merged(model) first")
    chosen = {
        name: module
        for name, module in model.blocks.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in config.of
    }
    for name, linear in chosen.items():  # all rules first: a refusal changes nothing
        if config.rank > min(linear.weight.shape):
            raise ValueError(
                f"rank must be at most {min(linear.weight.shape)}, the width of {name}, "
                f"got {config.rank}"
            )
    for name, weight in model.named_parameters():
        weight.requires_grad_(is_gate(name) or any(part in name for part in _NEW))
    for linear in chosen.values():
        change = LowRank(linear.weight, config.rank, config.scale)
        parametrize.register_parametrization(linear, "weight", change)


@torch.no_grad()
def merged(model: Decoder) -> Decoder:
    """A plain decoder of the same function, to read with or to save: the changes are added into
    matrices of its own, all other weights are the model's. What was frozen stays so, the matrices
    too. The model itself, if it has no changes."""
    if not any(parametrize.is_parametrized(module) for module in model.modules()):
        return model
    with torch.device("meta"):
        plain = Decoder(model.config)
    for name, _ in list(plain.named_parameters()):
        parent, _, leaf = name.rpartition(".")
        weight = getattr(model.get_submodule(parent), leaf)
        if not isinstance(weight, nn.Parameter):  # with its change
            weight = nn.Parameter(weight, requires_grad=False)
        setattr(plain.get_submodule(parent), leaf, weight)
    return plain.train(model.training)
