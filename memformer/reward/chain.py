"""The chain: a novel, reviews of it, what raters make of these; with a gradient back to the novel.

    score(x) = E_{w ~ p(w | x)} [ score(w) ],    l_novel(x) = - score(x)

B novels, L tokens of each, m reviews of each, R tokens of a review, V words of reviews
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from memformer.config.chain import ChainConfig
from memformer.reward.amortised import AmortisedHead
from memformer.reward.estimators import score_function
from memformer.reward.interfaces import Raters, Reading, ReviewFeatures, ReviewWriter
from memformer.reward.relaxed import gate_gradient, gumbel, gumbel_rows, survival

Mode = Literal["amortised", "st_gumbel", "score_function"]

_NEVER = -1e9
"""Logit of the end where reviews have a fixed length."""


class TooManyUnscorable(ValueError):
    """More reviews could not be scored than a run should go on with."""


class Scored(NamedTuple):
    """Reviews that were written, and their scores."""

    ids: Tensor
    """(B, m, R) int64."""
    weight: Tensor
    """(B, m, R) in [0, 1]: how much each token counts, 0 from the end on."""
    score: Tensor
    """(B, m); NaN where unscorable."""
    is_scored: Tensor
    """(B, m) bool. An empty review, one that does not end in time and a NaN score are not."""
    log_prob: Tensor
    """(B, m): log p(review | novel), its end included."""


class ChainOut(NamedTuple):
    """What the chain says of B novels."""

    value: Tensor
    """(B,) without graph: the mean over scored reviews, or the amortised value; NaN without any."""
    surrogate: Tensor
    """Scalar, the mean value; its gradient is the mode's estimate of the gradient of E[score]."""
    reviews: Scored | None
    """None in the mode `amortised`, which writes none."""
    variance: Tensor
    """(B,) of single reviews' scores: the sample's, NaN with fewer than two, or the head's."""
    n_unscorable: int
    """Reviews (`amortised`: novels) left out of value, baselines and gradient."""


