"""One story in two twins: filler, the scenes that tell the facts, a gap, and the last pages.

The gap is the distance: from the last span in which the twins differ to every probe there are at
least as many characters as the bucket has tokens, at `CHARS_PER_TOKEN`.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from memformer.config.plotbench import least_length
from memformer.plotbench.beats import Beat, Group, Tell
from memformer.plotbench.filler import BREAK, Unit, backwards
from memformer.plotbench.frames.scenes import HEADINGS
from memformer.plotbench.names import CHARS_PER_TOKEN, CHARS_PER_TOKEN_OF_LENGTH, of_split
from memformer.plotbench.planner import Cast, Planted, cast_of, in_order, plan_groups, scenes
from memformer.plotbench.prose import Passage, of_twin
from memformer.plotbench.story import (
    Act,
    Chapter,
    Mention,
    Span,
    Split,
    Story,
    Thread,
    Trace,
)  # fmt: skip
from memformer.plotbench.world import Event, State, check_consistency, knowledge, replay

LONGEST = 4
"""Facts stand at most this many buckets away: below the next bucket."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Both twins of a story, and what probes are made from."""

    stories: tuple[Story, Story]
    traces: tuple[Trace, Trace]
    groups: list[Group]
    spans: dict[int, Span]
    """Of each beat of `beats`, by number."""
    beats: list[Beat]
    cast: Cast
    inserts: list[int]
    """Offsets after which a probe may stand, ascending."""

    def span_of(self, tell: Tell, beat: int, twin: int) -> Span:
        """Where something is told in one twin; `beat` is the number of its beat."""
        return _span_of(self.spans[beat], tell, twin)


