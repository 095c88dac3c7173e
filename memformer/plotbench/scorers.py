"""What PlotBench asks of a model: read a story once, and score what could come next on branches."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from memformer.plotbench.story import Span

FractionTold = Literal["true", "estimated", "unknown", "shuffled", "header"]


class OptionScore(NamedTuple):
    """How likely a model finds an option and the suffix after it."""

    logprob: float
    """Nats, summed from the first token at which the options' sequences differ to the suffix's
    end."""
    n_tokens: int
    """Tokens that were summed over."""
    n_bytes: int
    """UTF-8 bytes of option and suffix."""
    context_tokens: int
    """Tokens before the first that was scored."""
    truncated: bool = False
    """Whether the model's context was too small and its beginning was cut."""
    retrieved: tuple[Span, ...] | None = None
    """Characters of the story under the pairs that the memory found for the token that predicts
    the first scored one, most attended first; None for models without memory."""


class Session(Protocol):
    """One reading of one story."""

    def advance(self, to_char: int) -> None:
        """Read on to this offset. Raises ValueError if it lies behind, or past the text's end."""

    def score(self, stem: str, options: Sequence[str], suffix: str = "") -> list[OptionScore]:
        """Each option in turn, on a branch: nothing that is scored changes what is read after."""

    def generate(self, stem: str, max_words: int, seed: int) -> str:
        """Continue the text from here, on a branch."""


class Scorer(Protocol):
    """A model, or a shortcut, that can be asked."""

    name: str
    max_context: int | None
    """Tokens; None: no limit."""

    def open(self, text: str, *, fraction: FractionTold = "true") -> Session:
        """Begin a story. The whole text is known (for its length); none of it has been read.

        Raises:
            ValueError: this scorer cannot be told the fraction in this way.
        """
