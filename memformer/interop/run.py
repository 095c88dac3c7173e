"""What a training run begins from, and what it left: decoders with their tokenizers."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from memformer.config import RunConfig, differences, to_json
from memformer.data.manuscripts import Manuscript
from memformer.data.sentencepiece_tokenizer import FILE, SentencePieceTokenizer
from memformer.data.sources import SMOLLM2_FILE, smollm2
from memformer.data.splits import work_key
from memformer.data.token_files import TokenFolder
from memformer.data.tokenizer import Tokenizer
from memformer.evaluation.store import read_json
from memformer.memory.storage import MANIFEST
from memformer.model.decoder import Decoder
from memformer.model.saved_model import load_model
from memformer.training.checkpoint import has_checkpoint

_THEIRS = "tokenizer.json"


def is_run(folder: Path) -> bool:
    """Whether a folder is a run of `train`, ended or not.

    Raises:
        ValueError: it is the decoder in a run.
    """
    if (folder / MANIFEST).is_file() and _has_tokenizer(folder):
        raise ValueError(
            f"{folder} is only the decoder of a run: name the run that holds it as model/, "
            f"{folder.parent}"
        )
    return (folder / "run.json").is_file() or _has_tokenizer(folder / "model")


def load_run(folder: Path) -> tuple[Decoder, Tokenizer]:
    """The decoder of a run, set to evaluation, and its tokenizer.

    Raises:
        ValueError: it is no run, one that has not ended, or the decoder in one.
        UnreadableSave: the decoder is damaged.
        ImportError: the tokenizer is one of `transformers`, which is not here.
    """
    model = folder / "model"
    if not _has_tokenizer(model):
        if is_run(folder):
            raise ValueError(f"{folder} is a run that has not ended: go on with it by --resume")
        raise ValueError(f"{folder} is no run of `memformer train`: nothing was trained there")
    return load_model(model), load_tokenizer(model)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that stands in a folder, SentencePiece's or one of `transformers`.

    Raises:
        FileNotFoundError, ValueError: none is there, or it is damaged.
        ImportError: it is one of `transformers`, which is not here.
    """
    if (folder / FILE).is_file():
        return SentencePieceTokenizer.load(folder / FILE)
    from memformer.interop.tokenizer import HFTokenizer

    return HFTokenizer.load(folder)


def start_of(config: RunConfig, folder: Path | None = None) -> tuple[Decoder, Tokenizer] | None:
    """The decoder that `config.start` names, under `config.model`, and its tokenizer; None if the
    run begins from new weights.

    What the decoder has not (gates, the fraction) starts as in a new one.

    Args:
        config: of the run.
        folder: of the run, where it is resumed. Once it has a checkpoint, which holds all weights,
            what `config.start` names is not read and need not be there: the decoder comes without
            weights, on the meta device.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: its sizes are not those of `config.model` (names the first that differs), or a
            run that has not ended.
        ImportError: it needs the extra `hf`.
    """
    if not config.start:
        return None
    if folder is not None and has_checkpoint(folder) and _has_tokenizer(folder):
        with torch.device("meta"):
            return Decoder(config.model), load_tokenizer(folder)
    tokenizer: Tokenizer
    wanted = config.model
    path = smollm2() / SMOLLM2_FILE if config.start == "smollm2" else Path(config.start)
    if is_run(path):
        model, tokenizer = load_run(path)
    else:
        from memformer.interop.transformers import load_llama

        model, tokenizer = load_llama(path)
    for name, theirs, ours in differences(to_json(model.config), to_json(wanted)):
        if name in _SIZES:
            raise ValueError(
                f"start={config.start!r} has {name}={theirs!r}, model has {ours!r}: "
                f"set model.{name}"
            )
    changes = {name: each for name, each in vars(wanted).items() if name not in _SIZES}
    return model.reconfigure(changes), tokenizer


def trained_on(folder: Path, manuscripts: Iterable[Manuscript]) -> list[str] | None:
    """Ids of those manuscripts that a run was trained on, or one that it began from, if that is
    still there: of the same text, or of the same author and title. None if it does not say.

    What a pretrained checkpoint had read before is not known.

    Raises:
        ValueError: run.json or a folder of tokens is damaged.
    """
    texts: set[str] = set()
    works: set[tuple[str, str] | None] = set()
    for book in _books_of(folder):
        texts.add(book["text"])
        works.add(work_key(book["author"], book["title"]))
    if not texts:
        return None
    works.discard(None)
    return [m.id for m in manuscripts if m.hash in texts or work_key(m.author, m.title) in works]


_SIZES = (
    "vocab_size", "n_layer", "n_head", "n_kv_head", "n_embd", "head_dim", "mlp_dim", "conv_width",
    "qk_norm", "tie_embeddings", "rope_base", "norm_eps",
)  # fmt: skip


def _books_of(folder: Path) -> Iterator[dict[str, Any]]:
    """What the tokens of a run, and of those it began from, say of their manuscripts."""
    for tokens in sorted((folder / "tokens").glob("[!.]*/[!.]*")):
        yield from TokenFolder.open(tokens).manifest["manuscripts"]
    path = folder / "run.json"
    start = read_json(path).get("config", {}).get("start") if path.is_file() else None
    if start and (Path(start) / "run.json").is_file():
        yield from _books_of(Path(start))


def _has_tokenizer(model: Path) -> bool:
    return any((model / name).is_file() for name in (FILE, _THEIRS))
