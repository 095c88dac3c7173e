"""A reviewer: a decoder that has read a novel into its memory writes reviews of it.

B lanes, L tokens of a novel, R of a review, V vocabulary, m reviews of each novel
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from memformer.generation.draw import invert, uniform
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState
from memformer.reward.interfaces import Reading
from memformer.reward.review_checks import check_reach, checked_novel, checked_review
from memformer.reward.review_set import Reviews
from memformer.reward.review_text import ReviewVocabulary, one_hot_rows

_FORBIDDEN = -1e9
"""Logit of a token that no review contains: its probability is exactly 0, and with -inf an entropy
or an expectation would be NaN."""


class Reviewer:
    """p(review | novel): reads a novel once, then writes and scores any number of reviews of it.

        state = reviewer.read_novel(ids, reviewer.new_state(1))
        reviews = reviewer.draw(reviewer.ask(state), 4, seeds=[0])

    Implements `ReviewWriter`. No call changes a state that it is given. The sequence is `<novel>`,
    the novel, `<group>`, `<delay>`, `<review>`, the review, `<eor>`; tokens after the novel keep
    the fraction u of its last one.

    A gradient reaches the tokens of a novel that are still in the state's graph. `reach(L)` says
    the `grad_segments` that a state needs for all of L tokens; with fewer, relaxed tokens that want
    a gradient are refused, unless `is_partial`.

    Args:
        model: a decoder with rows for the vocabulary's special tokens (`with_review_tokens`).
        vocabulary: ids of text and special tokens.
        max_len: longest review in tokens, its end included.
        group, delay: of the reader that is asked, in `ask` and `read`; None for unknown.
        is_partial: let a gradient end where the state's graph ends.

    Raises:
        ValueError: model and vocabulary have different sizes, the window is 1, max_len below 2.
    """

    def __init__(
        self,
        model: Decoder,
        vocabulary: ReviewVocabulary,
        *,
        max_len: int,
        group: str | None = None,
        delay: float | None = None,
        is_partial: bool = False,
    ) -> None:
        if model.config.vocab_size != vocabulary.vocab_size:
            raise ValueError(
                f"the decoder has {model.config.vocab_size} ids, the vocabulary "
                f"{vocabulary.vocab_size}: give it rows for the special tokens with "
                "with_review_tokens(model, vocabulary)"
            )
        if model.config.window < 2:
            raise ValueError(
                "a reviewer needs window of at least 2, from which it knows the novel's last u, "
                f"got {model.config.window}"
            )
        if max_len < 2:
            raise ValueError(f"max_len must be at least 2 (a word and the end), got {max_len}")
        self.model, self.vocabulary = model, vocabulary
        self.vocab_size, self.end, self.max_len = vocabulary.vocab_size, vocabulary.end, max_len
        self.group, self.delay, self.is_partial = group, delay, is_partial
        self._asked = (vocabulary.group_id(group), vocabulary.delay_id(delay))
        self._never = torch.tensor(vocabulary.never())

    def new_state(self, n_lane: int, *, n_token: int | None = None) -> DecoderState:
        """The state before n_lane novels.

        Args:
            n_token: length of the relaxed tokens that a gradient should reach; None for none.
        """
        grad_segments = 1 if n_token is None else self.reach(n_token)
        return self.model.new_state(n_lane, grad_segments=grad_segments)

    def reach(self, n_token: int) -> int:
        """`grad_segments` with which the gradient of a whole review, written token by token,
        reaches the last n_token tokens of a novel."""
        n_novel = math.ceil((n_token + 1) / self.model.config.segment_len)  # with <novel>
        return n_novel + self.max_len  # <review>, max_len - 1 written tokens

    def read_novel(
        self,
        x: Tensor,
        state: DecoderState,
        mask: Tensor | None = None,
        *,
        length: Sequence[int] | None = None,
    ) -> DecoderState:
        """Read a novel, or the next part of one, into a copy of a state.

        Where nothing was read yet, `<novel>` goes before. With L = 0 nothing follows it: the state
        for reviews without a novel.

        Args:
            x: (B, L) ids of text, or (B, L, n) float rows that sum to 1, n the ids of the text or
                the whole vocabulary.
            state: of this reviewer.
            mask: (B, L) bool, False for padding at the end of a lane's row.
            length: of each whole novel in tokens, of which u is a share; None says that it ends
                with x.

        Raises:
            ValueError: a state of another decoder; of some lanes only that have read nothing; ids
                that are no text, or rows over another vocabulary (another tokenizer?); rows that
                are not finite or do not sum to 1; a gradient that the state cannot carry.
        """
        return self._read(x, state, mask, length, want_nats=False)[0]

    def read_novel_with_nats(
        self,
        x: Tensor,
        state: DecoderState,
        mask: Tensor | None = None,
        *,
        length: Sequence[int] | None = None,
    ) -> tuple[DecoderState, Tensor]:
        """`read_novel` of ids from the beginning, and the loss of each token: (B, L) nats, 0 for
        padding."""
        if x.dim() != 2 or any(state.n_read):
            raise ValueError(
                "read_novel_with_nats reads ids from a novel's beginning, got "
                f"{tuple(x.shape)} tokens after {state.n_read}"
            )
        state, logits = self._read(x, state, mask, length, want_nats=True)
        nats = (
            -torch.cat(logits, 1)[:, :-1].float().log_softmax(-1).gather(-1, x[..., None])[..., 0]
        )
        return state, nats if mask is None else nats.where(mask, 0.0)

    def ask(
        self, state: DecoderState, groups: Tensor | None = None, delays: Tensor | None = None
    ) -> Reading:
        """Ask for a review: reads `<group>`, `<delay>`, `<review>` into a copy of a state.

        Args:
            state: after the novel.
            groups, delays: (B,) their tokens (`ReviewVocabulary.group_id`, `delay_id`); the
                reviewer's own if None.

        Returns:
            logits (B, V) of the review's first token, hidden (B, n_embd) at `<review>`, the state.
        """
        B, device = state.n_lane, self.model.embedding.weight.device
        if not all(state.n_read):
            raise ValueError("ask: nothing was read yet; read the novel first, or one of 0 tokens")
        mine = torch.tensor(self._asked, device=device).expand(B, 2).unbind(1)
        columns = [mine[0] if groups is None else groups, mine[1] if delays is None else delays]
        columns.append(torch.full((B,), self.vocabulary.review, device=device))
        state = state.fork(1)
        out = self.model(
            torch.stack(columns, 1), state, fraction=self._last_fraction(state, 3),
            want_hidden=True, n_logits=1,
        )  # fmt: skip
        state.advance(out)
        assert out.hidden is not None
        return Reading(self._allowed(out.logits[:, -1]), out.hidden[:, -1], state)

    def read(self, x: Tensor, state: DecoderState, mask: Tensor | None = None) -> Reading:
        """`read_novel` and `ask`."""
        return self.ask(self.read_novel(x, state, mask))

    def write(self, token: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Read a token of a review, (B,) ids or (B, V) rows; a given state is not changed.

        Returns:
            (B, V) logits of the next token, and the state after this one.

        Raises:
            ValueError: a token that no review contains.
        """
        x = checked_review(token[:, None], self._never, self.vocab_size)
        state = state.fork(1)
        out = self.model(x, state, fraction=self._last_fraction(state, 1))
        state.advance(out)
        return self._allowed(out.logits[:, -1]), state

    def logits_of(self, reading: Reading, review: Tensor) -> Tensor:
        """Logits of every token of a given review, (B, R, V), in one pass; what `write` gives
        token by token.

        Args:
            reading: from `ask` or `read`, a lane a review.
            review: (B, R) ids or (B, R, V) rows; what stands after its end changes nothing before.
        """
        return self._written(reading, checked_review(review, self._never, self.vocab_size)[:, :-1])[
            0
        ]

    def read_written(self, reading: Reading, review: Tensor) -> tuple[Tensor, Tensor]:
        """As `logits_of`, and the hidden state (B, R, n_embd) at each token of the review."""
        logits, hidden = self._written(
            reading, checked_review(review, self._never, self.vocab_size)
        )
        return logits[:, :-1], hidden

    def nats(self, reading: Reading, review: Tensor) -> Tensor:
        """-log p of each token of a review, (B, R) float32; of rows, the expectation over them."""
        said = self.logits_of(reading, review).float().log_softmax(-1)  # (B, R, V)
        if review.dim() == 3:
            return -(review * said).sum(-1)
        return -said.gather(-1, review[..., None])[..., 0]

    @torch.no_grad()
    def draw(
        self, reading: Reading, m: int, seeds: Sequence[int], *, temperature: float = 1.0
    ) -> Reviews:
        """Draw m reviews of each novel, side by side on forks of its state, which is not changed.

        Review j of a lane depends on the lane's seed, its state and j alone: lanes together draw
        what each would draw alone (but for rounding), and more reviews do not change the first.

        Args:
            reading: of B lanes.
            m: reviews of each.
            seeds: one a lane.
            temperature: of the logits.

        Returns:
            B * m reviews, lane-major.

        Raises:
            ValueError: m below 1, another number of seeds, a temperature not above 0, NaN logits.
        """
        B = len(reading.logits)
        if m < 1 or len(seeds) != B or not temperature > 0:
            raise ValueError(
                f"draw needs m >= 1, one seed for each of {B} lanes and a temperature above 0, got "
                f"m={m}, {len(seeds)} seeds, temperature={temperature}"
            )
        state, logits = reading.state.fork(m), reading.logits.repeat_interleave(m, 0)
        places = [(seed, j) for seed in seeds for j in range(m)]
        is_over = torch.zeros(B * m, dtype=torch.bool, device=logits.device)
        ids, mask = [], []
        for r in range(self.max_len):
            if not bool(logits.isfinite().all()):
                lane = int((~logits.isfinite()).any(1).nonzero()[0])
                raise ValueError(f"draw: logits of token {r} are not finite in review {lane}")
            p = (logits.double() / temperature).softmax(-1)
            token = invert(p, [uniform(seed, j, r) for seed, j in places])
            token = token.masked_fill(is_over, self.end)
            ids.append(token)
            mask.append(~is_over)
            is_over = is_over | (token == self.end)
            if bool(is_over.all()) or r == self.max_len - 1:
                break
            out = self.model(token[:, None], state, fraction=self._last_fraction(state, 1))
            state.advance(out)
            logits = self._allowed(out.logits[:, -1])
        return Reviews(torch.stack(ids, 1), torch.stack(mask, 1), is_over)

    def _written(self, reading: Reading, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the tokens at and after each of x, (B, R + 1, V), and hidden (B, R, n_embd)."""
        first, R = reading.logits[:, None], x.shape[1]
        if not R:
            return first, reading.hidden[:, None][:, :0]
        u = self._last_fraction(reading.state, R)
        out = self.model(x, reading.state, fraction=u, want_hidden=True)
        assert out.hidden is not None
        return torch.cat((first, self._allowed(out.logits)), 1), out.hidden

    def _read(
        self, x: Tensor, state: DecoderState, mask: Tensor | None, length: Sequence[int] | None,
        *, want_nats: bool,
    ) -> tuple[DecoderState, list[Tensor]]:  # fmt: skip
        x = checked_novel(x, state, self.model, self.vocabulary)
        B, L = x.shape[:2]
        mask = torch.ones(B, L, dtype=torch.bool, device=x.device) if mask is None else mask
        begins = [n == 0 for n in state.n_read]
        if len(begins) != B or any(begins) != all(begins):
            raise ValueError(
                f"{B} novels must begin together or go on together, one a lane; the state has "
                f"read {state.n_read} tokens"
            )
        u = self._fraction(state, mask, length)
        if all(begins):
            mark = torch.full((B, 1), self.vocabulary.novel, device=x.device)
            x = torch.cat((mark if x.dim() == 2 else one_hot_rows(mark, self.vocab_size, x), x), 1)
            mask = torch.nn.functional.pad(mask, (1, 0), value=True)
            u = torch.nn.functional.pad(u, (1, 0), value=0.0)
        if x.requires_grad and torch.is_grad_enabled() and not self.is_partial:
            check_reach(x.shape[1], state, self.reach(x.shape[1] - 1))
        state, logits = state.fork(1), []
        for start in range(0, x.shape[1], self.model.config.segment_len):
            part = slice(start, start + self.model.config.segment_len)
            out = self.model(
                x[:, part], state, fraction=u[:, part], mask=mask[:, part],
                n_logits=None if want_nats else 0,
            )  # fmt: skip
            state.advance(out)
            logits.append(out.logits)
        return state, logits

    def _fraction(self, state: DecoderState, mask: Tensor, length: Sequence[int] | None) -> Tensor:
        """(B, L): u = (t + 0.5) / T, counted without `<novel>`."""
        done = (torch.tensor(state.n_read, device=mask.device) - 1).clamp(min=0)  # (B,)
        whole = done + mask.sum(1) if length is None else torch.tensor(length, device=mask.device)
        if whole.shape != done.shape or (length is not None and int(whole.min()) < 1):
            raise ValueError(
                f"length must be one number of at least 1 for each of {len(done)} lanes, "
                f"got {length}"
            )
        t = done[:, None] + torch.arange(mask.shape[1], device=mask.device)
        return ((t.double() + 0.5) / whole.clamp(min=1)[:, None]).clamp(max=1).float()

    def _last_fraction(self, state: DecoderState, n: int) -> Tensor:
        """(B, n): the u of the last token read, for tokens that are not the novel's."""
        return state.layers[0].fraction[:, -1:].expand(-1, n)

    def _allowed(self, logits: Tensor) -> Tensor:
        return logits.index_fill(-1, self._never.to(logits.device), _FORBIDDEN)
