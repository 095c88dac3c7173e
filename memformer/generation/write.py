"""Continuing a draft by so many words, as the command line does."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence

from memformer.config import SamplingConfig
from memformer.data.tokenizer import Tokenizer
from memformer.generation.best_of_n import best_of_n, mean_log_probability
from memformer.generation.draft import Draft
from memformer.generation.sample import DEFAULT, sample
from memformer.generation.text import Piece, check_stop, pieces, until_stop, until_words
from memformer.model.decoder import Decoder

MOST_TOKENS_A_WORD = 32
"""Where one continuation ends that does not get on with its words."""
log = logging.getLogger(__name__)


def write_words(
    model: Decoder,
    tokenizer: Tokenizer,
    draft: Draft,
    n_word: int,
    show: Callable[[str], object],
    *,
    config: SamplingConfig = DEFAULT,
    stop: Sequence[str] = (),
    n_branch: int = 1,
) -> list[int]:
    """Continue a draft by at most n_word words, without changing it.

    With one branch, text is shown as it is written. With more, that many continuations are written
    side by side, each cut to its words, and the one is shown whose mean log-probability under the
    model is highest; each is given as many tokens as its words need at the rate of the text so far,
    and half as many again.

    Args:
        model, config: as in `sample`.
        tokenizer: the model's; its special tokens are not drawn.
        draft: what to continue; `draft.read(model, ids)` with the result makes it part of it.
        n_word: words, as white space divides them.
        show: is given the text, piece by piece.
        stop: strings before which the text ends.
        n_branch: continuations to choose from.

    Returns:
        The ids of what was shown. A token of which only a part was shown, because a stop string
        begins in it, is the last of them.

    Raises:
        ValueError: n_word or n_branch below 1, an empty stop string, nothing read yet; as
            `best_of_n`.
        TypeError: `stop` is a string.
    """
    for name, value in (("n_word", n_word), ("n_branch", n_branch)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    check_stop(stop)
    logits = draft.next_logits()

    def cut(ids: Iterable[int]) -> Iterable[Piece]:
        return until_stop(until_words(pieces(ids, tokenizer, draft.ids), n_word), stop)

    if n_branch == 1:
        written = sample(
            model, draft.state.fork(1), logits, MOST_TOKENS_A_WORD * n_word,
            config=config, length=draft.length, before=[draft.ids], never=tokenizer.special_ids,
        )  # fmt: skip
        return _show(cut(map(int, written)), show)

    def score(ids: list[int]) -> float:
        kept = [each for piece in cut(ids) for each in piece.ids]
        if not kept:
            return -math.inf
        return mean_log_probability(model, draft.state, logits, kept, length=draft.length)

    log.info("writing %d continuations side by side", n_branch)
    best = best_of_n(
        model, draft.state, logits, n_branch, _n_token(tokenizer, draft, n_word), score,
        config=config, length=draft.length, before=draft.ids, never=tokenizer.special_ids,
    )  # fmt: skip
    scores = ", ".join(f"{each:.3f}" for each in best.scores)
    log.info("shown: the one of %.3f nats a token, of %s", best.score, scores)
    return _show(cut(best.tokens), show)


def _show(written: Iterable[Piece], show: Callable[[str], object]) -> list[int]:
    ids: list[int] = []
    for piece in written:
        ids += piece.ids
        if piece.text:
            show(piece.text)
    return ids


def _n_token(tokenizer: Tokenizer, draft: Draft, n_word: int) -> int:
    """Half as many again as n_word words take at the rate of the last thousand tokens."""
    last = draft.ids[-1000:]
    n_read = len(tokenizer.decode(last).split())
    rate = len(last) / n_read if n_read else 2.0  # a state saved without its ids
    return math.ceil(1.5 * rate * n_word) + 8
