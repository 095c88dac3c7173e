"""How much of what prose says the grammar finds, and how often the judge is right about it.

Three sources: the simulator's own prose, whose events are known; the same with errors put in; and
sentences of a model that somebody has read and labelled.
"""

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from memformer.data.records import from_record
from memformer.plotbench.frames.state import STATE
from memformer.plotbench.generated.grammar import DEEDS, Assertion, extract
from memformer.plotbench.generated.judge import judge
from memformer.plotbench.generated.known import TRAITS, known_at
from memformer.plotbench.generated.sentences import Lexicon
from memformer.plotbench.names import VALUES, of_split, person
from memformer.plotbench.probes import probes_of
from memformer.plotbench.prose import cast_slots, person_slots, render
from memformer.plotbench.statistics import Estimate, interval, mean, of_bounded, story_sums
from memformer.plotbench.story import FAMILIES, Span, Split
from memformer.plotbench.twins import Draft, build, events_of
from memformer.plotbench.world import Event

States = tuple[str, str, str]
"""Predicate, subject and value, as `Assertion.states`."""
ENOUGH_RECALL = 0.6
"""Below this on free text, a rate says little: a report must say so."""
ENOUGH_FACTS = 20
"""Facts in what was read, below which recall is not known."""
_BUCKET, _LENGTH = 512, 4096
OWN = "own"
"""Kind of what a story says itself."""


class Found(NamedTuple):
    """One gold assertion or one that was extracted."""

    seed: int
    kind: str
    is_gold: bool
    is_extracted: bool


class Planted(NamedTuple):
    """One sentence of known truth that was put into a story."""

    seed: int
    kind: str
    is_wrong: bool
    is_checkable: bool
    is_flagged: bool


@dataclass(frozen=True, kw_only=True)
class ReadSentence:
    """One sentence, as somebody has understood it."""

    number: int
    """In its text, from 0 (`sentences.sentences`)."""
    text: str
    states: tuple[States, ...]
    """All that it asserts of known people and things, in kinds that the grammar knows; who speaks
    (`speak`), but not who acts or where."""


@dataclass(frozen=True, kw_only=True)
class ReadText:
    """A text of a model of which sentences have been read, with whom it may speak of."""

    id: str
    seed: int
    """Of the world."""
    text: str
    people: tuple[tuple[str, Literal["f", "m"]], ...]
    """Names and genders."""
    aliases: tuple[tuple[str, str], ...]
    """By-names and ids."""
    sentences: tuple[ReadSentence, ...]

    @property
    def lexicon(self) -> Lexicon:
        """Its people."""
        return Lexicon(people=tuple(person(*each) for each in self.people), aliases=self.aliases)


