"""A passage of a book, token by token, with the places that each token retrieved."""

import bisect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memformer.evaluation import store
from memformer.evaluation.encoded import EncodedManuscript
from memformer.evaluation.outcome import Outcome
from memformer.evaluation.retrievals import Retrievals, layer_groups

N_SHOWN = 2
"""Retrieved tokens shown per token and group of layers."""

AROUND = 9
"""Tokens of context on either side of a retrieved one, in the list."""

PLACE = 28
"""Tokens of context on either side, in the book's excerpts."""


@dataclass(frozen=True)
class Passage:
    """What the page needs of one book's passage.

    Attributes:
        tokens: each token's text, gain and retrievals, as JSON holds them.
        places: excerpts of the book, in its order, that hold all retrieved tokens shown.
        start: first token.
        chapters: (token at which it begins, heading).
        layer_groups: what the groups of memory layers are called.
        mean_gain: nats per token, over the passage.
        n_recorded: stretches that the passage was chosen from.
    """

    book: EncodedManuscript
    tokens: list[dict[str, Any]]
    places: list[dict[str, Any]]
    start: int
    chapters: list[tuple[int, str]]
    layer_groups: list[str]
    mean_gain: float
    n_recorded: int


def choose_passage(folder: Path, outcome: Outcome, book_id: str) -> Passage | None:
    """The recorded stretch in which memory gained most; None if nothing was recorded.

    It is chosen for showing retrieval at work, so its gain is no estimate of anything.
    """
    if outcome.lead is None:
        return None
    book = store.load_book(folder, book_id)
    lead = store.load_reading(store.reading_path(folder, book_id, outcome.lead)).reading
    base = store.load_reading(store.reading_path(folder, book_id, outcome.baseline)).reading
    if lead.retrieved is None:
        return None
    gain, found = base.nats - lead.nats, lead.retrieved
    breaks = np.flatnonzero(np.diff(found.query) != 1) + 1
    stretches = np.split(np.arange(len(found.query)), breaks)
    gains = [float(gain[found.query[rows]].mean()) for rows in stretches]
    best = stretches[int(np.argmax(gains))]
    starts = book.spans[:, 0].tolist()
    chapters = [(bisect.bisect_left(starts, at), name) for at, name in book.chapters]
    places = _places(_kept(found, best), len(book))
    return Passage(
        book=book,
        tokens=[_token(book, lead.nats, base.nats, found, row, places, chapters) for row in best],
        places=[_place(book, span, hits, chapters) for span, hits in places],
        start=int(found.query[best[0]]) + 1,
        chapters=chapters,
        layer_groups=[
            _layers(found.layers[group].tolist()) for group in layer_groups(len(found.layers))
        ],
        mean_gain=max(gains),
        n_recorded=len(stretches),
    )


Places = list[tuple[range, list[int]]]


def _kept(retrieved: Retrievals, rows: NDArray[Any]) -> list[int]:
    found = retrieved.found[rows, :, :N_SHOWN]
    return sorted({int(token) for token in found.flatten() if token >= 0})


def _places(tokens: list[int], n: int) -> Places:
    """Excerpts around retrieved tokens, merged where they touch."""
    places: Places = []
    for token in tokens:
        span = range(max(0, token - PLACE), min(n, token + PLACE + 1))
        if places and span.start <= places[-1][0].stop:
            last, hits = places[-1]
            places[-1] = (range(last.start, span.stop), [*hits, token])
        else:
            places.append((span, [token]))
    return places


def _token(
    book: EncodedManuscript,
    nats: NDArray[np.float32],
    base: NDArray[np.float32],
    retrieved: Retrievals,
    row: int,
    places: Places,
    chapters: list[tuple[int, str]],
) -> dict[str, Any]:
    query = int(retrieved.query[row])
    starts = [span.start for span, _ in places]
    found = []
    for group, kept in enumerate(retrieved.found[row]):
        for i, past in enumerate(kept[:N_SHOWN].tolist()):
            if past < 0:
                break
            at = row, group, i
            found.append(
                {
                    "token": past,
                    "before": _text(book, past - AROUND, past),
                    "text": _text(book, past, past + 1),
                    "after": _text(book, past + 1, past + 1 + AROUND),
                    "distance": query - past,
                    "group": group,
                    "share": round(100 * float(retrieved.share[at]), 2),
                    "layer": int(retrieved.layer[at]),
                    "head": int(retrieved.head[at]),
                    "weight": round(float(retrieved.weight[at]), 3),
                    "place": bisect.bisect_right(starts, past) - 1,
                    "chapter": _chapter(chapters, past),
                }
            )
    return {
        "at": query + 1,
        "text": _text(book, query + 1, query + 2),
        "read": _text(book, query, query + 1),
        "nats": round(float(nats[query]), 3),
        "gain": round(float(base[query] - nats[query]), 3),
        "mass": round(100 * float(retrieved.mass[row]), 1),
        "found": found,
    }


def _place(
    book: EncodedManuscript, span: range, hits: list[int], chapters: list[tuple[int, str]]
) -> dict[str, Any]:
    pieces, at = [], span.start
    for hit in hits:
        pieces += [(_text(book, at, hit), False), (_text(book, hit, hit + 1), True)]
        at = hit + 1
    pieces.append((_text(book, at, span.stop), False))
    return {
        "pieces": [piece for piece in pieces if piece[0]],
        "chapter": _chapter(chapters, hits[0]),
        "token": hits[0],
        "into": round(100 * hits[0] / book.n_total, 1),
    }


def _layers(depths: list[int]) -> str:
    return f"layer {depths[0]}" if len(depths) == 1 else f"layers {depths[0]}–{depths[-1]}"


def _chapter(chapters: list[tuple[int, str]], token: int) -> str:
    i = bisect.bisect_right([start for start, _ in chapters], token) - 1
    return chapters[i][1] if i >= 0 else ""


def _text(book: EncodedManuscript, start: int, stop: int) -> str:
    """The text of tokens [start, stop), with what stands between a token and the one before."""
    start, stop = max(start, 0), min(stop, len(book))
    if start >= stop:
        return ""
    low = int(book.spans[start - 1, 1]) if start else 0
    return book.text[low : int(book.spans[stop - 1, 1])]
