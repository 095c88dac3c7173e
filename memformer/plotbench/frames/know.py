# ruff: noqa: E501  (a sentence stands on one line)
"""A thing is moved while one of two is out of the room."""

THINGS = (
    "deed", "will", "money", "diary", "pistol", "ledger", "passport", "contract", "poison",
    "photograph", "seal", "chart",
)  # fmt: skip
HIDDEN = (
    "{x} and {y} were both there when {g} shut the {thing} in the {v}.",
    "So that {x} and {y} should know of it, {g} showed them the {thing}, there in the {v}.",
    "\"It stays in the {v},\" said {g} of the {thing}, and made {x} and {y} repeat it.",
    "{g} kept the {thing} in the {v}, and let {x} and {y} see it there.",
    "There were two witnesses, {x} and {y}, when the {thing} was put in the {v}.",
    "{x} held the lamp and {y} the door while {g} laid the {thing} in the {v}.",
    "They had agreed on the {v}, {x} and {y} and {g}, and into it went the {thing}.",
    "{g} lifted a corner of the cloth: in the {v} lay the {thing}. {x} nodded, and so did {y}.",
    "The {thing} was in the {v}. {x} had seen it, {y} had seen it.",
    "\"Remember the {v},\" {g} told {x} and {y}, and pushed the {thing} in.",
    "{x} and {y} looked on as the {thing} went into the {v} and {g} dusted off both hands.",
    "Nobody else was told about the {thing} in the {v}; only {x} and {y} were.",
)  # fmt: skip
LEAVES = (
    "Then somebody called from the yard, and {p} went out to see to the horse.",
    "{p} had a boat to catch and left them at the table.",
    "The smoke was too much for {p}, who took a turn along the quay.",
    "{p} was sent across for bread and had to wait for it.",
    "{p} went up to bed, and the boards creaked, and then they did not.",
    "About nine {p} said good night and was seen to the gate.",
    "It was {p}'s turn to fetch coal, which was two streets away.",
    "{p} had gone out to look at the eclipse with the children.",
    "A bell rang, and {p} hurried over to the chapel, being late already.",
    "{p} took the dog down to the water.",
    "{p} was wanted at the dispensary until the lamps were lit.",
    "{p} left by the early coach and slept all the way.",
    "{p} slipped out.",
    "{p} went home.",
    "{p} had to go.",
    "There was a knock, and on the step a child with a lantern, sent for {p}, who took the lantern and went along.",
    "The last ferry blew twice, which was as much as to say that whoever wanted to be on it must run, and {p} ran.",
    "It was past the hour at which the house across the river was locked, and with both sleeves wet {p} rowed back.",
)  # fmt: skip
STAYS = (
    "{q} stayed by the fire, mending a strap.",
    "{q} had nowhere to go and poured out the last of the pot.",
    "{q} stayed where {q.he} was, with a book, not reading.",
    "There remained {q}, cracking nuts at the table.",
    "{q} was still there, sitting in the window with the sewing.",
    "But {q} had not finished {q.his} soup.",
    "{q} remained, since the other chair was the warm one.",
    "{q} kept {g} company and trimmed the lamp.",
    "{q} had taken off both boots and did not stir.",
    "{q} stopped behind to help with the plates.",
    "{q} sat on at the cards, alone with {g}.",
    "{q} did not go, there being a chop to be eaten.",
    "All this while {q} sat over the album with the lamp drawn close, naming the dead aunts one after another.",
    "On the other side of the table {q} went on shelling peas into a blue bowl, and had a second bowl to fill.",
    "In the corner by the range {q} was still busy with the forks, a rag in one hand and a saucer in the other.",
    "The cat would not get off {q}.",
    "There was no moving {q}.",
    "One chair still held {q}.",
)  # fmt: skip
MOVES = (
    "\"On second thoughts,\" said {g}, and before the eyes in the room moved the {thing} to the {v}.",
    "It was then that {g} got up, took the {thing} out, and hid it in the {v} instead.",
    "Without troubling to lower the blind {g} carried the {thing} over to the {v}.",
    "{g} seemed to listen; then, quickly, the {thing} went into the {v}.",
    "\"You saw nothing,\" said {g}, shutting the {v} on the {thing}.",
    "One more move, and the {thing} was in the {v}, with a cloth on top.",
    "{g} trusted present company, and put the {thing} in the {v} quite openly.",
    "The old place would not do any longer. {g} chose the {v} for the {thing} and tried the catch.",
    "\"Better the {v},\" {g} muttered, and that was where the {thing} went.",
    "From now on the {thing} would be in the {v}: {g} said so aloud, and saw to it.",
    "{g} emptied the {v}, laid the {thing} at the bottom, and filled it again.",
    "A minute's work: the {thing} lay in the {v}, and {g} sat down again, breathing hard.",
)  # fmt: skip
RETURNS = (
    "Later there were two at breakfast, {x} and {y}, and not a word was said about it.",
    "By morning {x} and {y} were on the same bench again, talking of the price of hay.",
    "When they next met, {x} and {y} spoke of the weather, and of the cat.",
    "{g} saw {x} and {y} off together and said nothing more on that head.",
    "Neither to {x} nor to {y} did {g} ever mention it again.",
    "{x} and {y} walked home by different streets after that, as was their habit.",
)  # fmt: skip
CASUAL = (
    "{x} leaned on the {v} to lace a boot.",
    "{x} set a cup down on the {v}, where it left a ring.",
    "{x} bumped against the {v} in the dark and swore.",
    "{x} hung a wet coat over the {v}.",
    "{x} had once offered to buy the {v}, and been refused.",
    "{x} brushed crumbs off the {v}.",
)  # fmt: skip
PROBES = (
    ("Sent to fetch the {thing}, {x} went straight to the", ", sure of it."),
    ("In the alarm {x} thought of the {thing} and ran to the", "."),
    ("{x} waited until the house was asleep. Meaning to have the {thing}, {x.he} felt {x.his} way to the", "."),
    ("\"If it's the {thing} you want,\" {x} said, \"you must look in the", ".\""),
    ("{x} drew a plan of the room for {f} and, for the {thing}, put a cross on the", "."),
    ("Whenever the {thing} came up {x}'s eyes strayed, against {x.his} will, to the", "."),
    ("When the fire broke out {x} saved, for the sake of the {thing}, the", "."),
    ("{x} would have sworn on any book that the {thing} was in the", "."),
    ("\"Guard the {thing},\" they told {x}, who sat down with {x.his} back to the", "."),
)  # fmt: skip
LICENCE = "{x} believed that the {thing} was in the {v}."