def load_read(path: Path) -> list[ReadText]:
    """Texts with what somebody has read in them, of a file `{"texts": [...]}`.

    Raises:
        ValueError: it is no such file; the message names the text and the field.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))["texts"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"labels {path} must be JSON with a list `texts`: {error}") from error
    found = []
    for i, each in enumerate(told):
        try:
            found.append(from_record(ReadText, each))
        except ValueError as error:
            raise ValueError(f"labels {path}, text {i}: {error}") from None
    return found


class Reach(NamedTuple):
    """Precision and recall of the grammar on some prose."""

    precision: Estimate
    recall: Estimate
    n_gold: int
    n_extracted: int
    recall_by_kind: dict[str, tuple[float, int]]
    """By predicate: recall, and how many there were."""

    @property
    def n_facts(self) -> int:
        """Gold assertions of what lasts: all but who speaks."""
        return sum(n for kind, (_, n) in self.recall_by_kind.items() if kind not in DEEDS)

    @property
    def fact_recall(self) -> float:
        """Recall of these; NaN if there are none."""
        found = sum(
            share * n for kind, (share, n) in self.recall_by_kind.items() if kind not in DEEDS
        )
        return found / self.n_facts if self.n_facts else math.nan

    @property
    def is_enough(self) -> bool:
        """Whether there are facts enough to tell, and their recall reaches `ENOUGH_RECALL`."""
        return self.n_facts >= ENOUGH_FACTS and self.fact_recall >= ENOUGH_RECALL


class Accuracy(NamedTuple):
    """Of the judge on what was put in, per assertion that it could check."""

    sensitivity: Estimate
    """Contradictions that were flagged."""
    specificity: Estimate
    """Consistent ones that were not."""
    checkable: Estimate
    """Share of what was put in from which something checkable was extracted."""
    by_kind: dict[str, tuple[float, float, float, int]]
    """By family, `retold` or `own`: these three, and how many sentences (of `own`: facts that could
    be checked)."""


def corrected(rate: float, sensitivity: float, specificity: float) -> float:
    """The true share of contradictions behind an observed one (Rogan & Gladen 1978), in [0, 1].

    Raises:
        ValueError: a judge no better than chance, sensitivity + specificity <= 1.
    """
    power = sensitivity + specificity - 1
    if not power > 0:
        raise ValueError(
            f"sensitivity + specificity must be above 1, got {sensitivity} + {specificity}: such a "
            "judge tells nothing"
        )
    return min(1.0, max(0.0, (rate + specificity - 1) / power))


def reach_of(found: Sequence[Found]) -> Reach:
    """Precision and recall, stories resampled."""
    extracted = [each for each in found if each.is_extracted]
    gold = [each for each in found if each.is_gold]
    kinds: dict[str, list[bool]] = {}
    for each in gold:
        kinds.setdefault(each.kind, []).append(each.is_extracted)
    return Reach(
        precision=_share([each.is_gold for each in extracted], [each.seed for each in extracted]),
        recall=_share([each.is_extracted for each in gold], [each.seed for each in gold]),
        n_gold=len(gold),
        n_extracted=len(extracted),
        recall_by_kind={k: (sum(v) / len(v), len(v)) for k, v in sorted(kinds.items())},
    )


def accuracy_of(planted: Sequence[Planted]) -> Accuracy:
    """Sensitivity and specificity, stories resampled."""
    kinds: dict[str, list[Planted]] = {}
    for each in planted:
        kinds.setdefault(each.kind, []).append(each)
    sensitivity, specificity, _ = _three(planted)
    return Accuracy(
        sensitivity,
        specificity,
        _three([each for each in planted if each.kind != OWN])[2],
        by_kind={
            kind: (one.value, two.value, three.value, len(rows))
            for kind, rows in sorted(kinds.items())
            for one, two, three in [_three(rows)]
        },
    )


def simulator_reach(seeds: Sequence[int], split: Split = "test") -> Reach:
    """On whole stories of the simulator, against the events they were made from.

    Precision is over what was extracted of predicates and subjects of which the story says anything
    at all; right is also what it holds true without telling it in this sentence. Kinds that the
    grammar does not know (fears, hours, stages) are left out of recall.
    """
    return reach_of([each for seed in seeds for each in _prose(seed, split)])


def simulator_accuracy(seeds: Sequence[int], split: Split = "test") -> Accuracy:
    """On probes, with the right and the wrong option; on states told again, right and wrong; and on
    the second half of each story, where every contradiction found is the judge's own error."""
    return accuracy_of([each for seed in seeds for each in _planted(seed, split)])


def labelled_reach(texts: Sequence[ReadText]) -> Reach:
    """On sentences that somebody has read.

    Raises:
        ValueError: a text has no sentence of a number.
    """
    found: list[Found] = []
    for text in texts:
        cut, assertions = extract(text.text, text.lexicon)
        for read in text.sentences:
            if not 0 <= read.number < len(cut):
                raise ValueError(
                    f"sentences: text {text.id} has {len(cut)}, got number {read.number}"
                )
            told = {a.states for a in assertions if a.sentence == read.number and is_judged(a)}
            for each in told | set(read.states):
                found.append(Found(text.seed, each[0], each in set(read.states), each in told))
    return reach_of(found)


def is_judged(a: Assertion) -> bool:
    """Whether it is of a kind that is labelled, and neither hearsay nor denied."""
    return _counts(a, "speak")


def _counts(a: Assertion, *also: str) -> bool:
    return a.voice in ("told", "spoken") and (a.kind not in DEEDS or a.kind in also)


def _prose(seed: int, split: Split) -> Iterator[Found]:
    draft = _draft(seed, split)
    known = known_at(draft, 0, len(draft.stories[0].text))
    told = [a for a in extract(draft.stories[0].text, known.lexicon)[1] if _counts(a)]
    events = [e for e in events_of(draft.groups, draft.beats, 0) if e.t > 0]
    gold = [(states, draft.spans[e.t - 1]) for e in events for states in _states(e)]
    for states, span in gold:
        found = any(a.states == states and _meet(a.span, span) for a in told)
        yield Found(seed, states[0], True, found)
    true = {states for states, _ in gold} | {
        (predicate, each.id, draft.cast.traits[each.id][slot])
        for each in draft.cast.others
        for slot, predicate in TRAITS.items()
    }
    about = {states[:2] for states in true}
    for a in told:
        is_counted = any(states == a.states and _meet(a.span, span) for states, span in gold)
        if a.states[:2] in about and not is_counted:
            yield Found(seed, a.states[0], a.states in true, True)


