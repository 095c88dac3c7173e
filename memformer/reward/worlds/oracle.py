"""The oracle world: so few texts and reviews that every expectation is a finite sum.

A generator writes texts of L symbols, a reviewer writes short reviews of them whose words depend on
text and words before, raters score the reviews; gold, KL, entropy, their gradients and the optimum
are exact.

N all texts, M all reviews, B lanes, L tokens, V symbols, R tokens of a review, W words
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config.oracle import OracleConfig
from memformer.reward.interfaces import Reading
from memformer.reward.relaxed import EmbeddingFeatures, gumbel, gumbel_rows
from memformer.reward.social_choice import aggregate as choose

_NEVER = -1e9


@dataclass(frozen=True)
class OracleState:
    """The reviewer's: what it remembers, (B, H), and words written so far."""

    hidden: Tensor
    n_written: int = 0

    def fork(self, n: int) -> "OracleState":
        """Every lane n times, lane-major."""
        return OracleState(self.hidden.repeat_interleave(n, 0), self.n_written)


class OracleReviewer:
    """p(review | text), implements `ReviewWriter`: a tanh network reads the text, a recurrent one
    writes. With drawn endings no review is empty and each ends in time.

    Args:
        config: sizes.
        generator: of its weights, which are not trained.
    """

    def __init__(self, config: OracleConfig, generator: torch.Generator) -> None:
        self.config = config
        self.vocab_size, self.end, self.max_len = config.n_word, config.n_word - 1, config.max_len
        L, V, H, W = config.n_token, config.n_symbol, config.n_hidden, config.n_word

        def normal(*shape: int, std: float) -> Tensor:
            return std * torch.randn(*shape, dtype=torch.float64, generator=generator)

        self.symbol = normal(L, V, H, std=1 / L**0.5)
        self.left, self.right = normal(V, H, std=1 / L**0.25), normal(V, H, std=1 / L**0.25)
        self.word = normal(W, H, std=1.0)
        self.recurrent = normal(H, H, std=0.7 / H**0.5)
        self.out = normal(H, W, std=2 / H**0.5)

    def new_state(self, n_lane: int) -> OracleState:
        """Before a text."""
        return OracleState(torch.zeros(n_lane, self.config.n_hidden, dtype=torch.float64))

    def read(self, x: Tensor, state: OracleState, mask: Tensor | None = None) -> Reading:
        """Read (B, L) ids or (B, L, V) rows.

        Raises:
            ValueError: another shape, or a mask: texts have one length.
        """
        L, V = self.config.n_token, self.config.n_symbol
        if x.shape[1:] not in ((L,), (L, V)) or mask is not None:
            raise ValueError(
                f"texts must be (B, {L}) ids or (B, {L}, {V}) rows without mask, got "
                f"{tuple(x.shape)}"
            )
        if x.dim() == 2:
            x = torch.nn.functional.one_hot(x, V)
        x = x.to(torch.float64)
        seen = torch.einsum("blv,lvh->bh", x, self.symbol)
        pairs = ((x[:, :-1] @ self.left) * (x[:, 1:] @ self.right)).sum(1)
        hidden = (state.hidden + seen + self.config.interaction * pairs).tanh()
        return Reading(self._logits(hidden, 0), hidden, OracleState(hidden))

    def write(self, token: Tensor, state: OracleState) -> tuple[Tensor, OracleState]:
        """Read (B,) ids or (B, W) rows of a review."""
        word = self.word[token] if token.dim() == 1 else token @ self.word
        hidden = (state.hidden @ self.recurrent + state.hidden * word).tanh()
        n = state.n_written + 1
        return self._logits(hidden, n), OracleState(hidden, n)

    def _logits(self, hidden: Tensor, n_written: int) -> Tensor:
        logits = hidden @ self.out
        if self.config.ending == "fixed":
            return logits
        place = torch.arange(self.vocab_size)
        if n_written == 0:
            return logits.masked_fill(place == self.end, _NEVER)
        is_last = n_written == self.max_len - 1
        return logits.masked_fill(place != self.end, _NEVER) if is_last else logits


