"""Signs that a writer pleases its judge by other means than by writing well.

B texts, T tokens
"""

from collections import Counter
from collections.abc import Collection, Sequence
from math import exp, log
from typing import NamedTuple


class Audit(NamedTuple):
    """Of some texts. Compare with the same of texts before training: levels mean little."""

    length: float
    """Mean tokens of a text, up to its end."""
    distinct_2: float
    """Different pairs of neighbours, as a share of all, within a text (Li et al. 2016,
    arXiv:1510.03055)."""
    self_bleu: float
    """Mean BLEU-4 of a text against the others (Zhu et al. 2018, arXiv:1802.01886): 1 where all
    are alike."""
    repeated: float
    """Share of sentences (pieces between stops) that stand in the same text before."""
    names: float
    """Share of tokens that are names: falls where a writer avoids naming anybody."""


def audit(
    texts: Sequence[Sequence[int]],
    *,
    names: Collection[int],
    stop: int,
    end: int | None = None,
    n_bleu: int = 64,
) -> Audit:
    """Audit texts given as token ids.

    Args:
        texts: at least two, with at least two tokens each.
        names: ids of names of people.
        stop: id between sentences.
        end: id that ends a text; what follows it does not count.
        n_bleu: self-BLEU is taken of so many texts, the first ones.

    Raises:
        ValueError: fewer than two texts, or a text of fewer than two tokens.
    """
    cut = [_until(list(text), end) for text in texts]
    if len(cut) < 2 or any(len(text) < 2 for text in cut):
        raise ValueError(f"texts must be two or more of two tokens or more, got {len(cut)}")
    n = len(cut)
    return Audit(
        length=sum(map(len, cut)) / n,
        distinct_2=sum(len(set(_grams(t, 2))) / (len(t) - 1) for t in cut) / n,
        self_bleu=_self_bleu(cut[:n_bleu]),
        repeated=sum(_repeated(t, stop) for t in cut) / n,
        names=sum(sum(i in names for i in t) for t in cut) / sum(map(len, cut)),
    )


def _until(text: list[int], end: int | None) -> list[int]:
    return text[: text.index(end) + 1] if end is not None and end in text else text


def _grams(text: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def _repeated(text: list[int], stop: int) -> float:
    pieces: list[tuple[int, ...]] = []
    piece: list[int] = []
    for i in text:
        if i == stop:
            pieces.append(tuple(piece))
            piece = []
        else:
            piece.append(i)
    return 1 - len(set(pieces)) / len(pieces) if pieces else 0.0


def _self_bleu(texts: list[list[int]]) -> float:
    """Clipped precisions of 1 to 4 neighbours, geometric mean, against the most that any other
    text has; a precision of 0 counts as half a hit. All lengths are alike, or the brevity penalty
    of Papineni et al. 2002 takes the nearest."""
    counts = [[Counter(_grams(text, n)) for n in range(1, 5)] for text in texts]
    total = 0.0
    for i, text in enumerate(texts):
        logs = 0.0
        for n in range(4):
            mine = counts[i][n]
            most: Counter[tuple[int, ...]] = Counter()
            for j, other in enumerate(counts):
                if j != i:
                    most |= other[n] & mine
            hits = max(0.5, sum((mine & most).values()))
            logs += 0.25 * log(hits / max(1, sum(mine.values())))
        nearest = min((len(t) for j, t in enumerate(texts) if j != i),
                      key=lambda length: (abs(length - len(text)), length))  # fmt: skip
        brevity = 0.0 if len(text) >= nearest else 1 - nearest / len(text)
        total += exp(logs + brevity)
    return total / len(texts)
