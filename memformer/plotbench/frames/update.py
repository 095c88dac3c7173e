# ruff: noqa: E501  (a sentence stands on one line)
"""What changes: hair is dyed, a house is left, a trade taken up. Name and value in one sentence."""

BEFORE: dict[str, tuple[str, ...]] = {
    "hair": (
        "{x} came down with {v} hair loose over the collar and [no shoes|an opinion about breakfast].",
        "One could find {x} in any crowd by the {v} hair.",
        "\"That {v} hair,\" said {f} of {x}, \"never came out of a bottle.\"",
        "{f} picked a long {v} hair off the bread and looked at {x}.",
        "The wind had got into {x}'s {v} hair and was making the most of it.",
        "{x} sat still under the scissors while the {v} hair fell [on newspaper|all round].",
    ),
    "home": (
        "In those days {x} lived at the {v} and complained of the damp.",
        "{f} carried the parcel out to the {v}, where {x} had two rooms [and a stove|under the roof].",
        "There was a light at the {v}; {x} lived there and kept late hours.",
        "\"You'll find {x} at the {v},\" {f} said. \"Mind the dog.\"",
        "{x} had papered the walls at the {v} and meant to die there.",
        "The bill went to {x} at the {v}, that being the address.",
    ),
    "trade": (
        "That spring {x} was still earning a living as a {v}.",
        "{f} called {x} the only honest {v} in the county.",
        "The boy was sent to {x} to be made into a {v}, like {x.him}.",
        "{x} had the cough of a {v}, and the temper.",
        "\"Once a {v}, always one,\" said {x}, and seemed to believe it.",
        "Over {x}'s door there hung what hangs over the door of any {v}.",
    ),
}  # fmt: skip
CHANGES: dict[str, tuple[str, ...]] = {
    "hair": (
        "{x} shut the door on everyone, and when it opened the hair was {v}.",
        "There was dye on the towels: {x} had gone {v}, eyebrows and all.",
        "\"Good God,\" said {f}. From one day to the next {x}'s hair was {v}.",
        "It was done by the hairdresser in the arcade, and {x} walked out of it {v} to the roots.",
        "{f} passed {x} twice in the street before taking in that the hair had been dyed {v}.",
        "For reasons of {x.his} own {x} had dyed the lot {v}.",
        "A bottle, a basin, an hour at the window to dry: now {x} had {v} hair.",
        "They were used to it by Sunday, {x}'s new {v} hair, [though the dog was not|more or less].",
        "\"It washes out,\" {x} lied, patting hair that was now {v}.",
        "{x} had wanted to be somebody else, and began by turning {x.his} hair {v}.",
        "Under the hat, when {x} took it off at last, everything was {v} now.",
        "The theatre made {x} dye it, and {v} it remained [when the play closed|for good].",
        "{f} held the mirror. \"Well, that's {v},\" said {x}, and began to laugh.",
        "With the new name on the ticket went new hair: {x} had it made {v}.",
    ),
    "home": (
        "On quarter-day a cart stood at the door, and by night {x} had moved to the {v}.",
        "{x} gave up the lease and went to live at the {v}.",
        "\"I've had enough of stairs,\" said {x}, who was now at the {v}.",
        "It took {f} and two nephews to get {x}'s bed into the {v}, the new address.",
        "The damp won. {x} packed, and the {v} had a new tenant.",
        "{f} went to the old place and was told that {x} lived at the {v} now.",
        "From the first of the month letters for {x} were to go to the {v}.",
        "The {v} had stood empty until {x} moved in with [a cat|eleven boxes].",
        "{x} had quarrelled with the landlord and carried everything over to the {v}, for good.",
        "Smoke rose from the {v} again, since {x} had moved in there.",
        "It was winter, and the {v} had no stove, but {x} had moved in already.",
        "It was agreed over tea: {x} would leave the old rooms and have the {v}.",
        "{x} hung the same curtains at the {v}, where {x.he} lived from then on.",
        "They helped {x} over the wet cobbles to the {v} and [called it home|lit the first fire].",
    ),
    "trade": (
        "{x} sold the tools, bought others, and set up as a {v}.",
        "At an age when others rest {x} had become a {v}.",
        "\"I'm a {v} now,\" said {x}, [trying how it sounded|and blushed].",
        "The old trade was dead, so {x} learnt the new one and was a {v} by autumn.",
        "There was fresh paint over {x}'s door; from now on {x.he} was a {v}.",
        "{f} laughed, but from that week on {x} was a {v}.",
        "An uncle's money made {x} into a {v}, late and gladly.",
        "{x} had passed the examination and could call {x.him}self a {v}.",
        "The doctor spoke of the spine, and {x}, taking the hint, turned {v}.",
        "{x} had burnt the old apron and now went out each morning as a {v}.",
        "Nobody else would do it, and that was how {x} came to be a {v}.",
        "{f} needed a {v}, and {x}, who had just become one, needed work.",
        "By the new year {x} had left the old calling and practised as a {v}.",
        "The guild struck {x} off one list and wrote {x.him} into another, as a {v}.",
    ),
}  # fmt: skip
PROBES: dict[str, tuple[tuple[str, str], ...]] = {
    "hair": (
        ("{f} looked down from the gallery for {x}'s hair, which these days was", ", and found it."),
        ("{x} had left the comb on the sill, and the hairs in it were", "."),
        ("They made a wig for the scarecrow in mockery of {x}, and for that it had to be", "."),
    ),
    "home": (
        ("It was too late for {x} to walk back to where {x.he} lived now, the", "."),
        ("{f} took {x} home, up the wet road as far as the", " and no further."),
        ("\"Where does {x} live these days?\" asked the carrier. {f} sent him to the", "."),
    ),
    "trade": (
        ("{x} was at work when they came, as one would expect of a", "."),
        ("\"{x}? By profession?\" said {f}. \"As things are now, a", ".\""),
        ("The new card that {x} handed {f} had a name on it and, under the name, the one word", "."),
    ),
}  # fmt: skip
LICENCE = {
    "hair": "By now {x} had {v} hair.",
    "home": "By now {x} lived at the {v}.",
    "trade": "By now {x} worked as a {v}.",
}
