"""Whether twins and groups are built as they must be: each function yields what is wrong.

These hold exactly, story by story: they need no statistics, and a leak in one place is found.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from memformer.plotbench.story import Bench, Probe, Side, Story, Twin
from memformer.plotbench.validity import incomplete_groups

Cells = dict[tuple[Twin, Side], Probe]
FIXED_OPTIONS = ("time.order",)
"""Families whose two options are words of the question (before, after), the same in every group:
they need not have equal lengths."""


def twin_faults(bench: Bench) -> Iterator[str]:
    """Twins that differ outside their swaps, or whose swaps do not trade places.

    Both twins must hold the same words equally often: a mention that was forgotten, or a name that
    one twin has once more, makes the counts differ.
    """
    stories = {story.story_id: story for story in bench.stories}
    for story in bench.stories:
        other = stories.get(story.twin_of or "")
        if other is None:
            yield f"{story.story_id} has no twin"
        elif story.twin == "A":
            yield from _of_twins(story, other)


def _of_twins(a: Story, b: Story) -> Iterator[str]:
    if len(a.text) != len(b.text) or a.swaps != b.swaps:
        yield f"{a.base}: twins have other lengths or other swaps"
        return
    at = 0
    for start, stop in (*a.swaps, (len(a.text), len(a.text))):
        if start < at:
            yield f"{a.base}: swaps overlap or do not ascend at {start}"
        if a.text[at:start] != b.text[at:start]:
            yield f"{a.base}: twins differ outside their swaps, in [{at}, {start})"
        if start < stop and a.text[start:stop] == b.text[start:stop]:
            yield f"{a.base}: both twins say {a.text[start:stop]!r} in swap [{start}, {stop})"
        at = stop
    more, less = _counts(a) - _counts(b), _counts(b) - _counts(a)
    if more or less:
        yield f"{a.base}: words of A alone {dict(more)}, of B alone {dict(less)}"


def _counts(story: Story) -> Counter[str]:
    return Counter(re.findall(r"\w+", story.text))


def group_faults(bench: Bench) -> Iterator[str]:
    """Groups whose four cells are no Latin square of one question."""
    stories = {story.story_id: story for story in bench.stories}
    for group, n in incomplete_groups(bench.probes).items():
        yield f"{group} has {n} of 4 cells"
    for group, cells in groups(bench).items():
        for message in _of_group(cells):
            yield f"{group}: {message}"
        for probe in cells.values():
            story = stories[probe.story_id]
            ends = [stop for _, stop in story.swaps]
            if ends and probe.d_swap_chars != probe.insert_at_char - max(ends):
                yield f"{probe.probe_id}: d_swap_chars is {probe.d_swap_chars}, not the distance"
            elif probe.d_swap_chars <= 0:
                yield f"{probe.probe_id}: stands before the last swap"
            if not _is_told_differently(probe, story, stories.get(story.twin_of or "")):
                yield f"{probe.probe_id}: what licenses the answer is the same in both twins"


def groups(bench: Bench) -> dict[str, Cells]:
    """Complete groups."""
    held: defaultdict[str, Cells] = defaultdict(dict)
    for probe in bench.probes:
        held[probe.group_id][probe.cell] = probe
    return {group: cells for group, cells in held.items() if len(cells) == 4}


def _of_group(cells: Cells) -> Iterator[str]:
    if len({(p.family, p.options, p.insert_at_char) for p in cells.values()}) > 1:
        yield "cells differ in family, options, their order, or place"
    sides: tuple[Side, Side] = ("x", "y")
    for side in sides:
        a, b = cells["A", side], cells["B", side]
        if (a.stem, a.suffix) != (b.stem, b.suffix):
            yield f"twins ask about {side} in other words"
        if a.gold == b.gold:
            yield f"both twins have the same answer for {side}"
    if cells["A", "x"].gold == cells["A", "y"].gold:
        yield "x and y have the same answer"
    one = cells["A", "x"]
    if one.family not in FIXED_OPTIONS and len(one.options[0]) != len(one.options[1]):
        yield f"options differ in length: {one.options}"


def _is_told_differently(probe: Probe, story: Story, other: Story | None) -> bool:
    spans = [each.span for each in probe.support if each.of == "gold"]
    return other is not None and any(
        story.text[start:stop] != other.text[start:stop] for start, stop in spans
    )


def token_faults(bench: Bench, n_tokens: Callable[[str], int]) -> Iterator[str]:
    """Twins, and options after their stem, that have other numbers of tokens."""
    held: dict[str, int] = {}
    for story in bench.stories:
        n = n_tokens(story.text)
        if held.setdefault(story.base, n) != n:
            yield f"{story.base}: twins have {held[story.base]} and {n} tokens"
    for group, cells in groups(bench).items():
        for side, p in ((side, p) for (twin, side), p in cells.items() if twin == "A"):
            one, other = (n_tokens(p.stem + option) for option in p.options)
            if one != other:
                yield f"{group}: options {p.options} of {side} end at {one} and {other} tokens"
