"""The same next scene while the model is told of an early act or of the last one.

The fraction is told as `estimated`: the story is declared so long that the probe stands where it
shall. All that was read before is told the same declared length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from memformer.config.plotbench_position import PositionConfig
from memformer.plotbench.frames import arc
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.scorers import FractionTold
from memformer.plotbench.session import BranchingSession, Question
from memformer.plotbench.story import Bench, Probe, Story
from memformer.plotbench.tasks import Task, open_session

ARCS = "arcs.jsonl"
FAMILY = "arc.position"
TOLD: FractionTold = "estimated"


@dataclass(frozen=True, kw_only=True)
class ArcRow:
    """Both next scenes of one probe under both acts told.

    Raises:
        ValueError: a log-probability that is NaN or infinite.
    """

    probe_id: str
    story_id: str
    seed: int
    bucket: int
    model: str
    condition: str
    fraction: str
    """Always `estimated`."""
    told: tuple[float, float]
    """Fractions told at the probe, of the last act and of the first."""
    late: tuple[float, float]
    """Nats of the scene that belongs to the end of an arc, told the last act and the first."""
    early: tuple[float, float]
    """Nats of the scene that belongs to its beginning, told the last act and the first."""
    bench_version: str
    bench_sha256: str
    config_sha256: str

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (*self.late, *self.early)):
            raise ValueError(
                f"{self.probe_id}: log-probabilities {self.late} and {self.early} under "
                f"{self.model} {self.condition} must be finite: look at the model"
            )

    @property
    def contrast(self) -> float:
        """log p(scene | its own act told) - log p(scene | the other act told), mean of both
        scenes: what raises or lowers both alike cancels."""
        return (self.late[0] - self.late[1] + self.early[1] - self.early[0]) / 2


def can_be_told(task: Task) -> bool:
    """Whether any fraction can be told to a task's scorer: to a decoder of ours that takes one."""
    return isinstance(task.scorer, MemformerScorer) and TOLD in task.scorer.fractions


def score_arcs(
    bench: Bench,
    task: Task,
    story: Story,
    probes: Sequence[Probe],
    config: PositionConfig,
    digest: str,
) -> list[ArcRow]:
    """A row for each probe of `arc.position` of a story, which is read twice a place.

    Raises:
        ValueError: as the scorer.
    """
    rows = []
    ordered = sorted(probes, key=lambda p: p.insert_at_char)
    for place, group in groupby(ordered, key=lambda p: p.insert_at_char):
        here = list(group)
        late, early = (
            _nats(bench, task, story, place, here, u) for u in (config.late, config.early)
        )
        for i, p in enumerate(here):
            first = _late_option(p)
            rows.append(ArcRow(
                probe_id=p.probe_id, story_id=story.story_id, seed=story.seed,
                bucket=story.bucket, model=task.scorer.name, condition=task.condition,
                fraction=TOLD, told=(config.late, config.early),
                late=(late[i][first], early[i][first]),
                early=(late[i][1 - first], early[i][1 - first]),
                bench_version=str(bench.manifest["bench_version"]),
                bench_sha256=str(bench.manifest["content_sha256"]), config_sha256=digest,
            ))  # fmt: skip
    return rows


def _late_option(p: Probe) -> int:
    (first,) = (i for i, option in enumerate(p.options) if option.strip() in arc.LATE)
    return first


def _nats(
    bench: Bench, task: Task, story: Story, place: int, probes: Sequence[Probe], u: float
) -> list[tuple[float, float]]:
    """Of both options of each probe, told that its place is the fraction u of the story."""
    scorer = task.scorer
    assert isinstance(scorer, MemformerScorer)
    told = MemformerScorer(
        scorer.model,
        scorer.tokenizer,
        name=scorer.name,
        config=replace(scorer.config, length_factor=place / len(story.text) / u),
        condition=scorer.condition,
    )
    session = open_session(bench, Task(told, task.condition, TOLD), story)
    assert isinstance(session, BranchingSession)
    session.advance(place)
    found = session.score_all([Question(p.stem, p.options, p.suffix) for p in probes])
    return [(one.logprob, other.logprob) for one, other in found]
