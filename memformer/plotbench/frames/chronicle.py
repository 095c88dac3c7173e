# ruff: noqa: E501  (a sentence stands on one line)
"""How the town's news is strung together: by somebody who goes about, or in a letter.

`{a}` sees it, `{b}` is told. What follows a fact holds no name and no value of it.
"""

OPENINGS = (
    "It was a spring of small events, and {a} was present at most of them, being nosy.",
    "{a} had taken over the milk round that month, and there is no better way of knowing a town.",
    "That summer {a} kept a diary. It was meant for thoughts; it filled up with other people.",
    "{b^} had been away for a year and wished to be told everything. {a} began somewhere in the middle.",
    "{a} had a bad foot and a good window, and for six weeks saw the whole street go by.",
    "Whoever mends pumps gets into every yard. {a} mended pumps.",
    "The autumn was long that year. {a} used it to return what had been borrowed, house by house.",
    "Between Michaelmas and the first snow more happened than in the ten years before, if one believes {a}.",
    "{a} had been asked to write a few lines a week for the paper, about nothing in particular.",
    "The ferry was {a}'s now. Sooner or later everyone has to sit in it.",
    "{a} carried the collecting-box round, and people will tell you anything rather than pay.",
    "At that time {a} and {b} shared a room over the saddler's, and of an evening they exchanged what they had seen.",
    "{a} had come home for good, with one trunk, and was learning the place all over again.",
    "It snowed, it thawed, it snowed. {a} went from door to door with a shovel.",
    "{b^} was ill that quarter and lived on what {a} brought in: broth, and news.",
    "{a} had the telegraph office to mind, with nothing coming over the wire and everything coming in at the door.",
    "In the weeks after the election nobody worked. {a} sat on the steps of the corn exchange with the rest.",
    "{a} was godparent to half the town, and had it all on {a.his} conscience.",
    "The strange thing about those months, {a} thought afterwards, was how little one had noticed at the time.",
    "There was fever upriver, and the road was closed. {a} walked round and round inside the town like a horse at a mill.",
    "{a} collected the rents for a landlord whom nobody had ever seen, and was offered a great deal of tea.",
    "{a} sat for the third winter running at the infirmary desk, where people say their names and then go on talking.",
    "Since the wedding {a} had a bicycle, and with it a wider acquaintance.",
    "{a} was painting the railings, all four streets of them. One is invisible behind a brush.",
)  # fmt: skip
LEADS = (
    "{a} had come about the eggs.", "{a} was passing with the milk.", "It was a Tuesday, and windy.",
    "{a} had only meant to leave the parcel.", "The bells were just stopping.",
    "They had run out of candles and {a} was sent round.", "{a} waited under the arch for the rain to stop.",
    "It must have been in the week of the fair.", "{a} looked in at the back door, as one did.",
    "One could not call it news.", "The frost had come early.", "{a} was there when it was told, more or less.",
    "{a} stopped to get a stone out of a shoe.", "There had been a queue at the mill.",
    "{a} told this one often.", "It was the hour when lamps are lit.", "On the way back {a} took the lower road.",
    "Some things one remembers for no reason.", "{a} had stayed to help with the chairs.",
    "The river was up, and everyone was out looking at it.", "It had been a quiet week until then.",
    "{a} put down both buckets.", "Plums were cheap that day.", "{a} had it at first hand.",
    "The curtain was drawn back a little.", "Nobody had expected visitors.", "{a} was early, and sat down to wait.",
)  # fmt: skip
LETTER_OPENINGS = (
    "Dear {b}, you ask for news and deserve better news than this, but here it is.",
    "My dear {b}, it is past eleven, the ink is thick, and I promised you a letter.",
    "{b^}, you old deserter! Since you will not come and see for yourself, you must read.",
    "Dearest {b}, they say that the post goes tomorrow if it goes at all, so I write fast.",
    "Dear {b}, your postcard came, with the palm tree. We have no palm trees; we have one another.",
    "Dear {b}, I am writing this on my knee at the dispensary, with a cough on each side of me.",
    "My dear {b}, you left at the wrong moment, as you always do. All sorts of things are happening.",
    "Dear {b}, nothing to report. I shall now report it at length.",
    "Dear {b}, the doctor says I may sit up, and the first thing that I do with it is this.",
)  # fmt: skip
LETTER_LEADS = (
    "What else?", "You will laugh at this.", "I had it from a person who was there.", "Then there is this.",
    "You used to ask about such things.", "I nearly forgot.", "This is for you alone.",
    "Let me put it down while I remember.", "The next thing is a small one.",
)  # fmt: skip
LETTER_CLOSINGS = (
    "There is no more room on the page, and the candle is no better. Write. Yours, {a}.",
    "That is all, and it is more than you deserve. Eat properly. Your {a}.",
    "The boy is at the door for this. I kiss you on both cheeks and remain, unironed, {a}.",
    "Burn this, or better, bring it back and read it to me when I am old. {a}.",
    "I can hear the cart. In haste, and with the wrong pen, {a}.",
    "Everyone would send love if they knew that I was writing. I send it for them. {a}.",
    "Now it is your turn, and no palm trees. {a}.",
    "My feet are cold and you are far away, which may be connected. {a}.",
    "Forgive the blots; the cat has opinions. As ever, {a}.",
)  # fmt: skip
FOLLOWS: dict[str, tuple[str, ...]] = {
    "face": (
        "It is odd what one keeps of people.", "{a} had never thought about it until then.",
        "One gets used to anything, even to that.", "For years that was all that {a} could have sworn to.",
        "{b^}, when told of it, was not surprised.", "Small things, {a} thought, but they stay.",
        "There was no more to it.", "{a} carried it home like change.", "It went into the stock of things that everyone knows.",
    ),
    "change": (
        "People talked for a week and then found something else.", "It takes time to learn a new thing about an old friend.",
        "{a} forgot twice, and twice had to beg pardon.", "{b^} said that it would not last. It did.",
        "So that was that, and there was no going back.", "The street got over it.",
    ),
    "link": (
        "It is a small town, and short of entertainment.", "{a} had to have it explained only once.",
        "Names stick there like burrs.", "{b^} thought it cruel, and used it all the same.",
        "Nobody meant any harm by it.", "After that one could not think of it otherwise.",
    ),
    "parcel": (
        "It was not large, whatever it was.", "{a} did not ask, though it cost something.",
        "String and paper make anything look like a secret.", "Nobody undid the knot.",
        "{b^} would have looked inside, and said so.", "And off it went.",
    ),
    "ill": (
        "There was a good deal of it about.", "{a} promised a jelly, and made it too.",
        "One lowered one's voice, going past.", "{b^} had had the same thing, years ago.",
        "The doctor's gig stood in the street all day.", "It was hoped for the best.",
    ),
    "hidden": (
        "It was quickly done.", "Nobody outside had seen a light.", "A board creaked, but only a board.",
        "{b^} would hear of it years later.", "It stayed there, as far as {a} knew.", "They listened, and it was only the rain.",
    ),
    "loan": (
        "It was done in five minutes.", "Money likes to travel.", "{a} looked the other way, out of tact.",
        "{b^} would have asked for a pledge.", "One helps where one can.", "There was a glass of something on it.",
    ),
    "kin": (
        "Families are like that.", "{a} had no relations and took an interest in other people's.",
        "It explains a good deal, said {b}.", "One could see it in the photographs.", "In that house they ate early.",
        "Blood is thicker than gravy.",
    ),
    "leaving": (
        "A little dust hung over the road.", "{a} went back to the washing.", "Nobody cried, as far as one could see.",
        "{b^} found a glove on the step.", "There was an empty hook in the hall.", "The dog sat looking at the gate.",
    ),
    "event": (
        "It was talked of for years.", "{a} remembered the noise best.", "Everyone knew where they had been.",
        "{b^} had slept through it.", "A clock is a witness too.", "After that the town was never quite the same.",
    ),
    "casual": (
        "It meant nothing.", "{a} was thinking of something else.", "And so the afternoon went.",
        "{b^} laughed, a little late.", "Then it was time for tea.", "A door slammed somewhere.",
    ),
}  # fmt: skip
"""By the kind of fact."""
INTRODUCTIONS = (
    "There were two that came by the same coach that year and were always named together, {x} and {y}, though they had nothing in common but the luggage.",
    "{x} and {y} lodged on one landing, shared a tap, and kept an eye on each other.",
    "Among {f}'s neighbours there were {x}, who was never in a hurry, and {y}, who was never anything else.",
    "At the corner table, the one by the stove, you would find {x} and {y}, bent over the same newspaper from opposite sides.",
    "{f} had been at school with both of them, with {x} and with {y}, and had been copied from by both.",
    "Now of {x} and {y} it was hard to say which the town worried about more.",
    "{x} had the house with the pear tree, {y} the one that got the pears.",
    "If there was a draw at anything that year it was between {x} and {y}.",
    "People who knew {x} usually knew {y}, and liked the one for what they could not stand in the other.",
    "{f} bought eggs from {x} and sold them on to {y}; that was how one got to know them.",
    "There had been four of them once in the back row of the choir. {x} and {y} were left.",
    "{x} and {y} were of an age and of a height, and had been mistaken for each other from behind.",
    "Let me say a word of {x} and {y}, thought {f}, since everyone else does.",
    "It was the year in which {x} and {y} took the old tannery together and divided it with a chalk line.",
    "Two people crossed the square every morning at eight, {x} from the left and {y} from the right, and did not quite collide.",
    "{f} played cards with {x} on Mondays and with {y} on Thursdays, and lost to both.",
    "One could set the clock by {x}. By {y} one could, at best, set the date.",
    "{x} had come for a week, and {y} for the summer, and neither had left.",
    "Opposite {f} there lived {x}, and over {x} lived {y}, with a heavy tread.",
    "Nobody had ever seen {x} run or {y} sit.",
    "They were an odd pair, {x} and {y}, like a boot and a glove found on one beach.",
    "{y} had once pulled {x} out of the mill-race, or the other way about; {f} had heard it both ways.",
    "With {x} one talked of the past and with {y} of other people; with either it took all evening.",
    "On the subscription list {x} stood first and {y} last, and each thought it the better place.",
)  # fmt: skip
"""Of a pair, when they first appear."""
