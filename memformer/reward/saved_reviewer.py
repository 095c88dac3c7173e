"""A reviewer and its score head on disk: safetensors and JSON, complete or not there at all."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from memformer.config import DecoderConfig, from_json, to_json
from memformer.data.tokenizer import Tokenizer
from memformer.memory.storage import (
    UnreadableSave,
    complete_save,
    read_manifest,
    read_tensors,
    write_tensors,
)
from memformer.model.decoder import Decoder
from memformer.reward.review_text import ReviewVocabulary
from memformer.reward.reviewer import Reviewer
from memformer.reward.score_head import ScoreHead

KIND = "reviewer"


class SavedReviewer(NamedTuple):
    """What a folder of a reviewer holds."""

    reviewer: Reviewer
    head: ScoreHead | None
    """None where none was trained."""


def save_reviewer(folder: Path, reviewer: Reviewer, head: ScoreHead | None = None) -> None:
    """Write a reviewer, over the one that was saved there before. The tokenizer is not written.

    Raises:
        SaveFailed: the disk is full or cannot be written; the last complete save is untouched.
    """
    model = reviewer.model
    manifest: dict[str, Any] = {
        "kind": KIND,
        "decoder": to_json(model.config),
        "vocabulary": to_json(reviewer.vocabulary),
        "max_len": reviewer.max_len,
        "weights": write_tensors(folder, dict(model.named_parameters())),
        "head": None if head is None else write_tensors(folder, head.state_dict()),
    }
    complete_save(folder, manifest)


def load_reviewer(
    folder: Path, tokenizer: Tokenizer | None = None, device: torch.device | str = "cpu"
) -> SavedReviewer:
    """The reviewer that `save_reviewer` wrote, set to evaluation.

    Args:
        tokenizer: that texts are encoded with; None leaves it unchecked.

    Raises:
        UnreadableSave: nothing was saved there, it is damaged, or another tokenizer's.
    """
    manifest = read_manifest(folder, KIND)
    try:
        vocabulary = from_json(ReviewVocabulary, manifest["vocabulary"])
        with torch.device("meta"):
            model = Decoder(from_json(DecoderConfig, manifest["decoder"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableSave(f"{folder}: the manifest describes no reviewer ({error})") from None
    if tokenizer is not None and tokenizer.hash != vocabulary.tokenizer:
        raise UnreadableSave(
            f"{folder}: the reviewer reads tokenizer {vocabulary.tokenizer[:6]}, this one is "
            f"{tokenizer.hash[:6]}: encode with the reviewer's"
        )
    model.load_state_dict(read_tensors(folder, manifest["weights"], device), assign=True)
    reviewer = Reviewer(model.eval(), vocabulary, max_len=manifest["max_len"])
    if manifest["head"] is None:
        return SavedReviewer(reviewer, None)
    head = ScoreHead(model.config.n_embd).to(device)
    head.load_state_dict(read_tensors(folder, manifest["head"], device))
    return SavedReviewer(reviewer, head.eval())
