"""A small novel written for the tests, and its recipe."""

from dataclasses import replace

from memformer.data.cleaning import Chapter
from memformer.data.manuscripts import Manuscript
from memformer.plotbench.novels.candidates import mentions_of, raw_lines
from memformer.plotbench.novels.recipes import Person, Recipe, Swap

FILLER = " ".join(f"The rain of day {i} fell on the quiet lane and nobody came." for i in range(12))
CHAPTERS = [
    "Mr. Orme lived at Ashby with two dogs. He was seldom from home.\n\n"
    "Mrs. Vane had an old house at Wold, and an old carriage.",
    f"{FILLER}\n\nA letter came for Mr. Orme at Ashby, and he read it twice.\n\n"
    f"{FILLER}\n\nAn Ashby man drove by.",
    f"{FILLER}\n\nOn the Monday Mrs. Vane gave a dinner at Wold, and was content.\n\n{FILLER}",
    f"{FILLER}\n\nThe dogs of Mr. Orme barked all night at Ashby; and then they slept.\n\n{FILLER}",
    f"{FILLER}\n\nNo guest was so welcome to Mrs. Vane as one who praised Wold, she said.",
]


def manuscript(chapters=CHAPTERS, id="made", author="A. Test"):
    starts, at = [], 0
    for chapter in chapters:
        starts.append(at)
        at += len(chapter) + 2
    return Manuscript(
        id=id, author=author, title="Made", text="\n\n".join(chapters), source="test",
        raw_hash="0",
        chapters=tuple(Chapter(start, f"Chapter {i}") for i, start in enumerate(starts, 1)),
    )  # fmt: skip


NOVEL = manuscript()


def swap(verdicts=None, forms=(("Ashby", "Wold"),)):
    mentions = tuple(mentions_of(NOVEL.text, [form[i] for form in forms]) for i in (0, 1))
    bare = Swap(
        id="home", attribute="place", forms=forms, x=Person(id="orme", aliases=("Orme",)),
        y=Person(id="vane", aliases=("Vane",)), mentions=mentions, lines=(),
    )  # fmt: skip
    lines = [line for side in ("x", "y") for line in raw_lines(NOVEL.text, bare, side)]
    told = verdicts or ["good"] * len(lines)
    lines = [replace(line, verdict=v) for line, v in zip(lines, told, strict=True)]
    return replace(bare, lines=tuple(lines))


def recipe(**changes):
    values = dict(
        book="made", number=1, source="classics", cleaning=1, sha256=NOVEL.hash, read_by="a test",
        swaps=(swap(),), names=(("Orme", "s"), ("Vane", "s"), ("Ashby", "p"), ("Wold", "p")),
    )  # fmt: skip
    return Recipe(**{**values, **changes})
