"""A tokenizer of `transformers` behind the library's protocol."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memformer.data.tokenizer import Encoding

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class HFTokenizer:
    """A fast tokenizer of `transformers` behind the library's protocol.

    Args:
        tokenizer: any fast tokenizer; special tokens are never added.

    Raises:
        ValueError: the tokenizer is not a fast one, so that it cannot tell character offsets.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        if not tokenizer.is_fast:
            raise ValueError(f"tokenizer must be a fast one, got {type(tokenizer).__name__}")
        self.tokenizer: Any = tokenizer
        # ids may have gaps, so the number of tokens would not do
        self.vocab_size = max(self.tokenizer.get_vocab().values(), default=-1) + 1
        added = self.tokenizer.added_tokens_decoder.items()
        self.special_ids = frozenset(i for i, token in added if token.special)
        self.hash = hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()

    def encode(self, text: str) -> Encoding:
        """Ids and half-open character spans of a text of any length."""
        out = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return Encoding(out["input_ids"], [tuple(span) for span in out["offset_mapping"]])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, special tokens included."""
        text: str = self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return text

    def save_in(self, folder: Path) -> None:
        """Write `tokenizer.json` and what belongs to it into a folder."""
        self.tokenizer.save_pretrained(folder)

    @classmethod
    def load(cls, folder: Path) -> "HFTokenizer":
        """Read what `save_in` wrote. No hub is asked.

        Raises:
            ImportError: `transformers` is not here.
        """
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise ImportError(
                f"{folder} has a tokenizer of transformers, which needs the extra 'hf' ({error}): "
                "pip install 'memformer-lm[hf]'"
            ) from None
        return cls(AutoTokenizer.from_pretrained(folder, local_files_only=True))
