"""From texts to rates: pooled ratios over texts, resampled by stories.

A rate is a sum over texts by another sum (contradictions by words), never a mean of texts' own
ratios: a text that says little must not weigh as much as one that says much.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from memformer.plotbench.generated.grammar import DEEDS, extract
from memformer.plotbench.generated.guards import Guards, guards_of
from memformer.plotbench.generated.judge import Judged, judge
from memformer.plotbench.generated.known import Known, draft_of, known_at
from memformer.plotbench.generated.texts import STEM, Written
from memformer.plotbench.statistics import Estimate, interval, mean, of_bounded, story_sums
from memformer.plotbench.story import Bench, Story
from memformer.plotbench.story_words import words_of

N_DECILE = 10
LEAST_EVENTS = 20
"""Events of a decile, on both sides, below which their kinds are not compared."""
_THE_END = re.compile(r"^\W*(?:the end|finis|fin)\W*$", re.IGNORECASE | re.MULTILINE)


class Tally(NamedTuple):
    """One text, judged and counted."""

    seed: int
    n_words: int
    judged: tuple[Judged, ...]
    n_main: int
    """Living people of plot and filler who were named before."""
    n_main_named: int
    """Of these, who are named or meant in the text."""
    n_threads: int
    """Promises and debts open where the text begins, or opened in it."""
    n_open: int
    """Of these, open where it ends."""
    n_before: int
    """Promises and debts open where the text begins."""
    n_resolved: int
    """Of these, closed in it."""
    n_spurious: int
    """Of these, which the story never closes."""
    n_planned_open: int
    """Of the same as `n_before`, which the story itself leaves open as far as the text goes."""
    u_end: float
    """Fraction of the story at which the text ends, or says that it does."""
    events: tuple[tuple[int, str], ...]
    """Decile of the story and kind of each judged assertion."""
    guards: Guards

    @property
    def facts(self) -> list[Judged]:
        """Judged assertions of what lasts: all but who speaks, acts, or is where."""
        return [
            each for each in self.judged
            if each.assertion.kind not in DEEDS and each.verdict != "unjudged"
        ]  # fmt: skip


def tally(written: Written, story: Story, known: Known) -> Tally:
    """Judge a text in its world.

    Raises:
        ValueError: it was written to another story.
    """
    if written.story_sha256 != story.sha256:
        raise ValueError(
            f"text of {written.story_id} goes on with a story of SHA-256 "
            f"{written.story_sha256[:12]}, the data have {story.sha256[:12]}: write it anew"
        )
    cut, assertions = extract(written.text, known.lexicon)
    state = known.state
    before = {id for id, thread in state.threads.items() if thread.status == "open"}
    judged = judge(state, assertions)
    after = {id for id, thread in state.threads.items() if thread.status == "open"}
    named = {id for sentence in cut for id in sentence.people}
    length = len(story.text)
    ending = _THE_END.search(written.text)
    n_chars = len(STEM) + (ending.end() if ending else len(written.text))
    u_end = (written.cut + n_chars) / length
    closes = {thread.id: thread.close_u for thread in known.plan if thread.status == "closed"}
    resolved = before - after
    return Tally(
        seed=written.seed,
        n_words=len(words_of(written.text)),
        judged=tuple(judged),
        n_main=len(known.main),
        n_main_named=sum(each.id in named for each in known.main),
        n_threads=len(before | after),
        n_open=len(after),
        n_before=len(before),
        n_resolved=len(resolved),
        n_spurious=sum(closes.get(id) is None for id in resolved),
        n_planned_open=sum((closes.get(id) or math.inf) > u_end for id in before),
        u_end=u_end,
        events=tuple(
            (
                min(N_DECILE - 1, N_DECILE * (written.cut + each.assertion.span[0]) // length),
                each.assertion.kind,
            )
            for each in judged
            if each.verdict != "unjudged"
        ),
        guards=guards_of(written.text, story.text[: written.cut], cut, assertions),
    )


def tallies(bench: Bench, texts: Iterable[Written]) -> dict[str, list[Tally]]:
    """Judge all texts, by what tables call their run.

    Raises:
        ValueError: texts of other data, or as `tally` and `draft_of`.
    """
    stories = {story.story_id: story for story in bench.stories}
    drafts = {}
    found: dict[str, list[Tally]] = {}
    for each in texts:
        if each.bench_sha256 != bench.manifest["content_sha256"]:
            raise ValueError(
                f"text of {each.story_id} goes on with data {each.bench_sha256[:12]}, these are "
                f"{str(bench.manifest['content_sha256'])[:12]}: judge it on its own data"
            )
        story = stories[each.story_id]
        if story.base not in drafts:
            drafts[story.base] = draft_of(story, bench.manifest)
        known = known_at(drafts[story.base], "AB".index(story.twin), each.cut)
        told = "" if each.fraction == "true" else f", fraction {each.fraction}"
        label = f"{each.model} {each.condition}{told}"
        found.setdefault(label, []).append(tally(each, story, known))
    return found


@dataclass(frozen=True)
class Rates:
    """All numbers of one run's texts.

    Args:
        tallies: of its texts.
    """

    tallies: Sequence[Tally]

    def _ratio(
        self, top: Sequence[float], bottom: Sequence[float], *, is_share: bool = True
    ) -> Estimate:
        seeds = [each.seed for each in self.tallies]
        if not sum(bottom):
            return Estimate(math.nan, math.nan, math.nan, len(set(seeds)))
        found = interval(story_sums([top, bottom], seeds), mean)
        if is_share:
            return of_bounded(found)
        # resamples of nothing are all alike: no interval, rather than one of no width
        return found._replace(low=math.nan, high=math.nan) if found.low == found.high else found

    def _share_of(self, judged: Sequence[Sequence[Judged]], verdict: str) -> Estimate:
        return self._ratio(
            [sum(e.verdict == verdict for e in each) for each in judged],
            [len(each) for each in judged],
        )

    def _guard(self, top: str, bottom: str) -> Estimate:
        def of(name: str) -> list[float]:
            return [getattr(each.guards, name) for each in self.tallies]

        return self._ratio(of(top), of(bottom))

    @cached_property
    def n_words(self) -> int:
        """Of all texts."""
        return sum(each.n_words for each in self.tallies)

    @cached_property
    def n_checkable(self) -> int:
        """Facts asserted of which the world knew."""
        return sum(e.is_checkable for each in self.tallies for e in each.facts)

    @cached_property
    def contradictions(self) -> Estimate:
        """Of any kind, per 1,000 words: 0 for silence."""
        return self._ratio(
            [1000 * sum(e.verdict == "contradicted" for e in each.judged) for each in self.tallies],
            [each.n_words for each in self.tallies],
            is_share=False,
        )

    @cached_property
    def consistency(self) -> Estimate:
        """1 - contradicted / checkable, of facts."""
        checkable = [[e for e in each.facts if e.is_checkable] for each in self.tallies]
        return self._share_of(checkable, "consistent")

    @cached_property
    def density(self) -> Estimate:
        """Facts asserted per 100 words, known or new."""
        return self._ratio(
            [100 * len(each.facts) for each in self.tallies],
            [each.n_words for each in self.tallies],
            is_share=False,
        )

    @cached_property
    def entity_recall(self) -> Estimate:
        """Share of living people of plot and filler that a text speaks of."""
        return self._ratio(
            [each.n_main_named for each in self.tallies], [each.n_main for each in self.tallies]
        )

    def _of_kinds(self, *kinds: str, checkable: bool) -> list[list[Judged]]:
        return [
            [
                e for e in each.judged
                if e.assertion.kind in kinds and (e.is_checkable or not checkable)
                and e.verdict != "unjudged"
            ]
            for each in self.tallies
        ]  # fmt: skip

    @cached_property
    def dead_speak(self) -> Estimate:
        """Of all that known people say, what the dead say; memories, dreams, letters, ghosts left
        out."""
        return self._share_of(self._of_kinds("speak", checkable=False), "contradicted")

    @cached_property
    def n_excluded(self) -> int:
        """Speeches of the dead that were left out."""
        return sum(
            e.is_of_dead and e.verdict == "unjudged" and e.assertion.kind == "speak"
            for each in self.tallies
            for e in each.judged
        )

    @cached_property
    def knowledge(self) -> Estimate:
        """Of secrets known or told, by who cannot know them."""
        return self._share_of(self._of_kinds("knows", "tell", checkable=True), "contradicted")

    @cached_property
    def teleports(self) -> Estimate:
        """Of places where somebody is who has been placed in this scene, those that differ."""
        return self._share_of(self._of_kinds("at", checkable=True), "contradicted")

    @cached_property
    def unresolved(self) -> Estimate:
        """Open at the end, of the promises and debts open at the beginning or opened since."""
        return self._ratio(
            [each.n_open for each in self.tallies], [each.n_threads for each in self.tallies]
        )

    @cached_property
    def planned_open(self) -> Estimate:
        """What the stories themselves leave open of those open at the beginning, as far as the
        texts go."""
        n_before = [each.n_before for each in self.tallies]
        return self._ratio([each.n_planned_open for each in self.tallies], n_before)

    @cached_property
    def spurious(self) -> Estimate:
        """Closed by a text, and never by the story; of all that texts close."""
        return self._ratio(
            [each.n_spurious for each in self.tallies], [each.n_resolved for each in self.tallies]
        )

    @cached_property
    def end_gap(self) -> Estimate:
        """Mean |u_end - 1|."""
        gaps = [abs(each.u_end - 1) for each in self.tallies]
        return self._ratio(gaps, [1.0] * len(gaps), is_share=False)

    @cached_property
    def distinct(self) -> Estimate:
        """Different pairs of words by all, of each text."""
        return self._guard("n_distinct_bigrams", "n_bigrams")

    @cached_property
    def repetition(self) -> Estimate:
        """Runs of four words that stood before in the same text."""
        return self._guard("n_repeated_fourgrams", "n_fourgrams")

    @cached_property
    def unparsed(self) -> Estimate:
        """Of sentences with a known person, those that gave nothing."""
        return self._guard("n_unparsed", "n_named")

    @cached_property
    def longest_copy(self) -> int:
        """Most words in a row that any text took from its story."""
        return max(each.guards.longest_copy for each in self.tallies)

    @property
    def has_guards(self) -> bool:
        """Whether all guards have a value; without them no rate means anything."""
        guards = (self.distinct, self.repetition, self.unparsed)
        return not any(math.isnan(each.value) for each in guards)

    def divergence(self, other: "Rates") -> dict[int, float]:
        """By decile of the story: how far kinds of events differ, as `divergence`."""
        return divergence(_counts(self.tallies), _counts(other.tallies))


def divergence(a: Mapping[int, Counter[str]], b: Mapping[int, Counter[str]]) -> dict[int, float]:
    """Jensen-Shannon divergence in bits, 0 to 1, by decile with enough events in both.

    Biased upwards by small counts: compare with that of one half of the simulator's stories
    against the other.
    """
    found = {}
    for decile in sorted(a.keys() & b.keys()):
        one, other = a[decile], b[decile]
        if min(one.total(), other.total()) < LEAST_EVENTS:
            continue
        kinds = sorted(one.keys() | other.keys())
        p, q = (np.array([each[k] / each.total() for k in kinds]) for each in (one, other))
        m = (p + q) / 2
        found[decile] = sum(
            float(np.sum(x[x > 0] * np.log2(x[x > 0] / m[x > 0]))) / 2 for x in (p, q)
        )
    return found


def _counts(tallies: Sequence[Tally]) -> dict[int, Counter[str]]:
    found: dict[int, Counter[str]] = {}
    for each in tallies:
        for decile, kind in each.events:
            found.setdefault(decile, Counter())[kind] += 1
    return found