def build(seed: int, *, bucket: int, length: int, families: tuple[str, ...], split: Split) -> Draft:
    """Write one story.

    Args:
        seed: of the world: people and last pages are the same at all distances.
        bucket: distance in tokens.
        length: of the whole text in tokens, met within a paragraph.
        families: which kinds of groups.
        split: whose names, frames and plots.

    Raises:
        ValueError: the distance does not fit into the length.
    """
    gap = math.ceil(bucket * CHARS_PER_TOKEN)
    total = math.floor(length * CHARS_PER_TOKEN_OF_LENGTH)
    cast = cast_of(seed, split)
    units = backwards(
        random.Random(f"{seed}.{split}.{length}.filler"),
        split,
        cast.others,
        cast.traits,
        1 if length <= 2048 else 2 if length <= 8192 else 3,
    )
    tail: list[Unit] = []
    # the last unit ends the story: probes stand before it
    while _size(tail[1:]) < gap + max(60, min(gap // 20, 4000)) or tail[-1].kind != "text":
        tail.append(next(units))
    room = min(LONGEST * gap, total) - _size(tail) - 100
    if room < 400:
        raise ValueError(
            f"bucket={bucket} tokens leaves no room in a story of length={length}: "
            f"take a length of at least {least_length(bucket)}"
        )
    rng = random.Random(f"{seed}.{split}.{bucket}.{length}.plan")
    groups = plan_groups(rng, split, cast, families, room)
    beats = in_order(rng, groups)
    zone = scenes(rng, split, cast, groups, beats, room)
    front = _front(units, tail[-1].opens, total - _size(tail) - sum(len(p.passage.a) for p in zone))
    return _write(seed, bucket, split, cast, groups, beats, front, zone, tail)


def _span_of(beat: Span, tell: Tell, twin: int) -> Span:
    if tell.part is None:
        return beat
    start, stop = tell.part[twin]
    return beat[0] + start, beat[0] + stop


def _size(units: list[Unit]) -> int:
    return sum(len(each.text) + 2 for each in units)


def _front(units: Iterator[Unit], tail_is_whole: bool, n_chars: int) -> list[Unit]:
    """Units before the planted scenes, last first, until there are enough characters."""
    if not tail_is_whole:
        while not next(units).opens:
            pass
    front: list[Unit] = []
    while _size(front) < n_chars:
        front.append(next(units))
    while front and front[-1].kind != "text":
        front.pop()
    while front and front[0].kind != "text":
        front.pop(0)
    return front


@dataclass
class _Page:
    """Text of both twins as it grows."""

    a: list[str]
    b: list[str]
    swaps: list[Span]
    spans: dict[int, Span]
    ends: list[int]
    headings: list[int]
    length: int = 0

    def add(self, passage: Passage, beats: tuple[tuple[int, int, int], ...] = ()) -> None:
        if self.length:
            self.a.append("\n\n")
            self.b.append("\n\n")
            self.length += 2
        at = self.length
        self.a.append(passage.a)
        self.b.append(passage.b)
        self.swaps += [(start + at, stop + at) for start, stop in passage.swaps]
        for i, start, stop in beats:
            self.spans[i] = (start + at, stop + at)
        self.length += len(passage.a)


def _write(
    seed: int, bucket: int, split: Split, cast: Cast, groups: list[Group], beats: list[Beat],
    front: list[Unit], zone: list[Planted], tail: list[Unit],
) -> Draft:  # fmt: skip
    page = _Page([], [], [], {}, [], [])
    titles = of_split(HEADINGS, split)
    first = random.Random(f"{seed}.{split}.heading").choice(titles).upper()
    page.headings.append(0)
    page.add(Passage(first, first))
    for unit in reversed(front):
        if unit.kind == "heading":
            page.headings.append(page.length + 2)
        page.add(Passage(unit.text, unit.text))
    if front:
        page.add(Passage(BREAK, BREAK))
    for planted in zone:
        page.add(planted.passage, planted.beats)
    page.add(Passage(BREAK, BREAK))
    for unit in reversed(tail):
        if unit.kind == "heading":
            page.headings.append(page.length + 2)
        page.add(Passage(unit.text, unit.text))
        if unit.kind == "text":
            page.ends.append(page.length)
    gap = math.ceil(bucket * CHARS_PER_TOKEN)
    telling = max(page.spans[i][1] for i, beat in enumerate(beats) if beat.tells)
    inserts = [end for end in page.ends if end >= max(telling, page.swaps[-1][1]) + gap]
    base = f"s{seed:06d}.d{bucket}"
    chapters = _chapters(seed, page)
    stories = tuple(
        Story(
            story_id=f"{base}.{twin}",
            twin_of=f"{base}.{other}",
            seed=seed,
            split=split,
            track="sim",
            filler="sim",
            bucket=bucket,
            text="".join(text),
            swaps=tuple(page.swaps),
            chapters=chapters,
        )
        for twin, other, text in (("A", "B", page.a), ("B", "A", page.b))
    )
    traces = tuple(
        _trace(story.story_id, twin, groups, beats, page) for twin, story in enumerate(stories)
    )
    return Draft(
        stories=(stories[0], stories[1]), traces=(traces[0], traces[1]), groups=groups,
        spans=page.spans, beats=beats, cast=cast, inserts=inserts[:-1][-8:] or inserts,
    )  # fmt: skip


def _chapters(seed: int, page: _Page) -> tuple[Chapter, ...]:
    rng = random.Random(f"{seed}.acts")
    bounds = [at + rng.uniform(-0.03, 0.03) for at in (0.25, 0.75, 0.9)]
    acts: tuple[Act, ...] = ("setup", "confrontation", "climax", "resolution")
    edges = [*page.headings, page.length]
    return tuple(
        Chapter(i=i, span=span, act=acts[sum(span[0] / page.length >= each for each in bounds)])
        for i, span in enumerate(pairwise(edges), 1)
    )


def events_of(groups: list[Group], beats: list[Beat], twin: int) -> list[Event]:
    """What happens in one twin, in the order of telling; everybody has a name from the start."""
    named = [
        Event("observe", (each.id, "name", each.name), 0)
        for pair in dict.fromkeys(group.pair for group in groups)
        for each in pair
    ]
    return named + [
        Event(deed.op, tuple(of_twin(each, twin) for each in deed.args), i + 1)
        for i, beat in enumerate(beats)
        for deed in beat.deeds
    ]


def _trace(id: str, twin: int, groups: list[Group], beats: list[Beat], page: _Page) -> Trace:
    events = events_of(groups, beats, twin)
    broken = check_consistency(events)
    assert not broken, f"{id}: {broken[0]}"
    state, _ = replay(events)
    mentions = tuple(
        Mention(
            fact=fact_id(state, of_twin(tell.s, twin), tell.p, i + 1),
            span=_span_of(page.spans[i], tell, twin),
            role=tell.role,
        )
        for i, beat in enumerate(beats)
        for tell in beat.tells
    )
    threads = tuple(_timed(thread, beats, page) for thread in state.threads.values())
    return Trace(
        story_id=id, facts=tuple(state.facts), knowledge=knowledge(state), threads=threads,
        mentions=tuple(sorted(mentions, key=lambda m: m.span)),
    )  # fmt: skip


def _timed(thread: Thread, beats: list[Beat], page: _Page) -> Thread:
    def u(t: float | None) -> float | None:
        return None if t is None else page.spans[int(t) - 1][0] / page.length

    opened = u(thread.open_u)
    assert opened is not None
    return replace(thread, open_u=opened, close_u=u(thread.close_u))


def fact_id(state: State, s: str, p: str, t: int) -> str:
    """Id of what holds of `s` and `p` at a moment, or else first after it."""
    if p == "k":
        return f"k.{s}"
    if p.startswith("th."):
        return f"th.{s}.{p[3:]}"
    known = [fact for fact in state.facts if fact.s == s and fact.p == p]
    assert known, f"nothing is known of {p} of {s}"
    valid = [fact for fact in known if fact.t[0] <= t]
    return (valid[-1] if valid else known[0]).id
