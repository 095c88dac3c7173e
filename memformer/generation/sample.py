"""Writing on: one token at a time, through the window and the memory.

B lanes, V vocabulary, n tokens that the repetition penalty looks back on
"""

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from memformer.config import SamplingConfig
from memformer.generation.distribution import distribution
from memformer.generation.draw import draw
from memformer.generation.prompts import check_length, declared_fraction
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState

DEFAULT = SamplingConfig()


class Sampler(Iterator[Tensor]):
    """What `sample` returns: an iterator over (B,) ids that can be stopped and gone on from.

    Attributes:
        state: has read every token that was yielded.
        logits: (B, V), of the token after those; with `state`, all that writing on needs.
        recent: (B, n) int64 last tokens, -1 for none; n is the config's repetition_window at most.
    """

    def __init__(
        self,
        model: Decoder,
        state: DecoderState,
        logits: Tensor,
        n_token: int,
        config: SamplingConfig,
        length: int | None,
        recent: Tensor,
        never: Tensor,
    ) -> None:
        self.state, self.logits, self.recent = state, logits, recent
        self._model, self._n_left = model, n_token
        self._config, self._length, self._never = config, length, never

    def __next__(self) -> Tensor:
        if self._n_left == 0:
            raise StopIteration
        allowed = self.logits.index_fill(-1, self._never, -torch.inf)  # (B, V)
        probability = distribution(allowed, self._config, self.recent)  # (B, V)
        token = draw(probability, self._config.seed, self.state.n_read)  # (B,)
        fraction = declared_fraction(self.state, 1, self._length)
        with torch.inference_mode():
            out = self._model(token[:, None], self.state, fraction=fraction)
        self.state.advance(out)
        self.logits = out.logits[:, -1]
        recent = torch.cat((self.recent, token[:, None]), dim=1)
        self.recent = recent[:, -self._config.repetition_window :]
        self._n_left -= 1
        return token


def sample(
    model: Decoder,
    state: DecoderState,
    logits: Tensor,
    n_token: int,
    *,
    config: SamplingConfig = DEFAULT,
    length: int | None = None,
    before: Sequence[Sequence[int]] | None = None,
    never: Collection[int] = (),
) -> Sampler:
    """Continue each lane's manuscript token by token; the state advances with what is written.

    A token is read into the state before it is yielded. So at any time, after a `break` too,
    `Sampler.state` and `Sampler.logits` are what writing on needs: call `sample` with them again.
    Draws depend on seed, lane number and position alone (`draw.py`): a pause, a save and a load in
    between change nothing, and neither do a lane's neighbours.

    Args:
        model: the decoder.
        state: after the text so far.
        logits: (B, V) of the next token, the last that `model` gave for the text so far; as
            `read_prompts` returns them.
        n_token: tokens to write, at most.
        config: which tokens may be drawn, and the seed.
        length: declared length of the manuscript in tokens, from which the fraction of the novel
            follows; None leaves it unknown.
        before: ids of the text so far, one sequence a lane, which the repetition penalty looks
            back on; without it, only on what is written in this call.
        never: ids that are not drawn: a tokenizer's `special_ids`.

    Returns:
        An iterator over (B,) int64 ids, n_token times.

    Raises:
        ValueError: an argument out of range, or not of the state's lanes.
    """
    if logits.dim() != 2 or len(logits) != state.n_lane:
        raise ValueError(f"logits must be ({state.n_lane}, V), got {tuple(logits.shape)}")
    if n_token < 0:
        raise ValueError(f"n_token must be at least 0, got {n_token}")
    if before is not None and len(before) != state.n_lane:
        raise ValueError(f"before must be one sequence a lane ({state.n_lane}), got {len(before)}")
    check_length(length)
    if not all(0 <= each < logits.shape[1] for each in never):
        raise ValueError(f"never must be ids in [0, {logits.shape[1]}), got {sorted(never)}")
    device = logits.device
    recent = _recent(before or [[]] * state.n_lane, config.repetition_window).to(device)
    banned = torch.tensor(sorted(never), dtype=torch.int64, device=device)
    return Sampler(model, state, logits, n_token, config, length, recent, banned)


def _recent(before: Sequence[Sequence[int]], window: int) -> Tensor:
    """(B, n) last ids of each lane, at the right, -1 where a lane has fewer."""
    n = min(window, max(len(ids) for ids in before))
    recent = torch.full((len(before), n), -1)
    for row, ids in zip(recent, before, strict=True):
        kept = ids[-n:] if n else []
        row[n - len(kept) :] = torch.tensor(kept, dtype=torch.int64)
    return recent
