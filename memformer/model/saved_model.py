"""A decoder on disk: safetensors and JSON, complete or not there at all."""

from pathlib import Path

import torch

from memformer.config import DecoderConfig, from_json, to_json
from memformer.memory.storage import (
    UnreadableSave,
    complete_save,
    read_manifest,
    read_tensors,
    write_tensors,
)
from memformer.model.decoder import Decoder

KIND = "decoder"


def save_model(model: Decoder, folder: Path) -> None:
    """Write config and weights to a folder, over the decoder that was saved there before.

    Raises:
        SaveFailed: the disk is full or cannot be written; the last complete save is untouched.
    """
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    manifest = {
        "kind": KIND,
        "config": to_json(model.config),
        "weights": write_tensors(folder, weights),
    }
    complete_save(folder, manifest)


def load_model(folder: Path, device: torch.device | str = "cpu") -> Decoder:
    """The decoder that `save_model` wrote, set to evaluation.

    Raises:
        UnreadableSave: nothing was saved there, or it is damaged.
    """
    manifest = read_manifest(folder, KIND)
    try:
        config = from_json(DecoderConfig, manifest["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableSave(f"{folder}: the manifest describes no decoder ({error})") from None
    with torch.device("meta"):
        model = Decoder(config)
    weights = read_tensors(folder, manifest["weights"], device)
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise UnreadableSave(f"{folder}: weights and config do not fit ({error})") from None
    return model.eval()
