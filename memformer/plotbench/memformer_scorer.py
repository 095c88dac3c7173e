"""A decoder of ours as a scorer: the state reads a story once, and forks for each option.

B lanes, L tokens of the longest row, V vocabulary
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from memformer.config import DecoderConfig, to_json
from memformer.config.plotbench import ScoreConfig
from memformer.data.tokenizer import Tokenizer
from memformer.evaluation.arms import Arm, Memory, changes_of, config_of
from memformer.model.attention_state import Retrieved
from memformer.model.decoder import Decoder, DecoderOut
from memformer.model.saved_state import weights_hash
from memformer.model.state import DecoderState
from memformer.plotbench.scorers import FractionTold
from memformer.plotbench.session import BranchingSession, Lane, LaneScore
from memformer.plotbench.told import Told, fraction_at

CONDITIONS = (
    "on", "off", "window", "shuffled", "other_book", "full", "full_clamped", "truncated",
)  # fmt: skip
"""Beside `K<n>`: with n retrieved pairs. `off`: window and sinks; `window`: the window alone;
`full`: every earlier token is attended to; `full_clamped`: the same with distances clamped as the
memory's are (`memory.max_distance`); `truncated`: the last `window` tokens from a fresh state,
memory off."""
_MARGIN = 4_096  # tokens that branches may add, under full attention


class Way(NamedTuple):
    """How a condition reads."""

    changes: dict[str, Any]
    """To the model's config."""
    memory: Memory


def way_of(condition: str, config: DecoderConfig, n_tokens: int) -> Way:
    """What a condition changes.

    Args:
        condition: one of `CONDITIONS`, or K0, K1, ...: `K0` is `off`.
        config: of the model.
        n_tokens: that are read at most.

    Raises:
        ValueError: an unknown condition, or one that needs the memory which the model has not.
    """
    match condition:
        case "on" | "shuffled" | "other_book":
            memory: Memory = "on" if condition == "on" else condition
            arm = _arm(condition, config, memory)
        case "off" | "truncated":
            arm = _arm(condition, config, "off")
        case "window":
            arm = Arm(name=condition, attention="window")
        case "full":
            arm = Arm(name=condition, attention="full")
        case "full_clamped":
            clamp = {"memory.max_distance": config.memory.max_distance}
            arm = Arm(name=condition, attention="full_clamped", overrides=clamp)
        case _ if re.fullmatch(r"K\d+", condition):
            k = int(condition[1:])
            arm = _arm(
                condition, config, "on" if k else "off", {"memory.n_retrieved": k} if k else {}
            )
        case _:
            known = ", ".join((*CONDITIONS, "K0, K1, ..."))
            raise ValueError(f"condition must be one of {known}, got {condition!r}")
    config_of(arm, config, n_tokens)  # raises where the two do not fit
    return Way(changes_of(arm, n_tokens), arm.memory)


def _arm(
    name: str, config: DecoderConfig, memory: Memory, overrides: dict[str, Any] | None = None
) -> Arm:
    return Arm(
        name=name, attention="window_sinks" if config.n_sink else "window", memory=memory,
        overrides=overrides or {},
    )  # fmt: skip


