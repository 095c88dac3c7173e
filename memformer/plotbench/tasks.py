"""Which scorer is run how: conditions and ways of telling the fraction that fit it."""

import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast, get_args

from memformer.plotbench.controls import CONDITION as SHORTCUT
from memformer.plotbench.make import content_hash
from memformer.plotbench.memformer_scorer import CONDITIONS
from memformer.plotbench.scorers import FractionTold, Scorer, Session
from memformer.plotbench.shortcuts import Shortcut
from memformer.plotbench.story import Bench, Story

PLAIN = "plain"
"""The condition of scorers that know none."""
LOCAL = "local"
"""The licence of each answer is put right before its probe: a model's ceiling. Probes without a
licence are left out."""
log = logging.getLogger(__name__)


class Task(NamedTuple):
    """One scorer under one condition, told the fraction in one way."""

    scorer: Scorer | Shortcut
    condition: str
    fraction: FractionTold

    @property
    def run(self) -> tuple[str, str, str]:
        """Model, condition and fraction, as rows name them."""
        return self.scorer.name, self.condition, self.fraction


def refuse_bad_request(
    bench: Bench,
    scorers: Sequence[Scorer | Shortcut],
    conditions: Sequence[str],
    fractions: Sequence[str],
) -> None:
    """Raise ValueError for changed data, no scorer or two of one name, and for a condition or a
    fraction that nothing knows."""
    told, found = bench.manifest["content_sha256"], content_hash(bench.stories, bench.probes)
    if told != found:
        raise ValueError(
            f"bench: its content has hash {found[:12]}, its manifest says {str(told)[:12]}: the "
            "data were changed after they were made"
        )
    names = [each.name for each in scorers]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"scorers must be at least one, with different names, got {names}")
    known = (*CONDITIONS, PLAIN, LOCAL)
    for condition in conditions:
        if condition not in known and not re.fullmatch(r"K\d+", condition):
            raise ValueError(
                f"condition must be one of {', '.join(known)}, K0, K1, ..., got {condition!r}"
            )
    for fraction in fractions:
        if fraction not in get_args(FractionTold):
            raise ValueError(
                f"fraction must be one of {', '.join(get_args(FractionTold))}, got {fraction!r}"
            )
    if not conditions or not fractions:
        raise ValueError("conditions and fractions must name at least one each, got none")


def tasks_of(
    scorers: Sequence[Scorer | Shortcut],
    conditions: Sequence[str],
    fractions: Sequence[FractionTold],
) -> Iterator[Task]:
    """Every scorer under those conditions and fractions that it knows; what is left out is logged.

    A scorer with a method `under(condition)` is run under each condition, any other once as
    `plain`; as `local` each, where that is asked for.

    Raises:
        ValueError: a condition that does not fit, or none of the fractions can be told.
    """
    for scorer in scorers:
        if isinstance(scorer, Shortcut):
            asked = [each for each in conditions if each not in ("on", PLAIN)]
            if asked or tuple(fractions) != ("true",):
                log.warning(
                    "%s knows no conditions and no fraction: run once, without %s",
                    scorer.name, ", ".join((*asked, *(f for f in fractions if f != "true"))),
                )  # fmt: skip
            yield Task(scorer, SHORTCUT, "true")
            continue
        can_take = getattr(scorer, "fractions", ("true",))
        told = [each for each in dict.fromkeys(fractions) if each in can_take]
        if not told:
            raise ValueError(
                f"fraction: {scorer.name} can be told {', '.join(can_take)}, asked for are "
                f"{', '.join(fractions)}"
            )
        for each in fractions:
            if each not in told:
                log.warning("%s cannot be told the fraction as %r: left out", scorer.name, each)
        for condition in dict.fromkeys(_conditions(scorer, conditions)):
            under = getattr(scorer, "under", None)
            variant = under(condition) if under and condition != LOCAL else scorer
            for fraction in told:
                yield Task(variant, condition, fraction)


def _conditions(scorer: Scorer, conditions: Sequence[str]) -> list[str]:
    if hasattr(scorer, "under"):
        return [each for each in conditions if each != PLAIN] or [
            getattr(scorer, "condition", "on")
        ]
    return [LOCAL if each == LOCAL else PLAIN for each in conditions]


def open_session(bench: Bench, task: Task, story: Story) -> Session:
    """A reading of a story; with another story's memory beside it, if the condition needs that.

    Raises:
        ValueError: it needs one, and there is none of another seed.
    """
    scorer = cast(Any, task.scorer)
    if getattr(scorer, "needs_other", False):
        other = _other(bench, story)
        session: Session = scorer.open(story.text, fraction=task.fraction, other=other.text)
    else:
        session = scorer.open(story.text, fraction=task.fraction)
    return session


def open_each(bench: Bench, tasks: Sequence[Task]) -> None:
    """Open the first story once a task: what does not fit shows now, not after hours."""
    for task in tasks:
        if not isinstance(task.scorer, Shortcut) and bench.stories:
            open_session(bench, task, bench.stories[0])


def settings_of(scorers: Sequence[Scorer | Shortcut]) -> dict[str, Any]:
    """By name, all that is known of what their scores depend on; who tells nothing is named in the
    log."""
    for each in scorers:
        if not isinstance(each, Shortcut) and not hasattr(each, "settings"):
            log.warning(
                "%s has no `settings`: if it changes, results are resumed with rows of both",
                each.name,
            )
    return {each.name: getattr(each, "settings", {}) for each in scorers}


def _other(bench: Bench, story: Story) -> Story:
    """The next base story of another seed, at the same distance if there is one; the same for both
    twins."""
    bases = [s for s in bench.stories if s.twin == "A"]
    at = next((i for i, s in enumerate(bases) if s.base == story.base), 0)
    others = [s for s in (*bases[at + 1 :], *bases[:at]) if s.seed != story.seed]
    if not others:
        raise ValueError(
            f"condition 'other_book' needs a story of another seed than {story.seed}: make data of "
            "at least two"
        )
    return next((s for s in others if s.bucket == story.bucket), others[0])
