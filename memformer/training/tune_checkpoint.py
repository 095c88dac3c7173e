"""A tuning on disk between two updates: everything that the next update depends on.

Draws depend on seed and update alone, so no random state is kept.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memformer.config import differences, to_json
from memformer.config.reward_training import TuneConfig
from memformer.memory.storage import (
    MANIFEST,
    complete_save,
    read_manifest,
    read_tensors,
    write_tensors,
)
from memformer.model.decoder import Decoder

KIND = "tuning"


def has_tuning(folder: Path) -> bool:
    """Whether a folder holds a complete checkpoint of a tuning."""
    return (folder / MANIFEST).is_file()


def save_tuning(
    folder: Path,
    config: TuneConfig,
    made_of: tuple[str, str],
    model: Decoder,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor] | None,
    best: dict[str, Tensor],
    progress: dict[str, Any],
) -> None:
    """Write a checkpoint over the one before.

    Args:
        made_of: digests of the reference's weights, and of data, reward and gold.
        average: moving average of the weights, if one is kept.
        best: weights of the best look at gold so far.
        progress: update, rows, looks, spent, reason; what JSON holds.

    Raises:
        SaveFailed: the disk is full or cannot be written; the checkpoint before still opens.
    """
    moments = optimiser.state_dict()["state"]
    flat = {f"{i}.{name}": t for i, each in moments.items() for name, t in each.items()}
    manifest = {
        "kind": KIND,
        "tune": to_json(config),
        "reference": made_of[0],
        "inputs": made_of[1],
        "progress": progress,
        "weights": write_tensors(folder, dict(model.named_parameters())),
        "optimiser": write_tensors(folder, flat) if flat else None,
        "average": None if average is None else write_tensors(folder, average),
        "best": write_tensors(folder, best),
    }
    complete_save(folder, manifest)


def load_tuning(
    folder: Path,
    config: TuneConfig,
    made_of: tuple[str, str],
    model: Decoder,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor] | None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the last complete checkpoint into a model, its optimiser and its average.

    Returns:
        The best weights so far, and the progress.

    Raises:
        UnreadableSave: there is none, or it is damaged.
        ValueError: it was made under another config, with another reference or other inputs.
    """
    manifest = read_manifest(folder, KIND)
    for name, theirs, ours in differences(manifest["tune"], to_json(config)):
        raise ValueError(
            f"{folder} was made with {name}={theirs!r}, this tuning has {ours!r}: resume with the "
            "config it began with, or begin a new one in another folder"
        )
    if manifest["reference"] != made_of[0]:
        raise ValueError(
            f"{folder} was made with reference {manifest['reference'][:6]}, this tuning has "
            f"{made_of[0][:6]}: KL would be to another model; begin a new one in another folder"
        )
    if manifest.get("inputs") != made_of[1]:
        raise ValueError(
            f"{folder} was made with other texts, another reward or other gold: resume with those "
            "it began with, or begin a new one in another folder"
        )
    device = model.embedding.weight.device
    model.load_state_dict(read_tensors(folder, manifest["weights"], device))
    moments: dict[int, dict[str, Tensor]] = {}
    if manifest["optimiser"] is not None:
        for name, tensor in read_tensors(folder, manifest["optimiser"], device).items():
            i, _, kind = name.partition(".")
            # torch keeps the count of steps on the CPU
            moments.setdefault(int(i), {})[kind] = tensor.cpu() if kind == "step" else tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})
    if average is not None:
        for name, tensor in read_tensors(folder, manifest["average"], device).items():
            average[name].copy_(tensor)
    return read_tensors(folder, manifest["best"], device), manifest["progress"]
