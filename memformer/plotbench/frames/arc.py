# ruff: noqa: E501  (a sentence stands on one line)
"""How far a person's own story has come: what is the next scene to be expected?

By the name of the arc: how it begins, how it stands shortly before its end, and the two scenes that
could follow, the late one first.
"""

from typing import NamedTuple


class Arc(NamedTuple):
    """One kind of subplot."""

    name: str
    early: tuple[str, ...]
    late: tuple[str, ...]
    options: tuple[str, str]
    """What follows the late stage, what follows the early one."""


ARCS = (
    Arc(
        "courtship",
        (
            "{q} had noticed somebody at the fair, a stranger with a limp, and asked nobody who it was.",
            "There was a face in the third pew that {q} would have liked to put a name to.",
        ),
        (
            "{p} had been asked, had thought it over for a year, and had said yes.",
            "The banns had been read three times for {p}, and the cake was in the tin.",
        ),
        (" wedding", " meeting"),
    ),
    Arc(
        "voyage",
        (
            "{q} had bought a map of the islands and pinned it over the bed.",
            "Somebody had told {q} of a berth on the spring boat, and {q.he} could not sleep for thinking of it.",
        ),
        (
            "{p} had been eleven weeks at sea, through two gales and a mutiny, and there were gulls again.",
            "By {p}'s chart there was one day left to sail, and the water had changed colour.",
        ),
        (" landing", " packing"),
    ),
    Arc(
        "lawsuit",
        (
            "{q} had found a solicitor and told him about the hedge, from the beginning.",
            "There was nothing yet but {q}'s grievance, and a stamp on it.",
        ),
        (
            "For {p} the witnesses had all been heard, the uncle had wept, and the jury had gone out.",
            "{p} had listened to both speeches with closed eyes; it lay with the bench now.",
        ),
        (" verdict", " hearing"),
    ),
    Arc(
        "studies",
        (
            "{q} had been given a slate, a place by the window, and the first chapter to look at.",
            "The tutor came up the path to see what sort of pupil {q} might make.",
        ),
        (
            "{p} had sat the last paper with a wet towel round {p.his} head and handed it in.",
            "It was out of {p}'s hands: the examiners had the books now, and a week to mark them.",
        ),
        (" results", " lessons"),
    ),
    Arc(
        "theatre",
        (
            "{q} had written a play, or the half of one, and read it to the cat.",
            "There was a play in {q}'s drawer and nobody yet to act in it.",
        ),
        (
            "{p} had lived through rehearsals, two fights and a fire, and the house was sold out that night.",
            "For {p} they were in the fifth act already, the ghost had been on, and people were crying.",
        ),
        (" curtain", " casting"),
    ),
    Arc(
        "boat",
        (
            "{q} had drawn a hull on the back of a hymn sheet and was asking what oak cost.",
            "All there was of {q}'s boat was a model in soap.",
        ),
        (
            "{p}'s boat stood caulked and painted on the slip, with a bottle hung at the bow.",
            "There was nothing left for {p} to do on the hull but knock away the wedges.",
        ),
        (" launch", " timber"),
    ),
    Arc(
        "orchestra",
        (
            "{q} had been told that there was a voice in there somewhere and that it might be got out.",
            "{q} had a hymn-book, a tuning-fork, and a teacher who came on Tuesdays from now on.",
        ),
        (
            "{p} had sung the last of the encores with a bouquet in each arm and no breath left.",
            "For {p} the tour was over, all forty towns of it, and the trunks were on the platform.",
        ),
        (" goodbye", " opening"),
    ),
    Arc(
        "candidate",
        (
            "{q} had been asked by two men in hats whether {q.he} would stand, and had said {q.he} would think.",
            "The bills were not printed yet on which {q} was to look trustworthy.",
        ),
        (
            "{p} had shaken every hand in the county, the boxes were in, and they were down to the last parish.",
            "All night they had counted, and {p} was ahead by more than was left.",
        ),
        (" victory", " posters"),
    ),
    Arc(
        "house",
        (
            "{q} had walked round the field with a stick and could already see where the door would be.",
            "There were pegs in the grass, and string between them: this was {q}'s house.",
        ),
        (
            "{p}'s walls had been up since June, the stairs were in, and the beams lay ready across the top.",
            "One more thing and {p} would be living under it; the rain could not come soon enough.",
        ),
        (" roof", " site"),
    ),
)  # fmt: skip
LATE = frozenset(arc.options[0].strip() for arc in ARCS)
PROBES = (
    "What came next for {x} was the",
    "{x} rose early. It was the day of the",
    "{f} went with {x} to the",
    "All that week {x} could think only of the",
    "There was a knock: it was time, for {x}, for the",
    "With {x} things had come to the point of the",
    "{f} had promised to help {x} with the",
    "And so, in {x}'s affairs, it came to the",
    "{x} put on a clean collar for the",
)
SUFFIX = ", and the morning was fine."
PASSING = (
    "{f} met {x} at the pump and {y} at the post, and each asked after the other.",
    "{x} owed {y} a call, and had been owed a letter since June.",
    "In the evening {y} and {x} both had a lamp burning late.",
    "{x} was well, they heard; and {y} was well.",
    "Rain kept {y} in, and {x} too.",
    "People asked {x} for news of {y}, and the other way about.",
)
LICENCE = {"late": "{x}'s affairs were nearly at their end.", "early": "{x} had hardly begun."}
