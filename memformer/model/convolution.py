"""The short convolution before attention: causal, depthwise, added to its input.

B lanes, L tokens of the segment
"""

from typing import Any, cast

import torch
from torch import Tensor, nn


class ShortConvolution(nn.Module):
    """h + conv(h), causal and depthwise, so that a key knows the words before it.

    Known as short convolution in H3 (arXiv:2212.14052) and Mamba, token shift in RWKV.
    """

    def __init__(self, n_embd: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, n_embd))

    def forward(self, h: Tensor, before: Tensor) -> Tensor:
        """h (B, L, n_embd), the width - 1 inputs before it (B, width - 1, n_embd) -> as h."""
        whole = torch.cat((before, h), dim=1)
        return cast(Tensor, _AddTaps.apply(whole, self.weight))  # type: ignore[no-untyped-call]


class _AddTaps(torch.autograd.Function):
    """y[t] = x[t] + Σ_i w[i] x[t - width + 1 + i], in place: torch's own convolution by groups is
    15 times slower backward on a CPU, and a sum of products keeps every product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """x (B, width - 1 + L, n_embd), weight (width, n_embd) -> (B, L, n_embd)."""
        ctx.save_for_backward(x, weight)
        first = len(weight) - 1
        y = x[:, first:].clone()
        for tap, w in zip(_shifted(x, first), weight.to(x.dtype), strict=True):
            y.addcmul_(tap, w)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        first = len(weight) - 1
        by_x = torch.nn.functional.pad(grad, (0, 0, first, 0))
        for tap, w in zip(_shifted(by_x, first), weight.to(grad.dtype), strict=True):
            tap.addcmul_(grad, w)
        taps = [(tap * grad).sum((0, 1)) for tap in _shifted(x, first)]
        return by_x, torch.stack(taps).type_as(weight)


def _shifted(x: Tensor, first: int) -> list[Tensor]:
    """The rows under each tap, (B, L, n_embd) each, oldest first."""
    L = x.shape[1] - first
    return [x[:, i : i + L] for i in range(first + 1)]
