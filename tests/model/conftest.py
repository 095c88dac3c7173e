import pytest
import torch

from memformer import Decoder, DecoderConfig, FractionConfig, MemoryConfig


def small_config(memory=None, fraction=None, **changes):
    """A three-layer decoder of a few thousand weights, memory on pages of 8."""
    sizes = dict(
        vocab_size=50, n_layer=3, n_head=4, n_kv_head=2, n_embd=32, head_dim=8, mlp_dim=48,
        window=16, segment_len=16,
    )  # fmt: skip
    return DecoderConfig(
        **{**sizes, **changes},
        memory=MemoryConfig(**{"page_len": 8, "search": "exact", **(memory or {})}),
        fraction=FractionConfig(**(fraction or {})),
    )


def lively(model):
    """Weights with an effect: queries prefer some keys, gates and fractions are not at zero."""
    for name, weight in model.named_parameters():
        if name.endswith(("q.weight", "k.weight")):
            torch.nn.init.normal_(weight, std=0.5)
        if "gate" in name.split(".")[-1] or "fraction" in name or "film" in name:
            torch.nn.init.normal_(weight, std=0.5)
    return model


def read(model, tokens, segment_len, u=None, state=None, **kwargs):
    """Logits of a whole text read in segments, (B, T, V)."""
    state = model.new_state(len(tokens)) if state is None else state
    logits = []
    for i in range(0, tokens.shape[1], segment_len):
        part = slice(i, i + segment_len)
        out = model(tokens[:, part], state, fraction=None if u is None else u[:, part], **kwargs)
        state.advance(out)
        logits.append(out.logits)
    return torch.cat(logits, dim=1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def tokens():
    return torch.randint(0, 50, (2, 100))


@pytest.fixture
def u():
    return ((torch.arange(100) + 0.5) / 100).expand(2, 100)


@pytest.fixture
def model():
    config = small_config(memory=dict(layers=(1, 2), n_retrieved=5), n_sink=2)
    return lively(Decoder(config))
