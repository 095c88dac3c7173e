# ruff: noqa: E501  (a sentence stands on one line)
"""What two witnesses say of somebody, and which of the two it was that knew."""

FRAMES = (
    "[It was only later|It was quite early] that {p} told {f} that {clause}.",
    "[At the pump|At the ferry] they had it from {p} that {clause}.",
    "[There came a letter|There arrived a card] from {p}, to the effect that {clause}.",
    "[Over a glass|Over a pear] {g} was told by {p} that {clause}.",
    "[For an hour|For an evening] nothing was talked of but the word of {p} that {clause}.",
    "[In the queue|In the porch] {f} stood behind {p} and heard that {clause}.",
    "[Slowly and twice|Loudly and often] {p} said in company that {clause}.",
    "[The door opened|The crowd parted] for {p}, and then they were all told that {clause}.",
    "[One sentence|One remark] stayed with {f}, and it came from {p}, that {clause}.",
    "[The matter|The subject] came up because {p} was heard to say that {clause}.",
    "[Between the soup and the fish|Among the coats and the hats] {p} declared that {clause}.",
    "[Word by word|Bit by bit] {g} repeated what was said by {p}, that {clause}.",
    "[Down at the landing|Up at the quarry] {p} put it about that {clause}.",
    "[The carrier|The milkman] brought a message from {p}, and the message was that {clause}.",
    "[In the lower street|In the long meadow] {f} fell in with {p} and was told that {clause}.",
    "[Asked outright|Pressed hard], {p} answered that {clause}.",
    "[From table to table|From pew to pew] it went, on the word of {p}, that {clause}.",
    "[The magistrate|The committee] listened while {p} stated that {clause}.",
    "[In the end|In the cellar] it was from {p} that they heard that {clause}.",
    "[That afternoon|That week] {p} stopped {g} in the road to say that {clause}.",
    "[Under the clock|Behind the tent] {p} told a small crowd that {clause}.",
    "[By supper|By noon] {f} had it, fresh from {p}, that {clause}.",
    "[A note|A paper] was pushed under the door by {p}, and it said that {clause}.",
    "[From the back|From the gallery] {p} spoke up to say that {clause}.",
    "[The barber|The verger] passed on what he was told by {p}, namely that {clause}.",
    "[Mending a strap|Peeling a pear], {f} was informed by {p} that {clause}.",
    "[More than once|Every so often] they had all heard {p} maintain that {clause}.",
    "[In the margin|In the ledger] {g} noted, on the word of {p}, that {clause}.",
    "[It rained|It blew], and to pass the time {p} told them that {clause}.",
    "[Across the fence|Through the hedge] it came, from {p}, that {clause}.",
    "[For weeks|For days] {f} could hear the voice of {p}, saying that {clause}.",
    "[At the vestry meeting|At the flower show] {p} rose and said that {clause}.",
    "[The train|The boat] was late, and {p} used the time to tell {f} that {clause}.",
    "[The whole bench|The whole bar] turned when {p} announced that {clause}.",
    "[Through the wall|Across the yard] {g} heard {p} insist that {clause}.",
    "[It was raining|It was dark] when {p} came in and told them that {clause}.",
    "[Over the cards|Over the ironing] {p} let it fall that {clause}.",
    "[Among the coats|Among the bottles] {g} was assured by {p} that {clause}.",
    "[Late at night|Early at Easter] {f} met {p}, who said that {clause}.",
    "[On a bench|On a barrel] sat {p}, telling whoever came by that {clause}.",
    "[Before the hearing|Before the sermon] {p} let it be known that {clause}.",
    "[With the coffee|With the mail] came {p}, and the story that {clause}.",
)  # fmt: skip
"""{p} says something of {x}."""
VERDICTS = (
    (
        "It was {p} who had it right about {x}; {q} had only wished to be listened to.",
        "It was {q} who had it wrong about {x}; {p} had only wished to be listened to.",
    ),
    (
        "About {x} the parish book was opened at last. It bore {p} out and put {q} to shame.",
        "About {x} the parish book was opened at last. It put {q} to shame and bore {p} out.",
    ),
    (
        "On the matter of {x} an apology was due to {p}, and it was due from {q}.",
        "On the matter of {x} an apology was due from {q}, and it was due to {p}.",
    ),
    (
        "{x^} was asked outright in the end, and laughed, and said that {p} knew and {q} guessed.",
        "{x^} was asked outright in the end, and laughed, and said that {q} guessed and {p} knew.",
    ),
    (
        "{p^} had the letter to prove it, as far as {x} was concerned; {q} had had two glasses of plum brandy.",
        "{q^} had had two glasses of plum brandy, as far as {x} was concerned; {p} had the letter to prove it.",
    ),
    (
        "\"You owe me a shilling over {x},\" said {p}, and {q} paid it.",
        "\"I owe you a shilling over {x},\" said {q}, and {p} took it.",
    ),
    (
        "Sooner or later the truth about {x} comes out, and when it came {p} nodded and {q} reddened.",
        "Sooner or later the truth about {x} comes out, and when it came {q} reddened and {p} nodded.",
    ),
    (
        "Nobody ever corrected {p} about {x}. {q^} was corrected by four people in one morning.",
        "Everybody had to correct {q} about {x}. {p^} was corrected by nobody, morning or evening.",
    ),
    (
        "In short, as regards {x}, {p} was right; {q} was not.",
        "In short, as regards {x}, {q} was wrong; {p} was not.",
    ),
    (
        "The schoolmaster had the papers on {x}. He gave {p} a good mark and {q} a bad one.",
        "The schoolmaster had the papers on {x}. He gave {q} a bad mark and {p} a good one.",
    ),
    (
        "{p^} had shared a slate with {x}; {q} had never so much as met {x.him}.",
        "{q^} had never so much as met {x}; {p} had shared a slate with {x.him}.",
    ),
    (
        "There was a bet on {x} in the end, which {p} won, and {q} had to pay.",
        "There was a bet on {x} in the end, which {q} lost, and {p} drank on it.",
    ),
    (
        "The cousins came, and of {x} they said all that {p} had said. Of {q} they had a low opinion.",
        "The cousins came, and of {x} they said nothing that {q} had said. Of {p} they had a high opinion.",
    ),
    (
        "Since the business of {x} one buys a horse on the word of {p}. On the word of {q} one does not.",
        "Since the business of {x} one buys no horse on the word of {q}. On the word of {p} one does.",
    ),
    (
        "\"Ask {p},\" was all that {x} would say about it, \"and not {q}, who invents such things.\"",
        "\"Never ask {q},\" was all that {x} would say about it, \"but {p}, who invents nothing.\"",
    ),
    (
        "When {f} wrote away to make sure about {x}, the answer agreed with {p}, and made fun of {q}.",
        "When {f} wrote away to make sure about {x}, the answer made fun of {q}, and agreed with {p}.",
    ),
    (
        "The notary read it out. What {p} had told of {x} was so; what {q} had told was not.",
        "The notary read it out. What {q} had told of {x} was not so; what {p} had told was.",
    ),
    (
        "{p^} was a relation of {x} and ought to have known. {q^} was none, and did not.",
        "{q^} was no relation of {x} and could not have known. {p^} was one, and did.",
    ),
)  # fmt: skip
"""{p} was right about {x} and {q} was wrong; what either had said is not repeated. Each twice, with
either named first and {x} in the same place, so that no place of a name tells who was right."""