class MemformerScorer:
    """A decoder under one condition.

    Args:
        model: weights and config; conditions change the config, never the weights.
        tokenizer: the model's.
        name: as results name it.
        config: how it is asked.
        condition: see `CONDITIONS`.

    Raises:
        ValueError: a condition that is unknown or does not fit the model.
    """

    max_context: int | None = None

    def __init__(
        self,
        model: Decoder,
        tokenizer: Tokenizer,
        *,
        name: str = "memformer",
        config: ScoreConfig | None = None,
        condition: str = "on",
    ) -> None:
        config = config or ScoreConfig()
        way_of(condition, model.config, 1)
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.condition, self.config = condition, config
        if condition == "truncated" and config.last is None:
            self.config = replace(config, last=model.config.window)

    @property
    def needs_other(self) -> bool:
        """Whether `open` needs another story, whose memory is read."""
        return self.condition == "other_book"

    @property
    def fractions(self) -> tuple[FractionTold, ...]:
        """Ways in which the place in the story can be told: to a model that takes no fraction,
        only as text, or (`true`) not at all."""
        if not self.model.config.uses_fraction:
            return ("true", "header")
        return ("true", "estimated", "unknown", "shuffled")

    @property
    def settings(self) -> dict[str, Any]:
        """All that scores depend on, but the condition; JSON."""
        return {
            "weights": weights_hash(self.model),
            "tokenizer": self.tokenizer.hash,
            "model": to_json(self.model.config),
            "score": to_json(self.config),
        }

    def under(self, condition: str) -> "MemformerScorer":
        """The same model under another condition."""
        config = self.config
        if self.condition == "truncated":
            config = replace(config, last=None)
        return MemformerScorer(
            self.model, self.tokenizer, name=self.name, config=config, condition=condition
        )

    def open(
        self, text: str, *, fraction: FractionTold = "true", other: str | None = None
    ) -> "MemformerSession":
        """Begin a story.

        Args:
            text: the whole story.
            fraction: how the place in the story is told; one of `fractions`.
            other: under `other_book`, a story that is read in step, from its beginning again where
                it ends; its memory takes the place of this one's.

        Raises:
            ValueError: the model cannot be told the fraction in this way; no `other`.
        """
        if fraction not in self.fractions:
            raise ValueError(
                f"fraction must be one of {', '.join(self.fractions)} for a model with "
                f"fraction.kind={self.model.config.fraction.kind!r}, got {fraction!r}"
            )
        if self.needs_other and not other:
            raise ValueError(
                "condition 'other_book' reads another story's memory: other is missing"
            )
        return MemformerSession(self, Told(text, fraction), other if self.needs_other else None)


