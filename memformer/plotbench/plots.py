"""Recipes of the other families: things, lives, secrets, promises, debts, kin, days and arcs."""

from dataclasses import replace
from typing import Any

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
    tell_both,
    x_of,
    y_of,
)  # fmt: skip
from memformer.plotbench.frames import arc, chain, kin, know, life, order, payoff, state, status
from memformer.plotbench.names import VALUES, Pair
from memformer.plotbench.prose import Filling, cast_slots, expand, person_slots

NUMBERS = {"four": 4, "five": 5, "seven": 7, "nine": 9, "Monday": 1, "Wednesday": 3, "Friday": 5}


def passed_on(draw: Draw, pair: Pair) -> Group:
    """Two wrapped things go from hand to hand, one to X and one to Y; named only at the start."""
    values = draw.values("object")
    n_hops = draw.rng.choice((1, 2, 2, 3))
    if draw.coin():
        ends, things = (x_of(pair), y_of(pair)), (values, values[::-1])
        voiced: list[Filling] = list(things)
    else:
        ends, voiced = (p_of(pair), q_of(pair)), list(values)
    lines = []
    for end, v in zip(ends, voiced, strict=True):
        ids: Filling = v if isinstance(v, str) else (v[0], v[1])
        hands = [_plain(draw) for _ in range(n_hops)] + [end]
        line = [
            Beat(
                template=draw.frame(chain.ORIGINS),
                mood="parcel",
                slots=hands[0].slots("p") | {"o": v},
                tells=(tell(end, "holder", "establish", s=ids),),
                deeds=(Deed("acquire", (hands[0].id, ids)),),
            )
        ]
        for giver, taker in zip(hands, hands[1:], strict=False):
            line.append(
                Beat(
                    template=draw.frame(chain.HANDOVERS),
                    mood="parcel",
                    slots=giver.slots("p") | taker.slots("r"),
                    tells=(tell(end, "holder", "update", s=ids),),
                    deeds=(Deed("give", (giver.id, taker.id, ids)),),
                )
            )
        lines.append(line)
    beats = [beat for step in zip(*lines, strict=True) for beat in draw.shuffled(*step)]
    beats += decoys(draw, pair, chain.CASUAL, values)
    stem, suffix = draw.frame(chain.PROBES)
    return Group(
        family="poss.chain", pair=pair, beats=beats, about="holder", stem=stem, suffix=suffix,
        **_valued(draw, values, chain.LICENCE), hops=n_hops + 1, n_updates=n_hops,
        rivals=_all("object"),
    )  # fmt: skip


def life_or_death(draw: Draw, pair: Pair) -> Group:
    """Both fall ill; in A it is X who dies."""
    x, y, dead, well = x_of(pair), y_of(pair), p_of(pair), q_of(pair)
    ill = draw.shuffled(
        *(
            Beat(
                template=draw.frame(life.ILLNESS),
                mood="ill",
                slots=who.slots("x"),
                deeds=(Deed("fall_ill", (who.id,)),),
            )
            for who in (x, y)
        )
    )
    ill[1] = replace(ill[1], joined=True)
    ends = draw.shuffled(
        Beat(
            template=draw.frame(life.DEATHS),
            mood="death",
            slots=dead.slots("p"),
            tells=(tell(dead, "alive", "update"),),
            deeds=(Deed("die", (dead.id,)),),
        ),
        Beat(
            template=draw.frame(life.RECOVERIES),
            mood="recovery",
            slots=well.slots("q"),
            tells=(tell(well, "alive", "update"),),
            deeds=(Deed("recover", (well.id,)),),
        ),
    )
    stem, options, suffix = draw.frame(life.PROBES)
    return Group(
        family="life", pair=pair, beats=[*ill, *ends, _together(draw, pair, life.CASUAL)],
        about="alive", stem=stem, options=options, suffix=suffix, gold=1,
        licence=(life.LICENCE["living"], life.LICENCE["dead"]),
    )  # fmt: skip


