"""A reviewer and its score head as a reward: reviews are written, and their ends are scored.

N texts, T tokens, m reviews of each
"""

import torch
from torch import Tensor

from memformer.reward.reviewer import Reviewer
from memformer.reward.score_head import ScoreHead, scores_of

_SEED = 1_000_003


class Critic:
    """Mean value, by the score head, of m reviews that the reviewer writes of a text.

    The same text gets the same reviews, whatever it is scored beside: its draws depend on its
    tokens. A review that does not end, and an empty one, is left out; a text without any is NaN,
    which whoever asks must count.

    Args:
        reviewer: reads the text into a memory of its own.
        head: fitted on the reviewer's own reviews.
        n_review: m.

    Raises:
        ValueError: m below 1.
    """

    def __init__(self, reviewer: Reviewer, head: ScoreHead, n_review: int = 4) -> None:
        if n_review < 1:
            raise ValueError(f"n_review must be at least 1, got {n_review}")
        self.reviewer, self.head, self.n_review = reviewer, head, n_review

    @torch.no_grad()
    def __call__(self, text: Tensor) -> Tensor:
        """(N, T) ids -> (N,) float32; NaN where no review could be scored.

        Raises:
            ValueError: relaxed tokens: reviews that are drawn have no gradient (see `Chain`).
        """
        if text.dim() != 2:
            raise ValueError(
                "a critic draws reviews, through which no gradient goes: it scores (N, T) ids, "
                f"got {tuple(text.shape)}; use rloo or raft, or a Chain in the mode st_gumbel"
            )
        N, m = len(text), self.n_review
        reading = self.reviewer.read(text, self.reviewer.new_state(N))
        drawn = self.reviewer.draw(reading, m, seeds=[_seed(row) for row in text.tolist()])
        return scores_of(self.reviewer, self.head, reading, drawn).float().view(N, m).nanmean(1)


def _seed(ids: list[int]) -> int:
    """A number that follows from the tokens alone."""
    found = 0
    for i in ids:
        found = (found * _SEED + i + 1) % (1 << 61)
    return found
