# ruff: noqa: E501  (a sentence stands on one line)
"""Promises that name what hurts and not what will mend it."""

from memformer.plotbench.story import Split

NEEDS: dict[str, str] = {
    "lamp": "nobody should break an ankle on the mill steps after dark again",
    "bell": "the hours should once more sound out to the far bank",
    "roof": "no basins need stand among the pupils when it rained",
    "gate": "the heifers should not wander in among the graves a second time",
    "well": "the women need no more carry pails up from the brook",
    "boat": "the island folk should come over to church quite dry",
    "oven": "there should be crusty loaves for the village again on a Sunday",
    "wall": "the sea should not get in among the onions in spring",
    "road": "the carriers should no longer sink to their axles in the winter",
    "pier": "the steam packet should put in on Tuesdays as of old",
    "sign": "strangers should find the inn by dark and ask nobody",
    "clock": "people should know when to go home without asking",
    "stove": "the old women need no shawls in the library at noon",
    "fence": "the foxes should go hungry from now onwards",
    "organ": "the hymns should have some music under them again",
    "bench": "the aged need not squat on the kerb for the omnibus",
    "drain": "the lower street should not smell in August",
}
"""By what would mend it. In a class of `NEED_CLASSES` all are equally long, and no three letters in a
row of any stand in the name of what would mend it or another."""
NEED_CLASSES: dict[Split, tuple[str, ...]] = {
    "train": ("lamp gate oven road", "clock organ"),
    "dev": ("bell well wall pier", "stove bench"),
    "test": ("roof boat sign", "fence drain"),
}
"""Of equal length, by split."""
PROMISES = (
    "{p} gave {g} a hand on it: {need}.",
    "\"You have my word,\" said {p}. It was that {need}.",
    "It was late, and {p} had been drinking, but {p.he} swore before witnesses that {need}.",
    "{p} promised the old people that {need}.",
    "{g} wept, and {p}, who could not bear it, vowed that {need}.",
    "In front of the whole vestry {p} undertook that {need}.",
    "\"By next year,\" {p} said, and they all understood: {need}.",
    "{f} held {p} to it for years, the promise that {need}.",
    "What {p} pledged, with one hand on the rail, was that {need}.",
    "There was one thing {p} owed the town, and had said so: {need}.",
    "At first {p} had laughed. Then came the promise, and in earnest, that {need}.",
    "At the graveside {p} made a vow, to the effect that {need}.",
    "{p} wrote it in the visitors' book and signed: {need}.",
    "Asked what {p.he} would do with the prize, {p} swore that {need}.",
    "Between two fits of coughing {p} gave {f} a promise, that {need}.",
    "It cost {p} nothing to say, that evening, that {need}; but {p.he} had said it on oath.",
    "{p} took it on {p.him}self, and nobody else would: {need}.",
    "\"Don't cry,\" {p} told {g}, and promised that {need}.",
    "When the others shook their heads {p} stood up and pledged that {need}.",
    "{p} had lost the bet and must now see to it that {need}.",
    "{f} read out the promise and {p} made {p.his} mark under it: {need}.",
    "Some had offered money. {p} offered more: that {need}.",
    "\"I'll answer for it,\" said {p}, meaning that {need}.",
    "{p} left a promise behind instead of rent, that {need}.",
    "On the coach {p} made {g} a solemn undertaking that {need}.",
    "{p} had never promised anything before. Now it was that {need}.",
    "They clapped when {p} vowed that {need}, and some of them remembered.",
    "{g} would not let go of the sleeve until {p} had sworn that {need}.",
    "Before the ice came, {p} said, one thing would be done: {need}.",
    "It was no empty talk; {p} set {p.his} name to it that {need}.",
    "{p} told the bishop to his face that {need}, and that {p.he} would see it done.",
    "For {g}'s sake, and against {p.his} own interest, {p} promised that {need}.",
    "\"If I live,\" said {p}, \"this I swear.\" It was that {need}.",
    "They drew lots for the burden, and it fell to {p} to make sure that {need}.",
    "{p} had dreamt of it, and promised on waking that {need}.",
    "Over the last of the cider {p} bound {p.him}self: {need}.",
    "A promise is a promise. {p}'s was that {need}.",
    "{f} took down the terms. {p} was to bring it about that {need}.",
    "There was a child at the door, and to this child {p} promised that {need}.",
    "{p} shook hands all round on it, that {need}.",
    "In exchange for {p.his} freedom {p} pledged that {need}.",
    "{p} said it loudly, so that it could not be taken back: {need}.",
)  # fmt: skip
CASUAL = (
    "{x} stood a while with folded arms, looking at the {v}.",
    "\"Mind the {v},\" said {g}. {x} minded it.",
    "{x} had put the {v} into a drawing, with a cow beside it.",
    "{x} told a long story about the {v}, and it had no point.",
    "The {v}, said {x}, had been there when {x.he} was small.",
    "{x} dreamt of the {v} and thought it meant money.",
)  # fmt: skip
PROBES = (
    ("At last {x} kept {x.his} promise and saw to the", "."),
    ("{x} had not forgotten what {x.he} had sworn. The money went into the", "."),
    ("When the work was done they thanked {x} for the", ", and there was cider."),
    ("It was {x}'s word that was made good that day: there stood the", "."),
    ("{f} took {x} by the arm to show that the vow was fulfilled. They stopped before the", "."),
    ("To be free of the promise {x} had now only to see to the", "."),
    ("\"You said you would, and you did,\" {f} told {x}. Everyone was looking at the", "."),
    ("{x} paid two masons and a smith out of {x.his} own pocket to have what {x.he} had promised, the", "."),
    ("The debt of honour was paid when {x}, with {x.his} own hands, finished the", "."),
)  # fmt: skip
LICENCE = "{x} had promised to see to the {v}."
