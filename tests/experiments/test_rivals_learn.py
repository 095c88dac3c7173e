"""Each rival learns to recall what its window has lost."""

import pytest
import torch
from synthetic import Recall, are_hits, segments_of, training

from memformer import Decoder, DecoderConfig, MemoryConfig
from memformer.config import NO_MEMORY, OptimiserConfig, override

TASK = Recall(n_key=6, n_value=6, n_noise=4)
BASE = DecoderConfig(
    vocab_size=TASK.vocab_size, n_layer=2, n_head=2, n_kv_head=2, n_embd=32, head_dim=16,
    mlp_dim=64, window=8, segment_len=32, memory=MemoryConfig(layers=(1,), n_retrieved=4),
)  # fmt: skip
ARMS = {
    "paged": {},
    "none": NO_MEMORY,
    "delta": {**NO_MEMORY, "compressive.layers": (1,), "compressive.block_len": 4},
    "linear": {
        **NO_MEMORY, "compressive.layers": (1,), "compressive.block_len": 4,
        "compressive.update": "linear",
    },
    "recurrent": {**NO_MEMORY, "recurrent.n_token": 3, "recurrent.block_len": 5},
}  # fmt: skip


def share_beyond(arm, n_step):
    """Share right of what was said 28 tokens before; windows and convolutions of two layers reach
    back 20."""
    torch.manual_seed(0)
    model, rng = Decoder(override(BASE, dict(ARMS[arm]))), torch.Generator().manual_seed(0)

    def draw(step):
        batch = TASK.draw(32, 32, n_pair=1, n_ask=1, rng=rng)
        return segments_of(batch, batch.is_asked.float(), 32), 1

    config = OptimiserConfig(learning_rate=5e-3, schedule="constant", warmup_steps=20)
    for _ in training(model, draw, config, n_step):
        pass
    batch = TASK.draw(256, 32, n_pair=1, n_ask=1, rng=torch.Generator().manual_seed(9))
    hits = are_hits(model, batch, 7)  # read in other pieces than it was trained in
    assert int(batch.distance[batch.is_asked].min()) > 20
    return float(hits.float().mean())


@pytest.mark.slow
@pytest.mark.parametrize(("arm", "n_step", "least"), [
    ("paged", 100, 0.9), ("delta", 300, 0.35), ("linear", 300, 0.35), ("recurrent", 100, 0.9),
])  # fmt: skip
def test_a_memory_learns_what_a_window_cannot(arm, n_step, least):
    assert share_beyond(arm, n_step) > least


@pytest.mark.slow
def test_a_window_alone_learns_no_more_than_a_guess():
    assert share_beyond("none", 300) < 0.25
