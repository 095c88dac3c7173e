# ruff: noqa: E501  (a sentence stands on one line)
"""When somebody left, and when something else happened: told by the clock, in any order."""

ANCHORS = (
    ("the dyke burst", "The dyke burst at {v}. One could hear it as far as the station."),
    ("the bridge went down", "The bridge went down at {v}, with a cart on it."),
    ("the mine flooded", "It was {v} when the mine flooded."),
    ("the lights failed", "It was {v} when the lights failed, in the middle of the fish."),
    ("the strike began", "At {v} the strike began, and the looms stood still."),
    ("the bank closed", "The bank closed its doors at {v} and did not say why."),
    ("the bell fell", "At {v}, with nobody near the rope, the bell fell."),
    ("the news came", "The news came at {v}, by bicycle."),
    ("the comet came", "The comet came at {v}, smaller than promised."),
    ("the fire broke out", "The fire broke out at {v}, behind the ropewalk."),
    ("the ice gave", "The ice gave at {v}, with a noise like a gun."),
    ("the frontier shut", "They shut the frontier at {v}; there were soldiers."),
)  # fmt: skip
"""A clause, and a sentence that says when."""
LEAVINGS = (
    "{p} left at {v}, with a bag that was too heavy.",
    "The clock was showing {v} as {p} went out by the yard door and was gone.",
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
    "The {v} for the coast had {p} in it, and a hamper.",
    "At {v} {p} locked the house, gave {f} the key, and was gone.",
    "It was at {v} that the carrier took {p} away.",
    "{p}'s ticket was for the {v}, and {p.he} used it.",
    "The {v} was on time, and {p} set out in it.",
    "They had all waved to {p} at {v}, from the wall.",
    "\"The {v},\" said the porter, licking a thumb. That was how {p} had left.",
    "{p} took ship at {v} and was sick by the harbour mouth.",
    "At {v} {p}'s shutters were put up, {p.he} being gone.",
    "{p} had walked out at {v} without a word to the cook.",
    "{f} drove {p} to the junction for the {v} and came back alone.",
    "By the conductor's list {p} was in the {v}, with one trunk.",
)  # fmt: skip
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
