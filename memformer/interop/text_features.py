"""Vectors of short texts, such as reviews, by a model that reads each text alone.

m texts, B of a batch, R tokens, d numbers a text
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from memformer.config.reviewer import ReviewConfig
from memformer.data.rating_sources import MINILM, minilm
from memformer.data.sources import SMOLLM2, SMOLLM2_FILE, smollm2
from memformer.data.tokenizer import Tokenizer
from memformer.interop.run import load_run, load_tokenizer
from memformer.interop.transformers import load_llama
from memformer.model.saved_state import weights_hash
from memformer.reward.review_features import DecoderFeatures
from memformer.reward.review_text import ReviewVocabulary, review_vocabulary, with_review_tokens
from memformer.reward.saved_reviewer import load_reviewer
from memformer.training.review_run import REVIEWER, is_reviewer

MAX_TOKENS = 256
"""A longer text is cut, and the cut is counted."""
Kind = Literal["minilm", "smollm2", "reviewer", "run"]
Embed = Callable[[list[list[int]]], Tensor]


class TextFeatures:
    """A model that turns texts into vectors, made by `build_text_features`.

    Args:
        kind: what model it is.
        source: the word or folder that names it.
        digest: of its weights; other weights make other vectors.
        encode: a text to ids.
        embed: B rows of ids to (B, d) float32.
        of_reviews: the same vectors from ids of reviews, for a decoder of ours; else None.
        vocabulary: what those ids are.
    """

    def __init__(
        self,
        kind: Kind,
        source: str,
        digest: str,
        encode: Callable[[str], list[int]],
        embed: Embed,
        *,
        of_reviews: DecoderFeatures | None = None,
        vocabulary: ReviewVocabulary | None = None,
    ) -> None:
        self.kind, self.source, self.digest = kind, source, digest
        self.encode, self.embed = encode, embed
        self.of_reviews, self.vocabulary = of_reviews, vocabulary
        self.n_cut = 0
        """Texts longer than `MAX_TOKENS`, so far."""

    @torch.no_grad()
    def __call__(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 32,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """(m, d) float32 on the CPU; a text without a token is NaN.

        Args:
            texts: m of them.
            batch_size: texts of about one length that are read side by side.
            progress: told texts that are done, and all.
        """
        ids = [self.encode(text) for text in texts]
        self.n_cut += sum(len(row) > MAX_TOKENS for row in ids)
        ids = [row[:MAX_TOKENS] for row in ids]
        out: dict[int, Tensor] = {}
        empty = [i for i, row in enumerate(ids) if not row]
        for batch in batches_by_length(ids, batch_size):
            some = [i for i in batch if ids[i]]
            if some:
                out.update(zip(some, self.embed([ids[i] for i in some]), strict=True))
            if progress is not None:
                progress(len(out), len(texts))
        if not out:
            raise ValueError("texts must hold one with a token, got none")
        nothing = torch.full_like(next(iter(out.values())), torch.nan)
        out.update((i, nothing) for i in empty)
        return torch.stack([out[i] for i in range(len(texts))])


def build_text_features(source: str) -> TextFeatures:
    """The model that a word or a folder names.

    Args:
        source: `minilm` (all-MiniLM-L6-v2, fetched); `smollm2` (SmolLM2-135M-Instruct in our own
            decoder, fetched); a folder of `reward review`; or a run of `train`.

    Raises:
        ValueError: a folder that is neither, or that does not exist.
        ImportError: `minilm` or `smollm2` without the extra `hf`.
        FetchError: they cannot be fetched.
    """
    match source:
        case "minilm":
            return _minilm()
        case "smollm2":
            return _smollm2()
        case _:
            return _own(Path(source))


def batches_by_length(ids: list[list[int]], size: int) -> Iterator[list[int]]:
    """Numbers of rows of about one length together, so that little is padding."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def padded(rows: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Rows as (B, longest) int64, and (B, longest) bool, False for padding."""
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    mask = torch.arange(longest)[None] < torch.tensor([len(row) for row in rows])[:, None]
    return tokens, mask


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """(B, R, d), (B, R) bool -> (B, d) float32."""
    weight = mask[..., None].float()
    return (hidden.float() * weight).sum(1) / weight.sum(1)


def _own(folder: Path) -> TextFeatures:
    """A reviewer's decoder, or a run's with new rows for the marks of reviews."""
    kind: Kind
    if not folder.is_dir():
        raise ValueError(
            f"features must be minilm, smollm2 or a folder of `reward review` or `train`, "
            f"got {str(folder)!r}, which is no folder"
        )
    tokenizer: Tokenizer
    if is_reviewer(folder):
        kind, tokenizer = "reviewer", load_tokenizer(folder / REVIEWER)
        reviewer = load_reviewer(folder / REVIEWER, tokenizer).reviewer
        model, vocabulary = reviewer.model, reviewer.vocabulary
    else:
        kind = "run"
        decoder, tokenizer = load_run(folder)
        vocabulary = review_vocabulary(tokenizer, ReviewConfig(), n_text=decoder.config.vocab_size)
        model = with_review_tokens(decoder, vocabulary).eval()
    features = DecoderFeatures(model.requires_grad_(False), start=vocabulary.review)

    def embed(rows: list[list[int]]) -> Tensor:
        tokens, mask = padded(rows, vocabulary.end)
        return features(tokens, mask.to(model.embedding.weight.dtype)).float()

    return TextFeatures(
        kind, str(folder), weights_hash(model), lambda text: list(tokenizer.encode(text).ids),
        embed, of_reviews=features, vocabulary=vocabulary,
    )  # fmt: skip


def _smollm2() -> TextFeatures:
    """Mean of the last hidden states over a text's tokens, without memory, in bfloat16."""
    model, tokenizer = load_llama(
        smollm2() / SMOLLM2_FILE, window=MAX_TOKENS, n_sink=4, dtype=torch.bfloat16
    )

    def embed(rows: list[list[int]]) -> Tensor:
        tokens, mask = padded(rows, 0)
        state = model.new_state(batch_size=len(rows))
        out = model(tokens, state, mask=mask, want_hidden=True, n_logits=0)
        assert out.hidden is not None
        return masked_mean(out.hidden, mask)

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text).ids)

    return TextFeatures("smollm2", "smollm2", SMOLLM2.sha256, encode, embed)


def _minilm() -> TextFeatures:
    """Mean of the last hidden states, divided by its length."""
    try:
        from transformers import AutoModel, AutoTokenizer
    except ModuleNotFoundError:
        raise ImportError(
            "minilm needs transformers: install it with `pip install 'memformer-lm[hf]'`"
        ) from None
    folder = minilm()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()

    def embed(rows: list[list[int]]) -> Tensor:
        tokens, mask = padded(rows, tokenizer.pad_token_id)
        hidden = model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        return torch.nn.functional.normalize(masked_mean(hidden, mask), dim=-1)

    def encode(text: str) -> list[int]:
        return list(tokenizer(text)["input_ids"])

    return TextFeatures("minilm", "minilm", MINILM.sha256, encode, embed)
