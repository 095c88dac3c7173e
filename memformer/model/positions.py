"""Where a token stands: its index, by rotation, and the fraction of the novel, by features.

B lanes, H heads, L tokens, D head_dim, u fraction of the novel in [0, 1], NaN where unknown
"""

import math
from typing import Any, assert_never, cast

import torch
from torch import Tensor, nn

from memformer.config import FractionConfig
from memformer.memory.rotary import frequencies, turn_pairs


def rotate(x: Tensor, positions: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotate channel pairs by their position: RoPE (Su et al. 2021, arXiv:2104.09864, §3.2.2).

    Angles are computed from `positions` at each call, in float32 (bfloat16 rounds 257 to 256).
    With no table there is no integer index, no maximum length and no cache to go stale.
    Channel d is paired with d + D/2, as in Llama checkpoints loaded by transformers.

    Args:
        x: queries or keys, (B, H, L, D), D even.
        positions: position of each token in tokens, any real number, (B, L) or (1, L).
        base: the longest wavelength is 2π·base^(1-2/D) tokens.

    Returns:
        (B, H, L, D) in the dtype of `x`.

    Raises:
        ValueError: D is odd.
    """
    D = x.shape[-1]
    if D % 2:
        raise ValueError(f"head_dim must be even to rotate in pairs, got {D}")
    return _turned(x, positions.float()[:, None, :, None] * frequencies(D, base, x.device))


def rotate_by_fraction(x: Tensor, u: Tensor) -> Tensor:
    """Rotate channel pairs by the fraction of the novel: pair i by the angle π·2^i·u.

    Unknown fractions are not rotated, so that a manuscript of unknown length has no such position.

    Args:
        x: queries or keys, (B, H, L, D), D even.
        u: (B, L), NaN where unknown.
    """
    frequency = math.pi * 2.0 ** torch.arange(x.shape[-1] // 2, device=x.device)  # (D/2,)
    return _turned(x, u.float().nan_to_num()[:, None, :, None] * frequency)


def _turned(x: Tensor, angle: Tensor) -> Tensor:
    turned = _Turned.apply(x, angle.cos(), angle.sin())  # type: ignore[no-untyped-call]
    return cast(Tensor, turned)  # angle (B, 1, L, D/2)


class _Turned(torch.autograd.Function):
    """`turn_pairs`, whose gradient is turned back, in half the passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return turn_pairs(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return cast(Tensor, _Turned.apply(grad, cos, -sin)), None, None  # type: ignore[no-untyped-call]


def fourier_features(u: Tensor, n_frequency: int) -> Tensor:
    """sin and cos of π·2^m·u, m = 0 ... n_frequency - 1 (Mildenhall et al. 2020,
    arXiv:2003.08934, eq. 4): (...,) -> (..., 2·n_frequency)."""
    angle = u.float()[..., None] * math.pi * 2.0 ** torch.arange(n_frequency, device=u.device)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


def checked_fraction(u: Tensor) -> Tensor:
    """u clipped to 1, past a declared length; NaN, unknown, stays.

    Raises:
        ValueError: one is negative.
    """
    if bool((u < 0).any()):
        raise ValueError(f"fraction must be in [0, 1], got {float(u.nan_to_num().min())}")
    return u.clamp(max=1)


class FractionEncoding(nn.Module):
    """The fraction of the novel as a vector to add to an embedding: Fourier features, one linear
    map, and a learned vector for "unknown". Starts at zero: adding it changes nothing yet.

    Args:
        n_embd: width of the embedding it is added to.
        n_frequency: sines and cosines, of wavelengths 2, 1, 1/2, ... novels.
    """

    def __init__(self, n_embd: int, n_frequency: int = 16) -> None:
        super().__init__()
        self.n_frequency = n_frequency
        self.weight = nn.Parameter(torch.zeros(n_embd, 2 * n_frequency))
        self.unknown = nn.Parameter(torch.zeros(n_embd))

    def forward(self, u: Tensor) -> Tensor:
        """u (B, L), past 1 clipped to 1, NaN where unknown -> (B, L, n_embd).

        Raises:
            ValueError: a negative u.
        """
        return self.vector(checked_fraction(u))

    def vector(self, u: Tensor) -> Tensor:
        """The same of a u that was checked."""
        features = fourier_features(u.nan_to_num(), self.n_frequency).type_as(self.weight)
        return torch.where(u.isnan()[..., None], self.unknown, features @ self.weight.mT)


class FractionBins(nn.Module):
    """Rival of `FractionEncoding`: learned vectors at equal steps of u, linearly interpolated.

    Args:
        n_embd: width of the embedding it is added to.
        n_bin: vectors, at u = 0, 1/(n_bin - 1), ... 1.
    """

    def __init__(self, n_embd: int, n_bin: int = 64) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_bin, n_embd))
        self.unknown = nn.Parameter(torch.zeros(n_embd))

    def forward(self, u: Tensor) -> Tensor:
        """u (B, L), past 1 clipped to 1, NaN where unknown -> (B, L, n_embd).

        Raises:
            ValueError: a negative u.
        """
        u, last = checked_fraction(u), len(self.weight) - 1
        place = u.nan_to_num().float() * last
        below = place.floor().clamp(0, last - 1).long()
        share = (place - below)[..., None].type_as(self.weight)
        vector = torch.lerp(self.weight[below], self.weight[below + 1], share)
        return torch.where(u.isnan()[..., None], self.unknown, vector)