class Chain:
    """Reviewer, features and raters behind one call.

        out = chain.score(rows, state, mode="st_gumbel", n_reviews=4, generator=g)
        (-out.surrogate).backward()

    Args:
        writer: the reviewer.
        features: of its reviews.
        raters: scores of these.
        aggregate: the social choice that `raters.score` is asked for.
        head: for the mode `amortised`, from `distil`.
        config: how reviews are written and gradients go back.

    Raises:
        ValueError: a control variate without a head.
    """

    def __init__(
        self,
        writer: ReviewWriter,
        features: ReviewFeatures,
        raters: Raters,
        aggregate: Any = "mean",
        *,
        head: AmortisedHead | None = None,
        config: ChainConfig | None = None,
    ) -> None:
        self.writer, self.features, self.raters = writer, features, raters
        self.aggregate, self.head, self.config = aggregate, head, config or ChainConfig()
        if self.config.has_control and head is None:
            raise ValueError("has_control needs a head, see distil(); got head=None")

    def score(
        self,
        x: Tensor,
        state: Any,
        mode: Mode = "amortised",
        n_reviews: int = 4,
        generator: torch.Generator | None = None,
        *,
        mask: Tensor | None = None,
        log_prob: Tensor | None = None,
        n_sibling: int | None = None,
    ) -> ChainOut:
        """Score novels; see `ChainOut`.

        Where the gradient goes: to x, if it is rows that want one; or, with `log_prob`, to the
        generator that drew the ids x, by RLOO over sibling novels (modes `score_function`, and
        `amortised` with the value as score). With neither, the surrogate is a number.

        `score_function` on rows is unbiased for the gradient of the reviewer's own expectation; on
        `log_prob`, for the gradient over the generator as well. With `has_control` it is so only
        where all reviews are scored (`estimators.score_function`). `st_gumbel` and `amortised` are
        biased: see the certificate.

        Args:
            x: (B, L) ids, or (B, L, n) rows that sum to 1.
            state: the reviewer's, before x. How far back a gradient goes is the writer's to say.
            mode: see above.
            n_reviews: m, of each novel (not in `amortised`).
            generator: of the draws; torch's own if None.
            mask: (B, L) bool, False for padding.
            log_prob: (B,), or (B, L) to be summed: log-probabilities of the ids x under the
                generator, with their graph.
            n_sibling: novels drawn from one prefix, next to each other, that are each other's
                baseline; by default all B.

        Raises:
            ValueError: an unknown mode; `amortised` without head; too few reviews or siblings for a
                baseline; log_prob beside rows that want a gradient (it would count twice), with
                `st_gumbel`, or of another shape.
            FloatingPointError: the reviewer's logits are not finite.
            TooManyUnscorable: more than `max_unscorable` of the reviews.
        """
        log_prob = self._checked(x, mode, n_reviews, log_prob, n_sibling)
        is_relaxed = mode == "st_gumbel"
        with torch.set_grad_enabled(torch.is_grad_enabled() and log_prob is None):
            reading = self.writer.read(x, state, mask)
            if mode != "amortised":
                reviews = self.write_and_score(reading, n_reviews, generator, is_relaxed=is_relaxed)
        if mode == "amortised":
            return self._amortised(reading, log_prob, n_sibling)
        n = reviews.is_scored.sum(1)
        kept = reviews.score.where(reviews.is_scored, 0.0)
        mean = kept.sum(1) / n  # NaN where n is 0
        spread = (kept - mean[:, None]).where(reviews.is_scored, 0.0).square().sum(1)
        variance = (spread / (n - 1)).where(n > 1, torch.nan).detach()
        if log_prob is not None:
            surrogate = _over_siblings(mean, log_prob, n_sibling)
        elif is_relaxed:
            surrogate = mean[n > 0].mean()
        else:
            control = self._control(reading)
            surrogate = score_function(
                reviews.score, reviews.log_prob, reviews.is_scored, baseline=control
            )
        n_unscorable = int((~reviews.is_scored).sum())
        told = reviews._replace(score=reviews.score.detach(), log_prob=reviews.log_prob.detach())
        return ChainOut(mean.detach(), surrogate, told, variance, n_unscorable)

    def write_and_score(
        self, reading: Reading, m: int, generator: torch.Generator | None, *, is_relaxed: bool
    ) -> Scored:
        """Draw m reviews of each novel and score them; `score` is differentiable if relaxed,
        `log_prob` if not.

        Raises:
            FloatingPointError: the reviewer's logits are not finite.
            TooManyUnscorable: as in `score`.
        """
        B = len(reading.logits)
        ids, rows, log_prob, is_over, keep = self._write(reading, m, generator, is_relaxed)
        before_end = (ids != self.writer.end).long().cumprod(1)
        if self.config.ending == "fixed":
            before_end = torch.ones_like(before_end)
        weight = before_end.to(reading.logits.dtype)
        is_soft = is_relaxed and not self.config.is_hard
        if rows is not None and self.config.ending == "drawn":
            weight = survival(rows, self.writer.end)
        is_whole = is_over & (before_end.sum(1) > 0)
        if is_soft or self.config.ending == "fixed":
            is_whole = torch.ones_like(is_whole)
        if keep is not None:
            self._fill_keep(keep, before_end, is_soft)
        score, is_scored = self._score(ids if rows is None else rows, weight, is_whole)
        self._check_unscorable(~is_scored)
        shape = (B, m)
        return Scored(
            ids.view(B, m, -1), weight.detach().view(B, m, -1), score.view(shape),
            is_scored.view(shape), log_prob.view(shape),
        )  # fmt: skip

    def _write(
        self, reading: Reading, m: int, generator: torch.Generator | None, is_relaxed: bool
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor | None]:
        """Ids (Bm, R), rows (Bm, R, V) if relaxed, log p (Bm,), whether each ended, and (Bm, R)
        bool still to be filled in: which tokens a gradient passes."""
        config, end, R = self.config, self.writer.end, self.writer.max_len
        logits, state = reading.logits.repeat_interleave(m, 0), reading.state.fork(m)
        log_prob = logits.new_zeros(len(logits))
        is_over = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        keep = torch.ones(len(logits), R, dtype=torch.bool, device=logits.device)
        all_ids, all_rows = [], []
        for r in range(R):
            if not bool(logits.isfinite().all()):
                raise FloatingPointError(f"the reviewer's logits are not finite at token {r}")
            if config.ending == "fixed":
                logits = logits.index_fill(-1, torch.tensor([end], device=logits.device), _NEVER)
            said = logits.log_softmax(-1)
            noise = gumbel(tuple(said.shape), said, generator)
            token, row = gumbel_rows(said, noise, config.temperature, is_hard=config.is_hard)
            chosen = said.gather(-1, token[:, None])[:, 0]
            log_prob = log_prob + chosen.where(~is_over, 0.0)
            all_ids.append(token)
            is_over = is_over | (token == end)
            if is_relaxed:
                row = gate_gradient(row, keep[:, r], config.max_token_norm)
                all_rows.append(row)
            is_done = bool(is_over.all()) and (config.is_hard or not is_relaxed)
            if r == R - 1 or is_done:
                break
            logits, state = self.writer.write(row if is_relaxed else token, state)
        rows = torch.stack(all_rows, 1) if is_relaxed else None
        ids = torch.stack(all_ids, 1)
        return ids, rows, log_prob, is_over, keep[:, : ids.shape[1]] if is_relaxed else None

    def _fill_keep(self, keep: Tensor, before_end: Tensor, is_soft: bool) -> None:
        """Which tokens of each review are among its last `n_grad_token`, its end included."""
        if self.config.n_grad_token is None:
            return
        R = keep.shape[1]
        length = torch.full_like(before_end[:, 0], R)
        if not is_soft:
            length = (before_end.sum(1) + 1).clamp(max=R)
        place = torch.arange(R, device=keep.device)
        keep.copy_(place >= (length - self.config.n_grad_token)[:, None])

    def _score(self, review: Tensor, weight: Tensor, is_whole: Tensor) -> tuple[Tensor, Tensor]:
        """(Bm,) scores, NaN where there is none, and (Bm,) bool where there is one."""
        which = is_whole.nonzero()[:, 0]
        score = self._ask_raters(review[which], weight[which])
        is_finite = score.detach().isfinite()
        if not bool(is_finite.all()):  # again without them: 0 times a NaN's gradient is NaN
            which = which[is_finite]
            score = self._ask_raters(review[which], weight[which])
        is_scored = torch.zeros_like(is_whole).index_fill(0, which, True)
        return weight.new_full((len(weight),), torch.nan).index_put((which,), score), is_scored

    def _ask_raters(self, review: Tensor, weight: Tensor) -> Tensor:
        if not len(review):
            return weight.new_zeros(0)
        return self.raters.score(self.features(review, weight), self.aggregate).to(weight.dtype)

    def _amortised(
        self, reading: Reading, log_prob: Tensor | None, n_sibling: int | None
    ) -> ChainOut:
        assert self.head is not None
        value, variance = self.head(reading.hidden)
        is_scored = value.detach().isfinite()
        self._check_unscorable(~is_scored)
        if log_prob is None:
            surrogate = value[is_scored].mean()
        else:
            surrogate = _over_siblings(value, log_prob, n_sibling)
        n_unscorable = int((~is_scored).sum())
        return ChainOut(value.detach(), surrogate, None, variance.detach(), n_unscorable)

    def _control(self, reading: Reading) -> Tensor | None:
        if not self.config.has_control:
            return None
        assert self.head is not None
        with torch.no_grad():
            value: Tensor = self.head(reading.hidden)[0]
        return value[:, None]

    def _check_unscorable(self, is_out: Tensor) -> None:
        n = int(is_out.sum())
        if n > self.config.max_unscorable * is_out.numel():
            raise TooManyUnscorable(
                f"{n} of {is_out.numel()} could not be scored (empty, without end, or NaN), more "
                f"than max_unscorable={self.config.max_unscorable}: look at the reviews, or give "
                "the reviewer a longer max_len"
            )

    def _checked(
        self, x: Tensor, mode: Mode, m: int, log_prob: Tensor | None, n_sibling: int | None
    ) -> Tensor | None:
        if mode not in ("amortised", "st_gumbel", "score_function"):
            raise ValueError(f"mode must be amortised, st_gumbel or score_function, got {mode!r}")
        if mode == "amortised" and self.head is None:
            raise ValueError("mode amortised needs a head, see distil(); got head=None")
        if m < 1:
            raise ValueError(f"n_reviews must be at least 1, got {m}")
        wants = x.requires_grad and torch.is_grad_enabled()
        if mode == "score_function" and wants and m < 2 and not self.config.has_control:
            raise ValueError(f"score_function on rows needs 2 n_reviews, 4 are better; got {m}")
        if log_prob is None:
            return None
        if mode == "st_gumbel" or wants:
            raise ValueError(
                "log_prob is for ids in the modes score_function and amortised; got mode "
                f"{mode!r} and x that {'wants' if wants else 'wants no'} gradient: give rows or "
                "log_prob, not both"
            )
        if log_prob.shape not in (x.shape[:1], x.shape[:2]):
            raise ValueError(
                f"log_prob must be ({len(x)},) or ({len(x)}, {x.shape[1]}), got "
                f"{tuple(log_prob.shape)}"
            )
        g = len(x) if n_sibling is None else n_sibling
        if g < 2 or len(x) % g:
            raise ValueError(
                f"n_sibling must divide the {len(x)} novels and be at least 2 (4 are better), "
                f"got {g}"
            )
        return log_prob if log_prob.dim() == 1 else log_prob.sum(1)


def _over_siblings(value: Tensor, log_prob: Tensor, n_sibling: int | None) -> Tensor:
    g = len(value) if n_sibling is None else n_sibling
    value = value.detach().view(-1, g)
    return score_function(value, log_prob.view(-1, g), value.isfinite())
