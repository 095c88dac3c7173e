"""Cells that are training runs, and what is measured of them."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from memformer.ablation.metric import Metric
from memformer.config import RunConfig
from memformer.data.corpora import texts_named
from memformer.data.tokenizer import Tokenizer
from memformer.evaluation.encoded import encode
from memformer.evaluation.search_recall import search_recall
from memformer.interop.run import is_run, load_run, start_of
from memformer.model.decoder import Decoder


class Trained(NamedTuple):
    """A training run that has ended."""

    config: RunConfig
    folder: Path

    def load(self) -> tuple[Decoder, Tokenizer]:
        """The decoder, set to evaluation, and its tokenizer."""
        return load_run(self.folder)

    def validation(self) -> list[dict[str, str]]:
        """Rows of validation.csv: step, book, memory (on, off), n_token, nats."""
        with (self.folder / "validation.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def held_out(self, memory: str) -> dict[str, float]:
        """Nats a token of each held-out book after the last step, memory `on` or `off`."""
        rows = self.validation()
        last = rows[-1]["step"]
        return {
            row["book"]: float(row["nats"])
            for row in rows
            if row["step"] == last and row["memory"] == memory
        }

    def curve(self) -> tuple[tuple[int, float], ...]:
        """Steps and the mean over books of the held-out nats after them, as trained."""
        rows = self.validation()
        way = "on" if any(row["memory"] == "on" for row in rows) else "off"
        nats: dict[int, list[float]] = {}
        for row in rows:
            if row["memory"] == way:
                nats.setdefault(int(row["step"]), []).append(float(row["nats"]))
        return tuple((step, sum(each) / len(each)) for step, each in sorted(nats.items()))

    def search_recall(self) -> dict[str, float]:
        """Share of the best pairs that the configured search finds, by held-out book and layer;
        empty without a paged memory. See `evaluation.search_recall`."""
        if not self.config.model.memory_layers:
            return {}
        model, tokenizer = self.load()
        found: dict[str, float] = {}
        for name in self.config.validation:
            for book in texts_named(name, "validation"):
                whole = encode(book, tokenizer)
                n = min(len(whole), self.config.validation_tokens)
                u = (torch.arange(n)[None] + 0.5) / len(whole)
                told = u if self.config.model.uses_fraction else None
                recall = search_recall(model, torch.from_numpy(whole.ids[:n])[None], told)
                found |= {f"{book.id}, layer {depth}": r for depth, r in recall.items()}
        return found


def train_run(config: RunConfig, folder: Path) -> Trained:
    """Train, or go on with what the folder holds. Raises as `training.run.train`, also where a
    run of another config has ended there."""
    from memformer.training.run import claim, train  # brings Lightning: seconds, for training alone

    resume = is_run(folder)
    claim(config, folder, resume=resume)
    if not (folder / "model").is_dir():
        train(config, folder, resume=resume, start=start_of(config, folder))
    return Trained(config, folder)


def _nats(run: Trained) -> Mapping[str, float]:
    return run.held_out("on") or run.held_out("off")


def _gain(run: Trained) -> Mapping[str, float]:
    on, off = run.held_out("on"), run.held_out("off")
    return {book: off[book] - on[book] for book in on}


recall_of_search = Metric(
    name="recall of search",
    of=Trained.search_recall,
    better="higher",
    what="share of the pairs that exact search finds",
)
held_out_nats = Metric(name="held-out nats", of=_nats, better="lower", what="nats a token")
memory_gain = Metric(
    name="memory gain", of=_gain, better="higher", what="nats a token, memory off minus on"
)
