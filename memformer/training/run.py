"""A training run: from the names of texts to a folder with a decoder that can be read and written
with.

    RUN/run.json          config, seed, versions, commit, hashes
    RUN/tokenizer.*       of the texts, or of what the run begins from
    RUN/tokens/           the texts in tokens
    RUN/checkpoint/       everything that the next step depends on
    RUN/metrics.csv       a row a step; memory.csv, a row a head; validation.csv, a row a book
    RUN/model/            the decoder and its tokenizer, once the run has ended
"""

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from rich.console import Console

from memformer.config import RunConfig, StageConfig, completed, differences, to_json
from memformer.data.lanes import Corpus
from memformer.data.manuscripts import Manuscript
from memformer.data.sentencepiece_tokenizer import FILE, SentencePieceTokenizer, train_tokenizer
from memformer.data.token_files import write_tokens
from memformer.data.tokenizer import Tokenizer
from memformer.evaluation.encoded import EncodedManuscript, encode
from memformer.evaluation.machine import describe
from memformer.evaluation.store import read_json
from memformer.model.decoder import Decoder
from memformer.model.saved_model import save_model
from memformer.model.saved_state import weights_hash
from memformer.training.callbacks import Bar, Checkpoint, Log, Validate
from memformer.training.checkpoint import has_checkpoint, load_checkpoint
from memformer.training.datamodule import NovelsData
from memformer.training.predictive import PredictiveModule
from memformer.training.texts import read_stages

_log = logging.getLogger(__name__)


def train(
    config: RunConfig,
    folder: Path,
    *,
    resume: bool = False,
    start: tuple[Decoder, Tokenizer] | None = None,
    console: Console | None = None,
) -> Path:
    """Train a decoder from raw texts, or go on with a run that was interrupted.

    Args:
        config: everything that decides what comes out.
        folder: of the run, made if missing.
        resume: go on from the last checkpoint of the run in the folder, or from the beginning if it
            has none yet.
        start: a decoder to begin from and its tokenizer, instead of new ones: what
            `interop.run.start_of` gives for `config.start`. It is trained in place. Without weights
            (on the meta device) if a checkpoint holds them.
        console: for the bar and a few lines; stderr by default.

    Returns:
        The folder of the trained decoder, `folder / "model"`.

    Raises:
        ValueError: the folder holds another run, or none to resume; texts that are empty or shared
            between training and validation; a vocabulary that does not fit them; a start that is
            missing, of another config, with too many tokens, or no longer the one it was.
        TrainingDiverged: the loss is not finite any more.
        SaveFailed: the disk is full.
    """
    console = Console(stderr=True) if console is None else console
    about = claim(config, folder, resume=resume)
    _check_start(config, folder, start)
    start_weights = _weights_of(start)
    _check_unchanged(config, folder, about, start_weights)
    torch.manual_seed(config.seed)
    stages, held_out = read_stages(config)
    tokenizer = _tokenizer(config, folder, stages) if start is None else start[1]
    model = Decoder(config.model) if start is None else start[0]
    if start is not None and about is None:
        tokenizer.save_in(folder)  # so that resuming needs nothing but the folder
    corpora = [
        _corpora(stage, texts, folder / "tokens" / name, tokenizer)
        for name, stage, texts in zip(
            ("general", "novels"), (config.general, config.novels), stages, strict=True
        )
    ]
    books = [_held_out(book, tokenizer, config) for book in held_out]
    _describe(config, folder, tokenizer, start_weights, corpora)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to_empty(device=device) if _is_empty(model) else model.to(device)
    module = PredictiveModule(model.train(), config, folder / "checkpoint")
    if has_checkpoint(folder):
        progress = load_checkpoint(
            folder / "checkpoint",
            config=config,
            tokenizer=tokenizer.hash,
            model=model,
            optimiser=module.optimiser,
            average=module.average,
        )
        module.resume(progress)
        console.print(f"going on from step {module.done} of {config.n_step}")
    if module.done < config.n_step:
        _fit(module, corpora, books, folder, tokenizer, console)
    return _publish(module, tokenizer, folder)


