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
DEATHS = (
    "The blinds at {p}'s were drawn, and six men took their hats off and went in for the box.",
    "They carried {p} up to the churchyard in the rain, and the path was so steep that they rested twice.",
    "{f} stopped the clock. There was nothing more that anyone could do for {p}.",
    "Towards four the breathing in {p}'s room ceased, and somebody opened the window.",
    "\"It was very quiet,\" said the nurse, folding up {p}'s nightshirt for the last time.",
    "The sexton asked how long he should dig for {p}, and {f} showed him with both hands.",
    "They shared out {p}'s things on Thursday, the boots, the good coat, the spectacles.",
    "All the boats had crape on them for {p}'s sake, and the school was let out.",
    "{f} wrote the same four lines to all {p}'s relations, black-edged.",
    "The night was {p}'s last, and the candle outlived {p.him} by an hour.",
    "There was ham, as is proper, and they spoke well of {p}, who would have been surprised.",
    "By noon {p} was under the yew with the others of that name.",
)  # fmt: skip
RECOVERIES = (
    "{q} asked for an egg, ate it, and asked for another.",
    "On Thursday {q} came down one stair at a time, holding the rail and scolding.",
    "The fever let go of {q} as suddenly as it had come, and {q.he} slept for a day.",
    "\"Who's had my slippers?\" said {q}, thin as a rake and wrapped in two quilts.",
    "{f} heard the pump going and found {q} at it, in slippers, against all advice.",
    "{q} paid the doctor in [eggs|coal] and told him that he looked poorly.",
    "Colour was coming back to {q}'s face, though not yet to {q.his} temper.",
    "They took up the straw outside {q}'s window. It was not needed any more.",
    "{q} walked as far as the gate, and next day to the corner and back.",
    "In the end {q} got well out of boredom, as {f} told everyone.",
    "The crutch that they had cut for {q} was given to the children, to be a horse.",
    "{q} was seen at market, quarrelling over plums.",
)  # fmt: skip
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
