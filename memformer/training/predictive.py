"""Training on the next token: one Lightning module around a plain decoder.

The step itself is `step.train_step`; what is here binds it to a trainer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from memformer.config import RunConfig
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState
from memformer.training.checkpoint import Progress, set_random
from memformer.training.datamodule import StepBatch
from memformer.training.low_rank import add_low_rank, merged
from memformer.training.memory_use import MemoryUse, memory_use
from memformer.training.optimiser import build_optimiser, rate_share, set_rate
from memformer.training.step import StepOut, train_step


class TrainingDiverged(FloatingPointError):
    """Loss or gradient is not finite. No weight was moved; says where the last checkpoint is."""


class PredictiveModule(LightningModule):
    """A decoder, its optimiser, and the state with which it reads.

    Args:
        model: on the device it is trained on.
        config: of the run.
        checkpoints: where checkpoints are, named if training diverges.
    """

    def __init__(self, model: Decoder, config: RunConfig, checkpoints: Path) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.run, self.checkpoints = model, config, checkpoints
        if config.low_rank.rank:
            add_low_rank(model, config.low_rank)
        if config.compile:
            model.compile_blocks()
        self.optimiser = build_optimiser(model, config.optimiser)
        self.average: dict[str, Tensor] | None = None
        if config.optimiser.ema_decay is not None:
            self.average = {n: w.detach().clone() for n, w in model.named_parameters()}
        self.state: DecoderState = model.new_state(
            config.n_lane, grad_segments=config.grad_segments
        )
        self.done, self.saved = 0, 0
        """Steps done, and those that the last checkpoint holds."""
        self.where: dict[str, Any] = {}
        self.last: StepOut | None = None
        self.uses: list[MemoryUse] = []
        """How each head used the memory in the last step; empty if it was not looked at."""
        self._random: dict[str, Tensor] | None = None

    def resume(self, progress: Progress) -> None:
        """Go on from a checkpoint whose weights were loaded already."""
        self.done = self.saved = progress.step
        self.where, self.state, self._random = progress.where, progress.state, progress.random

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser made with the module."""
        return self.optimiser

    @property
    def rate(self) -> float:
        """Learning rate of the running step, as a share of the peak."""
        return rate_share(self.done, self.run.n_step, self.run.optimiser)

    @property
    def is_watched(self) -> bool:
        """Whether the running step looks at how memory is used."""
        n = self.done + 1
        return n % self.run.watch_every == 0 or n in (1, self.run.n_step)

    def training_step(self, batch: StepBatch, _: int) -> None:
        """One update of the weights.

        Raises:
            TrainingDiverged: the loss or the gradient is not finite.
        """
        if self._random is not None:  # last of all: whatever a trainer draws at its start is undone
            set_random(self._random)
            self._random = None
        optimiser = cast(torch.optim.Optimizer, self.optimizers())
        set_rate(optimiser, self.rate)
        out = train_step(
            self.model,
            self.state,
            optimiser,
            batch.passages,
            clip_norm=self.run.optimiser.clip_norm,
            precision=self.run.precision,
            recompute=self.run.recompute,
            want_retrieved=self.is_watched and bool(self.run.model.memory_layers),
            backward=self.manual_backward,
        )
        self._guard(out)
        self._follow()
        self.last, self.where, self.uses = out, batch.where, []
        if out.last.retrieved is not None:
            n = self.run.grad_segments * self.run.accumulate
            self.uses = list(memory_use(self.model, out.last, batch.passages[-1][-1], n))
        self.done += 1

    def _guard(self, out: StepOut) -> None:
        if torch.tensor([out.loss, out.grad_norm]).isfinite().all():
            return
        kept = f"{self.checkpoints} holds step {self.saved}" if self.saved else "none was made yet"
        raise TrainingDiverged(
            f"step {self.done + 1}: loss {out.loss}, gradient norm {out.grad_norm}; the weights "
            f"were not moved. Last good checkpoint: {kept}. Lower optimiser.learning_rate or "
            "optimiser.clip_norm and begin a new run"
        )

    def _follow(self) -> None:
        """Move the average towards the weights: average <- decay·average + (1 - decay)·weight, with
        a smaller decay at the start, so that the random weights it began from are forgotten."""
        if self.average is None or self.run.optimiser.ema_decay is None:
            return
        decay = min(self.run.optimiser.ema_decay, (1 + self.done) / (10 + self.done))
        for name, weight in self.model.named_parameters():
            self.average[name].lerp_(weight.detach(), 1 - decay)

    @contextmanager
    def published(self) -> Iterator[Decoder]:
        """The decoder that will be published: with averaged weights, if an average is kept, and
        low-rank changes added in."""
        if self.average is None:
            yield merged(self.model)
            return
        kept = {name: weight.detach().clone() for name, weight in self.model.named_parameters()}
        self.model.load_state_dict(self.average)
        try:
            yield merged(self.model)
        finally:
            self.model.load_state_dict(kept)
