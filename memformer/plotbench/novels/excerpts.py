"""Excerpts of novels whose place in the book is to be told, and what models say of them.

n excerpts, L tokens of each, D n_embd
"""

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from memformer.config.plotbench_novels import PlaceConfig
from memformer.data.manuscripts import Manuscript
from memformer.data.tokenizer import Tokenizer
from memformer.model.decoder import Decoder
from memformer.plotbench.statistics import Floats

_AT_ONCE = 2  # excerpts read side by side: their logits are large


class Excerpt(NamedTuple):
    """Some tokens from within a book."""

    book: str
    author: str
    n_chapter: int
    """Chapters of the book."""
    u: float
    """Fraction of the book's tokens at the excerpt's middle."""
    ids: tuple[int, ...]
    text: str


def excerpts(
    manuscripts: Iterable[Manuscript], tokenizer: Tokenizer, config: PlaceConfig
) -> list[Excerpt]:
    """One excerpt from a place drawn in each of `n_excerpt` equal parts of each book.

    Raises:
        ValueError: a book with fewer tokens than its excerpts, or without an author.
    """
    found = []
    for manuscript in manuscripts:
        if manuscript.author is None:
            raise ValueError(f"{manuscript.id} has no author: books are split by author")
        ids, spans = tokenizer.encode(manuscript.text)
        part = (len(ids) - config.n_token) / config.n_excerpt
        if part < 1:
            raise ValueError(
                f"{manuscript.id} has {len(ids)} tokens: too few for {config.n_excerpt} excerpts "
                f"of {config.n_token}"
            )
        rng = random.Random(f"{config.seed}.{manuscript.id}")
        for i in range(config.n_excerpt):
            start = int((i + rng.random()) * part)
            stop = start + config.n_token
            found.append(
                Excerpt(
                    book=manuscript.id,
                    author=manuscript.author,
                    n_chapter=len(manuscript.chapters),
                    u=(start + stop) / 2 / len(ids),
                    ids=tuple(ids[start:stop]),
                    text=manuscript.text[spans[start][0] : spans[stop - 1][1]],
                )
            )
    return found


def mean_hidden(model: Decoder, found: Sequence[Excerpt]) -> Floats:
    """(n, D) float64: mean over tokens of the last layer's normed states, each excerpt read alone.

    A model that takes the fraction is not told it.
    """
    rows = []
    for tokens in _batches(model, found):
        with torch.inference_mode():
            out = model(
                tokens, model.new_state(batch_size=len(tokens)), want_hidden=True, n_logits=0
            )
        rows.append(out.hidden.mean(1).double().cpu().numpy())
    return np.concatenate(rows)


def likeliest_fraction(model: Decoder, found: Sequence[Excerpt], n_point: int) -> Floats:
    """(n,) the fraction, of `n_point` from 0 to 1, under which each excerpt is likeliest.

    All tokens of an excerpt are told the same fraction; ties go to the smaller one.

    Raises:
        ValueError: the model takes no fraction.
    """
    if model.config.fraction.kind == "none":
        raise ValueError(
            "model: its fraction.kind is 'none', so log p(excerpt | u) is the same for all u"
        )
    points = torch.linspace(0, 1, n_point)
    chosen = []
    for tokens in _batches(model, found):
        scores = torch.stack([_logprob(model, tokens, float(u)) for u in points])  # (points, B)
        chosen.append(points[scores.argmax(0).cpu()].double().numpy())
    return np.concatenate(chosen)


def _logprob(model: Decoder, tokens: Tensor, u: float) -> Tensor:
    """(B,) nats of all tokens but the first."""
    told = torch.full(tokens.shape, u, device=tokens.device)
    with torch.inference_mode():
        out = model(tokens, model.new_state(batch_size=len(tokens)), fraction=told)
    logits: Tensor = out.logits[:, :-1].float().log_softmax(-1)
    return logits.gather(-1, tokens[:, 1:, None])[..., 0].double().sum(1)


def _batches(model: Decoder, found: Sequence[Excerpt]) -> Iterable[Tensor]:
    device = next(model.parameters()).device
    for begin in range(0, len(found), _AT_ONCE):
        part = found[begin : begin + _AT_ONCE]
        yield torch.tensor([each.ids for each in part], dtype=torch.int64, device=device)
