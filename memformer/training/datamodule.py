"""What a run reads, step by step: first the general corpus, then novels."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset

from memformer.config import RunConfig, StageConfig
from memformer.data.lanes import Corpus, Lanes, Segment


class StepBatch(NamedTuple):
    """What one step of training reads."""

    passages: list[list[Segment]]
    """`accumulate` passages of `grad_segments` segments."""
    where: dict[str, Any]
    """Where the lanes stand after it: kept with the weights, not asked for later, since a loader
    may be ahead of the step."""


class _Steps(IterableDataset[StepBatch]):
    def __init__(self, data: "NovelsData") -> None:
        self.data = data

    def __iter__(self) -> Iterator[StepBatch]:
        return self.data.steps()


class NovelsData(LightningDataModule):
    """The stream of steps of a run.

    Args:
        config: of the run.
        stages: corpora of the general stage and of the novels'; none for a stage left out.
        first: steps done already.
        where: where the lanes stood then; None at the start.
        own: lanes of this rank; all by default.
    """

    def __init__(
        self,
        config: RunConfig,
        stages: Sequence[Sequence[Corpus]],
        *,
        first: int = 0,
        where: dict[str, Any] | None = None,
        own: range | None = None,
    ) -> None:
        super().__init__()
        self.config, self.stages, self.first, self.where, self.own = (
            config, stages, first, where, own,
        )  # fmt: skip

    def train_dataloader(self) -> DataLoader[StepBatch]:
        """One item a step; lanes are read in order, so one process reads them."""
        return DataLoader(_Steps(self), batch_size=None, num_workers=0)

    def steps(self) -> Iterator[StepBatch]:
        """The steps that are left, in order.

        Raises:
            ValueError: `where` does not fit the texts or settings.
        """
        settings = (self.config.general, self.config.novels)
        begin = 0
        for i, (stage, n_step) in enumerate(zip(settings, self.config.stage_steps, strict=True)):
            end = begin + n_step
            if self.first < end and n_step:
                lanes = self._lanes(i, stage)
                if self.where is not None and self.first > begin:
                    lanes.restore(self.where)
                for _ in range(max(begin, self.first), end):
                    yield self._step(lanes)
            begin = end

    def _lanes(self, i: int, stage: StageConfig) -> Lanes:
        return Lanes(
            self.stages[i],
            n_lane=self.config.n_lane,
            segment_len=self.config.model.segment_len,
            seed=self.config.seed,
            length_power=stage.length_power,
            own=self.own,
        )

    def _step(self, lanes: Lanes) -> StepBatch:
        config = self.config
        passages = [
            [next(lanes) for _ in range(config.grad_segments)] for _ in range(config.accumulate)
        ]
        return StepBatch(passages, lanes.to_json())
