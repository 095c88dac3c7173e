"""Which memory learns to recall pairs that left the window, for the same tokens?

Texts of 48 tokens: four pairs of a key and a value, then each key asked twice among noise; the loss
is on answers alone. Two layers of width 48 with a window of 8, read in one piece, so that every
memory has its gradients; 240 steps of 32 texts, 368,640 tokens. A memory, if any, is in the second
layer (RMT's memory tokens are in all of the decoder). A guess is right 1 time in 16, among the
values seen 1 in 4.

Arms    joint, gate, tanh    the 8 best older pairs, found by content, without position
        none                 window 8 alone
        window 16, full      a longer window; one that holds every text (256)
        infini               compressive memory, delta rule, blocks of 8
        rmt                  4 memory tokens, blocks of 12, and so a window of 16
Windows and convolutions of two layers hand on what stands up to 20 tokens back (36 with window 16):
only what is asked in texts of 256 tokens is out of their reach for certain.
Expect: full and joint solve it (.99 of what is asked 16 or more tokens back), gate and tanh follow,
        none stays near a guess. Infini and RMT learn more slowly: above none, below joint.
        In first trials of one seed joint solved it after 250,000 tokens, and Infini stood at .15
        after 370,000; with a window of 16 and texts of 64 tokens they stood at .37 and .30.
Run:    memformer ablate experiments/rivals.py --out runs/rivals
Result: experiments/README.md
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from synthetic import Recall, segments_of, training

from memformer.ablation import Metric
from memformer.config import DecoderConfig, MemoryConfig, OptimiserConfig
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState

TASK = Recall(n_key=16, n_value=16, n_noise=8)
WINDOW, LONGER, N_TOKEN, N_PAIR, N_LANE = 8, 16, 48, 4, 32


@dataclass(frozen=True, kw_only=True)
class Study:
    """One cell: a decoder and how long it is trained."""

    model: DecoderConfig
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(
            learning_rate=5e-3, schedule="trapezoid", warmup_steps=30
        )
    )
    n_step: int = 240
    seed: int = 0


class Tested(NamedTuple):
    """A trained decoder's answers."""

    near: dict[str, float]
    """Share right where the answer is in the window; by test batch."""
    between: dict[str, float]
    """Share right where only the longer window has it."""
    beyond: dict[str, float]
    """Share right where it stands 16 or more tokens back."""
    long: dict[str, float]
    """In texts of 256 tokens, every pair asked once, at the end."""
    n_byte: int
    """State of one lane after 48 tokens: window, and memory of whatever kind."""


def make(config: Study, folder: Path) -> Tested:
    """Train and test one decoder."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    model, rng = Decoder(config.model), torch.Generator().manual_seed(config.seed)

    def draw(step: int) -> tuple[list, int]:
        batch = TASK.draw(N_LANE, N_TOKEN, n_pair=N_PAIR, n_ask=2, rng=rng)
        return segments_of(batch, batch.is_asked.float(), N_TOKEN), 1

    for at in training(model, draw, config.optimiser, config.n_step):
        if at.step % 80 == 0:
            print(f"step {at.step}, {at.n_token} tokens, loss {at.loss:.3f}", flush=True)
    shares: dict[str, dict[str, float]] = {
        name: {} for name in ("near", "between", "beyond", "long")
    }
    for unit in "abcd":
        hits, distance, state = answers(model, unit, N_TOKEN, n_ask=2, n_lane=64)
        ends = (0, WINDOW, LONGER, N_TOKEN)
        for name, least, most in zip(("near", "between", "beyond"), ends, ends[1:], strict=False):
            is_in = (distance >= least) & (distance < most)
            shares[name][unit] = float(hits[is_in].float().mean())
        n_byte = bytes_of(state) // 64
        hits, _, _ = answers(model, unit, 256, n_ask=1, n_lane=32)
        shares["long"][unit] = float(hits.float().mean())
    return Tested(**shares, n_byte=n_byte)


@torch.no_grad()
def answers(
    model: Decoder, unit: str, n_token: int, *, n_ask: int, n_lane: int
) -> tuple[torch.Tensor, torch.Tensor, DecoderState]:
    """Which questions of a test batch are answered, how far back, and the state afterwards."""
    rng = torch.Generator().manual_seed(10_000 + ord(unit))
    batch = TASK.draw(n_lane, n_token, n_pair=N_PAIR, n_ask=n_ask, rng=rng)
    state, found = model.new_state(n_lane), []
    for i in range(0, n_token, N_TOKEN):
        out = model(batch.tokens[:, i : min(i + N_TOKEN, n_token)], state)
        state.advance(out)
        found.append(out.logits.argmax(-1))
    is_right = torch.cat(found, dim=1) == batch.tokens[:, 1 : n_token + 1]
    return is_right[batch.is_asked], batch.distance[batch.is_asked], state


def bytes_of(state: DecoderState) -> int:
    """Bytes of windows and memories of all lanes."""
    windows = [x for layer in state.layers for x in (layer.keys, layer.values)]
    return state.memory_bytes() + sum(x.numel() * x.element_size() for x in windows)


BASE = Study(
    model=DecoderConfig(
        vocab_size=TASK.vocab_size, n_layer=2, n_head=2, n_kv_head=2, n_embd=48, head_dim=24,
        mlp_dim=96, window=WINDOW, segment_len=N_TOKEN,
        memory=MemoryConfig(layers=(1,), n_retrieved=8, page_len=16),
    )
)  # fmt: skip
OFF = {"model.memory.layers": ()}
VARIANTS = {
    "joint": {},
    "none": OFF,
    "window 16": {**OFF, "model.window": LONGER},
    "full": {**OFF, "model.window": 256},
    "gate": {"model.memory.combine": "gate"},
    "tanh": {"model.memory.combine": "tanh"},
    "infini": {**OFF, "model.compressive.layers": (1,), "model.compressive.block_len": 8},
    "rmt": {
        **OFF, "model.window": LONGER, "model.recurrent.n_token": 4,
        "model.recurrent.block_len": 12,
    },
}  # fmt: skip
SEEDS = range(3)
SHARE = "share of answers right"
METRICS = (
    Metric(name="16 tokens back or more", of=lambda t: t.beyond, better="higher", what=SHARE),
    Metric(name="texts of 256 tokens", of=lambda t: t.long, better="higher", what=SHARE),
    Metric(name="8 to 15 tokens back", of=lambda t: t.between, better="higher", what=SHARE),
    Metric(name="in the window of 8", of=lambda t: t.near, better="higher", what=SHARE),
    Metric(name="state", of=lambda t: {"a lane": t.n_byte}, what="bytes of one lane's state"),
)
