# ruff: noqa: E501  (a sentence stands on one line)
"""Fears and lacks that are never named, only shown."""

SHOWN: dict[str, dict[str, tuple[str, ...]]] = {
    "fear": {
        "dogs": (
            "When something barked behind the gate {p} remembered an errand in the other direction.",
            "{p} kept a biscuit in every pocket, to throw, and crossed the road at the sound of a chain.",
            "The puppy only wanted to play. {p} had got up on the table and would not come down.",
        ),
        "cats": (
            "There was a mewing under the porch, and {p} went in by the window.",
            "{p} asked, before sitting down, whether anything in the house purred.",
            "A tortoiseshell rubbed against {p}'s leg, which shook from the hip down.",
        ),
        "bees": (
            "{p} would not walk by the hives, or through clover, or anywhere that hummed.",
            "{p} left the honey where it was and the garden at a run.",
            "At the first buzz {p} pulled the sheet over {p.his} head, picnic or no picnic.",
        ),
        "rats": (
            "Something with a tail ran along the skirting, and {p} was on the chair, then on the landing.",
            "{p} stuffed the hole with broken glass and still lay listening for small feet in the wall.",
            "{p} could not go down to the granary, for what scuttled there.",
        ),
        "fire": (
            "{p} slept with two buckets by the bed and flinched when a match was struck.",
            "{p} took the seat furthest from the hearth, even in January, and watched it.",
            "They lit the bonfire and looked round for {p}, who was already halfway home.",
        ),
        "birds": (
            "A sparrow got into the room, and {p} got out of it.",
            "{p} carried an umbrella against the gulls, and kept it up under a clear sky.",
            "At the flutter of wings {p} covered {p.his} face with both arms.",
        ),
        "goats": (
            "{p} took the long road round because of what was tethered on the green, with its beard and its yellow stare.",
            "The nanny and her kids came up to be scratched; {p} was over the wall before they arrived.",
            "{p} would eat no cheese from that shed, nor go within reach of its horns.",
        ),
        "boats": (
            "{p} had never once let {p.him}self be ferried, and went eleven miles round by the bridge.",
            "When the oars were got out {p} said that {p.he} would wave from the bank.",
            "Anything with a keel under it made {p} sweat, even tied up.",
        ),
        "horses": (
            "{p} waited on the bank until the carriage had gone by, hooves and all, and then a little longer.",
            "Somebody put a bridle into {p}'s hand. It fell as if it were hot.",
            "{p} went everywhere on foot and crossed over at the smithy, because of what stood tied there.",
        ),
        "storms": (
            "The sky went yellow, and {p} was found in the cupboard under the stairs.",
            "{p} tapped the glass ten times a day, and when it fell {p.he} fell silent too.",
            "With the first gust {p} began to count under {p.his} breath and hold on to things.",
        ),
        "crowds": (
            "{p} went to market at six, when there was nobody there.",
            "The hall filled, and {p} began looking for the door, and then for the air.",
            "On the day of the procession {p} bolted the house and sat at the back of it.",
        ),
        "heights": (
            "{p} got as far as the third rung and had to be talked down.",
            "From the tower you could see three counties. {p} saw the floor between {p.his} shoes.",
            "{p} crossed the footbridge on hands and knees, looking straight ahead.",
        ),
        "thunder": (
            "At the first rumble {p} had both hands over {p.his} ears.",
            "{p} counted from the flash, lips moving, and got under the table at three.",
            "Far off the sky growled, and {p} dropped the tray.",
        ),
    },
    "cannot": {
        "read": (
            "{p} held the notice at arm's length, then close, and said that somebody had walked off with {p.his} spectacles.",
            "The letter had come on Monday. {p} was still carrying it about for someone to say it aloud.",
            "{p} signed with a cross and asked what it was that {p.he} had signed.",
        ),
        "swim": (
            "{p} sat in the very middle of the boat, with a hand on either gunwale, and measured the distance to the bank.",
            "The others splashed about off the rocks. {p} paddled to the ankle and guarded the clothes.",
            "When {p} went over the side they threw the rope at once, knowing how it would be.",
        ),
        "sing": (
            "In the hymns {p} moved {p.his} lips and let the neighbours make the noise.",
            "The choirmaster heard {p} through one verse and gave {p.him} the plate to carry.",
            "{p} tried a lullaby; the child, who had been quiet, began to scream.",
        ),
        "ride": (
            "{p} walked the nine miles, leading the mare, and said that she was tired.",
            "They put {p} up in the saddle, where {p.he} stayed for as long as it takes to say so.",
            "{p} asked whether there was not a cart going, since the pony looked so very tall.",
        ),
        "dance": (
            "At the first bar {p} discovered a pain in the knee.",
            "{p} went round the floor once, on other people's feet, and was asked to mind the coats.",
            "{p} hid behind the punch whenever the fiddles struck up.",
        ),
        "write": (
            "{p} dictated it, to the last comma, and would not take the pen.",
            "{p} had a great deal to tell and paid the schoolboy a penny a page.",
            "Handed the book to sign, {p} looked for {p.his} gloves, and then for the door.",
        ),
    },
}  # fmt: skip
"""By attribute and value; one sentence for each split: train, dev, test."""
CASUAL: dict[str, tuple[str, ...]] = {
    "fear": (
        "{x} was humming the tune about {v}.",
        "\"{x},\" said {g}, \"spell me {v}.\"",
        "{x} had read something about {v} in the almanac.",
        "{x} yawned through a sermon on {v}.",
        "{x} was sewing a picture of {v} for the bazaar.",
        "{g} told {x} a riddle with {v} in it.",
    ),
    "cannot": (
        "{x} held that to {v} was a gift and to teach it a punishment.",
        "\"Some {v}, some pay,\" said {x}, quoting somebody.",
        "{x} asked {g} where one went to {v} in that town.",
        "{x} had a cousin who could {v} for hours.",
        "{g} told {x} that to {v} was no sin.",
        "\"Why {v} at all?\" said {x}, who was in one of {x.his} moods.",
    ),
}  # fmt: skip
PROBES = {
    "fear": (
        ("Of all things in the world {x} was most afraid of", "."),
        ("\"{x}? Brave enough,\" said {f}. \"Except when it comes to", ".\""),
        ("There was one thing {f} must not ask {x} to face, and it was", "."),
        ("{x} woke from the old nightmare, in which as always there were only", "."),
        ("{f} knew by now what frightened {x}:", "."),
        ("If {x} ran, {f} thought, it could only be because of", "."),
    ),
    "cannot": (
        ("It was no secret any longer that {x} could not", "."),
        ("At last {f} offered to teach {x} how to", "."),
        ("\"I never learnt,\" said {x}. {f} had long guessed that {x.he} could not", "."),
        ("Everything would have been simpler if {x} had been able to", "."),
        ("{x} had got so far in life without being able to", "."),
        ("What {x} envied other people was that they could", "."),
    ),
}  # fmt: skip
LICENCE = {"fear": "{x} was afraid of {v}.", "cannot": "{x} could not {v}."}
