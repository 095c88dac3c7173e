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
PARTINGS = (
    (
        "{p} slipped out.",
        "{q} lingered on.",
    ),
    (
        "{p} went home.",
        "{q} sat tight.",
    ),
    (
        "{p} had to run.",
        "{q} sat it out.",
    ),
    (
        "Off into the lane slid {p}.",
        "Deep in the settle lay {q}.",
    ),
    (
        "The last coach was away with {p}.",
        "The parish cat lay asleep on {q}.",
    ),
    (
        "There was no holding {p}.",
        "There was no budging {q}.",
    ),
    (
        "{p} had a mail to catch and left them at the table.",
        "{q} had a cuff to stitch and moved up to the taper.",
    ),
    (
        "{p} was sent across for bread and had to wait.",
        "{q} was kept beside the range and had to stir.",
    ),
    (
        "{p} went up to bed, and the boards creaked, and then they did not.",
        "{q} went on at tea, and the spoons clinked, and then they did not.",
    ),
    (
        "{p} took the dog down to the water.",
        "{q} gave the dog some of the gravy.",
    ),
    (
        "{p} was wanted at the dispensary, where the lamps were lit.",
        "{q} was wanted at the chessboard, where the queen was lost.",
    ),
    (
        "{p} rode by the early coach and slept all the way.",
        "{q} knit on the other sofa and kept the flies off.",
    ),
    (
        "{p} had gone out to look at the eclipse with the children.",
        "{q} had got down to look at the kittens with the children.",
    ),
    (
        "About nine {p} said good night and was seen to the gate.",
        "About nine {q} took more wool and was heard to count it.",
    ),
    (
        "It was {p}'s turn to fetch coal, which was two streets away.",
        "It was {q}'s turn to slice cake, which was two fingers high.",
    ),
    (
        "Then somebody called from the yard, and {p} ran down to see to the horse.",
        "Then somebody called from the yard, and {q} let it be and dried the cups.",
    ),
    (
        "The smoke was too much for {p}, who took a turn about the quay.",
        "The smoke was good air for {q}, who took a seat nearer the hob.",
    ),
    (
        "It struck six, and {p} hurried over to the church, being late already.",
        "It struck six, and {q} settled back by the embers, being warm already.",
    ),
    (
        "The party had begun at the inn, and {p}, in new shoes, led the first.",
        "The party had begun at the inn, and {q}, in old shoes, fed the stove.",
    ),
    (
        "Down the hill, with a stick in one hand and a ham in the other, went {p}.",
        "Over the soup, with a ladle in one hand and a bun in the other, bent {q}.",
    ),
    (
        "For the sake of a sick aunt, and in the teeth of the blast, {p} rode away.",
        "For the sake of a sore foot, and in the light of the blaze, {q} kept warm.",
    ),
    (
        "There was a knock, and on the step a child with a satchel, come for {p}, who took the satchel and sped along.",
        "There was a knock, and on the step a child with a pudding, made for {q}, who took the pudding and cut slices.",
    ),
    (
        "The last train blew twice, which was as much as to say that whoever wanted to be on it must run, and {p} ran.",
        "The last train blew twice, which was as much as to say that whoever wanted to be on it must run, and {q} sat.",
    ),
    (
        "It was past the hour at which the house across the river was locked, and with both sleeves wet {p} rowed back.",
        "It was past the hour at which the house across the river was locked, and with both slippers on {q} dealt anew.",
    ),
)
"""Somebody leaves, somebody stays: a line's two sentences are built alike, to the letter, so that only
what they mean tells them apart. A story draws them from two lines (`beats.of_two_lines`)."""
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
