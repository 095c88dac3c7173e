# ruff: noqa: E501  (a sentence stands on one line)
"""Parents, their brothers and sisters, and what these did for a living."""

PARENTS = (
    "{m} was {p}'s mother, and had the same way of standing in a doorway.",
    "{p}'s mother, {m}, sent soup on Fridays.",
    "One heard {m} calling {p} in to supper still, a grown child, from habit.",
    "\"Ask my mother,\" said {p}, and {m} put down the peas.",
    "{p} was the second of {m}'s four, and the one she worried over.",
    "{m} had brought {p} into the world in a thunderstorm and never let {p.him} forget it.",
    "{p} took {m} her pills and was called a good child.",
    "On {m}'s dresser stood {p} at six, in a frame, her only picture of her child.",
    "\"You were a horrid baby,\" {m} told {p}, kissing the top of {p.his} head. She ought to know, being the mother.",
    "{p} had {m}'s chin, as a child has its mother's.",
    "{m} buttoned {p}'s coat, mothers being mothers.",
    "Everyone who knew {m} asked her about {p}, her eldest.",
)  # fmt: skip
SIBLINGS = (
    "{u} was {m}'s brother, and they had not agreed on anything since the measles.",
    "{m} had one brother, {u}, whom she mended for.",
    "When {m} was small she had been dared by her brother {u} to eat a candle.",
    "\"My sister exaggerates,\" said {u}. \"My brother was asleep,\" said {m}.",
    "{u} and {m} had shared a cradle, end to end, brother and sister.",
    "Twice a year {m} wrote to her brother {u} and had no answer.",
    "{m} kept a lock of her brother {u}'s first hair in an egg-cup.",
    "Their father had left {m} the clock and her brother {u} the debts.",
    "{u} walked his sister {m} home from chapel and waited till she had the lamp lit.",
    "It was {m} who taught her brother {u} to read.",
    "{m} laughed exactly like her brother {u}, which startled people.",
    "{u} came to dinner with {m}, his sister, and found fault with the gravy.",
)  # fmt: skip
TRADES = (
    "{u} was a {v} and smelt of it.",
    "{u} had been bound to a {v} as a boy, and had stayed one.",
    "The best {v} on the river, and the slowest, was {u}.",
    "\"Get {u},\" they said, whenever a {v} was wanted.",
    "{u} did well as a {v} and let it be known.",
    "As a {v} {u} had few equals and fewer customers.",
    "{u} earned his bread as a {v}, and gave half of it to the ducks.",
    "A {v} like {u} does not need a sign.",
    "{f} had gone to {u} because he was a {v} and because he was near.",
    "{u} called himself an artist, but what he was was a {v}.",
    "There were three of them at the table, and {u} was the {v}.",
    "{u}'s neighbours slept badly, {u} being a {v}.",
)  # fmt: skip
PROBES = (
    ("{x} had an uncle on {x.his} mother's side who was a", "."),
    ("\"My uncle would know,\" said {x}. The uncle was a", "."),
    ("{x} thought of {x.his} mother's brother, and of how it must be to live as a", "."),
    ("Among the wedding guests {f} made out {x}'s uncle, in the Sunday coat of a", "."),
    ("{x} was to be apprenticed to {x.his} uncle and so would become a", "."),
    ("From {x.his} uncle {x} had learnt a few of the tricks of the", "."),
    ("{x}'s uncle was buried with the tools of a", " beside him, as he had asked."),
    ("What {x} said next was a saying of {x.his} uncle's, and could only come from a", "."),
    ("{f} had quarrelled with {x}'s uncle over a bill, as one does with a", "."),
)  # fmt: skip
LICENCE = "{x}'s uncle was a {v}."
