"""Texts that a model writes from a place of a story on: rows of `texts.jsonl`, to be resumed."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from memformer.config import to_json
from memformer.config.plotbench_generated import GenerateConfig
from memformer.plotbench.generated.known import known_of
from memformer.plotbench.row_file import RowFile
from memformer.plotbench.run_folder import RunFolder, finished
from memformer.plotbench.scorers import FractionTold, Scorer
from memformer.plotbench.shortcuts import Shortcut
from memformer.plotbench.story import Bench, Story
from memformer.plotbench.tasks import (
    LOCAL,
    Task,
    open_each,
    open_session,
    refuse_bad_request,
    settings_of,
    tasks_of,
)

TEXTS = "texts.jsonl"
SIMULATOR = "simulator"
"""The model of texts that are the story's own: what judging finds there is its own error."""
STEM = "\n\n"


@dataclass(frozen=True, kw_only=True)
class Written:
    """A text, and from where in which story it goes on.

    Raises:
        ValueError: the text is not the one that was hashed.
    """

    story_id: str
    story_sha256: str
    seed: int
    """Of the world: the unit of all statistics."""
    model: str
    condition: str
    fraction: str
    place: float
    """Fraction of the story that was asked for."""
    cut: int
    """Characters of the story that were read."""
    i_text: int
    """Number of the text among those from this place."""
    n_words: int
    """Words that were asked for."""
    text: str
    text_sha256: str
    bench_version: str
    bench_sha256: str
    config_sha256: str
    truncated: bool = False

    def __post_init__(self) -> None:
        found = sha256(self.text)
        if found != self.text_sha256:
            raise ValueError(
                f"text of {self.story_id} at {self.place} has SHA-256 {found[:12]}, its row says "
                f"{self.text_sha256[:12]}: it was changed; write it anew"
            )


def sha256(text: str) -> str:
    """Of the text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def cut_at(story: Story, place: float) -> int:
    """The end of the last paragraph that ends within a fraction of a story.

    Raises:
        ValueError: none does.
    """
    cut = story.text.rfind(STEM, 0, round(place * len(story.text)))
    if cut < 1:
        raise ValueError(f"places: no paragraph of {story.story_id} ends before {place} of it")
    return cut


def write(
    bench: Bench,
    scorers: Scorer | Sequence[Scorer],
    *,
    out: Path | str,
    config: GenerateConfig,
    conditions: Sequence[str] = ("on",),
    fractions: Sequence[FractionTold] = ("true",),
    resume: bool = False,
    progress: Callable[[str, str, str, int, int], None] | None = None,
) -> list[Written]:
    """Have models go on with the stories; each story is read once a task, texts are branches of it.

    Args:
        bench: the data, unchanged since they were made.
        scorers: models whose sessions can `generate`.
        out: a folder of its own, made if missing.
        config: where and how much.
        conditions: as in `run.run`, but not `local`.
        fractions: as in `run.run`.
        resume: go on with what the folder holds; finished stories are kept.
        progress: told model, condition, fraction, stories done and stories in all.

    Returns:
        All rows of the folder.

    Raises:
        ValueError: as `run.run`; a shortcut, or the condition `local`; no story of these twins.
        FileExistsError: the folder holds texts, and `resume` is not set.
    """
    asked: list[Scorer | Shortcut] = list(scorers) if isinstance(scorers, Sequence) else [scorers]
    refuse_bad_request(bench, asked, conditions, fractions)
    if LOCAL in conditions or any(isinstance(each, Shortcut) for each in asked):
        raise ValueError("scorers and conditions: shortcuts and 'local' write nothing, leave them")
    stories = [story for story in bench.stories if story.twin in config.twins]
    if not stories:
        raise ValueError(f"twins: the data hold no story of twins {config.twins}")
    tasks = list(tasks_of(asked, conditions, fractions))
    open_each(bench, tasks)
    settings = {
        name: {**each, "generate": to_json(config)} for name, each in settings_of(asked).items()
    }
    folder = RunFolder(Path(out), bench, settings, resume=resume)
    file = folder.rows(TEXTS, Written)
    n_rows = {story.story_id: len(config.places) * config.n_texts for story in stories}
    for task in tasks:
        held = finished(file, task.run, n_rows)
        for n_done, story in enumerate(stories, 1):
            if story.story_id not in held:
                digest = folder.hashes[task.scorer.name]
                file.append(list(_texts(bench, story, task, config, digest)))
            if progress is not None:
                progress(*task.run, n_done, len(stories))
    return file.rows


def load_texts(path: Path | str) -> list[Written]:
    """Rows of a file. Raises ValueError as `RowFile`."""
    return RowFile(Path(path), Written).rows


def own_texts(bench: Bench, config: GenerateConfig) -> list[Written]:
    """What the stories themselves say where models would write: the control of the judge."""
    return [
        _row(bench, story, (SIMULATOR, "plain", "true"), place, 0, config.n_words, text, "")
        for story in bench.stories
        if story.twin in config.twins
        for place in config.places
        for text in (_first_words(story.text[cut_at(story, place) :], config.n_words),)
    ]


def _texts(
    bench: Bench, story: Story, task: Task, config: GenerateConfig, digest: str
) -> Iterator[Written]:
    session = open_session(bench, task, story)
    for place in sorted(config.places):
        session.advance(cut_at(story, place))
        for i in range(config.n_texts):
            seed = int.from_bytes(
                hashlib.sha256(f"{config.seed}.{story.base}.{place}.{i}".encode()).digest()[:4]
            )
            opening = ""
            if config.opening == "name":
                main = known_of(story, bench.manifest, cut_at(story, place)).main
                opening = main[seed % len(main)].name if main else ""
            text = opening + session.generate(STEM + opening, config.n_words, seed)
            yield _row(bench, story, task.run, place, i, config.n_words, text, digest)


def _row(
    bench: Bench, story: Story, run: tuple[str, str, str], place: float, i: int, n_words: int,
    text: str, digest: str,
) -> Written:  # fmt: skip
    return Written(
        story_id=story.story_id, story_sha256=story.sha256, seed=story.seed, model=run[0],
        condition=run[1], fraction=run[2], place=place, cut=cut_at(story, place), i_text=i,
        n_words=n_words, text=text, text_sha256=sha256(text),
        bench_version=str(bench.manifest["bench_version"]),
        bench_sha256=str(bench.manifest["content_sha256"]), config_sha256=digest,
    )  # fmt: skip


def _first_words(text: str, n: int) -> str:
    """The beginning of a text with n words, as it is set."""
    at = 0
    for _ in range(n):
        while at < len(text) and text[at].isspace():
            at += 1
        while at < len(text) and not text[at].isspace():
            at += 1
    return text[:at].lstrip()
