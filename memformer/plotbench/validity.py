"""What a benchmark must hold to be read at all; whether it is a good one is `check`'s question."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from memformer.plotbench.story import FAMILIES, Bench, Probe, Span, Story

CELLS = (("A", "x"), ("A", "y"), ("B", "x"), ("B", "y"))
"""Of a group, in the order in which margins stand."""


class Fault(NamedTuple):
    """What is wrong, and where: records are counted from 1, as lines of their file."""

    file: str
    line: int
    id: str
    message: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line} ({self.id}): {self.message}"


def refuse_faults(bench: Bench) -> None:
    """Raise ValueError with the first fault."""
    for fault in faults(bench):
        raise ValueError(str(fault))


def faults(bench: Bench) -> Iterator[Fault]:
    """Everything that makes a benchmark unreadable, in the order of stories, traces, probes.

    A group with fewer than four cells is none: it counts in no metric of groups
    (`incomplete_groups`).
    """
    stories = {story.story_id: story for story in bench.stories}
    seen: Counter[str] = Counter()
    for line, story in enumerate(bench.stories, 1):
        seen[story.story_id] += 1
        for message in _of_story(story, stories, seen[story.story_id]):
            yield Fault("stories.jsonl", line, story.story_id, message)
    seen.clear()
    for line, trace in enumerate(bench.traces, 1):
        seen[trace.story_id] += 1
        if seen[trace.story_id] > 1:
            yield Fault("traces.jsonl", line, trace.story_id, "this story has a trace already")
        if trace.story_id not in stories:
            yield Fault("traces.jsonl", line, trace.story_id, "stories hold no such story_id")
            continue
        for mention in trace.mentions:
            for message in _of_span("mention", mention.span, stories[trace.story_id]):
                yield Fault("traces.jsonl", line, trace.story_id, message)
    seen.clear()
    cells: set[tuple[str, str, str]] = set()
    for line, probe in enumerate(bench.probes, 1):
        seen[probe.probe_id] += 1
        for message in _of_probe(probe, stories.get(probe.story_id), seen[probe.probe_id], cells):
            yield Fault("probes.jsonl", line, probe.probe_id, message)


def incomplete_groups(probes: Iterable[Probe]) -> dict[str, int]:
    """Groups that have not all four cells, with how many they have."""
    held: dict[str, set[tuple[str, str]]] = {}
    for probe in probes:
        held.setdefault(probe.group_id, set()).add(probe.cell)
    return {group: len(cells) for group, cells in held.items() if len(cells) < len(CELLS)}


def _of_story(story: Story, stories: dict[str, Story], n_seen: int) -> Iterator[str]:
    if n_seen > 1:
        yield "this story_id stands on an earlier line too"
    if not unicodedata.is_normalized("NFC", story.text):
        yield "the text must be in Unicode's normal form NFC: offsets count its code points"
    if story.twin_of is not None and story.twin_of not in stories:
        yield f"stories hold no twin {story.twin_of!r}"
    for span in story.swaps:
        yield from _of_span("swap", span, story)
    for chapter in story.chapters:
        yield from _of_span(f"chapter {chapter.i}", chapter.span, story)


def _of_span(what: str, span: Span, story: Story) -> Iterator[str]:
    start, stop = span
    if not 0 <= start < stop <= len(story.text):
        yield (
            f"{what} has span [{start}, {stop}), which must not be empty and lie in the "
            f"{len(story.text)} characters of {story.story_id}"
        )


def _of_probe(
    probe: Probe, story: Story | None, n_seen: int, cells: set[tuple[str, str, str]]
) -> Iterator[str]:
    if n_seen > 1:
        yield "this probe_id stands on an earlier line too"
    elif (probe.group_id, *probe.cell) in cells:
        yield f"group {probe.group_id} has cell {''.join(probe.cell)} on an earlier line too"
    cells.add((probe.group_id, *probe.cell))
    if probe.family not in FAMILIES:
        yield f"family must be one of {', '.join(FAMILIES)}, got {probe.family!r}"
    for i, option in enumerate(probe.options):
        if not option.strip():
            yield f"option {i} is empty: {option!r}"
    if probe.options[0] == probe.options[1]:
        yield f"both options are {probe.options[0]!r}"
    if probe.gold not in (0, 1):
        yield f"gold must be 0 or 1, an index of the options, got {probe.gold}"
    if story is None:
        yield f"stories hold no story_id {probe.story_id!r}"
        return
    if story.twin != probe.cell[0]:
        yield f"cell {''.join(probe.cell)} lies in the other twin than {probe.story_id}"
    if not 0 <= probe.insert_at_char <= len(story.text):
        yield (
            f"insert_at_char must lie in the {len(story.text)} characters of {story.story_id}, "
            f"got {probe.insert_at_char}"
        )
    for support in probe.support:
        yield from _of_span(f"support {support.fact}", support.span, story)