class MemformerSession(BranchingSession):
    """See `MemformerScorer.open`."""

    def __init__(self, scorer: MemformerScorer, told: Told, other: str | None) -> None:
        super().__init__(told, scorer.tokenizer, scorer.config, None)
        model = scorer.model
        way = way_of(scorer.condition, model.config, len(self.story) + _MARGIN)
        self._reader = model.reconfigure(way.changes).eval()
        self._device = next(model.parameters()).device
        self._memory = way.memory
        self._is_told = model.config.uses_fraction
        self._wants_retrieved = bool(
            self._reader.config.memory_layers
            and scorer.condition
            not in ("full", "full_clamped", "other_book")  # no tokens of this story
            and scorer.config.n_retrieved
        )
        self.state = self._reader.new_state(batch_size=1)
        self._rival = self._reader.new_state(batch_size=1) if other else None
        self._other = scorer.tokenizer.encode(other).ids if other else []

    def _read(self, start: int, stop: int) -> None:
        L = self._reader.config.segment_len
        for begin in range(start, stop, L):
            at = range(begin, min(begin + L, stop))
            u = self._fraction(torch.tensor(at)[None])
            rival = self._rival
            view = self._view(self.state, rival)
            ids = self._ids([[self.story.ids[i] for i in at]])
            self.state.advance(self._run(ids, view, u, n_logits=0))
            if rival is not None:
                n = len(self._other)
                places = [i % n for i in at]
                u = self._fraction(torch.tensor([places]), n)
                ids = self._ids([[self._other[i] for i in places]])
                rival.advance(self._run(ids, rival, u, n_logits=0))

    def _score(self, lanes: Sequence[Lane]) -> list[LaneScore]:
        found: dict[int, LaneScore] = {}
        for is_fresh in (False, True):
            chosen = [i for i, lane in enumerate(lanes) if lane.is_fresh == is_fresh]
            for begin in range(0, len(chosen), self._config.max_lanes):
                part = chosen[begin : begin + self._config.max_lanes]
                scores = self._score_together([lanes[i] for i in part], is_fresh)
                found |= zip(part, scores, strict=True)
        return [found[i] for i in range(len(lanes))]

    def _score_together(self, lanes: Sequence[Lane], is_fresh: bool) -> list[LaneScore]:
        B, L = len(lanes), max(len(lane.ids) for lane in lanes)
        tokens = self._ids([[*lane.ids, *[0] * (L - len(lane.ids))] for lane in lanes])  # (B, L)
        lengths = torch.tensor([len(lane.ids) for lane in lanes], device=self._device)
        mask = torch.arange(L, device=self._device) < lengths[:, None]  # (B, L)
        starts = torch.tensor([lane.start for lane in lanes])
        u = self._fraction(starts[:, None] + torch.arange(L))
        begin = min(lane.first for lane in lanes) - 1
        out = self._run(
            tokens,
            self._reader.new_state(batch_size=B) if is_fresh else self._branches(B),
            u,
            mask=None if bool(mask.all()) else mask,
            n_logits=L - begin,
            want_retrieved=self._wants_retrieved and not is_fresh,
        )
        return [
            LaneScore(
                summed(
                    out.logits[i, lane.first - 1 - begin : len(lane.ids) - 1 - begin],
                    lane.ids[lane.first :],
                ),
                self._retrieved(out.retrieved, i, lane.first - 1) if out.retrieved else None,
            )
            for i, lane in enumerate(lanes)
        ]

    def _retrieved(self, found: dict[int, Retrieved], lane: int, at: int) -> tuple[int, ...]:
        """The story's tokens whose pairs weigh most, summed over layers and heads."""
        weight = torch.zeros(len(self.story))
        for each in found.values():
            index = each.token_index[lane, :, at].flatten().cpu()
            is_held = (index >= 0) & (index < self._n_read)
            weight.index_add_(
                0, index[is_held], each.weight[lane, :, at].flatten().float().cpu()[is_held]
            )
        n = min(self._config.n_retrieved, int((weight > 0).sum()))
        return tuple(weight.argsort(descending=True, stable=True)[:n].tolist())

    def _writer(self, lane: Lane) -> Callable[[list[int]], Tensor]:
        state = self._reader.new_state(batch_size=1) if lane.is_fresh else self.state.fork(1)
        rival = None if lane.is_fresh or self._rival is None else self._rival.fork(1)
        n = lane.start

        def read(ids: list[int]) -> Tensor:
            nonlocal n
            u = self._fraction(torch.arange(n, n + len(ids))[None])
            tokens = self._ids([ids])
            out = self._run(tokens, self._view(state, rival), u, n_logits=1)
            state.advance(out)
            if rival is not None:  # kept in step: a memory may not be longer than what was read
                rival.advance(self._run(tokens, rival, u, n_logits=0))
            n += len(ids)
            return out.logits[0, -1]

        return read

    def _branches(self, n: int) -> DecoderState:
        rival = None if self._rival is None else self._rival.fork(n)
        return self._view(self.state.fork(n), rival)

    def _view(self, state: DecoderState, rival: DecoderState | None) -> DecoderState:
        match self._memory:
            case "shuffled":
                return state.with_shuffled_values()
            case "other_book" if rival is not None:
                return state.with_memory(rival)
            case _:
                return state

    def _run(
        self, tokens: Tensor, state: DecoderState, u: Tensor | None, **wanted: Any
    ) -> DecoderOut:
        is_short = self._config.precision == "bfloat16"
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=is_short),
        ):
            out: DecoderOut = self._reader(tokens, state, fraction=u, **wanted)
            return out

    def _fraction(self, at: Tensor, n_total: int | None = None) -> Tensor | None:
        """Of tokens at these places; branches go on from where they stand."""
        if not self._is_told:
            return None
        n_total = n_total or len(self.story)
        u = fraction_at(self._told.fraction, at, n_total, self._config.length_factor)
        return u.to(self._device)

    def _ids(self, rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(rows, dtype=torch.int64, device=self._device)


def summed(logits: Tensor, ids: Sequence[int]) -> float:
    """Nats of ids (n) under logits (n, V): softmax in float32, sum in float64."""
    targets = torch.tensor(ids, device=logits.device)
    each = logits.float().log_softmax(-1).gather(-1, targets[:, None])  # (n, 1)
    return float(each.double().sum())
