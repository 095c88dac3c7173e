"""Reading a manuscript under an arm: the nats of every token, and what it retrieved."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from memformer.evaluation.arms import Arm, Fraction, changes_of, config_of
from memformer.evaluation.encoded import EncodedManuscript
from memformer.evaluation.retrievals import Retrievals, join, reduce
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState

STRETCH = 256
"""Tokens, or nearly so many, that trade their fraction of the novel together."""
LEAST_STRETCHES = 8
"""In a short text stretches are shorter, so that there are so many."""

Progress = Callable[[int], None]
"""Called with the number of tokens read so far."""


@dataclass(frozen=True)
class Reading:
    """What came of reading `n` tokens under one arm.

    Attributes:
        nats: (n - 1,) float32: nats[i] is the loss of token i + 1 given all tokens up to i.
        seconds: wall time of reading, the other book of a control and the losses included.
        memory_bytes: bytes of the state's memory at the end.
        retrieved: of the ranges asked for, None where none was.
    """

    nats: NDArray[np.float32]
    seconds: float
    memory_bytes: int
    retrieved: Retrievals | None


def read(
    model: Decoder,
    manuscript: EncodedManuscript,
    arm: Arm,
    *,
    other: EncodedManuscript | None = None,
    want: Sequence[range] = (),
    progress: Progress | None = None,
) -> Reading:
    """Read a manuscript under an arm, in segments of the config's `segment_len`.

    The model predicts each token from those before it, in inference mode; logits are turned into
    losses in float32. A config with a fraction gets u = (t + 0.5) / T, T the whole manuscript,
    unless the arm says otherwise.

    Args:
        model: weights; the arm's config is laid over the model's by `reconfigure`.
        manuscript: tokens to read.
        arm: the way to read.
        other: the manuscript whose memory the arm `other_book` reads; it is read in step, so that
            both memories are always of one size.
        want: ranges of tokens whose retrievals are kept. Not with full attention.
        progress: told the tokens read so far, after each segment.

    Raises:
        ValueError: fewer than window + 2 tokens, an id outside the vocabulary, a bad range, or no
            fitting `other` where the arm needs one.
    """
    config = config_of(arm, model.config, len(manuscript))
    _check(manuscript, config.window, config.vocab_size, want, arm)
    if arm.memory == "other_book":
        other = _checked_other(other, manuscript, config.vocab_size, arm)
    reader = model.reconfigure(changes_of(arm, len(manuscript)))
    device = next(model.parameters()).device
    u = _fraction(manuscript, arm.fraction) if config.uses_fraction else None
    other_u = None if other is None or u is None else _fraction(other, "true")
    nats = np.empty(len(manuscript) - 1, dtype=np.float32)
    kept: list[Retrievals] = []
    started = time.perf_counter()
    with torch.inference_mode(), _evaluating(reader):
        state = reader.new_state(batch_size=1)
        rival = reader.new_state(batch_size=1) if arm.memory == "other_book" else None
        for start in range(0, len(manuscript), config.segment_len):
            stop = min(start + config.segment_len, len(manuscript))
            keep = [part for each in want if (part := _overlap(each, start, stop))]
            out = reader(
                _tokens(manuscript, start, stop, device),
                _view(state, arm, rival),
                fraction=None if u is None else u[:, start:stop].to(device),
                want_retrieved=bool(keep),
            )
            _put_nats(nats, out.logits[0], manuscript.ids, start)
            for part in keep:
                sizes = {"window": config.window, "n_sink": config.n_sink}
                kept.append(reduce(out.retrieved, start, part, **sizes))
            state.advance(out)
            if rival is not None and other is not None:
                rival.advance(
                    reader(
                        _tokens(other, start, stop, device),
                        rival,
                        fraction=None if other_u is None else other_u[:, start:stop].to(device),
                    )
                )
            if progress is not None:
                progress(stop)
        memory_bytes = state.memory_bytes()
    return Reading(
        nats=nats,
        seconds=time.perf_counter() - started,
        memory_bytes=memory_bytes,
        retrieved=join(kept) if kept else None,
    )


def _view(state: DecoderState, arm: Arm, rival: DecoderState | None) -> DecoderState:
    match arm.memory:
        case "on" | "off":
            return state
        case "shuffled":
            return state.with_shuffled_values()
        case "other_book":
            assert rival is not None
            return state.with_memory(rival)


def _put_nats(
    nats: NDArray[np.float32], logits: Tensor, ids: NDArray[np.int64], start: int
) -> None:
    """Write the losses of the tokens after each token of the segment; logits (L, V)."""
    target = torch.from_numpy(ids[start + 1 : start + 1 + len(logits)]).to(logits.device)
    loss = F.cross_entropy(logits[: len(target)].float(), target, reduction="none")
    nats[start : start + len(target)] = loss.cpu().numpy()


def _tokens(manuscript: EncodedManuscript, start: int, stop: int, device: torch.device) -> Tensor:
    return torch.from_numpy(manuscript.ids[start:stop])[None].to(device)  # (1, L)


def _fraction(manuscript: EncodedManuscript, told: Fraction) -> Tensor:
    """(1, n) of the novel, as an arm is told it."""
    t = torch.arange(len(manuscript))
    if told == "unknown":
        return torch.full((1, len(t)), torch.nan)
    if told == "shuffled":
        t = _traded(manuscript)[: len(t)]
    u = (t.double() + 0.5) / manuscript.n_total
    return u.clamp(max=1).float()[None]


def _traded(manuscript: EncodedManuscript) -> Tensor:
    """(T,): the places of all tokens of the novel after its stretches have traded theirs; none
    keeps its own, so that also a short text is told nothing true."""
    T = manuscript.n_total
    n = min(T, max(LEAST_STRETCHES, T // STRETCH))
    edges = [i * T // n for i in range(n + 1)]
    draw = torch.Generator().manual_seed(int.from_bytes(manuscript.id.encode()[-7:]))
    order = torch.randperm(n, generator=draw).tolist()
    after = dict(zip(order, [*order[1:], order[0]], strict=True))  # one round through all
    return torch.cat([torch.arange(edges[after[i]], edges[after[i] + 1]) for i in range(n)])


def _overlap(each: range, start: int, stop: int) -> range:
    return range(max(each.start, start), min(each.stop, stop))


@contextmanager
def _evaluating(model: Decoder) -> Iterator[None]:
    # a reconfigured decoder may share its blocks with the caller's: leave them as they were
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in was_training.items():
            module.training = training


def _check(
    manuscript: EncodedManuscript, window: int, vocab_size: int, want: Sequence[range], arm: Arm
) -> None:
    if len(manuscript) < window + 2:
        raise ValueError(
            f"manuscript {manuscript.id!r} has {len(manuscript)} tokens to read, needs at least "
            f"window + 2 = {window + 2}: nothing would ever leave the window"
        )
    _check_ids(manuscript, vocab_size)
    if want and arm.is_full:
        raise ValueError(f"want: arm {arm.name!r} attends to all tokens and retrieves none")
    for each in want:
        if each.step != 1 or not 0 <= each.start < each.stop < len(manuscript):
            raise ValueError(
                f"want must be ranges of tokens in [0, {len(manuscript) - 1}), got {each}: "
                "the last token predicts none"
            )


def _check_ids(manuscript: EncodedManuscript, vocab_size: int) -> None:
    bad = np.flatnonzero((manuscript.ids < 0) | (manuscript.ids >= vocab_size))
    if len(bad):
        raise ValueError(
            f"manuscript {manuscript.id!r}: token {bad[0]} has id {manuscript.ids[bad[0]]}, "
            f"outside the model's vocab_size={vocab_size}: the tokenizer is not the model's"
        )


def _checked_other(
    other: EncodedManuscript | None, manuscript: EncodedManuscript, vocab_size: int, arm: Arm
) -> EncodedManuscript:
    if other is None:
        raise ValueError(f"arm {arm.name!r} reads the memory of another book: other is missing")
    if other.id == manuscript.id:
        raise ValueError(f"other must be another manuscript than {manuscript.id!r}")
    if len(other) < len(manuscript):
        raise ValueError(
            f"other manuscript {other.id!r} has {len(other)} tokens, needs at least the "
            f"{len(manuscript)} that are read of {manuscript.id!r}"
        )
    _check_ids(other, vocab_size)
    return other
