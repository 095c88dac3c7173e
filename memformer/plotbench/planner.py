"""Which groups a story has, who is in them, and in which scenes they are told."""

import random
from typing import NamedTuple

from memformer.plotbench import attributes, plots
from memformer.plotbench.beats import Beat, Draw, Group
from memformer.plotbench.filler import BREAK, Traits, roles_slots, traits_of
from memformer.plotbench.frames import chronicle
from memformer.plotbench.frames.beats import BETWEEN
from memformer.plotbench.names import Pair, Person, draw_cast
from memformer.plotbench.prose import Filling, Passage, cast_slots, join, render
from memformer.plotbench.story import CORE, EXTENDED, FAMILIES, Split

N_GROUPS = 10
"""Groups of a story, if there is room for them."""
N_PAIRS, N_WITNESS_PAIRS, N_CAST, N_HELPERS = N_GROUPS, 6, 9, 8
ALONE = ("life", "time.order", "arc.position")
"""Families whose people are in no other group: they die, leave, or are done with."""
MOST = {
    "attr.alias": 5, "kin.hop": 2, "poss.chain": 3, "time.order": 4, "know.secret": 4,
    "thread.payoff": 4,
}  # fmt: skip
"""Groups of a family in a story, where it has by-names, relatives, hands, events, things or needs
for no more."""
CHARS_AROUND, CHARS_PLAIN = 90, 30
"""What a beat takes besides itself: its share of openings, leads and what follows; or of openings
alone, where room is short."""
PLAIN_BELOW = 2_500
"""Characters of room."""
CHARS_PER_BEAT = 330
"""Of the filler."""


class Cast(NamedTuple):
    """Everybody in a story."""

    pairs: list[Pair]
    witnesses: list[Pair]
    """Who trade places on the way from one to another, and are asked nothing."""
    others: list[Person]
    """Of the filler, and those through whose eyes the rest is seen."""
    helpers: list[Person]
    traits: Traits


class Planted(NamedTuple):
    """A paragraph, or a break, with the beats in it."""

    passage: Passage
    beats: tuple[tuple[int, int, int], ...] = ()
    """Number of a beat in the order of telling, and its span within the passage."""


def families_named(names: tuple[str, ...]) -> tuple[str, ...]:
    """Families of a list in which `core`, `extended` and `all` stand for several.

    Raises:
        ValueError: an unknown name, or none.
    """
    found: list[str] = []
    for name in names:
        match name:
            case "core":
                found += CORE
            case "extended":
                found += EXTENDED
            case "all":
                found += FAMILIES
            case _ if name in FAMILIES:
                found.append(name)
            case _:
                known = ", ".join(("core", "extended", "all", *FAMILIES))
                raise ValueError(f"families must be among {known}, got {name!r}")
    if not found:
        raise ValueError("families must name at least one, got none")
    return tuple(dict.fromkeys(found))


def cast_of(seed: int, split: Split) -> Cast:
    """Everybody in the story of a seed, whatever its distance."""
    rng = random.Random(f"{seed}.{split}.cast")
    pairs, rest = draw_cast(rng, split, N_PAIRS + N_WITNESS_PAIRS, N_CAST + N_HELPERS)
    others = rest[:N_CAST]
    return Cast(pairs[:N_PAIRS], pairs[N_PAIRS:], others, rest[N_CAST:], traits_of(rng, others))


def plan_groups(
    rng: random.Random, split: Split, cast: Cast, families: tuple[str, ...], room: int
) -> list[Group]:
    """Groups for a stretch of `room` characters: at least one, at most `N_GROUPS`.

    Families come in random order, each once before any comes again; some may be told only so often.
    """
    draw = Draw(rng, split, cast.helpers, cast.witnesses)
    free, asked = list(cast.pairs), {pair: set[str]() for pair in cast.pairs}
    shared: list[Pair] = []
    order: list[str] = []
    for n in range(N_GROUPS):
        left = [family for family in families if n < MOST.get(family, N_GROUPS)]
        order += rng.sample(left, len(left))
    groups: list[Group] = []
    used, around = 0, CHARS_PLAIN if room < PLAIN_BELOW else CHARS_AROUND
    for family in order[:N_GROUPS]:
        about = _about(rng, family)
        pair = _pair(family, about, free, shared, asked)
        one, other = rng.sample(pair, 2)  # who does what in twin A is tossed for each group
        group = recipe(draw, family, Pair(one, other), about)
        cost = sum(beat.size + around for beat in group.beats)
        if groups and used + cost > room:
            break
        used += cost
        groups.append(group)
    return groups


def recipe(draw: Draw, family: str, pair: Pair, about: str) -> Group:
    """Carry out the recipe of a family; `about` is the attribute, for families that have one."""
    match family:
        case "attr.static":
            return attributes.static(draw, pair, about)
        case "attr.update":
            return attributes.changed(draw, pair, about)
        case "attr.alias":
            return attributes.aliased(draw, pair, about)
        case "attr.hearsay":
            return attributes.rumoured(draw, pair, about)
        case "attr.latent":
            return attributes.implied(draw, pair, about)
        case "poss.chain":
            return plots.passed_on(draw, pair)
        case "life":
            return plots.life_or_death(draw, pair)
        case "know.secret":
            return plots.secret(draw, pair)
        case "thread.payoff":
            return plots.promised(draw, pair)
        case "thread.status":
            return plots.lent(draw, pair)
        case "kin.hop":
            return plots.uncles(draw, pair)
        case "time.order":
            return plots.timed(draw, pair)
        case "arc.position":
            return plots.arcs(draw, pair)
        case _:
            raise AssertionError(f"no recipe for {family}")


