"""Recipes of the families `attr.*`: what is true of somebody, and in what roundabout way one hears.

What trades places: the values (static, update), the by-names (alias), the witnesses (hearsay), what
is shown (latent).
"""

from collections.abc import Mapping
from dataclasses import replace

from memformer.plotbench.beats import (
    Beat,
    Deed,
    Draw,
    Group,
    Said,
    Who,
    decoys,
    p_of,
    q_of,
    tell,
    told_of_both,
    x_of,
    y_of,
)  # fmt: skip
from memformer.plotbench.frames import alias, hearsay, latent, state, update
from memformer.plotbench.frames.by_names import BY_NAMES
from memformer.plotbench.names import VALUES, Pair
from memformer.plotbench.prose import expand

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
        for who, v in _voices(pair, values)
    ]
    return _asked(draw, pair, "attr.static", about, draw.shuffled(*beats), values)


def changed(draw: Draw, pair: Pair, about: str) -> Group:
    """One value, then another: the second holds."""
    values = draw.values(about)
    before, after = [], []
    for who, v in _voices(pair, values):
        old = v[::-1]
        before.append(
            Beat(
                template=draw.frame(update.BEFORE[about]),
                mood="face",
                slots=who.slots("x") | {"v": old},
                tells=(tell(who, about, "establish", licenses=(False, False)),),
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
    """Told under a by-name; who bears it is told elsewhere, and there the by-names trade places."""
    values = draw.values(about)
    names = tuple(f"the {each}" for each in draw.values("by-name", BY_NAMES[draw.split]))
    links, told = [], []
    for bearer, name in ((x_of(pair), names), (y_of(pair), names[::-1])):
        links.append(
            Beat(
                template=draw.frame(alias.LINKS),
                mood="link",
                slots=bearer.slots("p") | {"alias": (name[0], name[1])},
                tells=(tell(bearer, "alias", "establish"),),
                deeds=(Deed("call", (bearer.id, (name[0], name[1]))),),
            )
        )
    for owner, alone, v in zip((p_of(pair), q_of(pair)), names, values, strict=True):
        told.append(
            Beat(
                template=draw.frame(state.STATE[about]),
                mood="face",
                slots=Who(alone, owner.id, owner.gender, owner.side).slots("who") | {"v": v},
                tells=(tell(owner, about, "establish"),),
                deeds=(
                    Deed("observe", (alone, about, v)),
                    Deed("observe", (owner.id, about, v)),
                ),
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
    values, witnesses = draw.values(about), draw.trading_pair("witness")
    said, right = (p_of(witnesses), q_of(witnesses)), (x_of(witnesses), y_of(witnesses))
    if draw.coin():
        said, right = right, said
    claims, verdicts = [], []
    for who, v, w in zip((x_of(pair), y_of(pair)), values, values[::-1], strict=True):
        order = draw.rng.sample((0, 1), 2)  # who was right about this one, in A
        p, q = right[order[0]], right[order[1]]
        for at, value, is_true in zip(order, (v, w), ((True, False), (False, True)), strict=True):
            claims.append(
                Beat(
                    template=expand(draw.frame(hearsay.FRAMES), {"clause": state.CLAUSE[about]}),
                    mood="",
                    slots=said[at].slots("p") | who.slots("x") | {"v": value},
                    tells=(tell(who, about, "hearsay", licenses=is_true),),
                    deeds=(Deed("observe", (said[at].id, f"says.{about}.{who.id}", value)),),
                )
            )
        verdicts.append(
            Beat(
                template=draw.frame(hearsay.VERDICTS)[draw.rng.randrange(2)],
                mood="",
                slots=p.slots("p") | q.slots("q") | who.slots("x"),
                tells=(tell(who, about, "establish"),),
                deeds=(
                    Deed("observe", (who.id, f"right.{about}", p.id)),
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
    shown = [Said(((draw.frame(latent.SHOWN[about][v]),),), "p", about, "imply") for v in values]
    deeds = tuple(
        Deed("observe", (who.id, about, v))
        for who, v in zip((p_of(pair), q_of(pair)), values, strict=True)
    )
    beats = [
        told_of_both(draw, pair, shown[0], shown[1], {}, deeds),
        *decoys(draw, pair, latent.CASUAL[about], values),
    ]
    return _asked(draw, pair, "attr.latent", about, draw.shuffled(*beats), values)


def _voices(pair: Pair, values: tuple[str, str]) -> list[tuple[Who, tuple[str, str]]]:
    return [(x_of(pair), values), (y_of(pair), values[::-1])]


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
