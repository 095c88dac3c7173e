"""The sequence `<novel> ... <group> <delay> <review> ... <eor>`: its special tokens and metadata.

No tokenizer is trained anew or changed: the special tokens are ids above the tokenizer's own, and
the decoder gets new rows for them. So a generator and a reviewer of one tokenizer share the ids of
the text, and relaxed tokens of the one (rows over the text's ids) can be read by the other.
"""

import bisect
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from memformer.config import override
from memformer.config.reviewer import ReviewConfig
from memformer.data.tokenizer import Tokenizer
from memformer.model.decoder import Decoder


@dataclass(frozen=True, kw_only=True)
class ReviewVocabulary:
    """Ids of the text, followed by those of the special tokens.

    Stars have no token: what a reader rated is withheld from the reviewer.
    """

    n_text: int
    """Ids of the tokenizer: [0, n_text)."""
    tokenizer: str
    """Its hash."""
    special_ids: tuple[int, ...] = ()
    """Of the tokenizer's ids, those that are no text; no review contains one."""
    groups: tuple[str, ...] = ()
    """As in `ReviewConfig`."""
    delay_edges: tuple[float, ...] = ()
    """As in `ReviewConfig`."""

    @property
    def novel(self) -> int:
        """`<novel>`, before the first token."""
        return self.n_text

    @property
    def review(self) -> int:
        """`<review>`: what follows is a review."""
        return self.n_text + 1

    @property
    def end(self) -> int:
        """`<eor>`, the end of a review."""
        return self.n_text + 2

    @property
    def vocab_size(self) -> int:
        """All ids: text, three marks, the unknown group and the others, the delays likewise."""
        n_delay = len(self.delay_edges) + 1 if self.delay_edges else 0
        return self.n_text + 5 + len(self.groups) + n_delay

    def group_id(self, group: str | None) -> int:
        """Token of a group of readers; None is unknown.

        Raises:
            ValueError: a group that has no token.
        """
        if group is None:
            return self.n_text + 3
        if group not in self.groups:
            raise ValueError(
                f"group must be one of {', '.join(self.groups) or 'none'}, or None for unknown, "
                f"got {group!r}"
            )
        return self.n_text + 4 + self.groups.index(group)

    def delay_id(self, days: float | None) -> int:
        """Token of a delay from reading to writing, in days; None is unknown.

        Raises:
            ValueError: negative or NaN.
        """
        first = self.n_text + 4 + len(self.groups)
        if days is None:
            return first
        if not days >= 0:
            raise ValueError(f"delay must be at least 0 days, or None for unknown, got {days}")
        if not self.delay_edges:
            return first  # no kinds of delay: all are alike
        return first + 1 + bisect.bisect_right(self.delay_edges, days)

    def never(self) -> list[int]:
        """Ids that no review contains: all special ones but its end."""
        own = [i for i in range(self.n_text, self.vocab_size) if i != self.end]
        return sorted({*self.special_ids, *own})


def review_vocabulary(
    tokenizer: Tokenizer, config: ReviewConfig, *, n_text: int | None = None
) -> ReviewVocabulary:
    """The vocabulary over a tokenizer, SentencePiece's or an imported one.

    Args:
        n_text: ids of the decoder's embedding where it has more rows than the tokenizer has ids,
            as imported ones may; these rows are no text.

    Raises:
        ValueError: n_text is below the tokenizer's ids.
    """
    n = tokenizer.vocab_size if n_text is None else n_text
    if n < tokenizer.vocab_size:
        raise ValueError(f"n_text must be at least the tokenizer's {tokenizer.vocab_size}, got {n}")
    return ReviewVocabulary(
        n_text=n,
        tokenizer=tokenizer.hash,
        special_ids=(*sorted(tokenizer.special_ids), *range(tokenizer.vocab_size, n)),
        groups=config.groups,
        delay_edges=config.delay_edges,
    )


def with_review_tokens(model: Decoder, vocabulary: ReviewVocabulary, *, seed: int = 0) -> Decoder:
    """A copy of a decoder with rows for the special tokens; texts are read as before.

    A new row is the mean of all rows plus N(0, 0.02): at the mean a new token takes about 1/V of
    the probability at first, whatever the norm of the rows; the noise tells the new ones apart.
    Logits of text tokens are those of `model`, and nothing is shared with it.

    Raises:
        ValueError: the decoder's vocabulary is not the text's.
    """
    if model.config.vocab_size != vocabulary.n_text:
        raise ValueError(
            f"the decoder has {model.config.vocab_size} ids, the vocabulary {vocabulary.n_text} of "
            "text: make it with review_vocabulary of the decoder's own tokenizer"
        )
    config = override(model.config, {"vocab_size": vocabulary.vocab_size})
    with torch.device("meta"):
        longer = Decoder(config)
    n_new = vocabulary.vocab_size - vocabulary.n_text
    random = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for name, weight in model.named_parameters():
        weights[name] = weight.detach().clone()
        if name in ("embedding.weight", "head.weight"):
            noise = torch.randn(n_new, weight.shape[1], generator=random) * 0.02
            rows = weight.detach().mean(0) + noise.to(weight)
            weights[name] = torch.cat((weights[name], rows))
    longer.load_state_dict(weights, assign=True)
    for name, parameter in longer.named_parameters():
        parameter.requires_grad_(model.get_parameter(name).requires_grad)
    return longer.train(model.training)


def hide_metadata(
    groups: Tensor, delays: Tensor, vocabulary: ReviewVocabulary, p: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Each review's group, and apart from that its delay, unknown with probability p; (n,) ids."""
    hidden = torch.rand(2, len(groups), generator=random) < p  # (2, n)
    unknown = (vocabulary.group_id(None), vocabulary.delay_id(None))
    return groups.masked_fill(hidden[0], unknown[0]), delays.masked_fill(hidden[1], unknown[1])


def one_hot_rows(ids: Tensor, vocab_size: int, like: Tensor) -> Tensor:
    """(...) ids as (..., V) rows in the dtype of `like`."""
    return nn.functional.one_hot(ids, vocab_size).to(like)
