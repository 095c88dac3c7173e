"""Small decoders on novels, and what they make of held-out ones, passage by passage.

0.7 million weights, three layers, a window of 32 tokens, so that much stands beyond it; a memory,
if any, in the middle layer. Four lanes read four segments of 128 in one graph: retrieved keys have
gradient within 512 tokens. *Crome Yellow* and *The Island of Doctor Moreau* are held out; the units
are passages of 2,048 tokens. Those of one book are alike: intervals say little of other books.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from memformer.ablation import Metric, Trained
from memformer.config import (
    DecoderConfig,
    MemoryConfig,
    OptimiserConfig,
    RunConfig,
    StageConfig,
)
from memformer.data.corpora import texts_named
from memformer.evaluation.arms import Arm, Fraction
from memformer.evaluation.encoded import encode
from memformer.evaluation.read import read

PASSAGE = 2048
MEMORY = MemoryConfig(layers=(1,), n_retrieved=16, page_len=128)
BASE = RunConfig(
    model=DecoderConfig(
        vocab_size=1024, n_layer=3, n_head=4, n_kv_head=2, n_embd=128, head_dim=32, mlp_dim=384,
        window=32, segment_len=128, memory=MEMORY,
    ),
    optimiser=OptimiserConfig(
        learning_rate=3e-3, gate_learning_rate=1e-2, schedule="trapezoid", warmup_steps=50
    ),
    novels=StageConfig(n_token=360_000, length_power=0.5),
    n_lane=4, grad_segments=4, validate_every=1_000_000, checkpoint_every=100,
    validation_tokens=16_384,
)  # fmt: skip


def nats(
    run: Trained,
    *,
    memory: bool = True,
    fraction: Fraction = "true",
    length_factor: float = 1.0,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Nats a token of each passage of the held-out books, read from their beginning.

    Args:
        run: that has ended.
        memory: as trained, or off.
        fraction: as the model is told it.
        length_factor: the declared length by the true one.
        changes: further dotted changes of the model.
    """
    model, tokenizer = run.load()
    config = run.config.model
    arm = Arm(
        name="cell", attention="window", memory="on" if memory and config.has_memory else "off",
        fraction=fraction, overrides=dict(changes or {}),
    )  # fmt: skip
    found = {}
    for name in run.config.validation:
        for book in texts_named(name, "validation"):
            whole = encode(book, tokenizer)
            part = encode(book, tokenizer, min(len(whole), run.config.validation_tokens))
            part = replace(part, n_total=round(length_factor * part.n_total))
            each = read(model, part, arm).nats
            for start in range(0, len(each), PASSAGE):
                passage = each[start : start + PASSAGE]
                if len(passage) >= PASSAGE // 2:
                    found[f"{book.id}, from {start}"] = float(np.mean(passage))
    return found


def gain(of: Callable[[Trained], Mapping[str, float]]) -> Callable[[Trained], dict[str, float]]:
    """From nats read in another way, if any, to what reading as trained gains on them."""

    def difference(run: Trained) -> dict[str, float]:
        other = of(run)
        own = nats(run) if other else {}
        return {unit: value - own[unit] for unit, value in other.items()}

    return difference


def without_memory(run: Trained) -> Mapping[str, float]:
    """Nats with the memory off; none for a model without one."""
    return nats(run, memory=False) if run.config.model.has_memory else {}


NATS = Metric(name="nats", of=nats, better="lower", what="nats a token")
MEMORY_GAIN = Metric(
    name="memory gain", of=gain(without_memory), better="higher",
    what="nats a token, memory off minus on",
)  # fmt: skip
