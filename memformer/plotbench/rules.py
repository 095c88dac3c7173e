"""Shortcuts that read no meaning: rules that rank two options by where words stand.

A rule that finds nothing ranks both alike: a tie, which no pair and no group counts as right.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from memformer.plotbench.story import Bench, Probe, Story
from memformer.plotbench.story_words import StoryWords, Unit, words_of

Ranks = tuple[float, float]


class Asked(NamedTuple):
    """A probe in words, and how much of its story stands before it."""

    story: StoryWords
    n_read: int
    name: list[str]
    """What the stem says of this person and not of the other one of the group."""
    other: list[str]
    """The other one's name."""
    stem: list[str]
    options: tuple[list[str], list[str]]
    lengths: tuple[int, int]
    """Of the options, in characters."""


def asked(bench: Bench) -> tuple[tuple[Probe, Asked], ...]:
    """Every probe in words; one of an incomplete group has no name."""
    return _asked(bench.stories, bench.probes)


@lru_cache(maxsize=1)  # a dozen rules ask the same
def _asked(
    stories: tuple[Story, ...], probes: tuple[Probe, ...]
) -> tuple[tuple[Probe, Asked], ...]:
    words = {story.story_id: StoryWords(story.text) for story in stories}
    stems = {(p.group_id, *p.cell): words_of(p.stem) for p in probes}
    found = []
    for p in probes:
        twin, side = p.cell
        other = stems.get((p.group_id, twin, "y" if side == "x" else "x"))
        stem, story = words_of(p.stem), words[p.story_id]
        name = [] if other is None else [word for word in stem if word not in other]
        rival = [] if other is None else [word for word in other if word not in stem]
        options = words_of(p.options[0]), words_of(p.options[1])
        lengths = len(p.options[0]), len(p.options[1])
        n_read = story.n_read(p.insert_at_char)
        found.append((p, Asked(story, n_read, name[:1], rival[:1], stem, options, lengths)))
    return tuple(found)


def shorter(q: Asked) -> Ranks:
    """Fewer characters."""
    return -q.lengths[0], -q.lengths[1]


def more_frequent(q: Asked) -> Ranks:
    """More often in the story."""
    return _each(q, len)


def last_mentioned(q: Asked) -> Ranks:
    """Later in the story."""
    return _each(q, lambda places: max(places, default=-1))


def first_mentioned(q: Asked) -> Ranks:
    """Earlier in the story."""
    return _each(q, lambda places: -min(places, default=10**9))


def nearest_to_name(q: Asked) -> Ranks:
    """Fewest words between a mention of the name and one of the option."""
    names = q.story.places(q.name, q.n_read)
    return _each(q, lambda places: -_gap(names, places))


def longest_match(q: Asked) -> Ranks:
    """The n-gram that the story repeats: most words of the stem's end before the option, up to 4;
    then more often."""

    def rank(option: list[str]) -> float:
        for n in range(min(4, len(q.stem)), -1, -1):
            context = q.stem[len(q.stem) - n :]
            times = len(q.story.places([*context, *option], q.n_read))
            if times:
                return n + 1 - 1 / (1 + times)
        return 0.0

    return rank(q.options[0]), rank(q.options[1])


def most_sentences(q: Asked) -> Ranks:
    """More sentences hold the name and the option."""
    return _together(q, len)


def latest_sentence(q: Asked) -> Ranks:
    """The later sentence that holds the name and the option."""
    return _together(q, lambda held: max(held, default=-1))


