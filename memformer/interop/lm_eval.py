"""lm-eval both ways (extra `lm-eval`): its models as scorers, our decoders as its models.

It shares no prefix between probes, so every option costs its whole context. Of no use for novels;
of much for models that nothing else here can load, and for numbers that others can check.
"""

import logging
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn

from memformer.config import to_json
from memformer.config.plotbench import ScoreConfig
from memformer.data.tokenizer import Tokenizer
from memformer.generation.text import pieces
from memformer.interop.lm_eval_tasks import export_tasks, task_name
from memformer.model.decoder import Decoder
from memformer.model.saved_state import weights_hash
from memformer.model.state import DecoderState
from memformer.plotbench.scorers import FractionTold, OptionScore
from memformer.plotbench.told import Told

__all__ = ["LMEvalScorer", "export_tasks", "load_lm", "memformer_lm", "task_name"]

log = logging.getLogger(__name__)
CAP = 32_768
"""Tokens of a context that are sent to a model of lm-eval, if nothing else is said."""
_NEEDED = "lm-eval needs the extra 'lm-eval' ({}): pip install 'memformer-lm[lm-eval]'"


class LMEvalScorer:
    """Any model of lm-eval that can tell log-likelihoods.

    It scores option and suffix from where the context's own tokens end.

    Args:
        lm: an instance of its class `LM`.
        name: as results name it.
        max_context: tokens; by default the model's `max_length`, at most `CAP`. Of a model that
            shows no tokens, words are counted.
        config: only `last` and `truncate` must be left unset: lm-eval cuts contexts itself.

    Raises:
        ValueError: `last` or `truncate` is set.
    """

    fractions: tuple[FractionTold, ...] = ("true", "header")

    def __init__(
        self,
        lm: Any,
        *,
        name: str = "lm-eval",
        max_context: int | None = None,
        config: ScoreConfig | None = None,
    ) -> None:
        self.config = config or ScoreConfig()
        if self.config.last is not None or self.config.truncate:
            raise ValueError("config: last and truncate cannot be kept by a model of lm-eval")
        self.lm: Any = lm
        self.name = name
        self.max_context = max_context or min(getattr(lm, "max_length", CAP), CAP)

    @cached_property
    def weights(self) -> str | None:
        """Digest of the weights; None, with a warning, of a model that does not show them."""
        held = getattr(self.lm, "model", None)
        if isinstance(held, nn.Module):
            return weights_hash(held)
        log.warning(
            "%s does not show its weights: if they change, a resumed run will not notice", self.name
        )
        return None

    @property
    def settings(self) -> dict[str, Any]:
        """What is known of the model; JSON."""
        return {
            "lm_eval": type(self.lm).__name__,
            "weights": self.weights,
            "max_context": self.max_context,
            "score": to_json(self.config),
        }

    def open(self, text: str, *, fraction: FractionTold = "true") -> "LMEvalSession":
        """Begin a story.

        Raises:
            ValueError: `fraction` is none of `fractions`.
        """
        if fraction not in self.fractions:
            raise ValueError(
                f"fraction must be one of {', '.join(self.fractions)} for {self.name}, "
                f"got {fraction!r}"
            )
        return LMEvalSession(self, Told(text, fraction))

    def lengths(self, context: str, continuation: str) -> tuple[int, int]:
        """Tokens of context and continuation."""
        if not hasattr(self.lm, "_encode_pair"):
            return len(context.split()), len(continuation.split())
        before, after = self.lm._encode_pair(context, continuation)
        return len(before), len(after)


class LMEvalSession:
    """See `LMEvalScorer.open`. Nothing is kept between probes."""

    def __init__(self, scorer: LMEvalScorer, told: Told) -> None:
        self._scorer, self._told, self._char = scorer, told, 0

    def advance(self, to_char: int) -> None:
        """Read on to this offset.

        Raises:
            ValueError: it lies behind, or past the text's end.
        """
        to_char = self._told.there(to_char)
        if not self._char <= to_char <= len(self._told.text):
            raise ValueError(
                f"to_char must lie in [{self._char}, {len(self._told.text)}], got {to_char}: "
                "a session only reads on"
            )
        self._char = to_char

    def score(self, stem: str, options: Sequence[str], suffix: str = "") -> list[OptionScore]:
        """Each option with its whole context.

        Raises:
            ValueError: an option without tokens of its own, or a context that is too long.
        """
        context = self._told.text[: self._char] + stem
        lengths = [self._scorer.lengths(context, option + suffix) for option in options]
        for option, (before, after) in zip(options, lengths, strict=True):
            if not after:
                raise ValueError(f"option {option!r} leaves no token to score after its context")
            if before + after > self._scorer.max_context:
                raise ValueError(
                    f"context of {before} tokens and {after} to score exceed "
                    f"max_context={self._scorer.max_context}: take shorter stories"
                )
        asked = [
            _instance("loglikelihood", (context, option + suffix), i)
            for i, option in enumerate(options)
        ]
        found = self._scorer.lm.loglikelihood(asked)
        return [
            OptionScore(float(nats), after, len((option + suffix).encode()), before)
            for option, (nats, _), (before, after) in zip(options, found, lengths, strict=True)
        ]

    def generate(self, stem: str, max_words: int, seed: int) -> str:
        """Continue as the model does by itself; `seed` has no bearing on greedy decoding."""
        settings = {"until": [], "max_gen_toks": 2 * max_words, "do_sample": False}
        context = self._told.text[: self._char] + stem
        (text,) = self._scorer.lm.generate_until(
            [_instance("generate_until", (context, settings), 0)]
        )
        words = str(text).split()
        return str(text) if len(words) <= max_words else " ".join(words[:max_words])


