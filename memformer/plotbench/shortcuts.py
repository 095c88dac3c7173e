"""Scorers without a model: what chance, counting, looking up and the truth itself get.

They rank a probe's two options with its story's words before it; ties count as in every metric.
One list for the gate, for a run and for every table of a report.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from memformer.plotbench.ngram import CACHE_WEIGHT, ORDER, KneserNey, mixed
from memformer.plotbench.oracle import by_trace
from memformer.plotbench.rules import (
    Asked,
    Ranks,
    asked,
    best_by_bm25,
    by_order,
    first_mentioned,
    last_mentioned,
    latest_sentence,
    longer_sentence,
    longest_match,
    more_frequent,
    most_sentences,
    nearest_to_name,
    shorter,
)
from memformer.plotbench.story import Bench, Probe, Story
from memformer.plotbench.story_words import words_of

ShortcutName = Literal[
    "random", "options-only", "option-length", "unigram", "last-mentioned", "first-mentioned",
    "longest-match", "ngram", "nearest-name", "cooccurrence", "latest-cooccurrence", "bm25",
    "bm25-paragraph", "order-last", "order-last-flipped", "order-first", "order-first-flipped",
    "longer", "longer-flipped", "named-first", "named-first-flipped", "oracle",
]  # fmt: skip
SHORTCUTS: tuple[ShortcutName, ...] = get_args(ShortcutName)
GATE = tuple(name for name in SHORTCUTS if name not in ("random", "oracle"))
"""Those that must not solve a family."""
ORACLE = "baseline:oracle"


@dataclass(frozen=True)
class Shortcut:
    """A way to rank the options of all probes of a benchmark."""

    name: str
    """As results name it: `baseline:<name>`."""
    rank: Callable[[Bench], dict[str, Ranks]]
    """By probe_id, a number for each option; the larger is preferred."""
    is_cooccurrence: bool = False
    """Whether it looks for a name and a value together: what retrieval floors are meant to allow.
    """


def build_shortcut(name: str) -> Shortcut:
    """One of `SHORTCUTS`.

    Raises:
        ValueError: there is none of this name.
    """
    rank: Callable[[Bench], dict[str, Ranks]]
    is_cooccurrence = False
    match name:
        case "random":
            rank = _random
        case "options-only":
            rank = _options_only
        case "option-length":
            rank = _by(shorter)
        case "unigram":
            rank = _by(more_frequent)
        case "last-mentioned":
            rank = _by(last_mentioned)
        case "first-mentioned":
            rank = _by(first_mentioned)
        case "longest-match":
            rank = _by(longest_match)
        case "ngram":
            rank = _ngram
        case "nearest-name":
            rank, is_cooccurrence = _by(nearest_to_name), True
        case "cooccurrence":
            rank, is_cooccurrence = _by(most_sentences), True
        case "latest-cooccurrence":
            rank, is_cooccurrence = _by(latest_sentence), True
        case "bm25":
            rank, is_cooccurrence = _by(best_by_bm25("sentence")), True
        case "bm25-paragraph":
            rank, is_cooccurrence = _by(best_by_bm25("paragraph")), True
        case "order-last" | "order-last-flipped" | "order-first" | "order-first-flipped":
            rank = _by(by_order(last="last" in name, flipped="flipped" in name))
        case "longer" | "longer-flipped" | "named-first" | "named-first-flipped":
            rank = _by(
                longer_sentence(flipped="flipped" in name, named_first="named-first" in name)
            )
        case "oracle":
            rank = by_trace
        case _:
            raise ValueError(f"baseline must be one of {', '.join(SHORTCUTS)}, got {name!r}")
    return Shortcut(f"baseline:{name}", rank, is_cooccurrence)


def shortcuts_for(bench: Bench) -> list[Shortcut]:
    """All that can be asked of these data: the oracle reads only the simulator's traces."""
    has_truth = all(story.track == "sim" for story in bench.stories) and bool(bench.traces)
    return [build_shortcut(name) for name in SHORTCUTS if has_truth or name != "oracle"]


def _by(rule: Callable[[Asked], Ranks]) -> Callable[[Bench], dict[str, Ranks]]:
    return lambda bench: {probe.probe_id: rule(question) for probe, question in asked(bench)}


def _random(bench: Bench) -> dict[str, Ranks]:
    """Drawn anew for each probe, alike in every run."""
    found = {}
    for probe in bench.probes:
        rng = random.Random(probe.probe_id)
        found[probe.probe_id] = (rng.random(), rng.random())
    return found


def _options_only(bench: Bench) -> dict[str, Ranks]:
    """The option whose words are more frequent in all stories together: its prior."""
    counts = Counter(word for story in bench.stories for word in words_of(story.text))

    def prior(option: str) -> float:
        return sum(math.log(counts[word] + 1) for word in words_of(option))

    return {p.probe_id: (prior(p.options[0]), prior(p.options[1])) for p in bench.probes}


def _ngram(bench: Bench) -> dict[str, Ranks]:
    """Log-probability of option and suffix under a 5-gram model of other stories and one of what
    has been read of this one."""
    return dict(_ngram_of(bench.stories, bench.probes))


@lru_cache(maxsize=2)  # dearer than all others together; gate, run and report ask it in turn
def _ngram_of(
    stories: tuple[Story, ...], probes: tuple[Probe, ...]
) -> tuple[tuple[str, Ranks], ...]:
    seeds = {story.story_id: story.seed for story in stories}
    background = [KneserNey(), KneserNey()]  # of even seeds and of odd ones
    for story in stories:
        background[story.seed % 2].add(words_of(story.text))
    found: list[tuple[str, Ranks]] = []
    questions = sorted(
        asked(Bench(stories=stories, traces=(), probes=probes, manifest={})),
        key=lambda each: (each[0].story_id, each[1].n_read),
    )
    story_id, n_read, cache = "", 0, KneserNey()
    for probe, question in questions:
        if probe.story_id != story_id:
            story_id, n_read, cache = probe.story_id, 0, KneserNey()
        words = question.story.words[: question.n_read]
        cache.add(words, n_read)
        n_read = question.n_read
        models = ((CACHE_WEIGHT, cache), (1 - CACHE_WEIGHT, background[1 - seeds[story_id] % 2]))
        before, suffix = [*words[-ORDER:], *question.stem], words_of(probe.suffix)
        one, other = (_nats(models, before, [*option, *suffix]) for option in question.options)
        found.append((probe.probe_id, (one, other)))
    return tuple(found)


def _nats(models: Sequence[tuple[float, KneserNey]], before: list[str], words: list[str]) -> float:
    text = before + words
    return sum(
        math.log(mixed(models, text[max(0, i - ORDER + 1) : i], text[i]))
        for i in range(len(before), len(text))
    )