def by_order(*, last: bool, flipped: bool) -> Callable[[Asked], Ranks]:
    """To the person named later the option named later (`flipped`: the earlier one).

    Looked at are sentences that hold one name and no option, or one option and no name: what ties
    both together is skipped, so no decoy misleads. Of several the last counts, or the first. Where
    the story never says both options, the second is the one given to the later person.

    Where two people trade places the choice changes with them, so the four cells of a group are
    right or wrong together: chance is one half of the groups, not a sixteenth.
    """

    def rank(q: Asked) -> Ranks:
        me, other, one, two = (
            _units(q, phrase, "sentence") for phrase in (q.name, q.other, *q.options)
        )
        at = max if last else min
        mine, theirs = me - other - one - two, other - me - one - two
        if not mine or not theirs:
            return 0.0, 0.0
        first, second = one - two - me - other, two - one - me - other
        second_is_later = not first or not second or at(second) > at(first)
        gets_later = (at(mine) > at(theirs)) != flipped
        return (0.0, 1.0) if gets_later == second_is_later else (1.0, 0.0)

    return rank


def longer_sentence(*, flipped: bool, named_first: bool) -> Callable[[Asked], Ranks]:
    """Of the last two sentences in a row that name one person each and no option, the longer one's
    gets the option that is told first (`flipped`: the other); the first, if none is told.

    `named_first`: instead of the longer sentence, the one in which the name stands nearer to the
    beginning.
    """

    def rank(q: Asked) -> Ranks:
        words, spans = q.story.words, side_by_side(q)
        told = [_units(q, option, "sentence") for option in q.options]
        if spans is None:
            return 0.0, 0.0
        if named_first:
            size = [
                -next(n for n, at in enumerate(span) if words[at] == name[0])
                for span, name in zip(spans, (q.name, q.other), strict=True)
            ]
        else:
            size = [sum(len(words[at]) + 1 for at in span) for span in spans]
        if size[0] == size[1]:
            return 0.0, 0.0
        first_is_0 = not told[0] or not told[1] or min(told[0]) <= min(told[1])
        gets_first = (size[0] > size[1]) != flipped
        return (1.0, 0.0) if gets_first == first_is_0 else (0.0, 1.0)

    return rank


def side_by_side(q: Asked) -> tuple[range, range] | None:
    """The words of the last two sentences in a row of which one names this person, the other the
    other one, and neither an option; None if there are none."""
    index = q.story.units["sentence"]
    mine, theirs = _units(q, q.name, "sentence"), _units(q, q.other, "sentence")
    told = set.union(*(_units(q, option, "sentence") for option in q.options))
    alone = [
        (i, j) for i in mine - theirs - told for j in (i - 1, i + 1) if j in theirs - mine - told
    ]
    if not alone:
        return None
    i, j = max(alone, key=max)
    spans = [range(bisect_left(index, unit), bisect_right(index, unit)) for unit in (i, j)]
    return spans[0], spans[1]


def best_by_bm25(unit: Unit) -> Callable[[Asked], Ranks]:
    """The sentence or paragraph most like the stem, of those that hold one of the options."""

    def rank(q: Asked) -> Ranks:
        found = q.story.bm25(q.stem, unit, q.n_read)
        one, other = (_units(q, option, unit) for option in q.options)
        return (
            max((found.get(each, 0.0) for each in one - other), default=0.0),
            max((found.get(each, 0.0) for each in other - one), default=0.0),
        )

    return rank


def _each(q: Asked, number: Callable[[list[int]], float]) -> Ranks:
    one, other = (number(q.story.places(option, q.n_read)) for option in q.options)
    return one, other


def _units(q: Asked, phrase: list[str], unit: Unit) -> set[int]:
    index = q.story.units[unit]
    return {index[i] for i in q.story.places(phrase, q.n_read)}


def _together(q: Asked, number: Callable[[set[int]], float]) -> Ranks:
    named = _units(q, q.name, "sentence")
    one, other = (named & _units(q, option, "sentence") for option in q.options)
    return number(one), number(other)


def _gap(a: Iterable[int], b: Iterable[int]) -> float:
    """Smallest distance of two sorted lists of words, 10^9 if one is empty."""
    marked = sorted([(i, 0) for i in a] + [(i, 1) for i in b])
    gaps = (
        other[0] - one[0]
        for one, other in zip(marked, marked[1:], strict=False)
        if one[1] != other[1]
    )
    return min(gaps, default=10**9)
