"""What a story has told up to a place: who is in it, what has happened, what is still to come."""

from collections.abc import Mapping
from dataclasses import dataclass

from memformer.plotbench.generated.sentences import Lexicon, sentences
from memformer.plotbench.names import Person
from memformer.plotbench.planner import families_named
from memformer.plotbench.prose import of_twin
from memformer.plotbench.story import Story, Thread
from memformer.plotbench.story_words import words_of
from memformer.plotbench.twins import Draft, build, events_of
from memformer.plotbench.world import Event, State, replay

TRAITS = {"eyes": "eyes", "town": "birthplace", "trade": "trade", "plays": "plays"}
"""Predicates of the traits of the filler's people, by the names these go by there."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """The world of one twin as its reader knows it at one place."""

    lexicon: Lexicon
    events: tuple[Event, ...]
    """Of all that has been told, in order: `world.check_consistency` finds nothing in them."""
    main: tuple[Person, ...]
    """People of the plot and of the filler who were named and have not died."""
    plan: tuple[Thread, ...]
    """Threads of the whole story, closed where the story closes them."""

    @property
    def state(self) -> State:
        """What holds; a new one each time, to be changed at will."""
        return replay(self.events)[0]


def draft_of(story: Story, manifest: Mapping[str, object]) -> Draft:
    """Make a story of a benchmark again, with all that its trace leaves out.

    Raises:
        ValueError: no story of the simulator, or none that this version makes from its seed.
    """
    if story.track != "sim":
        raise ValueError(f"{story.story_id}: only simulated worlds can be judged, got a novel")
    lengths, families = manifest["lengths"], manifest["families"]
    assert isinstance(lengths, list | tuple) and isinstance(families, list | tuple)
    for length in lengths:
        try:
            draft = build(
                story.seed, bucket=story.bucket, length=int(length),
                families=families_named(tuple(map(str, families))), split=story.split,
            )  # fmt: skip
        except ValueError:
            continue  # the distance does not fit into this length
        if draft.stories[_twin(story)].text == story.text:
            return draft
    raise ValueError(
        f"{story.story_id}: its seed does not make this text: judge it with the version that made "
        "the data"
    )


def known_at(draft: Draft, twin: int, cut: int) -> Known:
    """What twin 0 (A) or 1 (B) of a draft has told in its first `cut` characters.

    Traits of people of the filler count as told once a sentence has named person and value.
    """
    told = [
        event for event in events_of(draft.groups, draft.beats, twin)
        if event.t == 0 or draft.spans[event.t - 1][1] <= cut
    ]  # fmt: skip
    everyone = {
        each.id: each
        for each in (
            *(p for pair in (*draft.cast.pairs, *draft.cast.witnesses) for p in pair),
            *draft.cast.others, *draft.cast.helpers,
        )
    }  # fmt: skip
    lexicon = Lexicon(
        people=tuple(everyone.values()),
        aliases=tuple((e.args[1], e.args[0]) for e in told if e.op == "call"),
    )
    before = draft.stories[twin].text[:cut]
    events = tuple(_traits(draft, before, lexicon) + told)
    state, broken = replay(events)
    assert not broken, f"{draft.stories[twin].story_id}: {broken[0]}"
    words = set(words_of(before))
    in_plot = {of_twin(each.id, twin) for group in draft.groups for each in group.pair}
    in_plot |= {each.id for each in draft.cast.others}
    main = tuple(
        each for each in everyone.values()
        if each.id in in_plot and each.name.lower() in words
        and state.get(each.id, "alive") != "no"
    )  # fmt: skip
    return Known(lexicon=lexicon, events=events, main=main, plan=draft.traces[twin].threads)


def known_of(story: Story, manifest: Mapping[str, object], cut: int) -> Known:
    """The same of a story of a benchmark. Raises ValueError as `draft_of`."""
    return known_at(draft_of(story, manifest), _twin(story), cut)


def _twin(story: Story) -> int:
    return 0 if story.twin == "A" else 1


def _traits(draft: Draft, before: str, lexicon: Lexicon) -> list[Event]:
    told: set[tuple[str, str]] = set()
    for sentence in sentences(before, lexicon):
        words = set(words_of(sentence.text))
        told |= {(id, word) for id in sentence.people for word in words}
    return [
        Event("observe", (each.id, predicate, value), 0)
        for each in draft.cast.others
        for slot, predicate in TRAITS.items()
        for value in (draft.cast.traits[each.id][slot],)
        if (each.id, value.lower()) in told
    ]
