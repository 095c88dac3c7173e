"""Recipes of the other families: things, lives, secrets, promises, debts, kin, hours and arcs.

What trades places: a pair of hands or of relatives on the way from one to the other, the hours, or
what is said of both in two sentences.
"""

from dataclasses import replace
from typing import Any

from memformer.plotbench.beats import (
    Beat,
    Deed,
    Draw,
    Group,
    Said,
    Who,
    decoys,
    forms,
    of_two_lines,
    p_of,
    q_of,
    tell,
    tell_both,
    told_of_both,
    x_of,
    y_of,
)  # fmt: skip
from memformer.plotbench.frames import arc, chain, kin, know, life, order, payoff, state, status
from memformer.plotbench.names import VALUES, Pair
from memformer.plotbench.prose import Filling, cast_slots, expand

MOST_MINUTES = 12
"""Between an event and what was shortly before or after it: little beside the nine hours over which
events are spread, so that an hour alone says next to nothing."""


def passed_on(draw: Draw, pair: Pair) -> Group:
    """Two wrapped things go from hand to hand, one to X and one to Y; named only at the start.

    At one station, not the last, the two who get them trade places.
    """
    values = draw.values("object")
    n_hops = draw.rng.choice((1, 2))
    turn = draw.rng.randrange(n_hops)
    stations = [draw.trading_pair("hands") for _ in range(n_hops)]
    steps: list[list[Beat]] = [[] for _ in range(n_hops + 1)]
    for line, (same, crossed) in enumerate(((x_of, p_of), (y_of, q_of))):
        for n, step in enumerate(steps):
            # up to the turn a line is of one thing, after it of one person at its end
            is_past = n > turn
            owner = (same if is_past else crossed)(pair)
            thing: Filling = (values[line], values[1 - line]) if is_past else values[line]
            taker = (crossed if n == turn else same)(stations[n] if n < n_hops else pair)
            if n == 0:
                template, slots = draw.frame(chain.ORIGINS), taker.slots("p") | {"o": thing}
                deed = Deed("acquire", (taker.id, thing))
            else:
                giver = same(stations[n - 1])
                template, slots = draw.frame(chain.HANDOVERS), giver.slots("p") | taker.slots("r")
                deed = Deed("give", (giver.id, taker.id, thing))
            told = tell(owner, "holder", "update" if n else "establish", s=thing)
            step.append(
                Beat(template=template, mood="parcel", slots=slots, tells=(told,), deeds=(deed,))
            )
    beats = [beat for step in steps for beat in draw.shuffled(*step)]
    beats += decoys(draw, pair, chain.CASUAL, values)
    stem, suffix = draw.frame(chain.PROBES)
    return Group(
        family="poss.chain", pair=pair, beats=beats, about="holder", stem=stem, suffix=suffix,
        **_valued(draw, values, chain.LICENCE), hops=n_hops + 1, n_updates=n_hops,
        rivals=_all("object"),
    )  # fmt: skip


def life_or_death(draw: Draw, pair: Pair) -> Group:
    """Both fall ill; in A it is X who dies."""
    ill = draw.shuffled(
        *(
            Beat(
                template=draw.frame(life.ILLNESS),
                mood="ill",
                slots=who.slots("x"),
                deeds=(Deed("fall_ill", (who.id,)),),
            )
            for who in (x_of(pair), y_of(pair))
        )
    )
    ill[1] = replace(ill[1], joined=True)
    died, rose = of_two_lines(draw, life.ENDINGS)
    ends = told_of_both(
        draw, pair,
        Said(((died,),), "p", "alive", "update"),
        Said(((rose,),), "q", "alive", "update"),
        {}, (Deed("die", (p_of(pair).id,)), Deed("recover", (q_of(pair).id,))),
    )  # fmt: skip
    stem, options, suffix = draw.frame(life.PROBES)
    return Group(
        family="life", pair=pair, beats=[*ill, ends, _together(draw, pair, life.CASUAL)],
        about="alive", stem=stem, options=options, suffix=suffix, gold=1,
        licence=(life.LICENCE["living"], life.LICENCE["dead"]),
    )  # fmt: skip


