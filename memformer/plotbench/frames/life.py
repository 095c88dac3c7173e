# ruff: noqa: E501  (a sentence stands on one line)
"""Two fall ill; one is buried, one gets up."""

ILLNESS = (
    "{x} had been coughing since the fair and would not see anyone about it.",
    "They put {x} to bed with hot bricks, and {f} sat up.",
    "{x} fell on the quay steps and was carried home on a door.",
    "\"It's only a chill,\" said {x}, with teeth that knocked together.",
    "The doctor came down from {x}'s room and looked for his gloves a long time.",
    "There was straw in the street outside {x}'s window, to quiet the wheels.",
    "{x} ate nothing that week but a little ice.",
    "The fever was in {x}'s house too; one could tell by the shutters.",
    "{f} brought broth for {x} and brought it back untouched.",
    "{x} talked all night to people who were not in the room.",
    "Something had gone wrong with {x}'s breathing, and the stairs made it worse.",
    "{x} was grey at dinner and in bed by dark, with the priest sent for.",
)  # fmt: skip
ENDINGS = (
    (
        "{p} did not see the morning.",
        "{q} rose to see the morning.",
    ),
    (
        "{p} breathed out and not in again.",
        "{q} breathed out and got up again.",
    ),
    (
        "{p} was dead by dawn.",
        "{q} was hale by dawn.",
    ),
    (
        "All was over with {p}.",
        "All was well with {q}.",
    ),
    (
        "There was a wreath for {p}.",
        "There was a kipper for {q}.",
    ),
    (
        "They closed the eyes of {p}.",
        "They passed the salt to {q}.",
    ),
    (
        "The blinds at {p}'s were down, and six men took their hats off and went in for the box.",
        "The blinds at {q}'s were open, and six men took their hats off and went in for the fun.",
    ),
    (
        "They carried {p} up to the churchyard in the rain, and the path was so steep that they rested twice.",
        "They trailed {q} up to the lighthouse in the rain, and the pace was so quick that they rested twice.",
    ),
    (
        "{f} stopped the drops, as there was nothing further that anyone could do for {p}.",
        "{f} stopped the pills, as there was nothing serious that anyone could see in {q}.",
    ),
    (
        "Towards four the breathing in {p}'s room stopped, and somebody opened the window.",
        "Towards four the whistling in {q}'s room started, and somebody opened the sherry.",
    ),
    (
        '"No more broth," said the niece, drawing the sheet over {p}\'s face for good.',
        '"No more broth," said the niece, slicing the bacon onto {q}\'s dish for noon.',
    ),
    (
        "The verger asked how long he should dig for {p}, and {f} showed him with both hands.",
        "The hosier asked how wide he should cut for {q}, and {f} showed him with both hands.",
    ),
    (
        "They shared out {p}'s things on Thursday, the boots, the good coat, the spectacles.",
        "They looked out {q}'s things on Thursday, the boots, the loud coat, the tambourine.",
    ),
    (
        "All the barges had crape on them for {p}'s sake, and the children were let out.",
        "All the barges had flags on them for {q}'s sake, and the children were let out.",
    ),
    (
        "{f} wrote the same four lines to all {p}'s relations, sable-edged.",
        "{f} wrote the same glad lines to all {q}'s relations, lilac-inked.",
    ),
    (
        "The night was {p}'s last, and the embers outlived {p.him} by an hour.",
        "The night was {q}'s best, and the posset relieved {q.him} in an hour.",
    ),
    (
        "There was ham, as is proper, and they drank to {p}, who would have been surprised.",
        "There was ham, as is proper, and they drank to {q}, who again took more crackling.",
    ),
    (
        "By noon {p} was under the yew with the others of that name.",
        "By noon {q} was under the sun with the mowers of that hill.",
    ),
    (
        "For {p} they tolled the whole hour, eighty strokes of it, and hats came off as far as the weir.",
        "For {q} they tapped the small cask, eighty glasses of it, and hats flew off as far as the weir.",
    ),
    (
        "To {p} the vicar gave the good pall with the fringe, and the bearers were sworn to walk in step.",
        "To {q} the vicar gave the good port with the cheese, and the sisters were sworn to tell no soul.",
    ),
    (
        "On {p} they laid a coat of wool, the hat, and a sprig of rue, and lowered it all on two ropes.",
        "On {q} they hung a coat of wool, the hat, and a spray of may, and ordered an ale at the wharf.",
    ),
    (
        "The carpenter planed the last of the elm boards, and wrote on the lid, with a flat pencil, the name of {p}.",
        "The carpenter planed the last of the ash stilts, and wrote on the top, with a flat pencil, the name of {q}.",
    ),
    (
        "In the front room the canary was hooded for the day, candles were lit, and nobody spoke above a whisper near {p}.",
        "In the front room the carpet was rolled for the day, fiddles were out, and nobody leapt after a partner like {q}.",
    ),
    (
        "With the frost still in the ground it took two men and a pickaxe, a whole day long, to make room for {p}.",
        "With the frost still in the ground it took two men and a mastiff, a whole day long, to catch hold of {q}.",
    ),
)
"""Somebody is dead, somebody well again: built alike in each line, as in `know.PARTINGS`."""
CASUAL = (
    "{x} and {y} had been at school together, and fought there.",
    "People said {x} and {y} in one breath, like salt and pepper.",
    "In the picture from the regatta {x} and {y} share an umbrella.",
    "Once {x} and {y} had gone halves on a pig.",
    "{f} could remember {x} and {y} as children, on the same wall.",
    "There had been a time when {x} and {y} did not speak, over a hat.",
)  # fmt: skip
PROBES = (
    ("{f} had flowers with {f.him} and meant to take them to {x}'s", (" house", " grave"), ", though the road was bad."),
    ("The path brought them round to {x}'s", (" door", " tomb"), ", where the rain had made a pool."),
    ("{f} wrote home that {x} was", (" better", " buried"), " and that the weather had turned."),
    ("From the landing {f} could have sworn to {x}'s", (" voice", " ghost"), " on the stairs."),
    ("The glasses were filled, and they drank to {x}'s", (" health", " memory"), ", standing."),
    ("{f} counted {x} among the", (" living", " buried"), " and went on to the next name."),
    ("It was settled that {x} should have a", (" chair", " stone"), ", and that all would pay for it."),
    ("There was room for {x} in the", (" choir", " earth"), ", {f} said, and always would be."),
    ("By Advent {x} was", (" eating", " buried"), ", and the bills had all come in."),
)  # fmt: skip
"""Options: of the living, of the dead."""
LIVING = frozenset(options[0].strip() for _, options, _ in PROBES)
LICENCE = {"living": "{x} was alive and well.", "dead": "{x} was dead."}