def _meet(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _planted(seed: int, split: Split) -> Iterator[Planted]:
    draft = _draft(seed, split)
    story = draft.stories[0]
    worlds = {at: known_at(draft, 0, at) for at in draft.inserts}

    def read(kind: str, text: str, at: int, is_wrong: bool) -> Planted:
        known = worlds[at]
        judged = judge(known.state, extract(text, known.lexicon)[1])
        told = [
            each for each in judged
            if each.is_checkable and (each.assertion.kind not in DEEDS or kind == "life")
        ]  # fmt: skip
        flagged = any(each.verdict == "contradicted" for each in told)
        return Planted(seed, kind, is_wrong, bool(told), flagged)

    for probe in probes_of(draft):
        if probe.story_id == story.story_id:
            for i, option in enumerate(probe.options):
                text = f"{probe.stem}{option}{probe.suffix}".strip()
                yield read(probe.family, text, probe.insert_at_char, i != probe.gold)
    half = len(story.text) // 2
    known = known_at(draft, 0, half)
    for each in judge(known.state, extract(story.text[half:], known.lexicon)[1]):
        if each.is_checkable and each.assertion.kind not in DEEDS:
            yield Planted(seed, OWN, False, True, each.verdict == "contradicted")
    rng = random.Random(f"{seed}.{split}.retold")
    last = draft.inserts[-1]
    state = worlds[last].state
    for someone in (p for group in draft.groups for p in group.pair):
        for about in STATE:
            true = state.get(someone.id, about)
            if true is None:
                continue
            wrong = rng.choice([v for c in VALUES[about] for v in c.split() if v != true])
            frame = rng.choice(of_split(STATE[about], split))
            for value in (true, wrong):
                slots = {
                    **cast_slots({"f": rng.choice(draft.cast.others)}),
                    **person_slots("who", someone.name, someone.gender), "v": value,
                }  # fmt: skip
                yield read("retold", render(frame, slots, rng).a, last, value == wrong)


def _draft(seed: int, split: Split) -> Draft:
    return build(seed, bucket=_BUCKET, length=_LENGTH, families=FAMILIES, split=split)


def _states(event: Event) -> list[States]:
    """What an event of the world makes true, in the words of the grammar; none for other kinds."""
    match event.op, event.args:
        case "observe", (s, p, o) if p in VALUES and p not in ("fear", "cannot"):
            return [(p, s, o)]
        case ("dye_hair" | "move_house" | "take_trade") as op, (s, o):
            return [({"dye_hair": "hair", "move_house": "home", "take_trade": "trade"}[op], s, o)]
        case "acquire", (s, thing):
            return [("holder", thing, s)]
        case "give", (_, r, thing):
            return [("holder", thing, r)]
        case "fall_ill", (s,):
            return [("ill", s, "")]
        case "die" | "recover", (s,):
            return [("alive", s, "no" if event.op == "die" else "yes")]
        case "hide", (_, thing, place, *_):
            return [("place", thing, place)]
        case "parent", (s, o):
            return [("mother", s, o)]
        case "sibling", (s, o):
            return [("brother", s, o)]
        case "promise", (s, _):
            return [("promise", s, "")]
        case "borrow", (s, r):
            return [("borrow", s, r)]
        case "repay", (s,):
            return [("repay", s, "")]
        case _:
            return []


def _share(holds: Sequence[bool], seeds: Sequence[int]) -> Estimate:
    if not holds:
        return Estimate(math.nan, math.nan, math.nan, 0)
    ones = [1.0] * len(holds)
    return of_bounded(interval(story_sums([list(map(float, holds)), ones], seeds), mean))


def _three(rows: Sequence[Planted]) -> tuple[Estimate, Estimate, Estimate]:
    checked = [each for each in rows if each.is_checkable]
    wrong = [each for each in checked if each.is_wrong]
    right = [each for each in checked if not each.is_wrong]
    return (
        _share([each.is_flagged for each in wrong], [each.seed for each in wrong]),
        _share([not each.is_flagged for each in right], [each.seed for each in right]),
        _share([each.is_checkable for each in rows], [each.seed for each in rows]),
    )
