"""Models by the names that `memformer plotbench run --model` takes."""

import re
from pathlib import Path
from typing import Any

from memformer.config import MemoryConfig
from memformer.config.plotbench import ScoreConfig
from memformer.config.plotbench_models import ImportedConfig
from memformer.data.sources import SMOLLM2_FILE, smollm2
from memformer.data.tokenizer import Tokenizer
from memformer.interop.run import is_run, load_run
from memformer.interop.tokenizer import HFTokenizer
from memformer.model.decoder import Decoder
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.scorers import Scorer
from memformer.plotbench.shortcuts import Shortcut, build_shortcut
from memformer.plotbench.tokens_check import Ends

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
KNOWN = (
    "a folder of `memformer train`, a .gguf file, smollm2, hf:NAME or hf:FOLDER, "
    "lm-eval:MODEL,ARGUMENTS, baseline:NAME"
)


def build_scorer(
    told: str,
    *,
    config: ScoreConfig | None = None,
    imported: ImportedConfig | None = None,
    device: str = "cpu",
) -> Scorer | Shortcut:
    """What `told` names, as results will call it: `NAME=MODEL` gives the name, else the model's.

    A folder of a training run; `smollm2` or a GGUF file of the Llama family, read as `imported`
    says; `hf:`, any causal model that `transformers` can load, by name or folder;
    `lm-eval:hf,pretrained=gpt2`, any model of lm-eval; `baseline:bm25`, any of `SHORTCUTS`.
    With `config.last` the name ends on `-last<n>`, as that is another model.

    Args:
        told: see above.
        config: how it is asked.
        imported: window, sinks and memory of imported checkpoints.
        device: of the weights; models of lm-eval take theirs as an argument.

    Raises:
        ValueError: no such model (lists what is known), or what cannot be asked of it.
        ImportError: it needs an extra that is not here.
        OSError: as loading says.
    """
    config = config or ScoreConfig()
    found = re.fullmatch(r"([\w.+-]+)=(.+)", told)
    name, model = found.groups() if found else (None, told)
    prefix, _, rest = model.partition(":")
    match prefix:
        case "baseline":
            if name is not None:
                raise ValueError(f"{told}: baselines have their own names: write {model}")
            return build_shortcut(rest)
        case "hf":
            scorer: Scorer = _hf(rest, config, device)
        case "lm-eval":
            scorer = _lm_eval(model, rest, config)
        case _ if model == "smollm2":
            scorer = _imported(smollm2() / SMOLLM2_FILE, "smollm2-135m", config, imported, device)
        case _ if Path(model).suffix == ".gguf":
            scorer = _imported(Path(model), Path(model).stem, config, imported, device)
        case _ if Path(model).is_dir() and is_run(Path(model)):
            decoder, tokenizer = load_run(Path(model))
            scorer = _ours(decoder, tokenizer, Path(model).resolve().name, config, device)
        case _:
            raise ValueError(f"model must be one of {KNOWN}; there is no {model!r}")
    scorer.name = name or scorer.name
    if config.last is not None:
        scorer.name = f"{scorer.name}-last{config.last}"
    return scorer


def token_ends(told: str) -> Ends:
    """Where the tokens of a text end, under the tokenizer that `told` names.

    `smollm2` or a GGUF file; a `tokenizer.json`; a folder that `transformers` reads a tokenizer of.

    Raises:
        ValueError: it is none of these.
        ImportError: the extra `hf` is not here.
    """
    try:
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

        from memformer.interop.gguf_file import open_gguf
    except ImportError as error:
        raise ImportError(
            f"--tokenizer {told} needs the extra 'hf' ({error}): pip install 'memformer-lm[hf]'"
        ) from error
    path = smollm2() / SMOLLM2_FILE if told == "smollm2" else Path(told)
    if path.suffix == ".gguf" and path.is_file():
        found: Any = open_gguf(path).tokenizer
    elif path.name == "tokenizer.json" and path.is_file():
        fast: Any = PreTrainedTokenizerFast  # its constructor has no types
        found = fast(tokenizer_file=str(path))
    elif path.is_dir():
        found = AutoTokenizer.from_pretrained(path, local_files_only=True)
    else:
        raise ValueError(
            "tokenizer must be smollm2, a .gguf file, a tokenizer.json or a folder of "
            f"transformers, got {told!r}"
        )
    tokenizer = HFTokenizer(found)
    return lambda text: [stop for _, stop in tokenizer.encode(text).spans]


def _ours(
    decoder: Decoder, tokenizer: Tokenizer, name: str, config: ScoreConfig, device: str
) -> MemformerScorer:
    condition = "on" if decoder.config.has_memory else "off" if decoder.config.n_sink else "window"
    return MemformerScorer(
        decoder.to(device), tokenizer, name=name, config=config, condition=condition
    )


def _imported(
    path: Path, name: str, config: ScoreConfig, imported: ImportedConfig | None, device: str
) -> MemformerScorer:
    from memformer.interop.transformers import load_llama

    how = imported or ImportedConfig()
    memory = MemoryConfig(layers="all", n_retrieved=how.n_retrieved, positions="rotary")
    decoder, tokenizer = load_llama(path, window=how.window, n_sink=how.n_sink, memory=memory)
    return _ours(decoder, tokenizer, name, config, device)


def _hf(name: str, config: ScoreConfig, device: str) -> Scorer:
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from memformer.interop.hf_scorer import HFScorer
    except ImportError as error:
        raise ImportError(
            f"hf:{name} needs the extra 'hf' ({error}): pip install 'memformer-lm[hf]'"
        ) from error
    if not name:
        raise ValueError("hf: must be followed by a name or a folder, such as hf:gpt2")
    folder = Path(name)
    if folder.is_absolute() or name.startswith((".", "~")):
        if not folder.is_dir():
            raise ValueError(f"hf:{name}: no such folder")
        if not any((folder / file).is_file() for file in _TOKENIZERS):
            raise ValueError(
                f"hf:{name} holds no tokenizer ({', '.join(_TOKENIZERS)}): save the model's there, "
                "tokenizer.save_pretrained(folder)"
            )
    model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=getattr(torch, config.precision))
    label = Path(name).resolve().name if Path(name).is_dir() else name
    return HFScorer(
        model.to(device),
        AutoTokenizer.from_pretrained(name),
        name=f"hf:{label}",
        config=config,
    )


def _lm_eval(label: str, told: str, config: ScoreConfig) -> Scorer:
    from memformer.interop.lm_eval import LMEvalScorer, load_lm

    kind, _, arguments = told.partition(",")
    return LMEvalScorer(load_lm(kind, arguments), name=label, config=config)
