"""A decoder's state on disk: safetensors and JSON, complete or not there at all.

Memory pages that an earlier save into the same folder wrote are not written again.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from memformer.config import DecoderConfig, differences, from_json, to_json
from memformer.data.tokenizer import Tokenizer
from memformer.memory.saved_memory import read_pages, write_pages
from memformer.memory.storage import (
    UnreadableSave,
    complete_save,
    read_manifest,
    read_tensors,
    write_tensors,
)
from memformer.model.attention_state import AttentionState
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState
from memformer.model.sums import Sums

KIND = "decoder-state"
_TENSORS = ("keys", "values", "fraction", "sink_keys", "sink_values")
_NUMBERS = ("window", "n_sink", "grad_segments", "n_read", "n_held", "recent_lengths")


def weights_hash(model: nn.Module) -> str:
    """Digest of all parameters: names, shapes, dtypes and bits."""
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        bits = weight.detach().cpu().contiguous().view(torch.uint8)
        digest.update(bits.numpy().data)
    return digest.hexdigest()


def save_state(
    state: DecoderState, folder: Path, model: Decoder, tokenizer: Tokenizer | None = None
) -> None:
    """Write a state to a folder, over the state that was saved there before.

    Raises:
        ValueError: the state is a view.
        SaveFailed: the disk is full or cannot be written; the last complete save is untouched.
    """
    manifest = {
        "kind": KIND,
        "weights": weights_hash(model),
        "tokenizer": None if tokenizer is None else tokenizer.hash,
        **write_state(folder, state),
    }
    complete_save(folder, manifest)


def write_state(folder: Path, state: DecoderState) -> dict[str, Any]:
    """Write a state's tensors and pages, those saved before not again.

    Returns:
        What `read_state` needs, for a manifest. The files are safe once that is written.

    Raises:
        ValueError, SaveFailed: as `save_state`.
    """
    if state.is_view:
        raise ValueError("save: this state is a view; save the state it was made from")
    layers = [
        {
            **{name: getattr(layer, name) for name in _NUMBERS},
            "memory": None if layer.memory is None else write_pages(folder, layer.memory),
        }
        for layer in state.layers
    ]
    tensors = {f"conv.{i}": conv for i, conv in enumerate(state.conv)}
    for i, layer in enumerate(state.layers):
        tensors |= {f"{name}.{i}": getattr(layer, name) for name in _TENSORS}
        if layer.compressive is not None:
            tensors |= {
                f"compressive.{name}.{i}": x for name, x in layer.compressive._asdict().items()
            }
    if state.recurrent is not None:
        tensors["recurrent"] = state.recurrent
    return {
        "config": to_json(state.config),
        "is_hidden": state.is_hidden,
        "layers": layers,
        "tensors": write_tensors(folder, tensors),
    }


def load_state(
    folder: Path, model: Decoder, tokenizer: Tokenizer | None = None, *, check: bool = True
) -> DecoderState:
    """Read the last complete save of a state.

    Raises:
        UnreadableSave: nothing was saved there, a file is missing or damaged, or, with `check`, it
            was saved with other weights, another config or another tokenizer.
    """
    manifest = read_manifest(folder, KIND)
    if check:
        _check_model(folder, manifest, model, tokenizer)
    return read_state(folder, manifest, model)


def read_state(folder: Path, manifest: dict[str, Any], model: Decoder) -> DecoderState:
    """The state that `write_state` wrote, on the model's device.

    Raises:
        UnreadableSave: a file is missing or damaged, or the model has another number of layers.
    """
    device = model.embedding.weight.device
    tensors = read_tensors(folder, manifest["tensors"], device)
    if len(manifest["layers"]) != model.config.n_layer:
        raise UnreadableSave(
            f"{folder}: the state has {len(manifest['layers'])} layers, "
            f"the model {model.config.n_layer}"
        )
    layers = []
    for i, entry in enumerate(manifest["layers"]):
        pages = entry["memory"]
        parts: dict[str, Any] = {name: entry[name] for name in _NUMBERS}
        parts |= {name: tensors[f"{name}.{i}"] for name in _TENSORS}
        parts["memory"] = None if pages is None else read_pages(folder, pages, device)
        if f"compressive.matrix.{i}" in tensors:
            parts["compressive"] = Sums(*(tensors[f"compressive.{n}.{i}"] for n in Sums._fields))
        layers.append(AttentionState(**parts))
    conv = [tensors[f"conv.{i}"] for i in range(sum(n.startswith("conv.") for n in tensors))]
    config = from_json(DecoderConfig, manifest["config"])
    return DecoderState(
        config=config,
        layers=layers,
        conv=conv,
        is_hidden=manifest["is_hidden"],
        recurrent=tensors.get("recurrent"),
    )


def _check_model(
    folder: Path, manifest: dict[str, Any], model: Decoder, tokenizer: Tokenizer | None
) -> None:
    way_out = "load it with what it was saved with, or pass check=False"
    saved_with = to_json(from_json(DecoderConfig, manifest["config"]))  # fields that came later
    for name, theirs, ours in differences(saved_with, to_json(model.config)):
        raise UnreadableSave(
            f"{folder}: state was saved with {name}={theirs!r}, this model has {ours!r}: {way_out}"
        )
    weights = weights_hash(model)
    if weights != manifest["weights"]:
        raise UnreadableSave(
            f"{folder}: state was saved with weights {manifest['weights'][:6]}, "
            f"this model has {weights[:6]}: {way_out}"
        )
    saved = manifest["tokenizer"]
    if tokenizer is not None and saved is not None and tokenizer.hash != saved:
        raise UnreadableSave(
            f"{folder}: state was saved with tokenizer {saved[:6]}, "
            f"this one is {tokenizer.hash[:6]}: {way_out}"
        )