def _fit(
    module: PredictiveModule,
    corpora: Sequence[Sequence[Corpus]],
    books: Sequence[EncodedManuscript],
    folder: Path,
    tokenizer: Tokenizer,
    console: Console,
) -> None:
    config = module.run
    data = NovelsData(config, corpora, first=module.done, where=module.where or None)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = Trainer(
        accelerator="gpu" if module.model.embedding.weight.is_cuda else "cpu",
        devices=1,
        max_steps=config.n_step - module.done,
        logger=_loggers(config, folder),
        callbacks=[
            Bar(console),
            Log(folder),
            Validate(folder, books, console),
            Checkpoint(folder / "checkpoint", tokenizer.hash),
        ],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.* is deprecated")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        try:
            trainer.fit(module, datamodule=data)
        except SystemExit:  # what the trainer makes of Ctrl-C
            console.print(f"interrupted; the last checkpoint holds step {module.saved}: --resume")
            raise KeyboardInterrupt from None


def claim(config: RunConfig, folder: Path, *, resume: bool) -> dict[str, Any] | None:
    """Refuse a folder of another run, or of none to resume, before anything is fetched or computed.

    Returns:
        What run.json says of the run to resume; None if it begins.

    Raises:
        ValueError: as `train`, or run.json is damaged.
    """
    path = folder / "run.json"
    if not path.is_file():
        if resume:
            raise ValueError(
                f"{folder} holds no run to resume: name the folder of one, or begin it without "
                "resume"
            )
        return None
    if not resume:
        raise ValueError(f"{folder} holds a run already: resume it, or name another folder")
    about = read_json(path)
    if "config" not in about:
        raise ValueError(f"{path} must hold the config of a run, got none: begin a new run")
    begun_with = completed(about["config"], config)
    for name, theirs, ours in differences(begun_with, json.loads(json.dumps(to_json(config)))):
        raise ValueError(
            f"{folder} was begun with {name}={theirs!r}, this run has {ours!r}: resume with the "
            "config it began with, or begin a new run in another folder"
        )
    return about


def _check_start(config: RunConfig, folder: Path, start: tuple[Decoder, Tokenizer] | None) -> None:
    if start is None:
        if config.start:
            raise ValueError(
                f"config.start names {config.start!r}, which must be given: "
                "train(config, folder, start=memformer.interop.run.start_of(config, folder))"
            )
        return
    if not config.start:
        raise ValueError(
            "start was given, but config.start does not name it, so that a resumed run would begin "
            "from new weights: name it in config.start"
        )
    for name, theirs, ours in differences(to_json(start[0].config), to_json(config.model)):
        raise ValueError(
            f"the decoder to start from has {name}={theirs!r}, config.model has {ours!r}: "
            "they must be equal; see Decoder.reconfigure"
        )
    if start[1].vocab_size > config.model.vocab_size:
        raise ValueError(
            f"start: the tokenizer must have at most model.vocab_size={config.model.vocab_size} "
            f"tokens, got {start[1].vocab_size}: give the one that the decoder was trained with"
        )
    if _is_empty(start[0]) and not has_checkpoint(folder):
        raise ValueError(
            f"start: the decoder must have weights until {folder} has a checkpoint, got none (it "
            "is on the meta device): give memformer.interop.run.start_of(config)"
        )


def _is_empty(model: Decoder) -> bool:
    return model.embedding.weight.is_meta


def _weights_of(start: tuple[Decoder, Tokenizer] | None) -> str | None:
    """SHA-256 of the weights to begin from; None for new ones, or those of a checkpoint."""
    return None if start is None or _is_empty(start[0]) else weights_hash(start[0])


def _check_unchanged(
    config: RunConfig, folder: Path, about: dict[str, Any] | None, weights: str | None
) -> None:
    before = None if about is None else about.get("start_weights")  # runs of before have none
    if before and weights and before != weights:
        raise ValueError(
            f"{folder} was begun from weights {before[:6]}, start={config.start!r} has "
            f"{weights[:6]} now: put those back, or begin a new run in another folder"
        )


def _tokenizer(
    config: RunConfig, folder: Path, stages: list[list[list[Manuscript]]]
) -> SentencePieceTokenizer:
    """Trained on the training texts alone; the one in the folder, if a run is resumed. One that was
    left by a run that never began is not used: it may be of other texts."""
    path = folder / FILE
    if path.is_file() and (folder / "run.json").is_file():
        return SentencePieceTokenizer.load(path)
    every = {book.hash: book.text for stage in stages for texts in stage for book in texts}
    tokenizer = train_tokenizer(every.values(), config.model.vocab_size)
    tokenizer.save(path)
    return tokenizer


def _corpora(
    stage: StageConfig, texts: list[list[Manuscript]], folder: Path, tokenizer: Tokenizer
) -> list[Corpus]:
    weights = stage.weights or (1.0,) * len(texts)
    return [
        Corpus(name, write_tokens(books, tokenizer, folder / str(i)), weight)
        for i, (name, books, weight) in enumerate(zip(stage.corpora, texts, weights, strict=False))
    ]


def _held_out(book: Manuscript, tokenizer: Tokenizer, config: RunConfig) -> EncodedManuscript:
    whole, n_token = encode(book, tokenizer), config.validation_tokens
    if len(whole) < config.model.window + 2:
        raise ValueError(
            f"held-out manuscript {book.id!r} must have at least window + 2 = "
            f"{config.model.window + 2} tokens, got {len(whole)}: leave it out"
        )
    return whole if len(whole) <= n_token else encode(book, tokenizer, n_token)


def _describe(
    config: RunConfig,
    folder: Path,
    tokenizer: Tokenizer,
    start_weights: str | None,
    corpora: Sequence[Sequence[Corpus]],
) -> None:
    path = folder / "run.json"
    if path.is_file():
        return
    about: dict[str, Any] = {
        "config": to_json(config),
        "made": describe(),
        "tokenizer": tokenizer.hash,
        "start_weights": start_weights,
        "tokens": [  # rows, for stages may read corpora of one name
            {"stage": stage, "corpus": corpus.name, "n_token": sum(corpus.tokens.lengths)}
            for stage, read in zip(("general", "novels"), corpora, strict=True)
            for corpus in read
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(about, indent=1), encoding="utf-8")
    temporary.replace(path)


def _publish(module: PredictiveModule, tokenizer: Tokenizer, folder: Path) -> Path:
    """The trained decoder and its tokenizer."""
    with module.published() as model:
        save_model(model, folder / "model")
    tokenizer.save_in(folder / "model")
    return folder / "model"


def _loggers(config: RunConfig, folder: Path) -> list[Logger]:
    found: list[Logger] = []
    for name in config.loggers:
        try:
            if name == "tensorboard":
                from lightning.pytorch.loggers import TensorBoardLogger

                found.append(TensorBoardLogger(folder, name="", version="tensorboard"))
            else:
                from lightning.pytorch.loggers import WandbLogger

                found.append(WandbLogger(save_dir=folder, name=folder.name))
        except ImportError as error:
            raise ImportError(
                f"loggers: {name!r} needs a package that is not here ({error}): "
                f"install memformer-lm[{name}]"
            ) from None
    return found
