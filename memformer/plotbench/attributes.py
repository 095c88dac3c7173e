"""Recipes of the families `attr.*`: what is true of somebody, and in what roundabout way one hears.

What is left of names beside values is the same in both twins, or crossed within the group, so that
no shortcut by sentences can be right in all four cells.
"""

from collections.abc import Mapping
from dataclasses import replace

from memformer.plotbench.beats import (
    Beat,
    Deed,
    Draw,
    Group,
    Who,
    decoys,
    p_of,
    q_of,
    tell,
    x_of,
    y_of,
)  # fmt: skip
from memformer.plotbench.frames import alias, hearsay, latent, state, update
from memformer.plotbench.names import VALUES, Pair
from memformer.plotbench.prose import Filling, expand

STATES = ("eyes", "birthplace", "trade", "plays")
CHANGING = {"hair": "dye_hair", "home": "move_house", "trade": "take_trade"}


def static(draw: Draw, pair: Pair, about: str) -> Group:
    """Told once, in one sentence with the name: a floor for retrieval."""
    values = draw.values(about)
    beats = [
        Beat(
            template=draw.frame(state.STATE[about]),
            mood="face",
            slots=who.slots("who") | {"v": v},
            tells=(tell(who, about, "establish"),),
            deeds=(Deed("observe", (who.id, about, v)),),
        )
        for who, v in _voices(draw, pair, values)
    ]
    return _asked(draw, pair, "attr.static", about, draw.shuffled(*beats), values)


def changed(draw: Draw, pair: Pair, about: str) -> Group:
    """One value, then another: the second holds."""
    values = draw.values(about)
    before, after = [], []
    for who, v in _voices(draw, pair, values):
        old = _other(v, values)
        before.append(
            Beat(
                template=draw.frame(update.BEFORE[about]),
                mood="face",
                slots=who.slots("x") | {"v": old},
                tells=(tell(who, about, "establish", licenses=False),),
                deeds=(Deed("observe", (who.id, about, old)),),
            )
        )
        after.append(
            Beat(
                template=draw.frame(update.CHANGES[about]),
                mood="change",
                slots=who.slots("x") | {"v": v},
                tells=(tell(who, about, "update"),),
                deeds=(Deed(CHANGING[about], (who.id, v)),),
            )
        )
    before = draw.shuffled(*before)
    before[1] = replace(before[1], joined=True)
    beats = before + draw.shuffled(*after)
    return _asked(draw, pair, "attr.update", about, beats, values)


def aliased(draw: Draw, pair: Pair, about: str) -> Group:
    """Told under a by-name; who bears it is told elsewhere."""
    values = draw.values(about)
    links, told = [], []
    if draw.coin():  # values trade places
        bearers, owners = [x_of(pair), y_of(pair)], [x_of(pair), y_of(pair)]
        voiced: list[Filling] = [values, values[::-1]]
    else:  # names do, in the links
        bearers, owners = [p_of(pair), q_of(pair)], [p_of(pair), q_of(pair)]
        voiced = list(values)
    for bearer, owner, v in zip(bearers, owners, voiced, strict=True):
        name = draw.frame(alias.ALIASES)
        links.append(
            Beat(
                template=draw.frame(alias.LINKS),
                mood="link",
                slots=bearer.slots("p") | {"alias": name},
                tells=(tell(bearer, "alias", "establish"),),
                deeds=(Deed("call", (bearer.id, name)),),
            )
        )
        told.append(
            Beat(
                template=draw.frame(state.STATE[about]),
                mood="face",
                slots=Who(name, owner.id, owner.gender, owner.side).slots("who") | {"v": v},
                tells=(tell(owner, about, "establish"),),
                deeds=(Deed("observe", (owner.id, about, v)),),
            )
        )
    first, second = (links, told) if draw.rng.random() < 0.7 else (told, links)
    beats = draw.shuffled(*first) + draw.shuffled(*second)
    beats += decoys(draw, pair, state.CASUAL[about], values)
    return _asked(draw, pair, "attr.alias", about, beats, values)


