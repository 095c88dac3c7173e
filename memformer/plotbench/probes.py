"""Probes in groups of four, and the answer that the trace alone gives to each."""

import random
import re

from memformer.plotbench.beats import Group
from memformer.plotbench.frames import arc, life, status
from memformer.plotbench.names import Person
from memformer.plotbench.prose import Filling, cast_slots, of_twin, person_slots, render
from memformer.plotbench.story import Probe, Side, Support, Trace, Twin
from memformer.plotbench.twins import Draft, events_of, fact_id
from memformer.plotbench.world import replay


def probes_of(draft: Draft) -> list[Probe]:
    """Four probes a group, in the order of stories, then of insertion.

    Groups are spread over the places at which a probe may stand.
    """
    base = draft.stories[0].base
    rng = random.Random(f"{base}.{draft.stories[0].split}.probes")
    states = [replay(events_of(draft.groups, draft.beats, twin))[0] for twin in (0, 1)]
    numbers = {id(beat): i for i, beat in enumerate(draft.beats)}
    probes = []
    for g, group in enumerate(draft.groups):
        insert = draft.inserts[g * len(draft.inserts) // len(draft.groups)]
        helper = rng.choice(draft.cast.others)
        choice_seed = rng.random()  # the same words in all four cells
        told = [(tell, numbers[id(beat)] + 1) for beat in group.beats for tell in beat.tells]
        sides: tuple[tuple[Side, Person], ...] = (("x", group.pair.x), ("y", group.pair.y))
        for twin in (0, 1):
            for side, who in sides:
                slots: dict[str, Filling] = {
                    **cast_slots({"f": helper}),
                    **person_slots("x", who.name, who.gender),
                    **group.slots,
                }
                words = [
                    render(text, slots, random.Random(choice_seed)).a
                    for text in (group.stem, group.suffix, *group.licence)
                ]
                gold = group.gold if (side == "x") == (twin == 0) else 1 - group.gold
                support = [
                    Support(
                        fact=fact_id(states[twin], of_twin(tell.s, twin), tell.p, t),
                        span=draft.span_of(tell, t - 1, twin),
                        of="gold" if side in tell.sides[twin] else "other",
                    )
                    for tell, t in told
                    if tell.licenses[twin]
                ]
                probes.append(
                    _probe(draft, group, g, ("A", "B")[twin], side, insert, words, gold, support)
                )
    return sorted(probes, key=lambda p: (p.story_id, p.insert_at_char, p.probe_id))


def _probe(
    draft: Draft, group: Group, g: int, twin: Twin, side: Side, insert: int, words: list[str],
    gold: int, support: list[Support],
) -> Probe:  # fmt: skip
    story = draft.stories[0 if twin == "A" else 1]
    stem, suffix, *licence = words
    ends = [each.span[1] for each in support if each.of == "gold"]
    between = re.findall(r"[A-Za-z]+", story.text[max(ends) : insert])
    return Probe(
        probe_id=f"{story.base}.g{g:02d}.{twin}.{side}",
        group_id=f"{story.base}.g{g:02d}",
        story_id=story.story_id,
        cell=(twin, side),
        family=group.family,
        insert_at_char=insert,
        stem=f"\n\n{stem}",
        options=group.options,
        suffix=suffix,
        gold=gold,
        support=tuple(sorted(support, key=lambda each: each.span)),
        d_near_chars=insert - max(ends),
        d_first_chars=insert - min(ends),
        d_swap_chars=insert - story.swaps[-1][1],
        n_mentions=len(ends),
        n_updates=group.n_updates,
        n_distractors=sum(word in group.rivals for word in between),
        hops=group.hops,
        licence=f"\n\n{licence[gold]}",
    )


def answer(trace: Trace, probe: Probe) -> int:
    """Index of the option that follows from the trace; neither `gold` nor the text is read.

    Who is asked about is the one whose name stands in the stem; what is asked follows from the
    family and the predicates of the supporting facts.

    Raises:
        ValueError: the trace does not decide between the options.
    """
    facts = {fact.id: fact for fact in trace.facts}
    asked = {facts[each.fact].p for each in probe.support if each.fact in facts}
    who = _subject(trace, probe)
    options = [option.strip() for option in probe.options]

    def now(s: str, p: str) -> str:
        return next(f.o for f in reversed(trace.facts) if f.s == s and f.p == p and f.t[1] is None)

    match probe.family:
        case "attr.static" | "attr.update" | "attr.latent":
            (predicate,) = asked
            return options.index(now(who, predicate))
        case "attr.alias":
            (predicate,) = asked - {"alias"}
            return options.index(now(now(who, "alias"), predicate))
        case "attr.hearsay":
            (predicate,) = asked
            return options.index(now(now(who, f"right.{predicate}"), f"says.{predicate}.{who}"))
        case "poss.chain":
            return [now(option, "holder") for option in options].index(who)
        case "life":
            return _index(options, life.LIVING, now(who, "alive") == "yes")
        case "know.secret":
            return options.index(_believed(trace, probe, who))
        case "thread.payoff":
            payoffs = [th.payoff for th in trace.threads if th.id == f"th.{who}.promise"]
            return [f"mend({who},{option})" for option in options].index(payoffs[0])
        case "thread.status":
            closed = [th.status == "closed" for th in trace.threads if th.id == f"th.{who}.debt"]
            return _index(options, status.SETTLED, closed[0])
        case "kin.hop":
            return options.index(now(now(now(who, "mother"), "brother"), "trade"))
        case "time.order":
            event = next(facts[s.fact].s for s in probe.support if facts[s.fact].p == "came")
            is_before = int(now(who, "left")) < int(now(event, "came"))
            return options.index("before" if is_before else "after")
        case "arc.position":
            (predicate,) = asked
            return _index(options, arc.LATE, int(now(who, predicate)) >= 3)
        case _:
            raise ValueError(f"{probe.probe_id}: the trace answers no family {probe.family!r}")


def _subject(trace: Trace, probe: Probe) -> str:
    words = set(re.findall(r"[A-Za-z]+", probe.stem))
    named = [fact.s for fact in trace.facts if fact.p == "name" and fact.o in words]
    if len(named) != 1:
        raise ValueError(f"{probe.probe_id}: the stem must name one person, got {named}")
    return named[0]


def _believed(trace: Trace, probe: Probe, who: str) -> str:
    """Where somebody thinks a thing is: the last place of which they know."""
    thing = next(each.fact for each in probe.support).split(".")[1]
    known = [k for k in trace.knowledge if k.id.startswith(f"k.{thing}.")]
    seen = [(t, k.id.split(".")[2]) for k in known for knower, t in k.knowers if knower == who]
    return max(seen)[1]


def _index(options: list[str], positive: frozenset[str], holds: bool) -> int:
    (first,) = [i for i, option in enumerate(options) if option in positive]
    return first if holds else 1 - first
