"""Ordinary stories of the plot world, with a chosen rate of flaws.

T tokens of a story
"""

import random
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config.plot_world import PlotWorldConfig
from memformer.reward.worlds.plot_tracker import Plot
from memformer.reward.worlds.plot_words import (
    ACTS,
    BEGIN,
    ID,
    MOVES,
    PEOPLE,
    PLACES,
    TALKS,
    THINGS,
    THREADS,
    TIMES,
    Kind,
    Sentence,
)

_KINDS: tuple[Kind, ...] = ("move", "act", "talk", "take", "give", "die")
_WEIGHT = (0.22, 0.18, 0.12, 0.10, 0.10, 0.015)
_P_TIME = 0.15
_N_FLAW, _N_TRY = 100, 20_000


class Cast(NamedTuple):
    """What a story is about."""

    people: list[str]
    places: list[str]
    things: list[str]


def write_stories(config: PlotWorldConfig, n: int, *, seed: int) -> Tensor:
    """(n, T) int64: stories of exactly `n_token` tokens; the last one is a full stop.

    Each sentence contradicts what was told with probability `flaw_rate` (as soon as something
    was told that can be contradicted), and else is consistent with it; the tracker decides.

    Raises:
        ValueError: n below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    rng = random.Random(seed)
    return torch.tensor([_story(config, rng) for _ in range(n)])


def _story(config: PlotWorldConfig, rng: random.Random) -> list[int]:
    cast = Cast(
        rng.sample(PEOPLE, config.n_person),
        rng.sample(PLACES, config.n_place),
        rng.sample(THINGS, config.n_thing),
    )
    is_late = rng.random() < config.late_rate
    plot, ids = Plot(), [ID[BEGIN]]
    while len(ids) < config.n_token:
        u = len(ids) / config.n_token
        left = config.n_token - len(ids)
        wants_flaw = rng.random() < config.flaw_rate
        told, words = _chosen(plot, 1 - u if is_late else u, left, wants_flaw, cast, rng)
        plot.tell(told)
        ids += [ID[word] for word in words]
    return ids


def _chosen(
    plot: Plot, u: float, left: int, wants_flaw: bool, cast: Cast, rng: random.Random
) -> tuple[Sentence, list[str]]:
    """A sentence that is flawed or not, as wanted, and leaves room for others."""
    for tried in range(_N_TRY):
        told = _sentence(plot, u, cast, rng)
        words = ([rng.choice(TIMES)] if rng.random() < _P_TIME else []) + told.words()
        fits = len(words) == left or left - len(words) in (4, 5, 6) or left - len(words) > 7
        # early on nothing can be contradicted: then no flaw, but never a flaw that is not wanted
        is_flaw, gives_up = bool(plot.faults(told)), wants_flaw and tried > _N_FLAW
        if fits and is_flaw == (wants_flaw and not gives_up):
            return told, words
    raise AssertionError(f"no sentence fits {left} tokens")


def _sentence(plot: Plot, u: float, cast: Cast, rng: random.Random) -> Sentence:
    """Any sentence about the cast; threads rather open at small u and close at large u."""
    people, places, things = cast
    is_thread = rng.random()
    who, other = rng.sample(people, 2)
    if is_thread < 0.30 * (1 - u) + 0.03:
        return Sentence("open", rng.choice(list(THREADS)), who, other)
    if is_thread > 1 - (0.08 + 0.35 * u):
        if plot.opened and rng.random() < 0.8:
            verb, who, other = rng.choice(sorted(plot.opened))
        else:
            verb = rng.choice(list(THREADS))
        return Sentence("close", THREADS[verb], who, other)
    place = plot.place.get(who, "")
    if not place or rng.random() < 0.3:
        place = rng.choice(places)
    match rng.choices(_KINDS, _WEIGHT)[0]:
        case "move":
            return Sentence("move", rng.choice(MOVES), who, place=rng.choice(places))
        case "act":
            return Sentence("act", rng.choice(ACTS), who, place=place)
        case "talk":
            return Sentence("talk", rng.choice(TALKS), who, other, place)
        case "take":
            return Sentence("take", "takes", who, place=place, thing=rng.choice(things))
        case "give":
            mine = sorted(thing for thing, holder in plot.holder.items() if holder == who)
            thing = rng.choice(mine) if mine and rng.random() < 0.8 else rng.choice(things)
            return Sentence("give", "gives", who, other, thing=thing)
        case _ if len(plot.dead) > len(people) - 3:  # two must live on
            return Sentence("move", rng.choice(MOVES), who, place=rng.choice(places))
        case _:
            return Sentence("die", "dies", who, place=place)
