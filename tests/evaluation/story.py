"""A tiny random decoder, a tokenizer of letter groups, and a story of our own."""

import re
import zlib
from collections.abc import Sequence

import torch

from memformer import Decoder, DecoderConfig
from memformer.data.manuscripts import Chapter, Manuscript
from memformer.data.tokenizer import Encoding
from memformer.evaluation.encoded import EncodedManuscript, encode

CHAPTER_1 = """Chapter I

The ferry left the island before seven, and Maud Tolliver stood at the rail with her collar up. \
Behind her the harbour of Skerrin grew small. Nobody had come to see her off; nobody, Maud \
thought, had any reason to.

"You will want tea," said Mr. Abernathy, who kept the stove. He had known her father. "Tea is a \
good thing on the water." Maud took the cup and thanked him. The cup was blue, and it had lost \
its handle in some earlier storm.

They spoke of the weather, then of the lighthouse, and then of nothing. When the wind rose, \
Abernathy went below, and Maud stayed where she was. She had the letter in her pocket. She did \
not need to read it again: her brother Crispin had sold the house, the boat and the orchard, and \
he hoped that she would understand.
"""
CHAPTER_2 = """
Chapter II

In Lowmouth it rained. The clerk at the inn wrote her name as Tollifer, and Maud let it stand. \
From the window she saw the fish market, a cart without a horse, and a boy who was selling the \
same newspaper twice. "Skerrin is a hard place to leave," the clerk said, without looking up.

At noon she found Crispin. He was thinner, and he wore a coat that had belonged to their father. \
"I did write to you," said Crispin. "You wrote to tell me," said Maud, "which is not the same." \
They walked along the quay until the bells rang, and Crispin told her of the debts, of a man \
called Renfrew, and of the orchard, which Renfrew had wanted for years.

"Then we shall have tea with Renfrew," said Maud. She thought of Abernathy, and of the blue cup \
without a handle, and she laughed for the first time since the ferry.
"""


class LetterGroups:
    """Up to four letters a token, its leading blanks included; ids by checksum."""

    vocab_size = 96
    hash = "letter-groups"
    special_ids: frozenset[int] = frozenset()

    def encode(self, text: str) -> Encoding:
        spans = [m.span() for m in re.finditer(r"\s*\S{1,4}|\s+$", text)]
        return Encoding([zlib.crc32(text[a:b].encode()) % 96 for a, b in spans], spans)

    def decode(self, ids: Sequence[int]) -> str:
        raise NotImplementedError("checksums do not decode")


def manuscript(name: str = "ferry", text: str = CHAPTER_1 + CHAPTER_2) -> Manuscript:
    chapters = [Chapter(m.start(), m.group()) for m in re.finditer(r"^Chapter \w+$", text, re.M)]
    return Manuscript(
        id=name,
        author="A. Nobody",
        title=f"The {name}",
        text=text,
        chapters=tuple(chapters),
        source="written for these tests",
        raw_hash="0" * 64,
    )


def backwards(name: str = "quay") -> Manuscript:
    """Another book of the same length: the chapters change places."""
    return manuscript(name, CHAPTER_2.lstrip() + "\n" + CHAPTER_1)


def make_model(**changes: object) -> Decoder:
    torch.manual_seed(0)
    config = DecoderConfig(
        **{
            "vocab_size": 96,
            "n_layer": 2,
            "n_head": 4,
            "n_kv_head": 2,
            "n_embd": 32,
            "head_dim": 8,
            "mlp_dim": 48,
            "window": 16,
            "segment_len": 16,
            "n_sink": 2,
            "conv_width": 0,
            "qk_norm": False,
            **changes,
        }
    )
    model = Decoder(config)
    with torch.no_grad():  # logits far from uniform, attention far from even
        for weight in model.parameters():
            weight.mul_(4 if weight.dim() == 2 else 1)
    return model.eval()


def encoded(book: Manuscript | None = None, n_tokens: int | None = None) -> EncodedManuscript:
    return encode(book or manuscript(), LetterGroups(), n_tokens)
