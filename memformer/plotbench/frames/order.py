# ruff: noqa: E501  (a sentence stands on one line)
"""When somebody left, and when something else happened: told in hours or days, in any order."""

ANCHORS = {
    "hour": (
        ("the dyke burst", "The dyke burst at seven. One could hear it as far as the station."),
        ("the lights failed", "It was seven when the lights failed, in the middle of the fish."),
        ("the bell fell", "At seven, with nobody near the rope, the bell fell."),
        ("the news came", "The news came at seven, by bicycle."),
        ("the fire broke out", "The fire broke out at seven, behind the ropewalk."),
        ("the ice gave", "The ice gave at seven, with a noise like a gun."),
    ),
    "day": (
        ("the bridge went down", "The bridge went down on the Wednesday, with a cart on it."),
        ("the strike began", "On the Wednesday the strike began, and the looms stood still."),
        ("the mine flooded", "It was Wednesday when the mine flooded."),
        ("the bank closed", "The bank closed its doors on the Wednesday and did not say why."),
        ("the comet came", "On Wednesday the comet came, smaller than promised."),
        ("the frontier shut", "They shut the frontier on the Wednesday; there were soldiers."),
    ),
}  # fmt: skip
"""By the kind of time told: a clause, and a sentence that dates it."""
LEAVINGS = {
    "hour": (
        "{p} left at {v}, with a bag that was too heavy.",
        "The clock was striking {v} as {p} went out by the yard door and was gone.",
        "{f} had seen {p} off at {v}, in a hired trap.",
        "\"It's {v} already,\" said {p}, and took hat and stick and left town.",
        "By the station book {p} had left at {v}.",
        "It was {v} by the church when {p} drove away.",
        "{p} went at {v}. There was still a wet ring where the glass had stood.",
        "At {v} sharp the coach took {p}, who did not look back.",
        "{f} glanced at the watch: {v}, and there went {p} over the hill.",
        "{p} had slipped away at {v} while they were singing.",
        "Somebody held the gate for {p} at {v}, and bolted it again.",
        "The toll-keeper passed {p} through at {v} and remembered the shoes.",
    ),
    "day": (
        "{p} left on the {v}, with a bag that was too heavy.",
        "On the {v} {p} locked the house, gave {f} the key, and was gone.",
        "It was on the {v} that the carrier took {p} away.",
        "{p}'s ticket was for the {v}, and {p.he} used it.",
        "The {v} was fine, and {p} set out on it.",
        "They had all waved to {p} on the {v}, from the wall.",
        "\"{v},\" said the porter, licking a thumb. That was when {p} had left.",
        "{p} took ship on the {v} and was sick by evening.",
        "On the {v} {p}'s shutters stayed closed, {p.he} being gone.",
        "{p} had walked out on the {v} without breakfast.",
        "{f} drove {p} to the junction on the {v} and came back alone.",
        "By the {v} post came a card: {p} had left that very day.",
    ),
}  # fmt: skip
CASUAL = (
    "{x} liked to be asked before, and {y} to be told after.",
    "\"Before or after?\" {y} would say of any medicine, and {x} would say both.",
    "{x} said grace before meat, and {y} after.",
    "After rain comes sun, said {x}; and before it, said {y}.",
    "{y} was a great one for before, {x} for after.",
    "As to whether one washes before or after, {x} and {y} had never agreed.",
)  # fmt: skip
PROBES = (
    ("{x} had left", " {event}, and so had a different story to tell."),
    ("By {f}'s reckoning {x} must have gone", " {event}."),
    ("\"{x} was on the road", " {event},\" said {f}, \"and I can prove it.\""),
    ("{f} asked when {x} went. It was", " {event}, they told {f.him}."),
    ("They worked it out together: {x}'s leaving came", " {event}."),
    ("{x} said goodbye to nobody, and that was", " {event}."),
    ("In the inquiry it was found that {x} had departed", " {event}."),
    ("The last that {f} saw of {x} was", " {event}."),
    ("Everything hung on whether {x} had gone before or after; and it was", " {event}."),
)  # fmt: skip
OPTIONS = (" before", " after")
LICENCE = "{x} left {v} {event}."
