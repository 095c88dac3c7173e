"""From logits to the distribution that is drawn from: the definition of every sampling option.

B lanes, V vocabulary, n recent tokens
"""

import torch
from torch import Tensor

from memformer.config import SamplingConfig


def distribution(logits: Tensor, config: SamplingConfig, recent: Tensor | None = None) -> Tensor:
    """Probabilities of the next token under a `SamplingConfig`.

    In this order: repetition penalty, temperature, top_k, top_p, min_p; top_p takes its share of
    what top_k left. The likeliest token always stays. Among equals the lower id goes first.

    Args:
        logits: (B, V), any float dtype; -inf for a token that must not be drawn.
        config: the options; its seed is not used.
        recent: (B, n) int64 ids that the repetition penalty counts as written, -1 for none. All of
            them count: whoever calls keeps to `repetition_window`.

    Returns:
        (B, V) float32, each row's sum 1.

    Raises:
        ValueError: a row with NaN or +inf, or with -inf alone; ids outside the vocabulary; a shape
            that does not fit.
    """
    if logits.dim() != 2:
        raise ValueError(f"logits must be (B, V), got {tuple(logits.shape)}")
    x = _penalised(logits.float(), recent, config.repetition_penalty)
    best = x.amax(-1, keepdim=True)  # (B, 1), NaN if any of the row is
    if not bool(best.isfinite().all()):
        lane = int((~best.isfinite()).nonzero()[0, 0])
        raise ValueError(
            f"logits must be finite, or -inf for some: lane {lane} has {float(best[lane])}"
        )
    if config.temperature == 0:
        return torch.zeros_like(x).scatter_(-1, x.argmax(-1, keepdim=True), 1.0)
    probability = ((x - best) / config.temperature).softmax(-1)
    if config.top_k is None and config.top_p == 1 and config.min_p == 0:
        return probability
    return _truncated(probability, config)


def _penalised(x: Tensor, recent: Tensor | None, penalty: float) -> Tensor:
    """CTRL's penalised sampling: the score of what was written is divided by θ.

    deviation: negative scores are multiplied. Divided, as the paper has it, they would rise; this
    is what transformers and others do.
    """
    if recent is None:
        return x
    B, V = x.shape
    if recent.dim() != 2 or len(recent) != B:
        raise ValueError(f"recent must be ({B}, n), got {tuple(recent.shape)}")
    if recent.numel() and not -1 <= int(recent.min()) <= int(recent.max()) < V:
        raise ValueError(
            f"recent ids must be in [0, {V}), or -1 for none, "
            f"got {int(recent.min())} to {int(recent.max())}"
        )
    if penalty == 1:
        return x
    was_written = torch.zeros(B, V + 1, dtype=torch.bool, device=x.device)
    was_written.scatter_(-1, recent.where(recent >= 0, V), True)  # column V: none
    changed = torch.where(x > 0, x / penalty, x * penalty)
    return torch.where(was_written[:, :V], changed, x)


def _truncated(probability: Tensor, config: SamplingConfig) -> Tensor:
    """Leave the likeliest tokens that every rule leaves; their sum becomes 1 again."""
    p, order = probability.sort(dim=-1, descending=True, stable=True)
    if config.top_k is not None:
        p = p * (torch.arange(p.shape[-1], device=p.device) < config.top_k)
        p = p / p.sum(-1, keepdim=True)
    is_kept = p >= config.min_p * p[:, :1]
    if config.top_p < 1:  # at 1, rounding would cut the tail
        # a token is kept if those before it have not reached top_p: the first always is
        is_kept &= torch.nn.functional.pad(p.cumsum(-1)[:, :-1], (1, 0)) < config.top_p
    p = p * is_kept
    p = p / p.sum(-1, keepdim=True)
    return torch.zeros_like(p).scatter_(-1, order, p)