def rumoured(draw: Draw, pair: Pair, about: str) -> Group:
    """Two witnesses contradict each other about X and about Y; elsewhere one hears who was right.

    Only the witnesses trade places: in the verdicts, or in what they said. So whoever picks a claim
    without regard to the verdict picks the same in both twins, and is wrong in one.
    """
    values, witnesses = draw.values(about), draw.witness_pair()
    said, right = (p_of(witnesses), q_of(witnesses)), (x_of(witnesses), y_of(witnesses))
    if draw.coin():
        said, right = right, said
    claims, verdicts = [], []
    for who, v, w in zip((x_of(pair), y_of(pair)), values, values[::-1], strict=True):
        order = draw.rng.sample((0, 1), 2)  # who was right about this one, in A
        p, q = right[order[0]], right[order[1]]
        for at, value in zip(order, (v, w), strict=True):
            claims.append(
                Beat(
                    template=expand(draw.frame(hearsay.FRAMES), {"clause": state.CLAUSE[about]}),
                    mood="",
                    slots=said[at].slots("p") | who.slots("x") | {"v": value},
                    tells=(tell(who, about, "hearsay"),),
                )
            )
        verdicts.append(
            Beat(
                template=draw.frame(hearsay.VERDICTS),
                mood="",
                slots=p.slots("p") | q.slots("q") | who.slots("x"),
                tells=(tell(who, about, "establish"),),
                deeds=(
                    Deed("observe", (who.id, about, (v, w))),
                    Deed("rumour", (q.id, who.id, about, (w, v))),
                ),
            )
        )
    beats = draw.shuffled(*claims) + draw.shuffled(*verdicts)
    return _asked(draw, pair, "attr.hearsay", about, beats, values)


def implied(draw: Draw, pair: Pair, about: str) -> Group:
    """Shown and never named: no word of the answer stands in what licenses it."""
    values = draw.values(about)
    beats = [
        Beat(
            template=draw.frame(latent.SHOWN[about][v]),
            mood="trait",
            slots=who.slots("p"),
            tells=(tell(who, about, "imply"),),
            deeds=(Deed("observe", (who.id, about, v)),),
        )
        for who, v in zip((p_of(pair), q_of(pair)), values, strict=True)
    ]
    beats = draw.shuffled(*beats) + decoys(draw, pair, latent.CASUAL[about], values)
    return _asked(draw, pair, "attr.latent", about, beats, values)


def _voices(draw: Draw, pair: Pair, values: tuple[str, str]) -> list[tuple[Who, Filling]]:
    if draw.coin():
        return [(x_of(pair), values), (y_of(pair), values[::-1])]
    return [(p_of(pair), values[0]), (q_of(pair), values[1])]


def _other(v: Filling, values: tuple[str, str]) -> Filling:
    if isinstance(v, tuple):
        return v[::-1]
    return values[1] if v == values[0] else values[0]


def _asked(
    draw: Draw, pair: Pair, family: str, about: str, beats: list[Beat], values: tuple[str, str]
) -> Group:
    options = values if draw.coin() else values[::-1]
    probes: Mapping[str, tuple[tuple[str, str], ...]]
    match family:
        case "attr.update":
            probes, licences = update.PROBES, update.LICENCE
        case "attr.latent":
            probes, licences = latent.PROBES, latent.LICENCE
        case _:
            probes, licences = state.PROBES, state.LICENCE
    stem, suffix = draw.frame(probes[about])
    licence = licences[about]
    return Group(
        family=family,
        pair=pair,
        beats=beats,
        about=about,
        stem=stem,
        options=(f" {options[0]}", f" {options[1]}"),
        suffix=suffix,
        gold=options.index(values[0]),
        licence=(expand(licence, {"v": options[0]}), expand(licence, {"v": options[1]})),
        hops=2 if family in ("attr.alias", "attr.hearsay", "attr.latent") else 1,
        n_updates=1 if family == "attr.update" else 0,
        rivals=tuple(v for each in VALUES[about] for v in each.split()),
    )
