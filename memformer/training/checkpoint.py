"""A run on disk between two steps: everything that the next step depends on.

Weights, optimiser, moving average, random states, where the lanes stand, windows and memories; as
safetensors and JSON in one folder that always opens as its last complete checkpoint. Memory pages
that the checkpoint before had are not written again.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from memformer.config import RunConfig, completed, differences, to_json
from memformer.memory.storage import (
    MANIFEST,
    complete_save,
    read_manifest,
    read_tensors,
    write_tensors,
)
from memformer.model.decoder import Decoder
from memformer.model.saved_state import read_state, write_state
from memformer.model.state import DecoderState

KIND = "training"


class Progress(NamedTuple):
    """What a checkpoint holds beside the weights that were loaded in place."""

    step: int
    """Steps done."""
    where: dict[str, Any]
    """Where the lanes stand."""
    state: DecoderState
    """Windows and memories."""
    random: dict[str, Tensor]
    """For `set_random`, just before the next step."""


def has_checkpoint(run: Path) -> bool:
    """Whether a run's folder holds a complete checkpoint, in `checkpoint/`."""
    return (run / "checkpoint" / MANIFEST).is_file()


def save_checkpoint(
    folder: Path,
    *,
    config: RunConfig,
    tokenizer: str,
    step: int,
    where: dict[str, Any],
    model: Decoder,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor] | None,
    state: DecoderState,
) -> None:
    """Write a checkpoint over the one before.

    Args:
        tokenizer: its hash.
        average: moving average of the weights, if one is kept.

    Raises:
        SaveFailed: the disk is full or cannot be written; the checkpoint before still opens.
    """
    flat = moments_of(optimiser)
    manifest = {
        "kind": KIND,
        "run": to_json(config),
        "tokenizer": tokenizer,
        "step": step,
        "where": where,
        "weights": write_tensors(folder, dict(model.named_parameters())),
        "optimiser": write_tensors(folder, flat) if flat else None,
        "average": None if average is None else write_tensors(folder, average),
        "random": write_tensors(folder, random_state()),
        "state": write_state(folder, state),
    }
    complete_save(folder, manifest)


def load_checkpoint(
    folder: Path,
    *,
    config: RunConfig,
    tokenizer: str,
    model: Decoder,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor] | None,
) -> Progress:
    """Read the last complete checkpoint into a model, its optimiser and its average.

    Raises:
        UnreadableSave: there is none, or it is damaged.
        ValueError: it was made under another config or tokenizer; names the first difference.
    """
    manifest = read_manifest(folder, KIND)
    for name, theirs, ours in differences(completed(manifest["run"], config), to_json(config)):
        raise ValueError(
            f"{folder} was made with {name}={theirs!r}, this run has {ours!r}: resume with the "
            "config it began with, or begin a new run in another folder"
        )
    if manifest["tokenizer"] != tokenizer:
        raise ValueError(
            f"{folder} was made with tokenizer {manifest['tokenizer'][:6]}, this run has "
            f"{tokenizer[:6]}: the training texts changed; begin a new run in another folder"
        )
    device = model.embedding.weight.device
    model.load_state_dict(read_tensors(folder, manifest["weights"], device))
    stored = manifest["optimiser"]
    set_moments(optimiser, {} if stored is None else read_tensors(folder, stored, device))
    if average is not None:
        for name, tensor in read_tensors(folder, manifest["average"], device).items():
            average[name].copy_(tensor)
    return Progress(
        step=manifest["step"],
        where=manifest["where"],
        state=read_state(folder, manifest["state"], model),
        random=read_tensors(folder, manifest["random"]),
    )


def moments_of(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers, flat, for `write_tensors` and `set_moments`."""
    moments = optimiser.state_dict()["state"]
    return {f"{i}.{name}": t for i, each in moments.items() for name, t in each.items()}


def set_moments(optimiser: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    """Give an optimiser over the same weights what `moments_of` found."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in flat.items():
        i, _, kind = name.partition(".")
        # torch keeps the count of steps on the CPU
        moments.setdefault(int(i), {})[kind] = tensor.cpu() if kind == "step" else tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})


def random_state() -> dict[str, Tensor]:
    """States of torch's generators, of this process and of its GPUs."""
    found = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        found |= {f"cuda.{i}": each for i, each in enumerate(torch.cuda.get_rng_state_all())}
    return found


def set_random(states: dict[str, Tensor]) -> None:
    """Put torch's generators where `random_state` found them."""
    torch.set_rng_state(states["cpu"])
    for name, each in states.items():
        if name.startswith("cuda.") and torch.cuda.is_available():
            torch.cuda.set_rng_state(each, int(name.removeprefix("cuda.")))
