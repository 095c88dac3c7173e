"""By-names that may trade places, in classes of like length, as `names.VALUES`; by split."""

from memformer.plotbench.story import Split

BY_NAMES: dict[Split, tuple[str, ...]] = {
    "train": (
        "Pike Swan Crow", "Swift Saint Raven Eagle", "Falcon Turkey Salmon Beaver Rabbit",
        "Magpie Badger Parrot", "Admiral Captain Colonel", "Buzzard Lobster Pelican",
    ),
    "dev": (
        "Hawk Bear Wolf Seal", "Crane Tiger Judge Pilot",
        "Bishop Knight Prince Butler Wizard", "Walrus Kitten Jester", "General Marshal Emperor",
        "Vulture Dowager",
    ),
    "test": (
        "Lamb Bull Duke", "Giant Witch Queen Ghost Angel Devil", "Sultan Spider Dragon Monkey",
        "Squire Hornet", "Scholar Senator Prophet Penguin", "Hamster Rooster",
        "Cardinal Governor Mandarin",
    ),
}  # fmt: skip
