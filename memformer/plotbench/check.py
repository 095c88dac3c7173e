"""The release gate: may these data be used to claim anything?

What must hold exactly is looked at story by story; what must hold of shortcuts, by the upper bound
of their group accuracy over stories.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal, NamedTuple

import numpy as np

from memformer.plotbench.metrics import CHANCE
from memformer.plotbench.probe_text import by_tfidf, by_trigrams
from memformer.plotbench.probes import answer
from memformer.plotbench.shortcuts import GATE, Shortcut, build_shortcut
from memformer.plotbench.statistics import MIN_STORIES, Estimate, mean_interval
from memformer.plotbench.story import RETRIEVAL_FLOOR, UNGATED, Bench, Probe
from memformer.plotbench.tokens_check import Ends, twin_ends_faults
from memformer.plotbench.twin_check import group_faults, token_faults, twin_faults
from memformer.plotbench.validity import CELLS, faults

GROUP_LIMIT = CHANCE["group"] + 0.05
"""Of the upper bound of a shortcut's group accuracy."""
ITEM_LIMIT = 0.52
"""Of the item accuracy of what was trained on probes alone."""
_N_SHOWN = 3
_STRICT = 3.3 / 1.96


class Finding(NamedTuple):
    """One rule of the gate."""

    name: str
    verdict: Literal["pass", "fail", "undecided"]
    """`undecided`: too few stories to say."""
    detail: str