def secret(draw: Draw, pair: Pair) -> Group:
    """A thing is hidden before both, and moved while one of them is out (in A, X).

    After Wimmer & Perner 1983: where one who did not see it moved will look.
    """
    old, new = draw.values("place")
    thing, host = draw.frame(know.THINGS), draw.helper()
    out, here = p_of(pair), q_of(pair)
    common: dict[str, Filling] = {"thing": thing, **cast_slots({"g": host})}
    beats = [
        Beat(
            template=draw.frame(know.HIDDEN),
            mood="",
            slots=common | x_of(pair).slots("x") | y_of(pair).slots("y") | {"v": old},
            tells=(tell_both(f"{thing}.{old}", "k", "establish"),),
            deeds=(Deed("hide", (host.id, thing, old, pair.x.id, pair.y.id)),),
        ),
        Beat(  # keeps whoever leaves next apart from the place
            template=draw.frame(know.THEN),
            slots={},
            joined=True,
            glued=True,
        ),
        Beat(
            template=draw.frame(know.LEAVES),
            joined=True,
            slots=common | out.slots("p"),
            tells=(tell_both(f"{thing}.{new}", "k", "imply"),),
            deeds=(Deed("move", (out.id, "away")),),
        ),
        Beat(
            template=draw.frame(know.STAYS),
            slots=common | here.slots("q"),
            tells=(tell_both(f"{thing}.{new}", "k", "imply"),),
            glued=True,
        ),
        Beat(
            template=draw.frame(know.MOVES),
            mood="hidden",
            slots=common | {"v": new},
            tells=(tell_both(f"{thing}.{new}", "k", "update"),),
            deeds=(Deed("hide", (host.id, thing, new, here.id)), Deed("move", (out.id, "home"))),
            glued=True,
        ),
        Beat(
            template=draw.frame(know.RETURNS),
            joined=True,
            slots=common | x_of(pair).slots("x") | y_of(pair).slots("y"),
        ),
    ]
    beats += decoys(draw, pair, know.CASUAL, (old, new))
    stem, suffix = draw.frame(know.PROBES)
    return Group(
        family="know.secret", pair=pair, beats=beats, about="at", stem=stem, suffix=suffix,
        **_valued(draw, (old, new), expand(know.LICENCE, {"thing": thing})),
        slots={"thing": thing}, hops=2, rivals=_all("place"),
    )  # fmt: skip


def promised(draw: Draw, pair: Pair) -> Group:
    """Each promises to end some trouble; which repair ends it is for the reader to see."""
    classes = tuple(
        each
        for i, each in enumerate(payoff.NEED_CLASSES)
        if i // 3 == ("train", "dev", "test").index(draw.split)
    )
    values = draw.values("payoff", classes)
    beats = draw.shuffled(
        *(
            Beat(
                template=expand(draw.frame(payoff.PROMISES), {"need": payoff.NEEDS[v]}),
                mood="promise",
                slots=who.slots("p"),
                tells=(tell(who, "th.promise", "imply"),),
                deeds=(Deed("promise", (who.id, v)),),
            )
            for who, v in zip((p_of(pair), q_of(pair)), values, strict=True)
        )
    )
    beats += decoys(draw, pair, payoff.CASUAL, values)
    stem, suffix = draw.frame(payoff.PROBES)
    return Group(
        family="thread.payoff", pair=pair, beats=beats, about="promise", stem=stem, suffix=suffix,
        **_valued(draw, values, payoff.LICENCE), hops=2, rivals=tuple(payoff.NEEDS),
    )  # fmt: skip


def lent(draw: Draw, pair: Pair) -> Group:
    """Both borrow; in A it is X who repays. Never in so many words."""
    lender = _plain(draw)
    loans = draw.shuffled(
        *(
            Beat(
                template=draw.frame(status.LOANS),
                mood="loan",
                slots=who.slots("x") | lender.slots("g"),
                tells=(tell(who, "th.debt", "establish"),),
                deeds=(Deed("borrow", (who.id, lender.id)),),
            )
            for who in (x_of(pair), y_of(pair))
        )
    )
    loans[1] = replace(loans[1], joined=True)
    ends = draw.shuffled(
        Beat(
            template=draw.frame(status.REPAID),
            mood="repaid",
            slots=p_of(pair).slots("p") | lender.slots("g"),
            tells=(tell(p_of(pair), "th.debt", "update"),),
            deeds=(Deed("repay", (p_of(pair).id,)),),
        ),
        Beat(
            template=draw.frame(status.UNPAID),
            mood="unpaid",
            slots=q_of(pair).slots("q") | lender.slots("g"),
            tells=(tell(q_of(pair), "th.debt", "imply"),),
        ),
    )
    stem, options, suffix = draw.frame(status.PROBES)
    return Group(
        family="thread.status", pair=pair,
        beats=[*loans, *ends, _together(draw, pair, status.CASUAL)], about="debt",
        stem=stem, options=options, suffix=suffix, gold=0, hops=2,
        licence=(status.LICENCE["closed"], status.LICENCE["open"]),
    )  # fmt: skip


def uncles(draw: Draw, pair: Pair) -> Group:
    """Whose mother has which brother, and what he was."""
    values = draw.values("trade")
    swap_values = draw.coin()
    owners = (x_of(pair), y_of(pair)) if swap_values else (p_of(pair), q_of(pair))
    voiced: tuple[Filling, Filling] = (values, values[::-1]) if swap_values else values
    links, bonds, trades = [], [], []
    for owner, v in zip(owners, voiced, strict=True):
        m, u = draw.relative("f"), draw.relative("m")
        names = cast_slots({"m": m, "u": u})
        links.append(
            Beat(
                template=draw.frame(kin.PARENTS),
                mood="kin",
                slots=owner.slots("p") | names,
                tells=(tell(owner, "mother", "establish"),),
                deeds=(Deed("parent", (owner.id, m.id)),),
            )
        )
        bonds.append(
            Beat(
                template=draw.frame(kin.SIBLINGS),
                mood="kin",
                slots=names,
                tells=(tell(owner, "brother", "establish", s=m.id),),
                deeds=(Deed("sibling", (m.id, u.id)),),
            )
        )
        trades.append(
            Beat(
                template=draw.frame(kin.TRADES),
                mood="kin",
                slots=names | {"v": v},
                tells=(tell(owner, "trade", "establish", s=u.id),),
                deeds=(Deed("observe", (u.id, "trade", v)),),
            )
        )
    beats = [beat for step in (links, bonds, trades) for beat in draw.shuffled(*step)]
    beats += decoys(draw, pair, state.CASUAL["trade"], values)
    stem, suffix = draw.frame(kin.PROBES)
    return Group(
        family="kin.hop", pair=pair, beats=beats, about="trade", stem=stem, suffix=suffix,
        **_valued(draw, values, kin.LICENCE), hops=3, rivals=_all("trade"),
    )  # fmt: skip


