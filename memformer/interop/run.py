"""What a training run begins from, and what it left: decoders with their tokenizers."""

from pathlib import Path

from memformer.config import RunConfig, differences, to_json
from memformer.data.sentencepiece_tokenizer import FILE, SentencePieceTokenizer
from memformer.data.sources import SMOLLM2_FILE, smollm2
from memformer.data.tokenizer import Tokenizer
from memformer.model.decoder import Decoder
from memformer.model.saved_model import load_model

_THEIRS = "tokenizer.json"


def is_run(folder: Path) -> bool:
    """Whether a folder is a run of `train`, ended or not."""
    return (folder / "run.json").is_file() or _has_tokenizer(folder / "model")


def load_run(folder: Path) -> tuple[Decoder, Tokenizer]:
    """The decoder of a run, set to evaluation, and its tokenizer.

    Raises:
        ValueError: it is no run, or one that has not ended.
        UnreadableSave: the decoder is damaged.
        ImportError: the tokenizer is one of `transformers`, which is not here.
    """
    model = folder / "model"
    if not _has_tokenizer(model):
        if is_run(folder):
            raise ValueError(f"{folder} is a run that has not ended: go on with it by --resume")
        raise ValueError(f"{folder} is no run of `memformer train`: nothing was trained there")
    if (model / FILE).is_file():
        return load_model(model), SentencePieceTokenizer.load(model / FILE)
    from memformer.interop.tokenizer import HFTokenizer

    return load_model(model), HFTokenizer.load(model)


def start_of(config: RunConfig) -> tuple[Decoder, Tokenizer] | None:
    """The decoder that `config.start` names, under `config.model`, and its tokenizer; None if the
    run begins from new weights.

    What the decoder has not (gates, the fraction) starts as in a new one.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: its sizes are not those of `config.model` (names the first that differs), or a
            run that has not ended.
        ImportError: it needs the extra `hf`.
    """
    if not config.start:
        return None
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


_SIZES = (
    "vocab_size", "n_layer", "n_head", "n_kv_head", "n_embd", "head_dim", "mlp_dim", "conv_width",
    "qk_norm", "tie_embeddings", "rope_base", "norm_eps",
)  # fmt: skip


def _has_tokenizer(model: Path) -> bool:
    return any((model / name).is_file() for name in (FILE, _THEIRS))
