"""Writing on: one token at a time, through the window and the memory.

B lanes, V vocabulary
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState


def sample(
    model: Decoder,
    state: DecoderState,
    logits: Tensor,
    n_token: int,
    *,
    length: int | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Iterator[Tensor]:
    """Continue each lane's manuscript token by token; the state advances with what is written.

    Args:
        model: the decoder.
        state: after the text so far.
        logits: (B, V) of the next token, the last that `model` gave for the text so far.
        n_token: tokens to write.
        length: declared length of the manuscript in tokens, from which the fraction of the novel
            follows; None leaves it unknown.
        temperature: of the softmax; 0 takes the likeliest token.
        top_p: only the likeliest tokens that together reach this probability are drawn from
            (nucleus sampling, Holtzman et al. 2019, arXiv:1904.09751).
        seed: of the draws.

    Yields:
        (B,) int64 ids, n_token times.

    Raises:
        ValueError: an argument out of range, or logits of other lanes than the state's.
    """
    _check(state, logits, n_token, length, temperature, top_p)
    generator = torch.Generator(device=logits.device).manual_seed(seed)
    for _ in range(n_token):
        token = _draw(logits, temperature, top_p, generator)  # (B,)
        yield token
        with torch.inference_mode():
            out = model(token[:, None], state, fraction=_fraction(state, length, logits))
        state.advance(out)
        logits = out.logits[:, -1]


def _draw(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    probability, order = (logits.float() / temperature).softmax(-1).sort(-1, descending=True)
    # a token is kept if those before it have not reached top_p: the first always is
    is_kept = probability.cumsum(-1) - probability < top_p
    drawn = torch.multinomial(probability * is_kept, 1, generator=generator)
    return order.gather(-1, drawn)[:, 0]


def _fraction(state: DecoderState, length: int | None, like: Tensor) -> Tensor | None:
    if length is None:
        return None
    position = torch.tensor(state.n_read, device=like.device, dtype=torch.float32)
    return ((position + 0.5) / length)[:, None]


def _check(
    state: DecoderState,
    logits: Tensor,
    n_token: int,
    length: int | None,
    temperature: float,
    top_p: float,
) -> None:
    if logits.dim() != 2 or len(logits) != state.n_lane:
        raise ValueError(f"logits must be ({state.n_lane}, V), got {tuple(logits.shape)}")
    if n_token < 0:
        raise ValueError(f"n_token must be at least 0, got {n_token}")
    if length is not None and length < 1:
        raise ValueError(f"length must be at least 1 token, got {length}")
    if temperature < 0:
        raise ValueError(f"temperature must be at least 0, got {temperature}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}")