def timed(draw: Draw, pair: Pair) -> Group:
    """Both leave, one before and one after something: told by clock or calendar."""
    kind = draw.rng.choice(("hour", "day"))
    values = draw.values(kind)
    clause, dated = draw.frame(order.ANCHORS[kind])
    at = "seven" if kind == "hour" else "Wednesday"
    swap_values = draw.coin()
    owners = (x_of(pair), y_of(pair)) if swap_values else (p_of(pair), q_of(pair))
    voiced: tuple[Filling, Filling] = (values, values[::-1]) if swap_values else values
    leavings = [
        Beat(
            template=draw.frame(order.LEAVINGS[kind]),
            mood="leaving",
            slots=who.slots("p") | {"v": v},
            tells=(tell(who, "left", "establish"),),
            deeds=(Deed("observe", (who.id, "left", _number(v))),),
        )
        for who, v in zip(owners, voiced, strict=True)
    ]
    anchor = f"e_{clause.replace(' ', '_')}"
    event = Beat(
        template=dated,
        mood="event",
        slots={},
        tells=(tell_both(anchor, "came", "establish"),),
        deeds=(Deed("observe", (anchor, "came", str(NUMBERS[at]))),),
    )
    beats = [*draw.shuffled(*leavings, event), _together(draw, pair, order.CASUAL)]
    stem, suffix = draw.frame(order.PROBES)
    before = NUMBERS[values[0]] < NUMBERS[at]
    return Group(
        family="time.order", pair=pair, beats=beats, about="left", stem=stem, suffix=suffix,
        options=order.OPTIONS, gold=0 if before else 1, slots={"event": clause}, hops=2,
        licence=(
            expand(order.LICENCE, {"v": "before", "event": clause}),
            expand(order.LICENCE, {"v": "after", "event": clause}),
        ),
    )  # fmt: skip


def arcs(draw: Draw, pair: Pair) -> Group:
    """The same kind of subplot for both, near its end for one (in A, X), begun for the other."""
    chosen = draw.frame(arc.ARCS)
    far, near = p_of(pair), q_of(pair)
    predicate = f"stage.{chosen.name}"
    told = [
        [
            Beat(
                template=template,
                mood="arc",
                slots=who.slots(role),
                tells=(tell(who, predicate, "imply"),),
                deeds=(Deed("stage", (who.id, chosen.name, n)),),
                glued=glued,
            )
            for template, glued in zip(templates, (False, True), strict=True)
        ]
        for templates, who, role, n in (
            (chosen.late, far, "p", "3"),
            (chosen.early, near, "q", "1"),
        )
    ]
    draw.rng.shuffle(told)
    beats = [*told[0], *told[1], _together(draw, pair, arc.PASSING)]
    return Group(
        family="arc.position", pair=pair, beats=beats, about=predicate, suffix=arc.SUFFIX,
        stem=draw.frame(arc.PROBES), options=chosen.options, gold=0, hops=2,
        licence=(arc.LICENCE["late"], arc.LICENCE["early"]),
    )  # fmt: skip


def _plain(draw: Draw) -> Who:
    someone = draw.helper()
    return Who(someone.name, someone.id, someone.gender, ("x", "y"))


def _together(draw: Draw, pair: Pair, frames: tuple[str, ...]) -> Beat:
    slots = person_slots("x", pair.x.name, pair.x.gender)
    return Beat(
        template=draw.frame(frames), slots=slots | person_slots("y", pair.y.name, pair.y.gender)
    )


def _valued(draw: Draw, values: tuple[str, str], licence: str) -> dict[str, Any]:
    options = values if draw.coin() else values[::-1]
    return {
        "options": (f" {options[0]}", f" {options[1]}"),
        "gold": options.index(values[0]),
        "licence": (expand(licence, {"v": options[0]}), expand(licence, {"v": options[1]})),
    }


def _all(attribute: str) -> tuple[str, ...]:
    return tuple(v for each in VALUES[attribute] for v in each.split())


def _number(v: Filling) -> Filling:
    if isinstance(v, str):
        return str(NUMBERS[v])
    return str(NUMBERS[v[0]]), str(NUMBERS[v[1]])