def _about(rng: random.Random, family: str) -> str:
    match family:
        case "attr.static" | "attr.alias" | "attr.hearsay":
            return rng.choice(attributes.STATES)
        case "attr.update":
            return rng.choice(tuple(attributes.CHANGING))
        case "attr.latent":
            return rng.choice(("fear", "cannot"))
        case _:
            return family


def _pair(
    family: str, about: str, free: list[Pair], shared: list[Pair], asked: dict[Pair, set[str]]
) -> Pair:
    """Two people of whom this was not asked yet; a few groups a pair."""
    if family not in ALONE:
        names = {family, about}
        if family in ("kin.hop", "attr.update"):
            names.add("trade")
        for pair in shared:
            if len(asked[pair]) < 6 and not names & asked[pair]:
                asked[pair] |= names
                shared.append(shared.pop(shared.index(pair)))
                return pair
    pair = free.pop()  # there are as many pairs as groups
    asked[pair] |= {family, about}
    if family not in ALONE:
        shared.append(pair)
    return pair


def in_order(rng: random.Random, groups: list[Group]) -> list[Beat]:
    """All beats, those of each group in its order; people are on stage for a while, then others."""
    centre = {frozenset(group.pair): rng.uniform(0.2, 0.8) for group in groups}
    keyed: list[tuple[float, int, Beat]] = []
    for group in groups:
        n = sum(not (beat.joined or beat.glued) for beat in group.beats)
        c = centre[frozenset(group.pair)]
        keys = iter(sorted(rng.uniform(c - 0.3, c + 0.3) for _ in range(n)))
        key = 0.0
        for beat in group.beats:
            key = key if beat.joined or beat.glued else next(keys)
            keyed.append((key, len(keyed), beat))
    return [beat for _, _, beat in sorted(keyed, key=lambda each: each[:2])]


def scenes(
    rng: random.Random,
    split: Split,
    cast: Cast,
    groups: list[Group],
    beats: list[Beat],
    room: int,
) -> list[Planted]:
    """Tell the beats as the news of the town, by several people, some of it in letters.

    In what is left of `room` characters other people go about their business in between.
    """
    draw = Draw(rng, split)
    is_plain = room < PLAIN_BELOW
    spare = room - sum(beat.size + CHARS_AROUND for beat in beats)
    paragraphs: list[list[int]] = []
    pairs = {id(beat): frozenset(group.pair) for group in groups for beat in group.beats}
    pair_of = [pairs[id(beat)] for beat in beats]
    for i, beat in enumerate(beats):
        merges = paragraphs and len(paragraphs[-1]) == 1 and pair_of[i] == pair_of[i - 1]
        merges = merges and not (beat.tells and beats[i - 1].tells)
        if beat.glued or (merges and rng.random() < 0.4):
            paragraphs[-1].append(i)
        else:
            paragraphs.append([i])
    n_between = min(max(0, spare // CHARS_PER_BEAT), len(paragraphs) // 2)
    between = set(rng.sample(range(len(paragraphs)), n_between))
    told: list[Planted] = []
    seen: set[frozenset[Person]] = set()
    at = 0
    while at < len(paragraphs):
        stop = min(len(paragraphs), at + rng.randint(4, 7))
        stop = len(paragraphs) if len(paragraphs) - stop < 2 else stop
        while stop < len(paragraphs) and beats[paragraphs[stop][0]].joined:
            stop += 1  # what belongs together stays in one scene
        a, b, c, d = rng.sample(cast.others, 4)
        is_letter = bool(told) and rng.random() < 0.3
        who = cast_slots(
            {"a": a, "b": b, "f": a, "g": b} if not is_letter else {"a": a, "b": b, "f": c, "g": d}
        )
        if told:
            told.append(Planted(Passage(BREAK, BREAK)))
        opening = chronicle.LETTER_OPENINGS if is_letter else chronicle.OPENINGS
        told.append(Planted(render(draw.frame(opening), who, rng)))
        for n in range(at, stop):
            for pair in dict.fromkeys(pair_of[i] for i in paragraphs[n]):
                if pair not in seen and not is_plain:
                    one, other = rng.sample(sorted(pair), 2)
                    slots = who | cast_slots({"x": one, "y": other})
                    told.append(Planted(render(draw.frame(chronicle.INTRODUCTIONS), slots, rng)))
                seen.add(pair)
            told.append(_paragraph(rng, draw, who, beats, paragraphs[n], is_letter, is_plain))
            if n in between and not is_letter:
                slots = roles_slots({"a": a, "b": c, "c": d}, cast.traits)
                told.append(Planted(render(draw.frame(BETWEEN), slots, rng)))
        if is_letter:
            told.append(Planted(render(draw.frame(chronicle.LETTER_CLOSINGS), who, rng)))
        at = stop
    return told


def _paragraph(
    rng: random.Random, draw: Draw, who: dict[str, Filling], beats: list[Beat],
    numbers: list[int], is_letter: bool, is_plain: bool,
) -> Planted:  # fmt: skip
    parts: list[tuple[int | None, Passage]] = []
    leads = chronicle.LETTER_LEADS if is_letter else chronicle.LEADS
    if rng.random() < 0.4 and not is_plain and (lead := draw.frame_once(leads)):
        parts.append((None, render(lead, who, rng)))
    parts += [(i, render(beats[i].template, who | beats[i].slots, rng)) for i in numbers]
    mood = beats[numbers[-1]].mood
    if mood and not is_letter and not is_plain and rng.random() < 0.6:
        follow = draw.frame_once(chronicle.FOLLOWS[mood])
        if follow:
            parts.append((None, render(follow, who, rng)))
    at, spans = 0, []
    for i, passage in parts:
        if i is not None:
            spans.append((i, at, at + len(passage.a)))
        at += len(passage.a) + 1
    return Planted(join([passage for _, passage in parts]), tuple(spans))