class OracleRaters(torch.nn.Module):
    """Raters with a direction and a threshold each: tanh(steepness (w_r . features - t_r))."""

    direction: Tensor
    threshold: Tensor

    def __init__(self, config: OracleConfig, generator: torch.Generator) -> None:
        super().__init__()
        shape = (config.n_feature, config.n_rater)
        direction = torch.randn(shape, dtype=torch.float64, generator=generator)
        self.register_buffer("direction", direction / config.n_feature**0.5)
        threshold = torch.randn(config.n_rater, dtype=torch.float64, generator=generator)
        self.register_buffer("threshold", 0.3 * threshold)
        self.steepness = config.steepness

    def forward(self, features: Tensor) -> Tensor:
        """(m, d) -> (m, n_rater) in (-1, 1)."""
        return (self.steepness * (features @ self.direction - self.threshold)).tanh()

    def score(self, features: Tensor, aggregate: str | Tensor | None = None) -> Tensor:
        """(m, d) -> (m,); the mean rater by default."""
        population = torch.ones_like(self.threshold)
        return choose(self(features), population, aggregate or "mean")  # type: ignore[arg-type]


class Optimum(NamedTuple):
    """The best policy at a weight of KL."""

    prob: Tensor
    """(N,)."""
    kl: float
    gold: float