def secret(draw: Draw, pair: Pair) -> Group:
    """A thing is hidden before both, and moved while one of them is out (in A, X).

    After Wimmer & Perner 1983: where one who did not see it moved will look.
    """
    old, new = draw.values("place")
    thing, host = draw.frame(know.THINGS), draw.helper()
    common: dict[str, Filling] = {"thing": thing, **cast_slots({"g": host})}
    known = f"{thing}.{new}"
    left, stayed = of_two_lines(draw, know.PARTINGS)
    parting = told_of_both(
        draw, pair,
        Said(((left,),), "p", "k", "imply"),
        Said(((stayed,),), "q", "k", "imply"),
        common, (Deed("move", (p_of(pair).id, "away")),),
    )  # fmt: skip
    tells = tuple(each._replace(s=known) for each in parting.tells)
    beats = [
        Beat(
            template=draw.frame(know.HIDDEN),
            mood="",
            slots=common | _both(draw, pair) | {"v": old},
            tells=(tell_both(f"{thing}.{old}", "k", "establish"),),
            deeds=(Deed("hide", (host.id, thing, old, pair.x.id, pair.y.id)),),
        ),
        replace(parting, joined=True, tells=tells),
        Beat(
            template=draw.frame(know.MOVES),
            mood="hidden",
            slots=common | {"v": new},
            tells=(tell_both(known, "k", "update"),),
            deeds=(
                Deed("hide", (host.id, thing, new, q_of(pair).id)),
                Deed("move", (p_of(pair).id, "home")),
            ),
            glued=True,
        ),
        Beat(
            template=draw.frame(know.RETURNS),
            joined=True,
            slots=common | _both(draw, pair),
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
    classes = payoff.NEED_CLASSES[draw.split]
    values = draw.values("payoff", classes)
    of_p, of_q = (
        Said(
            tuple((expand(form, {"need": payoff.NEEDS[v]}),) for (form,) in
                  forms(draw, payoff.PROMISES)),
            "p", "th.promise", "imply",
        )
        for v in values
    )  # fmt: skip
    deeds = tuple(
        Deed("promise", (who.id, v))
        for who, v in zip((p_of(pair), q_of(pair)), values, strict=True)
    )
    beats = [told_of_both(draw, pair, of_p, of_q, {}, deeds)]
    beats += decoys(draw, pair, payoff.CASUAL, values)
    stem, suffix = draw.frame(payoff.PROBES)
    return Group(
        family="thread.payoff", pair=pair, beats=draw.shuffled(*beats), about="promise",
        stem=stem, suffix=suffix,
        **_valued(draw, values, payoff.LICENCE), hops=2,
        rivals=tuple(v for each in classes for v in each.split()),
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
    ends = told_of_both(
        draw, pair,
        Said(forms(draw, status.REPAID), "p", "th.debt", "update"),
        Said(forms(draw, status.UNPAID), "q", "th.debt", "imply"),
        lender.slots("g"), (Deed("repay", (p_of(pair).id,)),),
    )  # fmt: skip
    stem, options, suffix = draw.frame(status.PROBES)
    return Group(
        family="thread.status", pair=pair,
        beats=[*loans, ends, _together(draw, pair, status.CASUAL)], about="debt",
        stem=stem, options=options, suffix=suffix, gold=0, hops=2,
        licence=(status.LICENCE["closed"], status.LICENCE["open"]),
    )  # fmt: skip


def uncles(draw: Draw, pair: Pair) -> Group:
    """Whose mother has which brother, and what he was; the mothers trade places, or the uncles."""
    values = draw.values("trade")
    mothers, brothers = draw.trading_pair("kin", "f"), draw.trading_pair("kin", "m")
    is_mothers = draw.coin()
    links, bonds, trades = [], [], []
    for v, same, crossed in zip(values, (x_of, y_of), (p_of, q_of), strict=True):
        owner, m, u = same(pair), same(mothers), same(brothers)
        mother = crossed(mothers) if is_mothers else m
        uncle = u if is_mothers else crossed(brothers)
        links.append(
            Beat(
                template=draw.frame(kin.PARENTS),
                mood="kin",
                slots=owner.slots("p") | mother.slots("m"),
                tells=(tell(owner, "mother", "establish"),),
                deeds=(Deed("parent", (owner.id, mother.id)),),
            )
        )
        nephew = crossed(pair) if is_mothers else owner
        bonds.append(
            Beat(
                template=draw.frame(kin.SIBLINGS),
                mood="kin",
                slots=m.slots("m") | uncle.slots("u"),
                tells=(tell(nephew, "brother", "establish", s=m.id),),
                deeds=(Deed("sibling", (m.id, uncle.id)),),
            )
        )
        trades.append(
            Beat(
                template=draw.frame(kin.TRADES),
                mood="kin",
                slots=u.slots("u") | {"v": v},
                tells=(tell(crossed(pair), "trade", "establish", s=u.id),),
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
    """Both leave, one a little before and one a little after something; the hours trade places."""
    event, dated = draw.frame(order.ANCHORS)
    at = draw.rng.randrange(60 + MOST_MINUTES, 9 * 60 + 60 - MOST_MINUTES)
    times = [at + sign * draw.rng.randint(2, MOST_MINUTES) for sign in (-1, 1)]
    is_before = draw.coin()  # of X in A
    early, late = times if is_before else times[::-1]
    leavings = [
        Beat(
            template=draw.frame(order.LEAVINGS),
            mood="leaving",
            slots=who.slots("p") | {"v": (_clock(first), _clock(second))},
            tells=(tell(who, "left", "establish"),),
            deeds=(Deed("observe", (who.id, "left", (str(first), str(second)))),),
        )
        for who, first, second in ((x_of(pair), early, late), (y_of(pair), late, early))
    ]
    anchor = f"e_{event.replace(' ', '_')}"
    happens = Beat(
        template=dated,
        mood="event",
        slots={"v": _clock(at)},
        tells=(tell_both(anchor, "came", "establish"),),
        deeds=(Deed("observe", (anchor, "came", str(at))),),
    )
    beats = [*draw.shuffled(*leavings, happens), _together(draw, pair, order.CASUAL)]
    stem, suffix = draw.frame(order.PROBES)
    return Group(
        family="time.order", pair=pair, beats=beats, about="left", stem=stem, suffix=suffix,
        options=order.OPTIONS, gold=0 if is_before else 1, slots={"event": event}, hops=2,
        licence=(
            expand(order.LICENCE, {"v": "before", "event": event}),
            expand(order.LICENCE, {"v": "after", "event": event}),
        ),
    )  # fmt: skip


def arcs(draw: Draw, pair: Pair) -> Group:
    """The same kind of subplot for both, near its end for one (in A, X), begun for the other."""
    chosen = draw.frame(arc.ARCS)
    predicate = f"stage.{chosen.name}"
    told = told_of_both(
        draw, pair,
        Said(_one_or_both(chosen.late), "p", predicate, "imply"),
        Said(_one_or_both(chosen.early), "q", predicate, "imply"),
        {}, (
            Deed("stage", (p_of(pair).id, chosen.name, "3")),
            Deed("stage", (q_of(pair).id, chosen.name, "1")),
        ),
    )  # fmt: skip
    beats = [told, _together(draw, pair, arc.PASSING)]
    return Group(
        family="arc.position", pair=pair, beats=beats, about=predicate, suffix=arc.SUFFIX,
        stem=draw.frame(arc.PROBES), options=chosen.options, gold=0, hops=2,
        licence=(arc.LICENCE["late"], arc.LICENCE["early"]),
    )  # fmt: skip


def _plain(draw: Draw) -> Who:
    someone = draw.helper()
    return Who(someone.name, someone.id, someone.gender, ("x", "y"))


def _together(draw: Draw, pair: Pair, frames: tuple[str, ...]) -> Beat:
    return Beat(template=draw.frame(frames), slots=_both(draw, pair))


def _both(draw: Draw, pair: Pair) -> dict[str, Filling]:
    """The two in slots x and y, either first."""
    one, other = draw.rng.sample(pair, 2)
    return cast_slots({"x": one, "y": other})


def _one_or_both(sentences: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return (*((each,) for each in sentences), sentences[:2])


def _valued(draw: Draw, values: tuple[str, str], licence: str) -> dict[str, Any]:
    options = values if draw.coin() else values[::-1]
    return {
        "options": (f" {options[0]}", f" {options[1]}"),
        "gold": options.index(values[0]),
        "licence": (expand(licence, {"v": options[0]}), expand(licence, {"v": options[1]})),
    }


def _all(attribute: str) -> tuple[str, ...]:
    return tuple(v for each in VALUES[attribute] for v in each.split())


def _clock(minutes: int) -> str:
    return f"{minutes // 60}.{minutes % 60:02d}"
