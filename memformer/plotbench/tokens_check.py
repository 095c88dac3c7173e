"""Whether what trades places is alike in tokens: word by word, and in whole twins.

Equal numbers of tokens in two twins are not enough: both hold the same words, so one name that is
longer in tokens lengthens both. What must agree is where every token ends.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from memformer.plotbench.frames import arc, life, order, status
from memformer.plotbench.frames.by_names import BY_NAMES
from memformer.plotbench.frames.payoff import NEED_CLASSES
from memformer.plotbench.names import NAMES, VALUES
from memformer.plotbench.story import Bench, Span

Ends = Callable[[str], Sequence[int]]
"""Offsets at which the tokens of a text end, ascending; as many as there are tokens."""

NAME_CONTEXTS = tuple(
    before + "{}" + after
    for before in ("\n", " ")
    for after in ("", "'s", ",", ".", ";", ',"', "'s.")
)
VALUE_CONTEXTS = (" {}", " {},", " {}.", " {};", ' {},"')
BY_NAME_CONTEXTS = tuple(
    before + " {}" + after
    for before in ("\nThe", ' "The', " the")
    for after in ("", "'s", ",", ".", ";", '."', '!"')
)
CLOCK_CONTEXTS = (" at {}", "\nAt {}", " \"It's {}", ' "The {},"', " the {},", " {};")
CLOCK = tuple(f"{minutes // 60}.{minutes % 60:02d}" for minutes in range(60, 600))
"""Of `time.order`."""


class WordClass(NamedTuple):
    """Words that may trade places, or stand beside each other as options."""

    label: str
    words: tuple[str, ...]
    contexts: tuple[str, ...]
    """In which the text has them, with `{}` for the word."""


def word_classes() -> list[WordClass]:
    """All classes of names and values, and the options that are the same in every story."""
    found = [
        WordClass(f"{split} {gender}", tuple(each.split()), NAME_CONTEXTS)
        for split, by_gender in NAMES.items()
        for gender, classes in by_gender.items()
        for each in classes
    ]
    needs = tuple(each for classes in NEED_CLASSES.values() for each in classes)
    for about, classes in {**VALUES, "need": needs}.items():
        found += [WordClass(about, tuple(each.split()), VALUE_CONTEXTS) for each in classes]
    found += [
        WordClass(f"{split} by-name", tuple(each.split()), BY_NAME_CONTEXTS)
        for split, classes in BY_NAMES.items()
        for each in classes
    ]
    found.append(WordClass("clock", CLOCK, CLOCK_CONTEXTS))
    options = [options for _, options, _ in (*life.PROBES, *status.PROBES)]
    options += [order.OPTIONS, *(each.options for each in arc.ARCS)]
    for pair in dict.fromkeys(options):
        words = tuple(option.strip() for option in pair)
        found.append(WordClass("option", words, VALUE_CONTEXTS))
    return found


def words_sha256() -> str:
    """Digest of all classes with their contexts: a result for others says nothing about these."""
    return hashlib.sha256(repr([tuple(each) for each in word_classes()]).encode()).hexdigest()


def class_faults(ends: Ends) -> Iterator[str]:
    """Classes whose words are not interchangeable in one of their contexts."""
    for label, words, contexts in word_classes():
        for context in contexts:
            found = {word: _around(ends, "said" + context, word) for word in words}
            if len(set(found.values())) > 1:
                yield f"{label}, {context!r}: {found}"
                break


def _around(ends: Ends, context: str, word: str) -> tuple[tuple[int, int], ...]:
    """Ends of tokens outside a word, as if it had no length, with the numbers of the tokens."""
    start = context.index("{}")
    stop = start + len(word)
    return tuple(
        (n, end if end <= start else end - len(word))
        for n, end in enumerate(ends(context.format(word)), 1)
        if not start < end < stop
    )


def twin_ends_faults(bench: Bench, ends: Ends) -> Iterator[str]:
    """Twins in which a token ends at different offsets, outside what trades places.

    Raises:
        KeyError: a story's twin is missing.
    """
    stories = {story.story_id: story for story in bench.stories}
    for story in bench.stories:
        if story.twin == "A" and story.twin_of is not None:
            other = stories[story.twin_of]
            found = first_misaligned(ends(story.text), ends(other.text), story.swaps)
            if found is not None:
                here = slice(max(0, found - 20), found + 20)
                yield f"{story.base}: {story.text[here]!r} and {other.text[here]!r} at {found}"


def first_misaligned(a: Sequence[int], b: Sequence[int], swaps: Sequence[Span]) -> int | None:
    """First offset outside the swaps at which a token ends in one twin alone, or as another one
    (the tenth, say, and the eleventh). Within a swap tokens may end where they like."""
    numbers = [{at: i for i, at in enumerate(each)} for each in (a, b)]
    for at in sorted({*a, *b}):
        if numbers[0].get(at) != numbers[1].get(at) and not any(s < at < t for s, t in swaps):
            return at
    return None
