"""A manuscript being written, which can be put aside and taken up again.

V vocabulary
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from memformer.data.tokenizer import Tokenizer
from memformer.generation.prompts import check_length, read_prompts
from memformer.memory.storage import (
    complete_save,
    read_manifest,
    read_tensors,
    write_tensors,
)
from memformer.model.decoder import Decoder
from memformer.model.saved_state import KIND, load_state, weights_hash, write_state
from memformer.model.state import DecoderState


@dataclass
class Draft:
    """One manuscript: what the decoder has read of it, and what that says of the next token."""

    state: DecoderState
    """Of one lane."""
    ids: list[int]
    """All that was read, as far as it is known."""
    logits: Tensor | None
    """(1, V), of the next token; None before anything was read."""
    length: int | None
    """Declared length in tokens."""

    def read(self, model: Decoder, ids: Sequence[int]) -> None:
        """Read on; the state advances.

        Raises:
            ValueError: as `read_prompts`.
        """
        self.logits = read_prompts(model, self.state, [ids], length=self.length)
        self.ids = [*self.ids, *ids]

    def declare(self, length: int | None) -> None:
        """Declare another length, of which all that is read from now on takes its fraction; None
        keeps the one declared before.

        Raises:
            ValueError: length is below 1.
        """
        check_length(length)
        self.length = self.length if length is None else length

    def next_logits(self) -> Tensor:
        """(1, V), of the next token.

        Raises:
            ValueError: nothing was read, or the state was saved without what comes next.
        """
        if self.logits is None:
            raise ValueError("the draft does not know its next token: give it a prompt to read")
        return self.logits


def new_draft(model: Decoder) -> Draft:
    """A draft of which nothing was read yet, of unknown length."""
    return Draft(model.new_state(batch_size=1), [], None, None)


def save_draft(draft: Draft, folder: Path, model: Decoder, tokenizer: Tokenizer) -> None:
    """Write a draft to a folder, over what was saved there before; complete or not at all.

    `DecoderState.load` opens the folder too: it holds what `DecoderState.save` writes, and more.

    Raises:
        SaveFailed: the disk is full or cannot be written; the last complete save is untouched.
    """
    ahead = {} if draft.logits is None else {"logits": draft.logits}
    tensors = {"ids": torch.tensor(draft.ids, dtype=torch.int64), **ahead}
    manifest = {
        "kind": KIND,
        "weights": weights_hash(model),
        "tokenizer": tokenizer.hash,
        **write_state(folder, draft.state),
        "draft": {"length": draft.length, "tensors": write_tensors(folder, tensors)},
    }
    complete_save(folder, manifest)


def check_place(folder: Path, going_on: Path | None, overwrite: bool) -> None:
    """A folder to save to must be new, empty, or the one that is gone on from, unless it may be
    overwritten.

    Raises:
        ValueError: it holds something.
    """
    is_same = going_on is not None and folder.resolve() == going_on.resolve()
    if not overwrite and not is_same and folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"save-state: {folder} is not empty, saving would replace what it holds: name another "
            "folder, or give --overwrite"
        )


def load_draft(folder: Path, model: Decoder, tokenizer: Tokenizer) -> Draft:
    """Read what `save_draft` wrote, or `DecoderState.save`: then something must be read first.

    Raises:
        UnreadableSave: nothing was saved there, it is damaged, or it was saved with another model
            or tokenizer.
        ValueError: it is a state of several lanes.
    """
    state = load_state(folder, model, tokenizer)
    if state.n_lane != 1:
        raise ValueError(f"{folder}: a draft has one lane, the state has {state.n_lane}")
    saved = read_manifest(folder, KIND).get("draft")
    if saved is None:
        return Draft(state, [], None, None)
    tensors = read_tensors(folder, saved["tensors"], model.embedding.weight.device)
    return Draft(state, tensors["ids"].tolist(), tensors.get("logits"), saved["length"])
