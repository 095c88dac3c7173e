"""A training run: from the names of texts to a folder with a decoder that can be read and written
with.

    RUN/run.json          config, seed, versions, commit, hashes
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

from memformer.config import RunConfig, StageConfig, differences, to_json
from memformer.data.corpora import check_apart, texts_named
from memformer.data.lanes import Corpus
from memformer.data.manuscripts import Manuscript
from memformer.data.sentencepiece_tokenizer import FILE, SentencePieceTokenizer, train_tokenizer
from memformer.data.token_files import write_tokens
from memformer.data.tokenizer import Tokenizer
from memformer.evaluation.encoded import EncodedManuscript, encode
from memformer.evaluation.machine import describe
from memformer.model.decoder import Decoder
from memformer.model.saved_model import save_model
from memformer.training.callbacks import Bar, Checkpoint, Log, Validate
from memformer.training.checkpoint import load_checkpoint
from memformer.training.datamodule import NovelsData
from memformer.training.predictive import PredictiveModule

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
        resume: go on from the folder's last checkpoint, or from the beginning if it has none yet.
        start: a decoder to begin from and its tokenizer, instead of new ones: what
            `interop.run.start_of` gives for `config.start`. It is trained in place.
        console: for the bar and a few lines; stderr by default.

    Returns:
        The folder of the trained decoder, `folder / "model"`.

    Raises:
        ValueError: the folder holds another run, texts that are empty or shared between training
            and validation, a vocabulary that does not fit them, a start that is missing or of
            another config.
        TrainingDiverged: the loss is not finite any more.
        SaveFailed: the disk is full.
    """
    console = Console(stderr=True) if console is None else console
    _check_start(config, start)
    _claim(config, folder, resume)
    torch.manual_seed(config.seed)
    stages, held_out = _texts(config)
    tokenizer = _tokenizer(config, folder, stages) if start is None else start[1]
    model = Decoder(config.model) if start is None else start[0]
    corpora = [
        _corpora(stage, texts, folder / "tokens" / name, tokenizer)
        for name, stage, texts in zip(
            ("general", "novels"), (config.general, config.novels), stages, strict=True
        )
    ]
    books = [_held_out(book, tokenizer, config) for book in held_out]
    _describe(config, folder, tokenizer, corpora)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = PredictiveModule(model.to(device).train(), config, folder / "checkpoint")
    if (folder / "checkpoint" / "manifest.json").is_file():
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


def _check_start(config: RunConfig, start: tuple[Decoder, Tokenizer] | None) -> None:
    if start is None:
        if config.start:
            raise ValueError(
                f"config.start names {config.start!r}, which must be given: "
                "train(config, folder, start=memformer.interop.run.start_of(config))"
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


def _claim(config: RunConfig, folder: Path, resume: bool) -> None:
    """Refuse a folder of another run before anything is fetched or computed."""
    path = folder / "run.json"
    if not path.is_file():
        return
    if not resume:
        raise ValueError(f"{folder} holds a run already: resume it, or name another folder")
    before = json.loads(path.read_text(encoding="utf-8"))["config"]
    for name, theirs, ours in differences(before, json.loads(json.dumps(to_json(config)))):
        raise ValueError(
            f"{folder} was begun with {name}={theirs!r}, this run has {ours!r}: resume with the "
            "config it began with, or begin a new run in another folder"
        )


def _texts(config: RunConfig) -> tuple[list[list[list[Manuscript]]], list[Manuscript]]:
    """Training texts by stage and corpus, and held-out ones; a shared work or author is refused."""
    stages = [
        [list(texts_named(name, "train")) for name in stage.corpora] if stage.n_token else []
        for stage in (config.general, config.novels)
    ]
    held_out = [book for name in config.validation for book in texts_named(name, "validation")]
    every = [book for stage in stages for texts in stage for book in texts]
    check_apart(every, held_out, config.split_by)
    return stages, held_out


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
    config: RunConfig, folder: Path, tokenizer: Tokenizer, corpora: Sequence[Sequence[Corpus]]
) -> None:
    path = folder / "run.json"
    if path.is_file():
        return
    about: dict[str, Any] = {
        "config": to_json(config),
        "made": describe(),
        "tokenizer": tokenizer.hash,
        "tokens": {c.name: sum(c.tokens.lengths) for stage in corpora for c in stage},
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
