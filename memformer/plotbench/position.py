"""Does a model use where in the story it stands, and does it expect what the story's facts demand?

Position gain: nats a token lost when fractions trade places, or when headings in the text take the
place of the number. Arc contrast: what the next scene gains from being told its own act. Key-token
perplexity: of the words that bear on facts, beside all others.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from memformer.config.plotbench_position import PositionConfig
from memformer.plotbench.arc_told import ARCS, FAMILY, TOLD, ArcRow, can_be_told, score_arcs
from memformer.plotbench.passages import (
    PASSAGES,
    Kind,
    PassageRow,
    Stretch,
    score_stretches,
    stretches,
)
from memformer.plotbench.row_file import read_rows
from memformer.plotbench.run import Progress
from memformer.plotbench.run_folder import RunFolder, finished
from memformer.plotbench.scorers import FractionTold, Scorer
from memformer.plotbench.shortcuts import Shortcut
from memformer.plotbench.statistics import Estimate, Floats, interval, mean_interval, story_sums
from memformer.plotbench.story import Bench, Probe
from memformer.plotbench.tasks import (
    LOCAL,
    Task,
    open_each,
    refuse_bad_request,
    settings_of,
    tasks_of,
)


class PositionRows(NamedTuple):
    """What `run_position` found."""

    passages: list[PassageRow]
    arcs: list[ArcRow]


def run_position(
    bench: Bench,
    scorers: Sequence[Scorer | Shortcut],
    *,
    out: Path | str,
    conditions: Sequence[str] = ("on",),
    fractions: Sequence[FractionTold] = ("true", "shuffled", "header"),
    config: PositionConfig | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> PositionRows:
    """Score stretches of the stories' own text, and the next scenes under two acts told.

    Shortcuts and the condition `local` are left out. Arguments and errors as `run.run`, whose
    folder may be the same; rows go to `passages.jsonl` and `arcs.jsonl`.
    """
    config = config or PositionConfig()
    refuse_bad_request(bench, scorers, conditions, fractions)
    models = [each for each in scorers if not isinstance(each, Shortcut)]
    tasks = [task for task in tasks_of(models, conditions, fractions) if task.condition != LOCAL]
    open_each(bench, tasks)
    folder = RunFolder(Path(out), bench, settings_of(models), resume=resume)
    passages = folder.rows(PASSAGES, PassageRow)
    traces = {trace.story_id: trace for trace in bench.traces}
    chosen = {s.story_id: stretches(s, traces.get(s.story_id), config) for s in bench.stories}
    _refuse_other_settings(passages.rows, chosen)
    for task in tasks:
        held = finished(passages, task.run, {story: len(each) for story, each in chosen.items()})
        for n, story in enumerate(bench.stories, 1):
            if story.story_id not in held and chosen[story.story_id]:
                own = chosen[story.story_id]
                digest = folder.hashes[task.scorer.name]
                passages.append(score_stretches(bench, task, story, own, digest))
                _tell(progress, task, "passages", n, len(bench.stories))
    arcs = folder.rows(ARCS, ArcRow)
    for row in arcs.rows:
        if row.told != (config.late, config.early):
            raise ValueError(
                f"{folder.path / ARCS} was told {row.told}, config has late and early "
                f"{config.late, config.early}: choose another folder"
            )
    probes: dict[str, list[Probe]] = {}
    for p in bench.probes:
        if p.family == FAMILY:
            probes.setdefault(p.story_id, []).append(p)
    for task in dict.fromkeys(each._replace(fraction=TOLD) for each in tasks if can_be_told(each)):
        held = finished(arcs, task.run, {story: len(each) for story, each in probes.items()})
        for n, story in enumerate(bench.stories, 1):
            if story.story_id not in held and story.story_id in probes:
                own_probes, digest = probes[story.story_id], folder.hashes[task.scorer.name]
                arcs.append(score_arcs(bench, task, story, own_probes, config, digest))
                _tell(progress, task, "arcs", n, len(bench.stories))
    return PositionRows(passages.rows, arcs.rows)


def _refuse_other_settings(
    rows: Sequence[PassageRow], chosen: Mapping[str, Sequence[Stretch]]
) -> None:
    known = {(story, *each) for story, own in chosen.items() for each in own}
    for row in rows:
        if (row.story_id, row.span, row.kind) not in known:
            raise ValueError(
                f"{PASSAGES} holds {row.story_id} at {row.span}, which this config's n_passage and "
                "passage_len do not choose: choose another folder"
            )


def _tell(progress: Progress | None, task: Task, what: str, n: int, n_all: int) -> None:
    if progress is not None:
        model, condition, fraction = task.run
        progress(model, f"{condition} {what}", fraction, n, n_all)


def load_position(folder: Path, bench: Bench) -> PositionRows:
    """The rows in a run's folder; none where it has none.

    Raises:
        ValueError: rows of other data, or damaged ones.
    """
    found = PositionRows(read_rows(folder / PASSAGES, PassageRow), read_rows(folder / ARCS, ArcRow))
    told = str(bench.manifest["content_sha256"])
    own = [
        *((PASSAGES, line, row.story_id, row.bench_sha256)
          for line, row in enumerate(found.passages, 1)),
        *((ARCS, line, row.story_id, row.bench_sha256) for line, row in enumerate(found.arcs, 1)),
    ]  # fmt: skip
    for name, line, story, digest in own:
        if digest != told:
            raise ValueError(
                f"{name} line {line} ({story}): rows are of data {digest[:12]}, this is "
                f"{told[:12]}: run it again on this data"
            )
    return found


def position_gain(told: Sequence[PassageRow], other: Sequence[PassageRow]) -> Estimate:
    """Nats a token that `other` lies above `told`, on the stretches of text that both have.

    Raises:
        ValueError: they share none.
    """
    one, two = ({(r.story_id, r.span): r for r in rows if r.kind == "text"} for rows in
                (told, other))  # fmt: skip
    keys = [key for key in one if key in two]
    if not keys:
        raise ValueError("the two runs share no stretch of text: score them on the same data")
    columns: list[list[float]] = [
        [-two[key].logprob for key in keys], [two[key].n_tokens for key in keys],
        [-one[key].logprob for key in keys], [one[key].n_tokens for key in keys],
    ]  # fmt: skip
    return interval(story_sums(columns, [one[key].seed for key in keys]), _ratio_difference)


def perplexity(rows: Sequence[PassageRow], kind: Kind) -> Estimate:
    """exp of the mean nats a token of the stretches of one kind; NaN where there are none."""
    chosen = [row for row in rows if row.kind == kind]
    nats: list[float] = [-row.logprob for row in chosen]
    columns = [nats, [float(row.n_tokens) for row in chosen]]
    return interval(story_sums(columns, [row.seed for row in chosen]), _perplexity)


def arc_contrast(rows: Sequence[ArcRow]) -> Estimate:
    """Mean of `ArcRow.contrast`, nats: 0 for a model that does not use what it is told."""
    return mean_interval([row.contrast for row in rows], [row.seed for row in rows])


def _ratio_difference(sums: Floats) -> Floats:
    return np.asarray(sums[..., 0] / sums[..., 1] - sums[..., 2] / sums[..., 3])


def _perplexity(sums: Floats) -> Floats:
    return np.asarray(np.exp(sums[..., 0] / sums[..., 1]))
