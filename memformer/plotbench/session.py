"""One reading of one story by a model that reads tokens; probes are branches of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config import SamplingConfig
from memformer.config.plotbench import ScoreConfig
from memformer.data.tokenizer import Tokenizer
from memformer.generation.distribution import distribution
from memformer.generation.draw import draw
from memformer.generation.text import pieces, until_words
from memformer.plotbench.boundary import Branch, StoryTokens
from memformer.plotbench.scorers import OptionScore
from memformer.plotbench.story import Span
from memformer.plotbench.told import Told

MOST_TOKENS_A_WORD = 32
"""Where a text ends that does not get on with its words."""


class Question(NamedTuple):
    """What is asked at one place."""

    stem: str
    options: tuple[str, ...]
    suffix: str


class Lane(NamedTuple):
    """One option to read."""

    ids: tuple[int, ...]
    first: int
    """Place of the first scored token; at least 1."""
    start: int
    """Place of ids[0] in the story, in tokens."""
    is_fresh: bool
    """Read with nothing before it, rather than after the story as far as it has been read."""


class LaneScore(NamedTuple):
    """What came of a lane."""

    logprob: float
    """Nats, of the tokens from `first` on."""
    retrieved: tuple[int, ...] | None
    """Tokens of the story, most attended first."""


class BranchingSession(ABC):
    """What all models have in common: places, tokens, and branches.

    Args:
        told: the story.
        tokenizer: the model's.
        config: how it is asked.
        max_context: tokens that the model can take.
    """

    def __init__(
        self, told: Told, tokenizer: Tokenizer, config: ScoreConfig, max_context: int | None
    ) -> None:
        self._told, self._tokenizer, self._config = told, tokenizer, config
        self._max_context = max_context
        self.story = StoryTokens(told.text, tokenizer, config.n_held)
        self._char = self._n_read = 0

    def advance(self, to_char: int) -> None:
        """Read on to this offset; the last `n_held` tokens before it wait for what comes.

        Raises:
            ValueError: it lies behind, or past the text's end.
        """
        to_char = self._told.there(to_char)
        if not self._char <= to_char <= len(self.story.text):
            raise ValueError(
                f"to_char must lie between what has been read and the text's end, "
                f"[{self._char}, {len(self.story.text)}], got {to_char}: a session only reads on"
            )
        n = self.story.n_context(to_char)
        is_needed = self._config.last is None
        if n > self._n_read and is_needed and (self._max_context is None or n < self._max_context):
            self._read(self._n_read, n)
        self._char, self._n_read = to_char, n

    def score(self, stem: str, options: Sequence[str], suffix: str = "") -> list[OptionScore]:
        """Each option on a branch of its own."""
        return self.score_all([Question(stem, tuple(options), suffix)])[0]

    def score_all(self, questions: Sequence[Question]) -> list[list[OptionScore]]:
        """Several probes at this place, read side by side.

        Raises:
            ValueError: a context over the model's maximum, unless it may be cut; as
                `StoryTokens.branch`.
        """
        branches = [self.story.branch(self._char, *question) for question in questions]
        lanes = [self._lanes(branch) for branch in branches]
        # in an order of their own: what is asked first must not change a bit
        every = sorted({lane for each in lanes for lane in each})
        found = dict(zip(every, self._score(every), strict=True)) if every else {}
        return [
            [
                self._option_score(lane, found[lane], branch, option + question.suffix)
                for lane, option in zip(own, question.options, strict=True)
            ]
            for question, branch, own in zip(questions, branches, lanes, strict=True)
        ]

    def distance(self, char: int, question: Question) -> int:
        """Tokens from an offset of the story to the first scored token of a question here."""
        branch = self.story.branch(self._char, *question)
        return branch.n_context + branch.first - self.story.n_before(self._told.there(char))

    def generate(self, stem: str, max_words: int, seed: int) -> str:
        """Continue from here after a stem, drawn at temperature 1 from the likeliest 95%.

        Raises:
            ValueError: max_words below 1, or as `score_all`.
        """
        if max_words < 1:
            raise ValueError(f"max_words must be at least 1, got {max_words}")
        row = self.story.row(self._char, stem)
        whole = Branch(self._n_read, (row,), len(row))
        longest = len(row) + MOST_TOKENS_A_WORD * max_words
        if self._max_context is not None and self._n_read + longest > self._max_context:
            raise ValueError(
                f"max_words: {self._n_read + longest} tokens may be needed, the model takes "
                f"{self._max_context}: ask for fewer words"
            )
        (lane,) = self._lanes(whole)
        ids = self._drawn(lane, longest - len(row), seed)
        told = until_words(pieces(ids, self._tokenizer, list(lane.ids)), max_words)
        return "".join(piece.text for piece in told)

    def _drawn(self, lane: Lane, n: int, seed: int) -> Iterator[int]:
        read = self._writer(lane)
        logits, config = read(list(lane.ids)), SamplingConfig(top_p=0.95)
        never = [i for i in self._tokenizer.special_ids if i < len(logits)]
        for i in range(n):
            logits = logits.float().clone()
            logits[never] = -torch.inf
            logits[self._tokenizer.vocab_size :] = -torch.inf
            (token,) = draw(distribution(logits[None], config), seed, [i]).tolist()
            yield token
            logits = read([token])

    def _lanes(self, branch: Branch) -> list[Lane]:
        n, rows, first = branch
        limit, config = self._max_context, self._config
        n_after = max(len(row) for row in rows) - first
        sees = n + first if config.last is None else min(config.last, n + first)
        if limit is not None and sees + n_after > limit:
            if not config.truncate or n_after >= limit:
                raise ValueError(
                    f"context of {sees} tokens and {n_after} to score exceed max_context={limit}: "
                    "take shorter stories, or --truncate (truncate=True) for rows that are marked "
                    "as cut"
                )
            sees = limit - n_after
        if sees == n + first and config.last is None:
            return [Lane(row, first, n, False) for row in rows]
        start = n + first - sees
        head = tuple(self.story.ids[min(start, n) : n])
        skipped = max(0, start - n)
        return [Lane((head + row)[skipped:], sees, start, True) for row in rows]

    def _option_score(self, lane: Lane, found: LaneScore, branch: Branch, text: str) -> OptionScore:
        full = branch.n_context + branch.first
        return OptionScore(
            logprob=found.logprob,
            n_tokens=len(lane.ids) - lane.first,
            n_bytes=len(text.encode()),
            context_tokens=lane.first if lane.is_fresh else full,
            truncated=lane.is_fresh and lane.first < min(full, self._config.last or full),
            retrieved=None if found.retrieved is None else self._places(found.retrieved),
        )

    def _places(self, tokens: Sequence[int]) -> tuple[Span, ...]:
        spans = (self._told.back(self.story.spans[token]) for token in tokens)
        return tuple(dict.fromkeys(span for span in spans if span is not None))

    @abstractmethod
    def _read(self, start: int, stop: int) -> None:
        """Read the story's tokens [start, stop); those before were read."""

    @abstractmethod
    def _score(self, lanes: Sequence[Lane]) -> list[LaneScore]:
        """Read lanes, changing nothing that is read after."""

    @abstractmethod
    def _writer(self, lane: Lane) -> Callable[[list[int]], Tensor]:
        """A function that reads ids on a branch, the lane's first, and returns (V,) logits."""
