"""A novel in twins: A is the book, in B two values have traded places at every mention.

The published line is consistent in A and contradicts B. Who recites the book is right in A and
wrong in B: `memorisation_index`. A swap has twins of its own, in which nothing else is changed.
Values of unequal length move what follows, so these twins differ in length, each with its own
offsets and its own spans of `swaps`; outside them they are equal, in order.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from memformer.config.plotbench_novels import NovelConfig
from memformer.data.manuscripts import Manuscript
from memformer.plotbench.make import BENCH_VERSION, CANARY, content_hash
from memformer.plotbench.metrics import margin
from memformer.plotbench.novels.candidates import licence, sentence
from memformer.plotbench.novels.corpus import novels
from memformer.plotbench.novels.edited import Edit, Edited
from memformer.plotbench.novels.reading import Group, Reading, chapters_of, readings
from memformer.plotbench.novels.recipes import Recipe, Swap, check_text, recipes
from memformer.plotbench.novels.rename import fresh_names, name_edits, renamed
from memformer.plotbench.results import Result
from memformer.plotbench.statistics import Estimate, Floats, interval, story_sums
from memformer.plotbench.story import (
    Bench,
    Fact,
    Mention,
    Probe,
    Side,
    Span,
    Story,
    Support,
    Trace,
    Twin,
)

FAMILY = "attr.static"
"""Of all lines: the latest sentence with name and value answers them."""
TWINS: tuple[Twin, Twin] = ("A", "B")


def make_novels(
    config: NovelConfig,
    manuscripts: Mapping[str, Manuscript] | None = None,
    made: Sequence[Recipe] | None = None,
) -> Bench:
    """The benchmark of all recipes, in memory.

    Every group has four cells; good lines that make none are counted in the manifest under `lost`.
    Ids do not tell the renamed copy from the book, so that both can be compared group by group:
    keep their results in different folders.

    Args:
        config: which books, and how much of them.
        manuscripts: by id, without headings; fetched if not given.
        made: recipes; the packaged ones if not given.

    Raises:
        ValueError: no recipe for a book, a text that is not the recipe's, no group at all.
        FetchError: a text is out of reach.
    """
    made = recipes(config.books) if made is None else made
    manuscripts = novels([each.book for each in made]) if manuscripts is None else manuscripts
    stories: list[Story] = []
    traces: list[Trace] = []
    probes: list[Probe] = []
    lost: dict[str, int] = {"out_of_context": 0, "unpaired": 0}
    for recipe in made:
        if recipe.book not in manuscripts:
            raise ValueError(f"manuscripts must hold {recipe.book!r}, got {sorted(manuscripts)}")
        manuscript = manuscripts[recipe.book]
        check_text(recipe, manuscript)
        fresh = fresh_names(recipe, manuscript.text) if config.renamed else {}
        names = name_edits(manuscript.text, fresh)
        for swap in recipe.swaps:
            found = readings(manuscript.text, recipe.book, swap, config.context_chars)
            lost["out_of_context"] += found.n_out_of_context
            lost["unpaired"] += found.n_unpaired
            for twin in TWINS if found.readings else ():
                told = _Twin(recipe, manuscript, swap, twin, fresh, names)
                for reading in found.readings:
                    story, trace, asked = told.read(reading)
                    stories.append(story)
                    traces.append(trace)
                    probes += asked
    if not probes:
        raise ValueError(
            "no group is left: let context_chars be longer, or name other books, got "
            f"{config.context_chars} and {config.books}"
        )
    return Bench(
        stories=tuple(stories),
        traces=tuple(traces),
        probes=tuple(probes),
        manifest={
            "bench_version": BENCH_VERSION,
            "track": "novel",
            "books": {recipe.book: recipe.sha256 for recipe in made},
            "context_chars": config.context_chars,
            "renamed": config.renamed,
            "lost": lost,
            "canary": CANARY,
            "content_sha256": content_hash(tuple(stories), tuple(probes)),
        },
    )


def swap_edits(text: str, swap: Swap, twin: Twin, fresh: Mapping[str, str]) -> list[Edit]:
    """An edit for each mention of either value, in the form that stands there; in A the same word.

    The article before a mention goes along where the two values need different ones.
    """
    found = []
    for i, held in enumerate(swap.mentions):
        for at in held:
            form = _form(text, swap, i, at)
            old, other = form[i], form[1 - i]
            new, rival = (
                renamed(word, dict(fresh))
                for word in ((old, other) if twin == "A" else (other, old))
            )
            start = at
            article = re.search(r"\b([Aa])n? $", text[max(0, at - 4) : at])
            if article and _is_vowel(new) != _is_vowel(rival):
                start -= len(article[0])
                new = f"{article[1]}{'n' if _is_vowel(new) else ''} {new}"
            found.append(Edit(start, at + len(old), new, True))
    return sorted(found)


def memorisation_index(rows: Sequence[Result]) -> Estimate:
    """Acc(A) - Acc(B) over items, a tie counting half, with an interval over books.

    0 for who reads what the book says, 1 for who recites the published one.

    Raises:
        ValueError: no rows of one of the twins.
    """
    for twin in TWINS:
        if not any(row.cell[0] == twin for row in rows):
            raise ValueError(f"rows must hold some of twin {twin}, got none")
    right = [(margin(row) > 0) + (margin(row) == 0) / 2 for row in rows]
    is_a = [float(row.cell[0] == "A") for row in rows]
    columns = (
        [r * a for r, a in zip(right, is_a, strict=True)], is_a,
        [r * (1 - a) for r, a in zip(right, is_a, strict=True)], [1 - a for a in is_a],
    )  # fmt: skip

    def index(sums: Floats) -> Floats:
        right_a, n_a, right_b, n_b = (sums[..., i] for i in range(4))
        return right_a / n_a - right_b / n_b  # every book has both twins

    return interval(story_sums(columns, [row.seed for row in rows]), index)


def _form(text: str, swap: Swap, i: int, at: int) -> tuple[str, str]:
    """The longest form of a side's value that stands at an offset."""
    fits = [form for form in swap.forms if text.startswith(form[i], at)]
    if not fits:
        raise ValueError(
            f"swap {swap.id}: {text[at : at + 12]!r} at {at} is no form of {swap.forms[0][i]!r}: "
            "the recipe's offsets belong to another text"
        )
    return max(fits, key=lambda form: len(form[i]))