class OracleWorld:
    """Generator, reviewer and raters, and all that can be known of them.

    A generator is a tensor of logits, (L, V + 1, V): of each token given its place and the one
    before (V stands before the first); or (B, L, V + 1, V), one a lane, so that a lane has a
    gradient of its own.

    Args:
        config: sizes.
        seed: of all weights.
    """

    def __init__(self, config: OracleConfig, *, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        L, V, W = config.n_token, config.n_symbol, config.n_word
        self.config = config
        self.reference = torch.randn(L, V + 1, V, dtype=torch.float64, generator=generator)
        """Logits of pi0."""
        self.reviewer = OracleReviewer(config, generator)
        table = torch.randn(W, config.n_feature, dtype=torch.float64, generator=generator)
        self.features = EmbeddingFeatures(table)
        self.raters = OracleRaters(config, generator)
        self.texts = torch.cartesian_prod(*[torch.arange(V)] * L).view(-1, L)
        """(N, L), in lexicographic order."""
        self.reviews, self.weight = _all_reviews(config)
        """(M, R) ids, the end repeated, and (M, R) weights of their tokens."""
        self.review_score = self.raters.score(self.features(self.reviews, self.weight))
        """(M,)."""
        with torch.no_grad():
            parts = [self.value(part) for part in torch.split(self.texts, 1024)]
        self.gold = torch.cat(parts)
        """(N,): E[score | text]."""

    def review_log_prob(self, reading: Reading) -> Tensor:
        """log p(w | x) of every review, (B, M), by the reviewer's own `write`."""
        B, M = len(reading.logits), len(self.reviews)
        logits, state = reading.logits.repeat_interleave(M, 0), reading.state.fork(M)
        ids = self.reviews.repeat(B, 1)  # (B M, R)
        is_over = torch.zeros(B * M, dtype=torch.bool)
        total = logits.new_zeros(B * M)
        for r in range(ids.shape[1]):
            if self.config.ending == "fixed":
                logits = logits.index_fill(-1, torch.tensor([self.reviewer.end]), _NEVER)
            said = logits.log_softmax(-1).gather(-1, ids[:, r : r + 1])[:, 0]
            total = total + said.where(~is_over, 0.0)
            is_over = is_over | (ids[:, r] == self.reviewer.end)
            if r + 1 < ids.shape[1]:
                logits, state = self.reviewer.write(ids[:, r], state)
        return total.view(B, M)

    def value(self, x: Tensor) -> Tensor:
        """E[score] of (B, L) ids or (B, L, V) rows, exact: (B,), differentiable in rows."""
        reading = self.reviewer.read(x, self.reviewer.new_state(len(x)))
        return self.review_log_prob(reading).exp() @ self.review_score

    def log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        """log pi(x) of (B, L) ids: (B,)."""
        said = logits.log_softmax(-1)
        start = torch.full_like(x[:, :1], self.config.n_symbol)
        before = torch.cat((start, x[:, :-1]), 1)
        place = torch.arange(x.shape[1])
        if logits.dim() == 3:
            return said[place, before, x].sum(1)
        return said[torch.arange(len(x))[:, None], place, before, x].sum(1)

    def expectation(self, logits: Tensor) -> Tensor:
        """E_pi[gold], exact: its gradient is the one that estimators are held against."""
        return self.log_prob(logits, self.texts).exp() @ self.gold

    def kl(self, logits: Tensor) -> Tensor:
        """KL(pi | pi0) in nats a text, exact."""
        mine, theirs = (self.log_prob(each, self.texts) for each in (logits, self.reference))
        return (mine.exp() * (mine - theirs)).sum()

    def entropy(self, logits: Tensor) -> Tensor:
        """Of pi, in nats a text, exact."""
        mine = self.log_prob(logits, self.texts)
        return -(mine.exp() * mine).sum()

    def optimum(self, beta: float) -> Optimum:
        """pi* ~ pi0 exp(gold / beta), which maximises E[gold] - beta KL over all distributions.

        Raises:
            ValueError: beta is not above 0.
        """
        if not beta > 0:
            raise ValueError(f"beta must be above 0, got {beta}")
        prior = self.log_prob(self.reference, self.texts)
        log_p = (prior + self.gold / beta).log_softmax(0)
        p = log_p.exp()
        return Optimum(p, float((p * (log_p - prior)).sum()), float(p @ self.gold))

    def most_gold(self, kl: float) -> float:
        """The greatest E[gold] that any distribution within this KL of pi0 has."""
        low, high = 1e-6, 1e6  # beta: KL falls as it rises
        if self.optimum(low).kl <= kl:
            return float(self.gold.max())
        for _ in range(200):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.optimum(middle).kl > kl else (low, middle)
        return self.optimum(low).gold  # of the two, the one not below

    def draw(
        self, logits: Tensor, n: int, generator: torch.Generator, *,
        temperature: float = 1.0, is_hard: bool = True,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Draw n texts: ids (n, L), and rows (n, L, V) with a gradient to the logits, as
        `gumbel_rows` has it; the next token is drawn given the row before."""
        L, V = self.config.n_token, self.config.n_symbol
        before = torch.nn.functional.one_hot(torch.full((n,), V), V + 1).to(logits)
        all_ids, all_rows = [], []
        for t in range(L):
            if logits.dim() == 3:
                given = before @ logits[t]
            else:
                given = torch.einsum("bu,buv->bv", before, logits[:, t])
            noise = gumbel((n, V), logits, generator)
            ids, row = gumbel_rows(given.log_softmax(-1), noise, temperature, is_hard=is_hard)
            before = torch.nn.functional.pad(row, (0, 1))
            all_ids.append(ids)
            all_rows.append(row)
        return torch.stack(all_ids, 1), torch.stack(all_rows, 1)


def _all_reviews(config: OracleConfig) -> tuple[Tensor, Tensor]:
    end, R = config.n_word - 1, config.max_len
    lengths = [R] if config.ending == "fixed" else range(1, R)
    rows = []
    for n in lengths:
        words = torch.cartesian_prod(*[torch.arange(end)] * n).view(-1, n)
        rows.append(torch.nn.functional.pad(words, (0, R - n), value=end))
    ids = torch.cat(rows)
    return ids, (ids != end).double()
