"""Any causal model of `transformers` as a scorer of PlotBench (extra `hf`).

A story is read once into a cache; each option is read after it and cropped away again. Logits are
computed only where they are needed, and by the model itself, so that whatever it does to them
(scaling, soft caps) is done.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicCache, DynamicLayer

from memformer.config import to_json
from memformer.config.plotbench import ScoreConfig
from memformer.data.tokenizer import Tokenizer
from memformer.interop.tokenizer import HFTokenizer
from memformer.model.saved_state import weights_hash
from memformer.plotbench.memformer_scorer import summed
from memformer.plotbench.scorers import FractionTold
from memformer.plotbench.session import BranchingSession, Lane, LaneScore
from memformer.plotbench.told import Told

SEGMENT_LEN = 512
"""Tokens of a story read in one call."""


class HFScorer:
    """A causal language model with the tokenizer it was trained with.

    No special token is put before a story. `config.last` makes it the hard-truncated version of
    itself: its last tokens, with nothing before them.

    Args:
        model: takes `past_key_values`; it is put into evaluation mode.
        tokenizer: fast, or behind the library's protocol.
        name: as results name it; the model's own by default.
        config: how it is asked.
        max_context: tokens it can take; by default what its config says.
    """

    fractions: tuple[FractionTold, ...] = ("true", "header")

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | Tokenizer,
        *,
        name: str | None = None,
        config: ScoreConfig | None = None,
        max_context: int | None = None,
    ) -> None:
        self.model: Any = model
        self.model.eval()  # type: ignore[no-untyped-call]
        self.tokenizer: Tokenizer = (
            HFTokenizer(tokenizer) if isinstance(tokenizer, PreTrainedTokenizerBase) else tokenizer
        )
        self.name = name or f"hf:{model.config.name_or_path or model.config.model_type}"
        self.config = config or ScoreConfig()
        told = getattr(model.config, "max_position_embeddings", None)
        self.max_context: int | None = max_context or told

    @property
    def settings(self) -> dict[str, Any]:
        """All that scores depend on; JSON."""
        return {
            "weights": weights_hash(self.model),
            "tokenizer": self.tokenizer.hash,
            "max_context": self.max_context,
            "score": to_json(self.config),
        }

    def open(self, text: str, *, fraction: FractionTold = "true") -> "HFSession":
        """Begin a story.

        Raises:
            ValueError: these models are told no fraction: `true` stands for that, `header` for
                headings in the text.
        """
        if fraction not in self.fractions:
            raise ValueError(
                f"fraction must be one of {', '.join(self.fractions)} for {self.name}, which takes "
                f"none, got {fraction!r}"
            )
        return HFSession(self, Told(text, fraction))


class HFSession(BranchingSession):
    """See `HFScorer.open`."""

    def __init__(self, scorer: HFScorer, told: Told) -> None:
        super().__init__(told, scorer.tokenizer, scorer.config, scorer.max_context)
        self._model: Any = scorer.model
        self._cache: Any = None

    def _read(self, start: int, stop: int) -> None:
        for begin in range(start, stop, SEGMENT_LEN):
            ids = self.story.ids[begin : min(begin + SEGMENT_LEN, stop)]
            _, self._cache = self._run(ids, self._cache, 1)

    def _score(self, lanes: Sequence[Lane]) -> list[LaneScore]:
        return [self._score_one(lane) for lane in lanes]

    def _score_one(self, lane: Lane) -> LaneScore:
        ids, keep = list(lane.ids), len(lane.ids) - lane.first + 1
        if lane.is_fresh or self._cache is None:
            logits, _ = self._run(ids, None, keep)
        elif _can_crop(self._cache):
            logits, cache = self._run(ids, self._cache, keep)
            cache.crop(-len(ids))
        else:  # windows and states cannot be taken back
            logits, _ = self._run(ids, copy.deepcopy(self._cache), keep)
        return LaneScore(summed(logits[:-1], ids[lane.first :]), None)

    def _writer(self, lane: Lane) -> Callable[[list[int]], Tensor]:
        cache = None if lane.is_fresh else copy.deepcopy(self._cache)

        def read(ids: list[int]) -> Tensor:
            nonlocal cache
            logits, cache = self._run(ids, cache, 1)
            return logits[-1]

        return read

    def _run(self, ids: Sequence[int], cache: Any, n_logits: int) -> tuple[Tensor, Any]:
        """(n_logits, V) of the last tokens, and the cache with all of them."""
        tokens = torch.tensor([ids], device=self._model.device)
        with torch.inference_mode():
            out = self._model(
                tokens, past_key_values=cache, use_cache=True, logits_to_keep=n_logits
            )
        return out.logits[0, -n_logits:], out.past_key_values


def _can_crop(cache: Any) -> bool:
    return isinstance(cache, DynamicCache) and all(type(x) is DynamicLayer for x in cache.layers)
