"""A run: scorers under conditions over a benchmark, into one folder, to be resumed or added to."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from memformer.plotbench.controls import control_rows
from memformer.plotbench.results import Result
from memformer.plotbench.row_file import RowFile
from memformer.plotbench.run_folder import RunFolder, finished
from memformer.plotbench.scorers import FractionTold, OptionScore, Scorer, Session
from memformer.plotbench.session import BranchingSession, Question
from memformer.plotbench.shortcuts import Shortcut
from memformer.plotbench.story import Bench, Probe, Story
from memformer.plotbench.tasks import (
    LOCAL,
    Task,
    open_each,
    open_session,
    refuse_bad_request,
    settings_of,
    tasks_of,
)

Progress = Callable[[str, str, str, int, int], None]
"""Called with model, condition, fraction, stories done and stories in all, after each story that
was not held already."""


def run(
    bench: Bench,
    scorers: Scorer | Shortcut | Sequence[Scorer | Shortcut],
    *,
    out: Path | str,
    conditions: Sequence[str] = ("on",),
    fractions: Sequence[FractionTold] = ("true",),
    buckets: Sequence[int] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> list[Result]:
    """Score the probes of a benchmark; each story is read once a task (`tasks.tasks_of`).

    Rows of a story are written together when it is finished.

    Args:
        bench: the data, unchanged since they were made.
        scorers: models and shortcuts, with different names.
        out: a folder, made if missing (`run_folder`).
        conditions: see `memformer_scorer.CONDITIONS`, and `local`.
        fractions: ways to tell the place in the story.
        buckets: distances, to leave the stories of others for later; all by default.
        resume: go on with what the folder holds: finished stories are kept, and other models,
            conditions and fractions are added.
        progress: told of every story.

    Returns:
        All rows of the folder.

    Raises:
        ValueError: changed data, an unknown condition or one that does not fit, a fraction that no
            scorer or none of a scorer's can be told, a context too long for a model, a
            log-probability that is not finite, or results of other data or settings. What one run
            meets on its way is raised when the others are finished.
        FileExistsError: the folder holds results, and `resume` is not set.
    """
    scorers = list(scorers) if isinstance(scorers, Sequence) else [scorers]
    refuse_bad_request(bench, scorers, conditions, fractions)
    chosen = [story for story in bench.stories if buckets is None or story.bucket in buckets]
    if not chosen:
        held = sorted({story.bucket for story in bench.stories})
        raise ValueError(f"buckets must be among {held}, got {buckets}")
    tasks = list(tasks_of(scorers, conditions, fractions))
    open_each(bench, tasks)
    folder = RunFolder(Path(out), bench, settings_of(scorers), resume=resume)
    failed: list[ValueError | RuntimeError] = []
    for task in tasks:
        digest = folder.hashes[task.scorer.name]
        try:
            _run_task(bench, chosen, task, digest, folder.results, progress)
        except (ValueError, RuntimeError) as error:  # the others go on
            failed.append(error)
    if failed:
        if len(tasks) > 1:
            told = "; ".join(str(error) for error in failed)
            raise type(failed[0])(
                f"{len(failed)} of {len(tasks)} runs failed, the others are finished in {out}: "
                f"{told}"
            ) from failed[0]
        raise failed[0]
    return folder.results.rows


def _run_task(
    bench: Bench,
    chosen: Sequence[Story],
    task: Task,
    digest: str,
    file: RowFile[Result],
    progress: Progress | None,
) -> None:
    probes: dict[str, list[Probe]] = {story.story_id: [] for story in bench.stories}
    for p in bench.probes:
        if task.condition != LOCAL or p.licence:
            probes[p.story_id].append(p)
    held = finished(file, task.run, {story: len(each) for story, each in probes.items()})
    ranked: dict[str, list[Result]] | None = None
    stories = [story for story in chosen if probes[story.story_id]]
    n_done = sum(story.story_id in held for story in stories)
    for story in stories:
        if story.story_id in held:
            continue
        if isinstance(task.scorer, Shortcut):
            ranked = ranked or _by_story(control_rows(bench, task.scorer, digest))
            rows = ranked[story.story_id]
        else:
            rows = list(_scored(bench, task, story, probes[story.story_id], digest))
        file.append(rows)
        n_done += 1
        if progress is not None:
            progress(*task.run, n_done, len(stories))


def _by_story(rows: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for row in rows:
        found.setdefault(row.story_id, []).append(row)
    return found


def _scored(
    bench: Bench, task: Task, story: Story, probes: Sequence[Probe], digest: str
) -> Iterator[Result]:
    session = open_session(bench, task, story)
    ordered = sorted(probes, key=lambda p: p.insert_at_char)
    for place, group in groupby(ordered, key=lambda p: p.insert_at_char):
        here = list(group)
        questions = [
            Question((p.licence if task.condition == LOCAL else "") + p.stem, p.options, p.suffix)
            for p in here
        ]
        try:
            session.advance(place)
            if isinstance(session, BranchingSession):
                found = session.score_all(questions)
            else:
                found = [session.score(*question) for question in questions]
        except ValueError as error:
            raise ValueError(
                f"{task.scorer.name} {task.condition}, {here[0].probe_id}: {error}"
            ) from error
        if len(found) != len(here):
            raise ValueError(
                f"{task.scorer.name} {task.condition}, {here[0].probe_id}: {len(here)} questions "
                f"must be scored here, got scores of {len(found)}"
            )
        for p, question, scores in zip(here, questions, found, strict=True):
            if len(scores) != len(question.options):
                raise ValueError(
                    f"{task.scorer.name} {task.condition}, {p.probe_id}: a score for each of the "
                    f"{len(question.options)} options is wanted, got {len(scores)}"
                )
            distance = _distance(session, p, question, scores[0])
            yield _row(bench, story, p, task, scores, distance, digest)


def _distance(session: Session, p: Probe, question: Question, score: OptionScore) -> int:
    ends = [each.span[1] for each in p.support if each.of == "gold"]
    end = max(ends, default=p.insert_at_char - p.d_near_chars)
    if isinstance(session, BranchingSession):
        return session.distance(end, question)
    # a session that does not count: by the share of characters
    chars = p.insert_at_char + len(question.stem)
    return round((chars - end) * score.context_tokens / chars)


def _row(
    bench: Bench,
    story: Story,
    p: Probe,
    task: Task,
    scores: Sequence[OptionScore],
    distance: int,
    digest: str,
) -> Result:
    one, other = scores
    return Result(
        probe_id=p.probe_id,
        group_id=p.group_id,
        story_id=p.story_id,
        seed=story.seed,
        family=p.family,
        cell=p.cell,
        bucket=story.bucket,
        model=task.scorer.name,
        condition=task.condition,
        fraction=task.fraction,
        gold=p.gold,
        logprob=(float(one.logprob), float(other.logprob)),
        n_tokens=(one.n_tokens, other.n_tokens),
        n_bytes=(one.n_bytes, other.n_bytes),
        d_near_tokens=distance,
        context_tokens=one.context_tokens,
        truncated=one.truncated or other.truncated,
        retrieved=one.retrieved,
        support=tuple((*each.span, each.of) for each in p.support),
        bench_version=str(bench.manifest["bench_version"]),
        bench_sha256=str(bench.manifest["content_sha256"]),
        config_sha256=digest,
    )
