"""How likely a model finds a story's own text: in stretches of it, and where it states facts.

A stretch is scored as an option is, on a branch of the one reading, so that any scorer can be
asked. Scored from its first token (with the space before it) to its last.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from memformer.config.plotbench_position import PositionConfig
from memformer.plotbench.scorers import Session
from memformer.plotbench.story import Bench, Span, Story, Trace
from memformer.plotbench.tasks import Task, open_session

PASSAGES = "passages.jsonl"
Kind = Literal["text", "fact"]
_LEAST = 40  # characters of a stretch; shorter ones are left out
_WORD_START = re.compile(r"(?<=\S)\s+(?=\S)")


class Stretch(NamedTuple):
    """A span of a story that begins with white space and ends with a word."""

    span: Span
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class PassageRow:
    """One stretch under one model, condition and fraction told.

    Raises:
        ValueError: a log-probability that is NaN or infinite.
    """

    story_id: str
    seed: int
    """Of the story: the unit of all statistics."""
    bucket: int
    model: str
    condition: str
    fraction: str
    kind: Kind
    """`fact`: what the trace marks as bearing on a fact; `text`: what lies outside all of these."""
    span: Span
    """Characters of the story."""
    logprob: float
    """Nats, over all tokens."""
    n_tokens: int
    bench_version: str
    bench_sha256: str
    config_sha256: str

    def __post_init__(self) -> None:
        if not math.isfinite(self.logprob):
            raise ValueError(
                f"{self.story_id} {self.span}: log-probability is {self.logprob} under "
                f"{self.model} {self.condition}; it must be finite: look at the model"
            )


def stretches(story: Story, trace: Trace | None, config: PositionConfig) -> list[Stretch]:
    """What is scored of a story: all mentions of facts, and stretches outside them; ascending.

    Mentions that overlap are one. The story's first word stands after nothing, and is left out.
    """
    facts = _merged([] if trace is None else [each.span for each in trace.mentions], story.text)
    starts, n, done = [start for start, _ in facts], config.n_passage, 0
    told = [Stretch(span, "fact") for span in facts]
    for i in range(n):
        span = _between(story.text, max(done, i * len(story.text) // n), facts, starts, config)
        if span is not None:
            told.append(Stretch(span, "text"))
            done = span[1]
    return sorted(told)


def _between(
    text: str, at: int, facts: Sequence[Span], starts: Sequence[int], config: PositionConfig
) -> Span | None:
    """The first stretch from an offset on that lies between facts and is long enough."""
    first = bisect_right(starts, at)
    if first:
        at = max(at, facts[first - 1][1])
    for start, stop in (*facts[first:], (len(text), len(text))):
        span = _whole_words(text, at, min(start, at + config.passage_len))
        if span is not None:
            return span
        at = stop
    return None


def score_stretches(
    bench: Bench, task: Task, story: Story, chosen: Sequence[Stretch], digest: str
) -> list[PassageRow]:
    """Read a story once and score stretches of it, a row each.

    Raises:
        ValueError: as the scorer; names the story.
    """
    session = open_session(bench, task, story)
    rows = []
    for stretch in chosen:
        try:
            logprob, n_tokens = _score(session, story.text, stretch.span)
        except ValueError as error:
            raise ValueError(
                f"{task.scorer.name} {task.condition}, {story.story_id} at {stretch.span[0]}: "
                f"{error}"
            ) from error
        rows.append(PassageRow(
            story_id=story.story_id, seed=story.seed, bucket=story.bucket,
            model=task.scorer.name, condition=task.condition, fraction=task.fraction,
            kind=stretch.kind, span=stretch.span, logprob=logprob, n_tokens=n_tokens,
            bench_version=str(bench.manifest["bench_version"]),
            bench_sha256=str(bench.manifest["content_sha256"]), config_sha256=digest,
        ))  # fmt: skip
    return rows


def _score(session: Session, text: str, span: Span) -> tuple[float, int]:
    start, stop = span
    passage = text[start:stop]
    space = passage[: len(passage) - len(passage.lstrip())]
    # an option needs another; what it holds does not matter, but that it begins otherwise
    session.advance(start)
    found = session.score("", (passage, f"{space}* * *"))[0]
    return float(found.logprob), found.n_tokens


def _merged(spans: Sequence[Span], text: str) -> list[Span]:
    """Disjoint and ascending, without space at the end and with that before the first word."""
    found: list[Span] = []
    for start, stop in sorted(spans):
        stop -= len(text[start:stop]) - len(text[start:stop].rstrip())
        start = len(text[:start].rstrip()) if text[start - 1 : start].isspace() else start
        if not 0 < start < stop:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found


def _whole_words(text: str, start: int, stop: int) -> Span | None:
    """The words that lie wholly in [start, stop), with the space before the first."""
    breaks = [each.start() for each in _WORD_START.finditer(text, start, stop)]
    if stop == len(text) or _WORD_START.match(text, stop):
        breaks.append(len(text[:stop].rstrip()))
    if len(breaks) < 2 or breaks[-1] - breaks[0] < _LEAST:
        return None
    return breaks[0], breaks[-1]