def load_lm(model: str, arguments: str) -> Any:
    """A model of lm-eval by its name there and arguments such as `pretrained=gpt2,dtype=float32`.

    Raises:
        ImportError: lm-eval is not here.
        ValueError: lm-eval has no model of this name.
    """
    try:
        from lm_eval.api.registry import (  # type: ignore[import-not-found, unused-ignore]
            get_model,
        )
    except ImportError as error:
        raise ImportError(_NEEDED.format(error)) from error
    return get_model(model).create_from_arg_string(arguments)


def memformer_lm(model: Decoder, tokenizer: Tokenizer, *, prefix_id: int | None = None) -> Any:
    """A decoder of ours as a model of lm-eval, for `simple_evaluate(model=memformer_lm(...), ...)`.

    Args:
        model, tokenizer, prefix_id: see `DecoderAsLM`.

    Raises:
        ImportError: lm-eval is not here.
    """
    return _lm_class()(model, tokenizer, prefix_id)


@cache
def _lm_class() -> Any:
    try:
        from lm_eval.api.model import TemplateLM  # type: ignore[import-not-found, unused-ignore]
        from lm_eval.api.registry import (  # type: ignore[import-not-found, unused-ignore]
            register_model,
        )
    except ImportError as error:
        raise ImportError(_NEEDED.format(error)) from error
    made = type("MemformerLM", (DecoderAsLM, TemplateLM), {"__doc__": DecoderAsLM.__doc__})
    return register_model("memformer")(made)


def _instance(request_type: str, arguments: tuple[Any, ...], i: int) -> Any:
    try:
        from lm_eval.api.instance import Instance  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError(_NEEDED.format(error)) from error
    return Instance(request_type=request_type, doc={}, arguments=arguments, idx=i)


class DecoderAsLM:
    """What lm-eval's `TemplateLM` asks, answered by a decoder; `memformer_lm` makes one of both.

    Each context is read once, in segments, and its continuations side by side; a context of any
    length is read whole. A model that is told fractions is told that they are unknown.

    Args:
        model: in evaluation mode afterwards.
        tokenizer: the model's.
        prefix_id: stands before a text that has no context; by default the first special token,
            else token 0.
    """

    def __init__(self, model: Decoder, tokenizer: Tokenizer, prefix_id: int | None = None) -> None:
        super().__init__()
        self.model, self.text_tokenizer = model.eval(), tokenizer
        self._prefix = min(tokenizer.special_ids, default=0) if prefix_id is None else prefix_id

    @property
    def eot_token_id(self) -> int:
        """The token before a text without context."""
        return self._prefix

    @property
    def tokenizer_name(self) -> str:
        """Digest of the tokenizer."""
        return self.text_tokenizer.hash

    def tok_encode(self, string: str, *args: Any, **kwargs: Any) -> list[int]:
        """Ids of a text; special tokens are never added."""
        return list(self.text_tokenizer.encode(string).ids)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        by_context: dict[tuple[int, ...], list[int]] = {}
        for i, (_, context, _) in enumerate(requests):
            by_context.setdefault(tuple(context), []).append(i)
        found: dict[int, tuple[float, bool]] = {}
        for shared, places in by_context.items():
            state, logits = self._read(shared)
            for i in places:
                found[i] = self._continued(state.fork(1), logits, requests[i][2])
        return [found[i] for i in range(len(requests))]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Nats of whole texts after the prefix token."""
        told = []
        for request in requests:
            state, logits = self._read((self._prefix,))
            told.append(self._continued(state, logits, self.tok_encode(request.args[0]))[0])
        return told

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The likeliest token each time, to the first stop string or `max_gen_toks` (256)."""
        return [self._written(*request.args) for request in requests]

    def _written(self, context: str, settings: dict[str, Any]) -> str:
        prompt = self.tok_encode(context) or [self._prefix]
        state, logits = self._read(tuple(prompt))
        until = settings.get("until") or []
        stops = [until] if isinstance(until, str) else [each for each in until if each]
        ids: list[int] = []
        text = ""
        for _ in range(int(settings.get("max_gen_toks", 256))):
            ids.append(int(logits.argmax()))
            text = "".join(each.text for each in pieces(ids, self.text_tokenizer, prompt))
            ends = [at for stop in stops if (at := text.find(stop)) >= 0]
            if ends:
                return text[: min(ends)]
            logits = self._advance(state, ids[-1:])[-1]
        return text

    def _read(self, ids: tuple[int, ...]) -> tuple[DecoderState, Tensor]:
        """The state after these tokens, and the logits (V,) of the next."""
        state = self.model.new_state(batch_size=1)
        return state, self._advance(state, ids)[-1]

    def _continued(self, state: DecoderState, logits: Tensor, ids: list[int]) -> tuple[float, bool]:
        rows = logits[None]
        if len(ids) > 1:
            rows = torch.cat((rows, self._advance(state, ids[:-1], len(ids) - 1)))  # (n, V)
        targets = torch.tensor(ids, device=rows.device)
        each = rows.float().log_softmax(-1).gather(-1, targets[:, None])
        return float(each.double().sum()), bool((rows.argmax(-1) == targets).all())

    def _advance(self, state: DecoderState, ids: Sequence[int], n_last: int = 1) -> Tensor:
        """(n_last, V) logits after the last of some tokens; the state has read all of them."""
        told, L = [], self.model.config.segment_len
        device = self.model.embedding.weight.device
        with torch.inference_mode():
            for start in range(0, len(ids), L):
                out = self.model(torch.tensor([ids[start : start + L]], device=device), state)
                state.advance(out)
                n_wanted = n_last - max(0, len(ids) - start - L)  # of this segment
                told += [out.logits[0, -n_wanted:]] if n_wanted > 0 else []
        return torch.cat(told)
