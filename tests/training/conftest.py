"""A tiny run over a few texts written for the tests."""

import json
import random

import pytest

from memformer.config import (
    DecoderConfig,
    FractionConfig,
    MemoryConfig,
    OptimiserConfig,
    RunConfig,
    StageConfig,
)

NAMES = ("Ada", "Bertram", "Clara", "Dunstan", "Edith")
PLACES = ("mill", "harbour", "orchard", "chapel", "quarry")


def story(seed: int, n: int) -> str:
    draw = random.Random(seed)
    return " ".join(
        f"{draw.choice(NAMES)} walked to the {draw.choice(PLACES)} and met {draw.choice(NAMES)}."
        for _ in range(n)
    )


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """Paths of training and held-out texts."""
    folder = tmp_path_factory.mktemp("texts")
    train = [
        {"id": f"t{i}", "author": f"A{i}", "title": f"T{i}", "text": story(i, 12 + 9 * i)}
        for i in range(5)
    ]
    held = [{"id": "v", "author": "V", "title": "V", "text": story(99, 30)}]
    return jsonl(folder / "train.jsonl", train), jsonl(folder / "held.jsonl", held)


@pytest.fixture
def config(texts) -> RunConfig:
    return RunConfig(
        model=DecoderConfig(
            vocab_size=300, n_layer=2, n_head=2, n_kv_head=1, n_embd=16, head_dim=8, mlp_dim=24,
            window=8, segment_len=8,
            memory=MemoryConfig(layers=(1,), n_retrieved=4, page_len=16),
            fraction=FractionConfig(kind="fourier", p_unknown=0.5),
        ),
        optimiser=OptimiserConfig(learning_rate=3e-3, warmup_steps=3, ema_decay=0.9),
        novels=StageConfig(n_token=20 * 3 * 8 * 2, corpora=(texts[0],)),
        validation=(texts[1],),
        n_lane=3,
        grad_segments=2,
        watch_every=4,
        validate_every=8,
        validation_tokens=40,
        checkpoint_every=3,
    )  # fmt: skip
