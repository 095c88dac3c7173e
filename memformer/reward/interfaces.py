"""What the chain asks of its parts: a reviewer, the features of its reviews, the raters of these.

B lanes, L tokens of a novel, R of a review, V words of reviews, d features
"""

from typing import Any, NamedTuple, Protocol

from torch import Tensor


class Reading(NamedTuple):
    """What a reviewer knows when it is about to write."""

    logits: Tensor
    """(B, V) of the review's first token."""
    hidden: Tensor
    """(B, n_embd) at `<review>`: what an amortised value is read from."""
    state: Any
    """The state after `<review>`; has `fork(n)`: every lane n times, lane-major."""


class ReviewWriter(Protocol):
    """p(review | novel), token by token. No call changes a state that it is given.

    Where x or a token is given as rows, a gradient flows from logits and hidden state back to
    them. A writer whose state would cut that gradient before it has reached all of x raises,
    unless it was made to let it end there.
    """

    vocab_size: int
    """Words of reviews, the end among them."""
    end: int
    """Id of the token that ends a review, `<eor>`."""
    max_len: int
    """Longest review in tokens, its end included."""

    def read(self, x: Tensor, state: Any, mask: Tensor | None = None) -> Reading:
        """Read a novel, or its next part, and be asked for a review.

        Args:
            x: (B, L) ids, or (B, L, n) rows over the novel's vocabulary that sum to 1.
            state: the writer's, before x.
            mask: (B, L) bool, False for padding.
        """
        ...

    def write(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read a token of the review: (B,) ids or (B, V) rows.

        Returns:
            (B, V) logits of the next token, and the state after this one.
        """
        ...


class ReviewFeatures(Protocol):
    """Text features of a review, hard or relaxed."""

    def __call__(self, review: Tensor, weight: Tensor) -> Tensor:
        """(B, R) ids or (B, R, V) rows, and how much each token counts, (B, R) in [0, 1]: (B, d).

        Differentiable in rows and weights. Of ids and of the same ids as rows: the same.
        """
        ...


class Raters(Protocol):
    """What a population of raters makes of reviews with these features."""

    def score(self, features: Tensor, aggregate: Any = None) -> Tensor:
        """(m, d) -> (m,), differentiable; aggregate names the social choice."""
        ...
