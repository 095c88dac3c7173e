"""What a model is told of where in the story it stands: a fraction, true or not, or headings."""

import re
from bisect import bisect_left, bisect_right
from itertools import accumulate

import torch
from torch import Tensor

from memformer.plotbench.scorers import FractionTold
from memformer.plotbench.story import Span

N_PART = 20
"""Parts that headings count."""
_STRETCH, _LEAST_STRETCHES = 256, 8


def fraction_at(told: FractionTold, at: Tensor, n_total: int, length_factor: float) -> Tensor:
    """Fraction of the story of tokens at places `at`, in float32, clipped to 1.

    `true`: u = (t + 0.5) / T. `estimated`: T is taken `length_factor` times as long. `unknown`:
    NaN. `shuffled`: stretches of 256 tokens have traded their fractions, none keeps its own; alike
    for all stories of one length, so for twins. Tokens past the end count as the last one there.

    Args:
        told: one of these.
        at: int64, any shape.
        n_total: tokens of the story, `T`.

    Raises:
        ValueError: `header`, which is text.
    """
    match told:
        case "true":
            u = (at.double() + 0.5) / n_total
        case "estimated":
            u = (at.double() + 0.5) / (n_total * length_factor)
        case "unknown":
            return torch.full(at.shape, torch.nan)
        case "shuffled":
            u = (_traded(n_total)[at.clamp(max=n_total - 1)].double() + 0.5) / n_total
        case "header":
            raise ValueError("fraction: 'header' is given as text, not as a number")
    return u.clamp(max=1).float()


def _traded(n_total: int) -> Tensor:
    """(T,) places after all stretches have traded theirs in one round."""
    n = min(n_total, max(_LEAST_STRETCHES, n_total // _STRETCH))
    edges = [i * n_total // n for i in range(n + 1)]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(n_total)).tolist()
    after = dict(zip(order, [*order[1:], order[0]], strict=True))
    return torch.cat([torch.arange(edges[after[i]], edges[after[i] + 1]) for i in range(n)])


class Told:
    """A story as a model is given it, and the way between both texts' offsets.

    With `header`, a line like `[Part 3 of 20]` stands before the first paragraph of each twentieth.
    """

    def __init__(self, text: str, fraction: FractionTold) -> None:
        self.fraction = fraction
        breaks = [0, *(each.end() for each in re.finditer(r"\n\n", text))]
        self._at: list[int] = []
        lines: list[str] = []
        if fraction == "header":
            for i in range(N_PART):
                place = bisect_left(breaks, i * len(text) / N_PART)
                if place < len(breaks) and breaks[place] not in self._at:
                    self._at.append(breaks[place])
                    lines.append(f"[Part {i + 1} of {N_PART}]\n\n")
        edges = [0, *self._at, len(text)]
        parts = [text[a:b] for a, b in zip(edges, edges[1:], strict=False)]
        self.text = parts[0] + "".join(a + b for a, b in zip(lines, parts[1:], strict=True))
        self._grown = [0, *accumulate(len(line) for line in lines)]
        self._ends = [at + n for at, n in zip(self._at, self._grown[1:], strict=True)]

    def there(self, char: int) -> int:
        """The offset in the model's text; at a heading, the one before it."""
        return char + self._grown[bisect_left(self._at, char)]

    def back(self, span: Span) -> Span | None:
        """A span of the model's text in the story; None for one that lies in a heading."""
        start, stop = span
        i = bisect_right(self._ends, start)
        if i < len(self._at) and start >= self._at[i] + self._grown[i]:
            return None
        return start - self._grown[i], stop - self._grown[i]
