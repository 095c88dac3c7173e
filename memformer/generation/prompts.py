"""Reading prompts of different lengths side by side, and the fraction of the novel they stand at.

B lanes, V vocabulary, n longest prompt
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState


def read_prompts(
    model: Decoder,
    state: DecoderState,
    prompts: Sequence[Sequence[int]],
    *,
    length: int | None = None,
) -> Tensor:
    """Read one prompt a lane, in segments of the model's `segment_len`; the state advances.

    A shorter prompt is padded at its end, under a mask: each lane ends as if it had been read
    alone (but for the rounding of another shape). The padding costs time: of very different
    prompts, read those of like length together.

    Args:
        model: the decoder.
        state: of as many lanes as there are prompts; it may have read something before.
        prompts: token ids, one sequence a lane.
        length: declared length of the manuscripts in tokens; None leaves the fraction unknown.

    Returns:
        (B, V): of the token after each lane's last.

    Raises:
        ValueError: a prompt is empty or has an id outside the vocabulary, their number is not that
            of the lanes, or length is below 1. Nothing is read then.
    """
    _check(model, state, prompts, length)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    n, device = int(lengths.max()), model.embedding.weight.device
    ids = torch.zeros(len(prompts), n, dtype=torch.int64)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt)
    mask = torch.arange(n) < lengths[:, None]  # (B, n)
    last: dict[int, Tensor] = {}  # by lane, (V,)
    for start in range(0, n, model.config.segment_len):
        part = slice(start, start + model.config.segment_len)
        fraction = declared_fraction(state, ids[:, part].shape[1], length)
        with torch.inference_mode():
            out = model(
                ids[:, part].to(device), state, fraction=fraction, mask=mask[:, part].to(device)
            )
        state.advance(out)
        for lane, end in enumerate((lengths - start).tolist()):
            if 1 <= end <= out.logits.shape[1]:
                last[lane] = out.logits[lane, end - 1]
    return torch.stack([last[lane] for lane in range(len(prompts))])


def declared_fraction(state: DecoderState, n: int, length: int | None) -> Tensor | None:
    """u = (t + 0.5) / length of each lane's next n tokens, at most 1; None without a length.

    Returns:
        (B, n) float32 on the state's device.
    """
    if length is None:
        return None
    position = torch.tensor(state.n_read)[:, None] + torch.arange(n)  # (B, n)
    u = ((position.double() + 0.5) / length).clamp(max=1)
    return u.float().to(state.layers[0].keys.device)


def check_length(length: int | None) -> None:
    """A declared length is at least one token, else a ValueError."""
    if length is not None and length < 1:
        raise ValueError(f"length must be at least 1 token, got {length}")


def prompt_text(prompt: str | None, file: Path | None) -> str:
    """The text to be continued, given as such or as a file in UTF-8.

    Raises:
        ValueError: both or neither are given, or nothing but white space is in it, or the file is
            not UTF-8.
        OSError: the file cannot be read.
    """
    if (prompt is None) == (file is None):
        which = "neither" if prompt is None else "both"
        raise ValueError(f"give one of prompt and prompt-file, got {which}")
    if file is not None:
        try:
            prompt = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"prompt-file: {file} is not UTF-8 ({error})") from None
    if not prompt or not prompt.strip():
        raise ValueError("the prompt is empty: there must be something to continue")
    return prompt


def _check(
    model: Decoder, state: DecoderState, prompts: Sequence[Sequence[int]], length: int | None
) -> None:
    check_length(length)
    if len(prompts) != state.n_lane:
        raise ValueError(f"prompts must be one a lane ({state.n_lane}), got {len(prompts)}")
    V = model.config.vocab_size
    for lane, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"the prompt of lane {lane} is empty: give it at least one token")
        for worst in (min(prompt), max(prompt)):
            if not 0 <= worst < V:
                raise ValueError(
                    f"prompts: ids must be in [0, vocab_size={V}), got {worst} in lane {lane}: "
                    "was the text encoded with this model's tokenizer?"
                )