class ShortcutScore(NamedTuple):
    """Group accuracy of a shortcut in one family."""

    shortcut: str
    family: str
    group: Estimate
    net: Estimate
    """Groups right in all four cells minus those wrong in all four."""
    n_groups: int
    is_exempt: bool
    """A retrieval floor, which looking for name and value together may solve; or a family with
    which nothing is claimed (`story.UNGATED`)."""

    @property
    def is_within(self) -> bool:
        """Whether the upper bound keeps the limit, or no more groups are right than wrong.

        The second is for rules that follow the swap for a reason without meaning: all four cells
        are right or wrong together, so half of their groups are right. Without a bound nothing is
        shown.
        """
        return self.is_exempt or self.group.high <= GROUP_LIMIT or self._is_even

    @property
    def _is_even(self) -> bool:
        """Net not above 0 at z = 3.3, as there are some 250 such comparisons."""
        return self.net.value - _STRICT * (self.net.value - self.net.low) <= 0


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What `check` found."""

    findings: tuple[Finding, ...]
    shortcuts: tuple[ShortcutScore, ...]

    @property
    def passed(self) -> bool:
        """Whether every rule holds."""
        return all(each.verdict == "pass" for each in self.findings)

    def lines(self) -> list[str]:
        """For people: a line a rule."""
        return [f"{each.verdict}  {each.name}: {each.detail}" for each in self.findings]


def check(
    bench: Bench,
    *,
    shortcuts: Sequence[Shortcut] | None = None,
    ends: Ends | None = None,
) -> Gate:
    """Judge a benchmark. What cannot be judged, for lack of stories, does not pass.

    Args:
        bench: of 200 stories, to keep a limit that a shortcut at 0 does keep.
        shortcuts: those of `GATE` by default.
        ends: of the tokens of a text, if it shall be compared too where tokens end in twins.

    Raises:
        ValueError: stories of novels, for which these rules are not made.
    """
    foreign = next((story for story in bench.stories if story.track != "sim"), None)
    if foreign is not None:
        raise ValueError(
            f"track of {foreign.story_id} is {foreign.track!r}: the gate judges simulated stories, "
            "recipes of novels were judged by reading"
        )
    readable = _exact("readable", (str(each) for each in faults(bench)), "no faulty record")
    if readable.verdict == "fail":  # nothing else can be asked of such data
        return Gate(findings=(readable,), shortcuts=())
    findings = [
        readable,
        _exact("twins", twin_faults(bench), "differ at their swaps alone, with equal words"),
        _exact("groups", group_faults(bench), "one question in four cells, gold a Latin square"),
        _balance(bench.probes),
        _oracle(bench),
    ]
    if ends is not None:
        counts = token_faults(bench, lambda text: len(ends(text)))
        findings.append(_exact(
            "tokens", chain(twin_ends_faults(bench, ends), counts),
            "end at the same places in both twins, options have equally many",
        ))  # fmt: skip
    chosen = gate_shortcuts() if shortcuts is None else shortcuts
    scores = tuple(shortcut_scores(bench, chosen))
    findings += [_shortcut(each.name, scores) for each in chosen]
    seeds = _seeds(bench)
    for name, learner in (
        ("TF-IDF of the probe", by_tfidf),
        ("trigrams of the probe", by_trigrams),
    ):
        findings.append(_blind(name, bench.probes, learner(bench.probes, seeds)))
    return Gate(findings=tuple(findings), shortcuts=scores)


def gate_shortcuts() -> list[Shortcut]:
    """Those of `GATE`."""
    return [build_shortcut(name) for name in GATE]


def shortcut_scores(bench: Bench, shortcuts: Sequence[Shortcut]) -> list[ShortcutScore]:
    """Every shortcut in every family."""
    return [score for shortcut in shortcuts for score in _of_shortcut(bench, shortcut)]


def _of_shortcut(bench: Bench, shortcut: Shortcut) -> Iterable[ShortcutScore]:
    ranks = shortcut.rank(bench)
    seeds = {story.story_id: story.seed for story in bench.stories}
    right: dict[str, list[float]] = {}
    of_group: dict[str, Probe] = {}
    for probe in bench.probes:
        own = ranks[probe.probe_id]
        margin = own[probe.gold] - own[1 - probe.gold]
        right.setdefault(probe.group_id, []).append((margin > 0) - (margin < 0))
        of_group[probe.group_id] = probe
    whole = {group: each for group, each in right.items() if len(each) == len(CELLS)}
    for family in dict.fromkeys(probe.family for probe in of_group.values()):
        chosen = [group for group in whole if of_group[group].family == family]
        right_in_all = [float(min(whole[group]) > 0) for group in chosen]
        net = [float(min(whole[group]) > 0) - float(max(whole[group]) < 0) for group in chosen]
        stories = [seeds[of_group[group].story_id] for group in chosen]
        nothing = Estimate(math.nan, math.nan, math.nan, 0)
        group = mean_interval(right_in_all, stories, is_share=True) if chosen else nothing
        is_exempt = shortcut.is_cooccurrence and family in RETRIEVAL_FLOOR or family in UNGATED
        yield ShortcutScore(
            shortcut.name, family, group, mean_interval(net, stories) if chosen else nothing,
            len(chosen), is_exempt,
        )  # fmt: skip


def _exact(name: str, messages: Iterable[str], good: str) -> Finding:
    found = list(islice(messages, 1000))
    if not found:
        return Finding(name, "pass", good)
    more = f"; {len(found) - _N_SHOWN} more" if len(found) > _N_SHOWN else ""
    return Finding(name, "fail", "; ".join(found[:_N_SHOWN]) + more)


def _balance(probes: Sequence[Probe]) -> Finding:
    first = sum(probe.gold == 0 for probe in probes)
    verdict: Literal["pass", "fail"] = "pass" if probes and 2 * first == len(probes) else "fail"
    detail = f"the first option is right in {first} of {len(probes)} probes"
    return Finding("gold positions", verdict, detail)


def _oracle(bench: Bench) -> Finding:
    traces = {trace.story_id: trace for trace in bench.traces}

    def wrong() -> Iterable[str]:
        for probe in bench.probes:
            if probe.story_id not in traces:
                yield f"{probe.probe_id} has no trace"
                continue
            try:
                found = answer(traces[probe.story_id], probe)
            except (ValueError, StopIteration, IndexError, KeyError) as error:
                yield f"{probe.probe_id}: the trace gives no answer ({error})"
                continue
            if found != probe.gold:
                yield f"{probe.probe_id}: the trace says {probe.options[found]!r}"

    return _exact("oracle", wrong(), f"right in all {len(bench.probes)} probes")


def _shortcut(name: str, scores: Sequence[ShortcutScore]) -> Finding:
    own = [each for each in scores if each.shortcut == name]
    bad = [each for each in own if not each.is_within]
    shown = bad or [max(own, key=lambda e: (not e.is_exempt, _number(e.group.high)))] if own else []
    detail = "; ".join(
        f"{each.family} {each.group.value:.3f}, at most {_bound(each)}, net "
        f"{each.net.value:+.3f}, {each.n_groups} groups"
        for each in shown
    )
    if own and all(math.isnan(each.group.high) for each in bad) and bad:
        most = max(each.group.value for each in bad)
        return Finding(
            name, "undecided", f"at most {most:.3f} of the groups of a family, without a bound: "
            f"under {MIN_STORIES} stories",
        )  # fmt: skip
    limit = f"limit {GROUP_LIMIT:.4f}, or a net that is not above 0"
    return Finding(name, "fail" if bad or not own else "pass", f"{detail or 'no group'}; {limit}")


def _bound(score: ShortcutScore) -> str:
    if math.isnan(score.group.high):
        return f"none (under {MIN_STORIES} stories)"
    return f"{score.group.high:.3f}"


def _number(x: float) -> float:
    return -1.0 if math.isnan(x) else x


def _blind(name: str, probes: Sequence[Probe], margins: np.ndarray) -> Finding:
    right = (margins > 0) + (margins == 0) / 2
    by_family: dict[str, list[float]] = {}
    for probe, each in zip(probes, right, strict=True):
        by_family.setdefault(probe.family, []).append(float(each))
    worst = max(by_family, key=lambda family: float(np.mean(by_family[family])))
    share = float(np.mean(by_family[worst]))
    detail = f"at most {share:.3f} of items ({worst}), {right.mean():.3f} of all"
    return Finding(name, "pass" if share <= ITEM_LIMIT else "fail", f"{detail}; limit {ITEM_LIMIT}")


def _seeds(bench: Bench) -> list[int]:
    seeds = {story.story_id: story.seed for story in bench.stories}
    return [seeds[probe.story_id] for probe in bench.probes]
