"""Sixty-four words, the grammar that joins them, and a writer who knows only the word before.

V = 64 words, L tokens of a text, B texts
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.reward.relaxed import gumbel_rows

_BY_KIND = (
    "Ada Ben Cora Dirk Edna Finn Greta Hugo Iris Jonas Karin Leo",
    "loves fears follows loses finds hides remembers betrays paints forgives sells buries "
    "watches answers doubts saves",
    "letters houses rivers children gardens debts songs knives horses secrets ships winters "
    "mirrors wars bread doors",
    "slowly gladly alone again twice sadly quietly proudly late well badly often",
    "and but because until",
    ". ! ? ...",
)  # who, does, what, how, link, end
_KINDS = [words.split() for words in _BY_KIND]
WORDS = [word for words in _KINDS for word in words]
V = len(WORDS)
_FOLLOWS = {0: (1,), 1: (2,), 2: (3, 4, 5), 3: (4, 5), 4: (0,), 5: (0,)}
START = WORDS.index(".")
"""The word that stands, unwritten, before the first."""
_KIND = torch.tensor([k for k, words in enumerate(_KINDS) for _ in words])


def allowed() -> Tensor:
    """(V, V) bool: whether the second word may follow the first."""
    may = torch.zeros(len(_KINDS), len(_KINDS), dtype=torch.bool)
    for kind, after in _FOLLOWS.items():
        may[kind, list(after)] = True
    return may[_KIND][:, _KIND]


class Writer(NamedTuple):
    """p(word | word before): a policy over the world's texts."""

    logits: Tensor
    """(V, V) float64; what grammar forbids is never drawn, whatever stands here."""

    def log_probs(self) -> Tensor:
        """(V, V), rows sum to 1 in probability; -inf where grammar forbids."""
        return self.logits.masked_fill(~allowed(), -torch.inf).log_softmax(-1)


def ordinary_writer(generator: torch.Generator) -> Writer:
    """The writer before any training: logits of standard deviation 1/2."""
    return Writer(0.5 * torch.randn(V, V, generator=generator, dtype=torch.float64))


def write(writer: Writer, n_text: int, n_token: int, generator: torch.Generator) -> Tensor:
    """(n_text, n_token) int64: texts drawn word by word."""
    upto = writer.log_probs().detach().exp().cumsum(-1)  # (V, V)
    upto[:, -1] = 1 + 1e-9  # a sum just under 1 must not point past the last word
    words = torch.empty(n_text, n_token, dtype=torch.int64)
    before = torch.full((n_text,), START)
    draws = torch.rand(n_token, n_text, 1, generator=generator, dtype=torch.float64)
    for t in range(n_token):
        before = torch.searchsorted(upto[before], draws[t], right=True)[:, 0]
        words[:, t] = before
    return words


def log_prob(writer: Writer, texts: Tensor) -> Tensor:
    """(B,) log-probability of each text in nats, differentiable in the writer's logits."""
    before = torch.cat((torch.full_like(texts[:, :1], START), texts[:, :-1]), dim=1)
    return writer.log_probs()[before, texts].sum(-1)


def kl(writer: Writer, other: Writer, n_token: int) -> Tensor:
    """KL(writer || other) over texts of `n_token` words, exact: by how often each word is last.

    Returns:
        A scalar in nats, differentiable in both.
    """
    p = writer.log_probs().exp()
    # what is never drawn must not reach the gradient as inf - inf
    ours, theirs = (w.log_probs().masked_fill(~allowed(), 0.0) for w in (writer, other))
    each = (p * (ours - theirs)).sum(-1)  # (V,)
    at = torch.zeros(V, dtype=p.dtype)
    at[START] = 1
    total = torch.zeros((), dtype=p.dtype)
    for _ in range(n_token):
        total = total + at @ each
        at = at @ p
    return total


def write_relaxed(
    writer: Writer, n_text: int, n_token: int, temperature: float, generator: torch.Generator
) -> Tensor:
    """(n_text, n_token, V): one-hot rows drawn from the writer, whose gradient is that of the
    softmax with Gumbel noise (straight-through, Jang et al. 2017, arXiv:1611.01144, §2.2).
    """
    table = writer.log_probs()
    table = table.masked_fill(~allowed(), -1e9)  # -inf times a one-hot's 0 would be NaN
    row = torch.zeros(n_text, V, dtype=table.dtype)
    row[:, START] = 1
    uniform = torch.rand(n_token, n_text, V, generator=generator, dtype=table.dtype)
    noise = -(-uniform.clamp(1e-12, 1 - 1e-12).log()).log()
    rows = []
    for t in range(n_token):
        _, row = gumbel_rows(row @ table, noise[t], temperature, is_hard=True)
        rows.append(row)
    return torch.stack(rows, dim=1)


def told(text: Sequence[int]) -> str:
    """A text as it is read."""
    out = ""
    for i in text:
        word = WORDS[i]
        out += word if word in _KINDS[-1] or not out else f" {word}"
    return out


def counts(texts: Tensor) -> Tensor:
    """(B, 2, V) float64: how often each word occurs, and how much more in the later part.

    The second is the sum of the word's places, from -1 at the beginning to 1 at the end: 0 for a
    word spread evenly.

    Args:
        texts: (B, L) ids, or (B, L, V) rows that sum to 1, in which this is linear.

    Raises:
        ValueError: another shape, or an id outside [0, 64).
    """
    L = texts.shape[1] if texts.dim() > 1 else 0
    place = torch.stack((torch.ones(L), torch.linspace(-1, 1, L))).double()  # (2, L)
    if texts.dim() == 3 and texts.shape[-1] == V:
        return torch.einsum("pl,blv->bpv", place, texts.double())
    if texts.dim() != 2 or texts.is_floating_point():
        raise ValueError(
            f"texts must be (B, L) ids or (B, L, {V}) rows, got {tuple(texts.shape)} {texts.dtype}"
        )
    if texts.numel() and not 0 <= int(texts.min()) <= int(texts.max()) < V:
        raise ValueError(f"texts must hold ids in [0, {V}), got {int(texts.min())} to "
                         f"{int(texts.max())}")  # fmt: skip
    found = torch.zeros(2, len(texts), V, dtype=torch.float64)
    for kind in range(2):
        found[kind].scatter_add_(1, texts, place[kind].expand(len(texts), L))
    return found.transpose(0, 1).contiguous()
