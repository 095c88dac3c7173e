"""The training of a reviewer on disk between two updates, in safetensors and JSON."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from memformer.config import differences, to_json
from memformer.config.reviewer import ReviewerConfig
from memformer.memory.storage import complete_save, read_manifest, read_tensors, write_tensors
from memformer.reward.review_text import ReviewVocabulary
from memformer.training.checkpoint import moments_of, set_moments
from memformer.training.reviewer_batches import ReviewerData

KIND = "reviewer-training"


class Resumed(NamedTuple):
    """What a checkpoint holds beside the weights that were loaded in place."""

    step: int
    """Updates done."""
    drawn: dict[str, Tensor] | None
    """Drawn reviews, once there are some."""
    counts: dict[str, int]
    """Of those that were left out."""


def save_training(
    folder: Path,
    config: ReviewerConfig,
    vocabulary: ReviewVocabulary,
    data: ReviewerData,
    both: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
    drawn: dict[str, Tensor] | None,
    counts: dict[str, int],
) -> None:
    """Write a checkpoint over the one before.

    Args:
        both: decoder and head.

    Raises:
        SaveFailed: the disk is full or cannot be written; the checkpoint before still opens.
    """
    moments = moments_of(optimiser)
    manifest: dict[str, Any] = {
        "kind": KIND,
        "config": to_json(config),
        "vocabulary": to_json(vocabulary),
        "data": data.hash,
        "step": step,
        "weights": write_tensors(folder, both.state_dict()),
        "optimiser": write_tensors(folder, moments) if moments else None,
        "drawn": None if drawn is None else write_tensors(folder, drawn),
        "counts": counts,
    }
    complete_save(folder, manifest)


def load_training(
    folder: Path,
    config: ReviewerConfig,
    vocabulary: ReviewVocabulary,
    data: ReviewerData,
    both: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> Resumed:
    """Read the last complete checkpoint into decoder, head and optimiser.

    Raises:
        UnreadableSave: there is none, or it is damaged.
        ValueError: it was made with another config, tokenizer or data; names the difference.
    """
    manifest = read_manifest(folder, KIND)
    way_out = "resume with what it began with, or begin anew in another folder"
    for part, ours in (("config", to_json(config)), ("vocabulary", to_json(vocabulary))):
        for name, theirs, mine in differences(manifest[part], ours):
            raise ValueError(
                f"{folder} was made with {name}={theirs!r}, this run has {mine!r}: {way_out}"
            )
    if manifest["data"] != data.hash:
        raise ValueError(f"{folder} was made from other novels, reviews or targets: {way_out}")
    device = next(both.parameters()).device
    both.load_state_dict(read_tensors(folder, manifest["weights"], device))
    stored = manifest["optimiser"]
    set_moments(optimiser, {} if stored is None else read_tensors(folder, stored, device))
    drawn = manifest["drawn"]
    return Resumed(
        manifest["step"],
        None if drawn is None else read_tensors(folder, drawn, device),
        manifest["counts"],
    )
