# ruff: noqa: E501  (a sentence stands on one line)
"""Loans, and what became of them."""

LOANS = (
    "{x} needed money that month and had it from {g}, [thirty|forty] in silver.",
    "{g} counted the coins into {x}'s hat and asked for nothing in writing.",
    "\"Till Michaelmas,\" said {x}, and {g} opened the cash-box.",
    "It was {g} who lent {x} the price of the cow.",
    "{x} came away from {g}'s with a loan and a lecture.",
    "The rent fell due, and {x} went round to {g}, who never said no.",
    "{g} let {x} have the sum at four per cent, because of the mother.",
    "{x} had a partnership to buy into, on {g}'s money.",
    "For the operation {x} had to go to {g}, and {g} lent it on a handshake.",
    "One line in {g}'s book had {x}'s name in front and a figure behind.",
    "{x} put off asking for a week and then asked. {g} lent the money at once.",
    "{g} advanced {x} the fare and the first quarter's board.",
)  # fmt: skip
REPAID = (
    "{p} emptied a stocking on to {g}'s table and they counted together, to the last penny.",
    "{g} tore the paper across and gave {p} the halves to light a pipe with.",
    "\"That's the last of it,\" said {p}, and {g} ruled a line under the name.",
    "{p} sold the mare, walked over to {g}'s, and walked back whistling.",
    "There was an envelope from {p} under {g}'s door, as thick as it should be.",
    "{g} bit the coin for a joke and shook {p}'s hand.",
    "After the harvest {p} went to {g} with a purse and came home without one.",
    "{p} slept soundly that night; {g} had wanted for nothing more.",
    "In {g}'s book the figure after {p}'s name had been crossed through in red.",
    "{g} told everyone that {p} was as good as {p.his} word, and to the day.",
    "{p} laid the notes down one by one until {g} said stop.",
    "With {p}'s money in hand {g} bought the field at last.",
)  # fmt: skip
UNPAID = (
    "{q} crossed the road when {g} came along it.",
    "\"Next month,\" said {q}, as {q.he} had said the month before, and {g} shut the cash-box.",
    "{g} sent the boy to {q}'s a third time, and a third time nobody was in.",
    "There was nothing in the stocking, and {q} knew that {g} knew.",
    "{q} had bought a hat, which {g} looked at all through the sermon.",
    "{g} took the paper out, read {q}'s name on it, and put it away with a sigh.",
    "The mare died under {q}, and with her went {g}'s hopes.",
    "{q} offered {g} eggs, and excuses, and the use of a boat.",
    "In {g}'s book nothing had been added after {q}'s name but the interest.",
    "{q} stayed in bed on quarter-day and had the curtains drawn against {g}.",
    "\"Blood from a stone,\" said {g}, turning away from {q}'s door.",
    "{q} lay awake over it; {g}'s patience could not last for ever.",
)  # fmt: skip
CASUAL = (
    "{x} and {y} argued about whether a thing could be paid and still owed.",
    "{g} spoke of what is owed and what is paid, and {x} and {y} looked at the floor.",
    "Paid or owed, it was all one in a hundred years, said {x}, and {y} agreed.",
    "\"Owed is not paid,\" said the sampler. {x} had sewn it, {y} had framed it.",
    "{x} held that the short way home was clear; {y} held that the clear way was short.",
    "{y} asked {x} what was behind the square. More of the same, was the answer.",
)  # fmt: skip
PROBES = (
    ("What {x} had borrowed was by this time", (" paid", " owed"), " in full, and there was no use talking about it."),
    ("In the matter of the loan {x}'s account stood", (" clear", " short"), ", as anyone could see."),
    ("As to the money, {x} was by then", (" square", " behind"), ", and {f} did not mention it."),
    ("{f} looked up {x}'s loan in the book. It was marked", (" paid", " owed"), ", in ink."),
    ("{x} went to the feast with a conscience that, in point of money, was", (" clear", " short"), "."),
    ("\"And the loan?\" {f} asked {x}. \"I'm", (" square", " behind"), ",\" was the answer, and the subject was changed."),
    ("The sum that {x} had had was", (" paid", " owed"), ", every penny of it, at the year's end."),
    ("With the lender {x} was", (" square", " behind"), " when the bells rang in the year."),
    ("When the loans were read out {x}'s was called", (" clear", " short"), ", to a murmur."),
)  # fmt: skip
"""Options: of what is settled, of what is not."""
SETTLED = frozenset(options[0].strip() for _, options, _ in PROBES)
LICENCE = {"closed": "{x} had repaid the loan.", "open": "{x} had not repaid the loan."}