class FractionBias(nn.Module):
    """Read-time bias f_h(u_t - u_s) on the logits of retrieved pairs, bounded, one curve a head.

    f_h is `bound`·tanh of a Fourier series of the difference. Zero at the start, and always zero
    where either fraction is unknown.

    Args:
        n_head: query heads.
        n_frequency: terms of the series.
        bound: largest absolute bias, in nats.
    """

    def __init__(self, n_head: int, n_frequency: int = 8, bound: float = 4.0) -> None:
        super().__init__()
        self.n_frequency, self.bound = n_frequency, bound
        self.weight = nn.Parameter(torch.zeros(n_head, 2 * n_frequency))

    def forward(self, difference: Tensor) -> Tensor:
        """difference (B, H or 1, L, K) of fractions, NaN where unknown -> (B, H, L, K)."""
        features = fourier_features(difference.nan_to_num(), self.n_frequency)
        series = torch.einsum("bhlkf,hf->bhlk", features.expand(-1, len(self.weight), -1, -1, -1),
                              self.weight.float())  # fmt: skip
        bias: Tensor = self.bound * series.tanh() * ~difference.isnan()
        return bias


class FractionModulation(nn.Module):
    """Rival of `FractionEncoding`: a factor 1 + γ(u) on the channels of a norm's output (FiLM,
    Perez et al. 2017, arXiv:1709.07871, without the shift). Starts at 1.

    Args:
        n_embd: channels.
        n_frequency: Fourier frequencies of u.
    """

    def __init__(self, n_embd: int, n_frequency: int = 16) -> None:
        super().__init__()
        self.encode = FractionEncoding(n_embd, n_frequency)

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """x (B, L, n_embd), u (B, L) in [0, 1], as the decoder checks it -> (B, L, n_embd)."""
        modulated: Tensor = x * (1 + self.encode.vector(u))
        return modulated


def build_fraction(config: FractionConfig, n_embd: int) -> nn.Module | None:
    """What is added to the token embedding, or None for the kinds that enter elsewhere."""
    match config.kind:
        case "fourier":
            return FractionEncoding(n_embd, config.n_frequency)
        case "bins":
            return FractionBins(n_embd, config.n_bin)
        case "none" | "rotary" | "modulation":
            return None
        case kind:
            assert_never(kind)
