"""From drawn tokens to a stream of text: whole characters only, and nothing of a stop string."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from memformer.config import SamplingConfig
from memformer.data.tokenizer import Tokenizer
from memformer.generation.sample import DEFAULT, sample
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState

BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What decoders give for bytes that are no character, or not one yet."""


class Piece(NamedTuple):
    """Tokens and the text that became certain with them."""

    ids: list[int]
    text: str


def write_text(
    model: Decoder,
    tokenizer: Tokenizer,
    state: DecoderState,
    logits: Tensor,
    n_token: int,
    *,
    config: SamplingConfig = DEFAULT,
    length: int | None = None,
    stop: Sequence[str] = (),
    before: Sequence[int] = (),
) -> Iterator[str]:
    """Continue one lane's manuscript as text; the state advances with what is written.

    Characters are yielded as soon as they are certain: a character whose bytes are spread over
    tokens comes as a whole, and what may be the beginning of a stop string waits. Bytes that are
    no character come as U+FFFD once a whole character follows; those at the very end are left out.

    Args:
        model, logits, n_token, config, length: as in `sample`.
        tokenizer: the model's; its special tokens are not drawn.
        state: of one lane. It has read every token drawn, those of the stop string included.
        stop: writing ends before any of these strings first stands in what is written.
        before: ids of the text so far: the repetition penalty looks back on them, and they tell
            whether the first word begins with a space.

    Returns:
        An iterator over texts, none empty.

    Raises:
        ValueError: as `sample`; a state of several lanes; an empty stop string.
        TypeError: `stop` is one string instead of a sequence of them.
    """
    if state.n_lane != 1:
        raise ValueError(
            f"write_text writes one lane, the state has {state.n_lane}: state.select([lane])"
        )
    check_stop(stop)
    sampler = sample(
        model, state, logits, n_token,
        config=config, length=length, before=[before], never=tokenizer.special_ids,
    )  # fmt: skip
    written = until_stop(pieces(map(int, sampler), tokenizer, before), stop)
    return (piece.text for piece in written if piece.text)


def check_stop(stop: Sequence[str]) -> None:
    """Stop strings are a sequence of strings, none empty, else a TypeError or ValueError."""
    if isinstance(stop, str):
        raise TypeError(f"stop must be a sequence of strings, got the string {stop!r}: [{stop!r}]")
    if "" in stop:
        raise ValueError("stop must not hold an empty string: it would end the text at once")


def pieces(ids: Iterable[int], tokenizer: Tokenizer, before: Sequence[int] = ()) -> Iterator[Piece]:
    """Decode tokens as they come, a few at a time, so that the joined text is that of all of them.

    Tokens are decoded together with some before them: alone, many tokenizers drop a token's
    leading space. Tokens that end within a character wait for the rest of it; those that never
    get it are not yielded.
    """
    run = _context(before, tokenizer)  # decoded anew at each token
    n_told = len(tokenizer.decode(run))  # of the run's characters, those yielded already
    start = len(run)  # in the run, after the last whole character
    waiting: list[int] = []
    for each in ids:
        run.append(each)
        waiting.append(each)
        text = tokenizer.decode(run)
        certain = text.rstrip(BROKEN)
        is_whole = certain == text
        if is_whole or len(certain) > n_told:
            yield Piece(waiting, certain[n_told:])
            waiting, n_told = [], max(n_told, len(certain))
        if is_whole:
            rest = tokenizer.decode(run[start:])
            if rest.strip():  # of white space alone, the next call could drop more or less
                run, n_told = run[start:], len(rest)
            start = len(run)


def until_words(written: Iterable[Piece], n_word: int) -> Iterator[Piece]:
    """Pass pieces on, up to the first that would begin word n_word + 1."""
    n, is_within = 0, False
    for piece in written:
        for character in piece.text:
            is_start = not is_within and not character.isspace()
            n, is_within = n + is_start, not character.isspace()
        if n > n_word:
            return
        yield piece


def until_stop(written: Iterable[Piece], stop: Sequence[str]) -> Iterator[Piece]:
    """Pass text on, up to the first stop string; what may yet become one waits.

    A token belongs to what is passed on once a character of it is.
    """
    text = ""  # not passed on yet
    queue: list[tuple[int, list[int]]] = []  # where in it tokens begin; below 0: before it

    def take(end: int) -> Piece:
        nonlocal text, queue
        ids = [each for begin, group in queue if begin < end for each in group]
        queue = [(begin - end, group) for begin, group in queue if begin >= end]
        told, text = text[:end], text[end:]
        return Piece(ids, told)

    for piece in written:
        queue.append((len(text), piece.ids))
        text += piece.text
        found = [at for each in stop if (at := text.find(each)) >= 0]
        yield take(min(found) if found else len(text) - _n_begun(text, stop))
        if found:
            return
    rest = take(len(text))
    yield Piece(rest.ids + [each for _, group in queue for each in group], rest.text)


def _n_begun(text: str, stop: Sequence[str]) -> int:
    """Characters at the end of a text that may be the beginning of a stop string."""
    lengths = (n for each in stop for n in range(1, len(each)) if text.endswith(each[:n]))
    return max(lengths, default=0)


def _context(before: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """The last few tokens, as many as it takes to have more than white space."""
    for n in (8, 64, 512):
        context = list(before[-n:])
        if tokenizer.decode(context).strip():
            return context
    return list(before)
