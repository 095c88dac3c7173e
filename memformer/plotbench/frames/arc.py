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
            "At the fair, between the shooting gallery and the fat lady, {q} had been bowed to by somebody who must have meant it.",
        ),
        (
            "{p} had been asked, had thought it over for a year, and had said yes.",
            "The banns had been read three times for {p}, and the cake was in the tin.",
            "{p} had the ring on already.",
        ),
        (" wedding", " meeting"),
    ),
    Arc(
        "voyage",
        (
            "{q} had bought a map of the islands and pinned it over the bed.",
            "Somebody had told {q} of a berth on the spring boat, and {q.he} could not sleep for thinking of it.",
            "Up at the shipping office, among sacks and parrots, they told {q} what one has to bring and whom one has to ask.",
        ),
        (
            "{p} had been eleven weeks at sea, through two gales and a mutiny, and there were gulls again.",
            "By {p}'s chart there was one day left to sail, and the water had changed colour.",
            "There was land ahead of {p}.",
        ),
        (" landing", " packing"),
    ),
    Arc(
        "lawsuit",
        (
            "{q} had found a solicitor and told him about the hedge, from the beginning.",
            "There was nothing yet but {q}'s grievance, and a stamp on it.",
            "In a room that smelt of sealing-wax {q} began to tell it all to a young man who had no questions yet.",
        ),
        (
            "For {p} the witnesses had all been heard, the uncle had wept, and the jury had gone out.",
            "{p} had listened to both speeches with closed eyes; it lay with the bench now.",
            "The jury had done with {p}.",
        ),
        (" verdict", " hearing"),
    ),
    Arc(
        "studies",
        (
            "{q} had been given a slate, a place by the window, and the first chapter to look at.",
            "The tutor came up the path to see what sort of pupil {q} might make.",
            "With a satchel that was still stiff and a pencil that was still long {q} was shown to a bench at the very back.",
        ),
        (
            "{p} had sat the last paper with a wet towel round {p.his} head and handed it in.",
            "It was out of {p}'s hands: the examiners had the books now, and a week to mark them.",
            "{p} had handed in the last sheet.",
        ),
        (" results", " lessons"),
    ),
    Arc(
        "theatre",
        (
            "{q} had written a play, or the half of one, and read it to the cat.",
            "There was a play in {q}'s drawer and nobody yet to act in it.",
            "On the backs of eleven letters, and on one cuff, {q} had the beginnings of a first act and the name of a duke.",
        ),
        (
            "{p} had lived through rehearsals, two fights and a fire, and the house was sold out that night.",
            "For {p} they were in the fifth act already, the ghost had been on, and people were crying.",
            "It was the fifth act with {p}.",
        ),
        (" curtain", " casting"),
    ),
    Arc(
        "boat",
        (
            "{q} had drawn a hull on the back of a hymn sheet and was asking what oak cost.",
            "All there was of {q}'s boat was a model in soap.",
            "Among the shavings of other people's boats {q} walked about with a notebook and asked what one begins with.",
        ),
        (
            "{p}'s boat stood caulked and painted on the slip, with a bottle hung at the bow.",
            "There was nothing left for {p} to do on the hull but knock away the wedges.",
            "{p}'s masts were in.",
        ),
        (" launch", " timber"),
    ),
    Arc(
        "orchestra",
        (
            "{q} had been told that there was a voice in there somewhere and that it might be got out.",
            "{q} had a hymn-book, a tuning-fork, and a teacher who came on Tuesdays from now on.",
            "Every Tuesday from now on {q} was to stand at the piano with a hand on the ribs and learn how to breathe.",
        ),
        (
            "{p} had sung the last of the encores with a bouquet in each arm and no breath left.",
            "For {p} the tour was over, all forty towns of it, and the trunks were on the platform.",
            "{p} had bowed for the last time.",
        ),
        (" goodbye", " opening"),
    ),
    Arc(
        "candidate",
        (
            "{q} had been asked by two men in hats whether {q.he} would stand, and had said {q.he} would think.",
            "The bills were not printed yet on which {q} was to look trustworthy.",
            "Two men in hats had come about it, and had gone again, and {q} was left with a leaflet and a week to think.",
        ),
        (
            "{p} had shaken every hand in the county, the boxes were in, and they were down to the last parish.",
            "All night they had counted, and {p} was ahead by more than was left.",
            "The count was nearly done, {p} ahead.",
        ),
        (" victory", " posters"),
    ),
    Arc(
        "house",
        (
            "{q} had walked round the field with a stick and could already see where the door would be.",
            "There were pegs in the grass, and string between them: this was {q}'s house.",
            "Somebody had sold {q} a field with thistles in it, and a view, and with a stick one could draw a door on the air.",
        ),
        (
            "{p}'s walls had been up since June, the stairs were in, and the beams lay ready across the top.",
            "One more thing and {p} would be living under it; the rain could not come soon enough.",
            "{p} had the rafters up.",
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
