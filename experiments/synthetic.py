"""What the studies on made-up tasks share: batches, training, answers, rows of results.

B lanes, T tokens of a sequence
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from memformer.config import OptimiserConfig
from memformer.data.lanes import Segment
from memformer.evaluation.machine import describe
from memformer.model.decoder import Decoder
from memformer.training.optimiser import build_optimiser, rate_share, set_rate
from memformer.training.step import train_step


class Batch(NamedTuple):
    """Sequences with questions. Targets are the tokens one place on."""

    tokens: Tensor
    """(B, T + 1) int64."""
    is_asked: Tensor
    """(B, T) bool: the next token is the answer to a question."""
    distance: Tensor
    """(B, T) int64: tokens from there back to the answer's nearest statement; 0 elsewhere."""


class Recall(NamedTuple):
    """Associative recall: pairs, then questions among noise. Ids: keys, values, noise."""

    n_key: int = 64
    n_value: int = 64
    n_noise: int = 16

    @property
    def vocab_size(self) -> int:
        return self.n_key + self.n_value + self.n_noise

    def draw(
        self, n_lane: int, n_token: int, *, n_pair: int, n_ask: int, rng: torch.Generator
    ) -> Batch:
        """`n_pair` pairs of different keys stand first; each key is asked `n_ask` times later.

        A question is a key followed by its value, so it also states the pair anew. With
        `n_ask=1` all questions stand at the end; else they are scattered over what follows
        the pairs. Everything else is noise.
        """
        if n_token % 2 or n_token < 2 * n_pair * (1 + n_ask):
            raise ValueError(f"n_token must be even and hold all pairs and questions: {n_token}")
        rows = [self._lane(n_token, n_pair, n_ask, rng) for _ in range(n_lane)]
        tokens = torch.stack([row for row, _ in rows])
        distance = torch.stack([row for _, row in rows])
        return Batch(tokens, distance > 0, distance)

    def _lane(
        self, n_token: int, n_pair: int, n_ask: int, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        n_slot = n_token // 2 - n_pair
        keys = torch.randperm(self.n_key, generator=rng)[:n_pair]
        values = torch.randint(self.n_value, (n_pair,), generator=rng) + self.n_key
        asked = torch.cat([torch.randperm(n_pair, generator=rng) for _ in range(n_ask)])
        if n_ask == 1:
            slots = torch.arange(n_slot - n_pair, n_slot)
        else:
            slots = torch.randperm(n_slot, generator=rng)[: len(asked)].sort().values
        noise = torch.randint(self.n_noise, (n_token + 2,), generator=rng)
        tokens = noise + self.n_key + self.n_value  # one pair more: T + 1 tokens are kept
        pairs = tokens.view(-1, 2)
        pairs[:n_pair] = torch.stack((keys, values), 1)
        pairs[n_pair + slots] = pairs[asked]
        last, distance = 2 * torch.arange(n_pair), torch.zeros(n_token, dtype=torch.int64)
        for pair, slot in zip(asked.tolist(), slots.tolist(), strict=True):
            at = 2 * (n_pair + slot)  # the value of the nearest statement stands at last + 1
            distance[at] = at - last[pair] - 1
            last[pair] = at
        return tokens[: n_token + 1], distance


def segments_of(batch: Batch, weight: Tensor, segment_len: int) -> list[Segment]:
    """A batch cut for `read_passage`; weight (B, T) of each target."""
    inputs, targets = batch.tokens[:, :-1], batch.tokens[:, 1:]
    cuts = range(0, inputs.shape[1], segment_len)
    parts = [slice(i, i + segment_len) for i in cuts]
    mask, fraction = torch.ones_like(inputs).bool(), torch.full(inputs.shape, torch.nan)
    return [
        Segment(inputs[:, p], targets[:, p], mask[:, p], weight[:, p], fraction[:, p], [], [])
        for p in parts
    ]


@torch.no_grad()
def are_hits(model: Decoder, batch: Batch, segment_len: int) -> Tensor:
    """Whether each question's answer gets the largest logit; (n,) bool in the order of
    `batch.is_asked`."""
    state, hits = model.new_state(len(batch.tokens)), []
    for i in range(0, batch.is_asked.shape[1], segment_len):
        part = slice(i, min(i + segment_len, batch.is_asked.shape[1]))
        out = model(batch.tokens[:, part], state)
        state.advance(out)
        hits.append(out.logits.argmax(-1) == batch.tokens[:, part.start + 1 : part.stop + 1])
    return torch.cat(hits, dim=1)[batch.is_asked]


def without_memory(model: Decoder) -> Decoder:
    """The same weights, memory switched off."""
    return model.reconfigure({"memory.layers": ()})


class Trained(NamedTuple):
    """Where a run stands after a step."""

    step: int
    n_token: int
    loss: float


def training(
    model: Decoder,
    draw: Callable[[int], tuple[list[Segment], int]],
    config: OptimiserConfig,
    n_step: int,
) -> Iterator[Trained]:
    """Train on what `draw(step)` gives, segments of new manuscripts and their grad_segments."""
    optimiser, n_token = build_optimiser(model, config), 0
    for step in range(n_step):
        set_rate(optimiser, rate_share(step, n_step, config))
        segments, grad_segments = draw(step)
        state = model.new_state(len(segments[0].tokens), grad_segments=grad_segments)
        out = train_step(model, state, optimiser, [segments], clip_norm=config.clip_norm)
        n_token += out.n_token
        yield Trained(step + 1, n_token, out.loss)


def mean_interval(values: list[float]) -> tuple[float, float]:
    """Mean over seeds and half the width of its 95 % interval (Student's t)."""
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return mean, math.nan
    t = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}[n]
    return mean, t * math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)


class Rows:
    """Rows of results in one JSON file, written after each; a row that is there is not made anew.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def has(self, **names: Any) -> bool:
        return any(all(row[k] == v for k, v in names.items()) for row in self.rows)

    def add(self, row: dict[str, Any], started: float) -> None:
        wall = {"wall_s": round(time.time() - started, 1), "machine": describe()}
        self.rows.append({**row, **wall})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(self.rows, indent=1) + "\n")
        temporary.replace(self.path)