def _is_vowel(word: str) -> bool:
    return word[0].lower() in "aeiou"


class _Twin:
    """One twin of one swap."""

    def __init__(
        self,
        recipe: Recipe,
        manuscript: Manuscript,
        swap: Swap,
        twin: Twin,
        fresh: Mapping[str, str],
        names: Sequence[Edit],
    ) -> None:
        self.recipe, self.manuscript, self.swap, self.twin = recipe, manuscript, swap, twin
        self.text, self.fresh = manuscript.text, dict(fresh)
        swapped = swap_edits(self.text, swap, twin, fresh)
        starts = [edit.start for edit in swapped]
        self.edits = swapped + [edit for edit in names if not _overlaps(edit, swapped, starts)]
        self.options = tuple(f" {renamed(word, self.fresh)}" for word in swap.forms[0])

    def read(self, reading: Reading) -> tuple[Story, Trace, list[Probe]]:
        """One part of the book, and what is asked in it."""
        version = Edited(self.text, self.edits, reading.begin, reading.end)
        other = "B" if self.twin == "A" else "A"
        story = Story(
            story_id=f"{reading.base}.{self.twin}",
            twin_of=f"{reading.base}.{other}",
            seed=self.recipe.number,
            split="test",
            track="novel",
            filler=self.recipe.source,
            bucket=reading.bucket,
            text=version.text,
            swaps=version.swaps,
            chapters=tuple(chapters_of(self.manuscript, version, reading.begin, reading.end)),
        )
        probes = [self._probe(story, version, reading, *each) for each in reading.asked]
        return story, self._trace(story, version, reading), probes

    def _probe(
        self, story: Story, version: Edited, reading: Reading, group: Group, side: Side
    ) -> Probe:
        line = group.x if side == "x" else group.y
        insert, value = version.at(line.insert), version.at(line.value)
        stop = version.at(line.value + len(self.swap.value(side)))
        gold = int((self.twin == "B") != (side == "y"))
        if f" {version.text[value:stop]}" != self.options[gold]:
            raise ValueError(
                f"{group.id}: the line has {version.text[value:stop]!r} where the recipe wants "
                f"{self.options[gold].strip()!r}"
            )
        own = self._licensed(side, reading.begin, line.insert)
        rival = self._licensed("y" if side == "x" else "x", reading.begin, line.insert)
        latest = self._stop(side, self._mentions(side, line.insert)[-1])
        n_between = sum(at > own[-1] for at in self._mentions(_other(side), line.insert))
        near = version.cut(self._sentence(own[-1], reading.begin))
        return Probe(
            probe_id=f"{group.id}.{self.twin}.{side}",
            group_id=group.id,
            story_id=story.story_id,
            cell=(self.twin, side),
            family=FAMILY,
            insert_at_char=insert,
            stem=version.text[insert:value].removesuffix(" "),
            options=(self.options[0], self.options[1]),
            suffix=version.text[stop : version.at(line.stop)],
            gold=gold,
            support=(
                *(
                    self._support(side, at, version, reading.begin)
                    for at in sorted({own[0], own[-1]})
                ),
                *(
                    self._support(_other(side), at, version, reading.begin, is_gold=False)
                    for at in rival[-1:]
                ),
            ),
            d_near_chars=insert - version.at(latest),
            d_first_chars=insert - version.at(self._stop(side, own[0])),
            d_swap_chars=insert - max(stop for _, stop in version.swaps if stop <= insert),
            n_mentions=len(own),
            n_distractors=n_between,
            licence=f" {near}",
        )

    def _trace(self, story: Story, version: Edited, reading: Reading) -> Trace:
        facts, mentions = [], []
        for i, side in enumerate(_SIDES):
            person = self.swap.person(side)
            value = self.options[i if self.twin == "A" else 1 - i].strip()
            id = f"{self.swap.id}.{side}"
            facts.append(Fact(id=id, s=person.id, p=self.swap.attribute, o=value, t=(0, None)))
            for n, at in enumerate(self._licensed(side, reading.begin, reading.end)):
                span = version.at(at), version.at(self._stop(side, at))
                mentions.append(Mention(fact=id, span=span, role="restate" if n else "establish"))
        return Trace(story_id=story.story_id, facts=tuple(facts), mentions=tuple(mentions))

    def _licensed(self, side: Side, begin: int, before: int) -> list[int]:
        return [at for at in licence(self.text, self.swap, side, before) if at >= begin]

    def _mentions(self, side: Side, before: int) -> Sequence[int]:
        held = self.swap.mentions[_SIDES.index(side)]
        return held[: bisect_left(held, before)]

    def _stop(self, side: Side, at: int) -> int:
        i = _SIDES.index(side)
        return at + len(_form(self.text, self.swap, i, at)[i])

    def _sentence(self, at: int, begin: int) -> Span:
        start, stop = sentence(self.text, at)
        return max(start, begin), stop

    def _support(
        self, side: Side, at: int, version: Edited, begin: int, *, is_gold: bool = True
    ) -> Support:
        start, stop = self._sentence(at, begin)
        return Support(
            fact=f"{self.swap.id}.{side}",
            span=(version.at(start), version.at(stop)),
            of="gold" if is_gold else "other",
        )


_SIDES: tuple[Side, Side] = ("x", "y")


def _other(side: Side) -> Side:
    return "y" if side == "x" else "x"


def _overlaps(edit: Edit, swapped: Sequence[Edit], starts: Sequence[int]) -> bool:
    i = bisect_left(starts, edit.stop)
    return i > 0 and swapped[i - 1].stop > edit.start
