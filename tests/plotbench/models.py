"""A tiny decoder, and a tokenizer of words and spaces like a byte-level one's."""

import hashlib
import re

import torch

from memformer.config import DecoderConfig, FractionConfig, MemoryConfig
from memformer.data.tokenizer import Encoding
from memformer.model.decoder import Decoder

_PIECE = re.compile(r" ?[^\W\d_]{1,5}|\n+|.", re.DOTALL)
VOCAB_SIZE = 512


class PieceTokenizer:
    """Up to five letters with the space before them are a token; ids are hashes."""

    vocab_size = VOCAB_SIZE
    special_ids = frozenset({0})
    hash = "pieces"

    def encode(self, text):
        found = list(_PIECE.finditer(text))
        return Encoding([_id(each.group()) for each in found], [each.span() for each in found])

    def decode(self, ids):
        return "".join(f" w{i}" for i in ids)


def _id(piece):
    return 1 + int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=4).digest()) % (
        VOCAB_SIZE - 1
    )


def decoder(fraction="none", **memory):
    torch.manual_seed(0)
    config = DecoderConfig(
        vocab_size=VOCAB_SIZE, n_embd=32, n_layer=2, n_head=4, n_kv_head=2, head_dim=8,
        mlp_dim=48, window=16, n_sink=2, segment_len=16,
        memory=MemoryConfig(layers=(1,), n_retrieved=4, page_len=8, combine="joint",
                            positions="rotary", **{"max_distance": 10_000, **memory}),
        fraction=FractionConfig(kind=fraction),
    )  # fmt: skip
    model = Decoder(config).eval()
    for weight in model.parameters():
        if weight.dim() == 2:  # far from uniform attention
            torch.nn.init.normal_(weight, 0.0, 0.25)
    return model
