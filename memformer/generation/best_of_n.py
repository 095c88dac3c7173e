"""Write n continuations side by side and keep the best one.

V vocabulary, n branches, L tokens of a segment
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config import SamplingConfig
from memformer.generation.prompts import check_length, declared_fraction
from memformer.generation.sample import DEFAULT, sample
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState


class Best(NamedTuple):
    """The best of n continuations, and what writing on from it needs."""

    tokens: list[int]
    """Its ids."""
    score: float
    """Its score, the largest."""
    scores: list[float]
    """Scores of all n, in the order of their lanes; of equals the first is best."""
    state: DecoderState
    """One lane, which has read it."""
    logits: Tensor
    """(1, V), of the token after it."""


def best_of_n(
    model: Decoder,
    state: DecoderState,
    logits: Tensor,
    n: int,
    n_token: int,
    scorer: Callable[[list[int]], float],
    *,
    config: SamplingConfig = DEFAULT,
    length: int | None = None,
    before: Sequence[int] = (),
    never: Collection[int] = (),
) -> Best:
    """Fork one lane into n branches, continue each with its own draws, and return the best.

    The state is not touched. Branches share its sealed pages and are read as one batch, so that n
    continuations cost less than n times one.

    Args:
        model, n_token, config, length, never: as in `sample`; branch i draws as lane i.
        state: of one lane, after the text so far.
        logits: (1, V), of the next token.
        n: continuations to choose from.
        scorer: from a continuation's ids to its score, larger is better.
        before: ids of the text so far, for the repetition penalty.

    Raises:
        ValueError: as `sample`; n or n_token below 1; several lanes; n > 1 at temperature 0, where
            all would be the same; a score is NaN.
    """
    if state.n_lane != 1:
        raise ValueError(f"best_of_n continues one lane, got {state.n_lane}: state.select([lane])")
    for name, value in (("n", n), ("n_token", n_token)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if n > 1 and config.temperature == 0:
        raise ValueError(f"temperature must be above 0 for n={n} continuations to differ, got 0")
    if logits.dim() != 2 or len(logits) != 1:
        raise ValueError(f"logits must be (1, V), got {tuple(logits.shape)}")
    branches = state.fork(n)
    writing = sample(
        model, branches, logits.expand(n, -1), n_token,
        config=config, length=length, before=[before] * n, never=never,
    )  # fmt: skip
    rows: list[list[int]] = torch.stack(list(writing), dim=1).tolist()  # (n, n_token)
    scores = [float(scorer(list(row))) for row in rows]
    for i, score in enumerate(scores):
        if score != score:
            raise ValueError(f"scorer gave NaN for continuation {i} of {n}")
    best = scores.index(max(scores))
    return Best(
        rows[best], scores[best], scores, branches.select([best]), writing.logits[best : best + 1]
    )


def mean_log_probability(
    model: Decoder,
    state: DecoderState,
    logits: Tensor,
    ids: Sequence[int],
    *,
    length: int | None = None,
) -> float:
    """Mean log-probability of a continuation under the model itself, in nats a token.

    Under its plain distribution (temperature 1, nothing cut off), whatever it was drawn from. It
    prefers what is predictable: as a scorer, a stand-in until there is a better one.

    Args:
        model: the decoder.
        state: of one lane, before the continuation; it is not touched.
        logits: (1, V), of the continuation's first token.
        ids: the continuation.
        length: declared length of the manuscript in tokens.

    Raises:
        ValueError: no ids, several lanes, or length below 1.
    """
    check_length(length)
    if not ids or state.n_lane != 1 or logits.dim() != 2 or len(logits) != 1:
        raise ValueError(
            f"mean_log_probability needs at least one token, one lane and logits (1, V), got "
            f"{len(ids)}, {state.n_lane} and {tuple(logits.shape)}"
        )
    state, total = state.fork(1), 0.0
    for start in range(0, len(ids), model.config.segment_len):
        part = list(ids[start : start + model.config.segment_len])
        segment = torch.tensor([part], device=logits.device)  # (1, L)
        fraction = declared_fraction(state, segment.shape[1], length)
        with torch.inference_mode():
            out = model(segment, state, fraction=fraction)
            ahead = torch.cat((logits[:, None], out.logits[:, :-1]), dim=1)  # (1, L, V)
            said = ahead.float().log_softmax(-1).gather(-1, segment[..., None])  # (1, L, 1)
            total += float(said.double().sum())
        state.advance(out)
        logits = out.logits[:, -1]
    return total / len(ids)
