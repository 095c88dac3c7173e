"""Worked examples: the story's facts, the question, what was retrieved, what was preferred."""

from collections.abc import Callable
from typing import NamedTuple

from memformer.plotbench.findings import Findings
from memformer.plotbench.metrics import margin
from memformer.plotbench.results import Result
from memformer.plotbench.story import CLAIM, Probe, Span, Story

_AROUND = 90  # characters shown on either side
_N_RETRIEVED = 5


class Excerpt(NamedTuple):
    """A span of a story with what stands around it."""

    before: str
    marked: str
    after: str
    note: str


class Example(NamedTuple):
    """One probe, to be read."""

    title: str
    facts: list[Excerpt]
    """What the answer rests on (`gold`), and the other person's counterpart (`other`)."""
    stem: str
    options: list[tuple[str, float, bool]]
    """Text, log-probability in nats, whether it is consistent."""
    suffix: str
    retrieved: list[Excerpt] | None
    """None for a model without memory."""
    verdict: str


def examples(found: Findings, n: int = 3) -> list[Example]:
    """Of the lead run: one right, one wrong, then others; of different families if there are.

    The choice depends on nothing but the results: the first of each kind in the order of probes.
    """
    rows = [row for row in found.every_row(found.lead) if row.family in CLAIM]
    rows = rows or found.every_row(found.lead)
    probes = {probe.probe_id: probe for probe in found.bench.probes}
    stories = {story.story_id: story for story in found.bench.stories}
    wanted: list[Callable[[Result], bool]] = [lambda r: margin(r) > 0, lambda r: margin(r) <= 0]
    chosen: list[Result] = []
    for i in range(n):
        fits = wanted[i % 2]
        rest = [row for row in rows if row not in chosen]
        new = [row for row in rest if row.family not in {each.family for each in chosen}]
        row = next((r for pool in (new, rest) for r in pool if fits(r)), rest[0] if rest else None)
        if row is not None:
            chosen.append(row)
    return [
        _example(found, row, probes[row.probe_id], stories[row.story_id]) for row in chosen
    ]  # fmt: skip


def _example(found: Findings, row: Result, probe: Probe, story: Story) -> Example:
    is_right = margin(row) > 0
    preferred = probe.options[probe.gold if is_right else 1 - probe.gold].strip()
    verdict = (
        f"{found.lead.label} prefers “{preferred}” by {abs(margin(row)):.2f} nats: "
        f"{'right' if is_right else 'wrong' if margin(row) < 0 else 'a tie, which is not right'}."
    )
    retrieved = None
    if row.retrieved is not None:
        golds = [each.span for each in probe.support if each.of == "gold"]
        retrieved = [
            _excerpt(story, span, "touches a fact that licenses the answer"
                     if any(span[0] < g[1] and g[0] < span[1] for g in golds) else "elsewhere")
            for span in row.retrieved[:_N_RETRIEVED]
        ]  # fmt: skip
    return Example(
        title=f"{probe.family}, {probe.probe_id}",
        facts=[
            _excerpt(story, each.span, _note(probe, each.span, each.of)) for each in probe.support
        ],
        stem=probe.stem.strip(),
        options=[
            (option, row.logprob[i], i == probe.gold) for i, option in enumerate(probe.options)
        ],
        suffix=probe.suffix,
        retrieved=retrieved,
        verdict=verdict,
    )


def _note(probe: Probe, span: Span, of: str) -> str:
    whose = "licenses the answer" if of == "gold" else "the other person's counterpart"
    return f"{whose}, {probe.insert_at_char - span[1]:,} characters before the question"


def _excerpt(story: Story, span: Span, note: str) -> Excerpt:
    start, stop = span
    before = story.text[max(0, start - _AROUND) : start]
    after = story.text[stop : stop + _AROUND]
    if start > _AROUND:  # begin and end at whole words
        before = before.partition(" ")[2]
    if stop + _AROUND < len(story.text):
        after = after.rpartition(" ")[0]
    before, marked, after = (" ".join(p.split()) for p in (before, story.text[start:stop], after))
    return Excerpt(before, marked, after, note)
