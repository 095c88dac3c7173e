"""What happens between two steps: rows are written, held-out books read, checkpoints made."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from memformer.evaluation.encoded import EncodedManuscript
from memformer.training import memory_use, validation
from memformer.training.checkpoint import save_checkpoint
from memformer.training.predictive import PredictiveModule
from memformer.training.table import Table

METRICS = (
    "tokens", "seconds", "loss", "rate", "grad_norm", "memory_mass", "memory_heads",
)  # fmt: skip


class Log(Callback):
    """metrics.csv, a row a step, and memory.csv, a row a head when the memory is looked at; the
    same numbers go to the trainer's loggers."""

    def __init__(self, folder: Path) -> None:
        self.metrics = Table(folder / "metrics.csv", METRICS)
        self.memory = Table(folder / "memory.csv", memory_use.COLUMNS)
        self.tokens, self.before, self.started = 0, 0.0, time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Cut what a killed run wrote past its checkpoint, and go on counting."""
        for table in (self.metrics, self.memory):
            table.cut(pl_module.done)
        rows = self.metrics.rows()
        self.tokens = int(rows[-1]["tokens"]) if rows else 0
        self.before = float(rows[-1]["seconds"]) if rows else 0.0
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """Write the step that was just made."""
        module: PredictiveModule = pl_module
        assert module.last is not None
        out = module.last
        self.tokens += out.n_token
        row: dict[str, Any] = {
            "step": module.done,
            "tokens": self.tokens,
            "seconds": round(self.before + time.perf_counter() - self.started, 3),
            "loss": out.loss,
            "rate": module.optimiser.param_groups[0]["lr"],
            "grad_norm": out.grad_norm,
        }
        if module.uses:
            row["memory_mass"] = memory_use.mean_mass(module.uses)
            row["memory_heads"] = memory_use.share_of_heads(module.uses)
        for use in module.uses:
            self.memory.append({"step": module.done, **use._asdict()})
        self.metrics.append(row)
        for logger in trainer.loggers:
            numbers = {name: value for name, value in row.items() if name != "step"}
            logger.log_metrics(numbers, step=module.done)


class Validate(Callback):
    """validation.csv: held-out nats by book, memory on and off."""

    def __init__(self, folder: Path, books: Sequence[EncodedManuscript], console: Console) -> None:
        self.table = Table(folder / "validation.csv", validation.COLUMNS)
        self.books, self.console = books, console

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Cut what a killed run wrote past its checkpoint."""
        self.table.cut(pl_module.done)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """Read the held-out books when it is time."""
        module: PredictiveModule = pl_module
        if module.done % module.run.validate_every and module.done != module.run.n_step:
            return
        if not self.books:
            return
        with module.published() as model:
            held = validation.validate(model, self.books)
        for each in held:
            self.table.append({"step": module.done, **each._asdict()})
        means = {m: validation.mean_nats(held, m) for m in ("on", "off")}
        known = {m: value for m, value in means.items() if value == value}
        for logger in trainer.loggers:
            logger.log_metrics({f"held_out_{m}": v for m, v in known.items()}, step=module.done)
        words = ", ".join(f"memory {m} {value:.4f}" for m, value in known.items())
        self.console.print(f"step {module.done}: held-out nats a token: {words}", highlight=False)


class Checkpoint(Callback):
    """A checkpoint when it is time; the last callback, so that all rows of its step are written."""

    def __init__(self, folder: Path, tokenizer: str) -> None:
        self.folder, self.tokenizer = folder, tokenizer

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """Write it over the one before."""
        module: PredictiveModule = pl_module
        if module.done % module.run.checkpoint_every and module.done != module.run.n_step:
            return
        save_checkpoint(
            self.folder,
            config=module.run,
            tokenizer=self.tokenizer,
            step=module.done,
            where=module.where,
            model=module.model,
            optimiser=module.optimiser,
            average=module.average,
            state=module.state,
        )
        module.saved = module.done


class Bar(Callback):
    """A progress bar: steps, time left, tokens a second, loss, use of the memory."""

    def __init__(self, console: Console) -> None:
        self.bars = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"), console=console,
        )  # fmt: skip
        self.task = self.bars.add_task("", total=None, words="")
        self.smooth, self.rate, self.at, self.mass = float("nan"), 0.0, 0.0, ""

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Show it."""
        self.bars.update(self.task, total=pl_module.run.n_step, completed=pl_module.done)
        self.at = time.perf_counter()
        self.bars.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """One step on."""
        out, now = pl_module.last, time.perf_counter()
        self.rate = (
            0.9 * self.rate + 0.1 * out.n_token / (now - self.at)
            if self.rate
            else (out.n_token / (now - self.at))
        )
        self.at = now
        is_first = self.smooth != self.smooth
        self.smooth = out.loss if is_first else 0.95 * self.smooth + 0.05 * out.loss
        if pl_module.uses:
            self.mass = f"  memory {memory_use.mean_mass(pl_module.uses):.2f}"
        words = f"{self.rate:,.0f} tokens/s  loss {self.smooth:.3f}{self.mass}"
        self.bars.update(self.task, completed=pl_module.done, words=words)

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Leave the terminal as it was, also after an error."""
        self.bars.stop()
