"""Training a reviewer in three steps: real reviews, reviews of its own, a head that scores those.

CLoud (Ankner et al. 2024, arXiv:2408.11791). A plain loop: whatever happens in an update follows
from seed and step, so a run that was interrupted goes on from its checkpoint with the same bits.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memformer.config.reviewer import ReviewerConfig
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState
from memformer.reward.review_set import Reviews, pad
from memformer.reward.review_text import ReviewVocabulary
from memformer.reward.reviewer import Reviewer
from memformer.reward.score_head import ScoreHead, head_loss
from memformer.training.optimiser import build_optimiser, rate_share, set_rate
from memformer.training.reviewer_batches import (
    DrawBatch,
    ReviewBatch,
    ReviewerData,
    draw_batch,
    review_batch,
)
from memformer.training.reviewer_checkpoint import load_training, save_training
from memformer.training.step import trained


class Update(NamedTuple):
    """What one update of the weights was made from."""

    step: int
    """Counted from 0, over both steps that train."""
    stage: str
    """`learn` or `head`."""
    nats: float
    """Of reviews, a token."""
    squared_error: float | None
    """Of the head, in standard units of the targets."""
    grad_norm: float
    """Before clipping."""


class Drawn(NamedTuple):
    """The reviews that the model wrote of the novels that have a target."""

    ids: Tensor
    """(n, R) int64, usable ones alone."""
    mask: Tensor
    """(n, R) bool."""
    novel: Tensor
    """(n,) int64: place of the novel."""
    n_empty: int
    """Reviews without a word, left out."""
    n_unfinished: int
    """Reviews without end, left out."""


class TrainedReviewer(NamedTuple):
    """What a run left."""

    reviewer: Reviewer
    head: ScoreHead | None
    """None without `n_head`."""
    drawn: Drawn | None
    """The reviews that the head was trained on."""
    is_finished: bool
    """Whether all updates were done."""


def train_reviewer(
    model: Decoder,
    vocabulary: ReviewVocabulary,
    data: ReviewerData,
    config: ReviewerConfig,
    folder: Path | None = None,
    *,
    resume: bool = False,
    stop_after: int | None = None,
    watch: Callable[[Update], None] | None = None,
) -> TrainedReviewer:
    """Train a decoder, in place, to write reviews, and a head to score those that it writes.

    Args:
        model: with rows for the vocabulary's special tokens (`with_review_tokens`).
        vocabulary: ids of text and special tokens.
        data: novels, reviews and, for the head, values of the novels.
        config: everything else.
        folder: for checkpoints; None makes none.
        resume: go on from the checkpoint in `folder`, which then holds the weights.
        stop_after: stop after so many updates in all, with a checkpoint; None goes to the end.
        watch: told each update.

    Raises:
        ValueError: reviews that are empty, too long or of no novel; no or useless targets where a
            head is trained; a checkpoint of another config or of other data; too many drawn reviews
            that cannot be scored.
        FloatingPointError: a loss or gradient is not finite; the last checkpoint is whole.
    """
    if resume and folder is None:
        raise ValueError("resume needs the folder of the run")
    reviewer = Reviewer(model, vocabulary, max_len=config.review.max_len)
    data.check(reviewer.end, config.review.max_len, needs_targets=config.n_head > 0)
    head = ScoreHead(model.config.n_embd).to(model.embedding.weight.device)
    both = nn.ModuleDict({"model": model, "head": head})
    optimiser = build_optimiser(both, config.optimiser)
    step = 0
    drawn: Drawn | None = None
    if resume and folder is not None:
        found = load_training(folder, config, vocabulary, data, both, optimiser)
        step = found.step
        if (kept := found.drawn) is not None:
            drawn = Drawn(kept["ids"], kept["mask"], kept["novel"], **found.counts)
    n_step = config.n_learn + config.n_head
    end = n_step if stop_after is None else min(n_step, stop_after)

    def save() -> None:
        if folder is not None:
            tensors = None if drawn is None else {k: getattr(drawn, k) for k in _TENSORS}
            counts = {} if drawn is None else {k: getattr(drawn, k) for k in _COUNTS}
            save_training(folder, config, vocabulary, data, both, optimiser, step, tensors, counts)

    model.train()
    while step < end:
        if step >= config.n_learn and drawn is None:
            drawn = draw_reviews(reviewer, data, config)
            head.fit_units(data.known_targets())
            model.train()
        update = _update(reviewer, head, data, drawn, config, optimiser, step)
        step += 1
        if watch is not None:
            watch(update)
        if step % config.checkpoint_every == 0 or step == end:
            save()
    model.eval()
    return TrainedReviewer(
        reviewer, head.eval() if config.n_head else None, drawn, is_finished=step == n_step
    )


_TENSORS = ("ids", "mask", "novel")
_COUNTS = ("n_empty", "n_unfinished")


@torch.no_grad()
def draw_reviews(reviewer: Reviewer, data: ReviewerData, config: ReviewerConfig) -> Drawn:
    """The second step: `n_drawn` reviews of each novel that has a target.

    Raises:
        ValueError: all of them, or more than `most_unusable`, are empty or have no end.
    """
    reviewer.model.eval()
    novels = data.with_target()
    found: list[Reviews] = []
    for start in range(0, len(novels), config.n_novel):
        part = novels[start : start + config.n_novel]
        batch = pad([data.novels[i] for i in part], 0, reviewer.model.embedding.weight.device)
        reading = reviewer.read(batch.ids, reviewer.new_state(len(part)), batch.mask)
        seeds = [config.seed * len(data.novels) + i for i in part]
        found.append(reviewer.draw(reading, config.n_drawn, seeds))
    rows = [
        row[: int(n)].tolist()
        for each in found
        for row, n in zip(each.ids, each.mask.sum(1), strict=True)
    ]
    usable = torch.cat([each.is_usable for each in found])
    n_empty = sum(int(each.is_empty.sum()) for each in found)
    n_unfinished = sum(int((~each.is_finished).sum()) for each in found)
    if n_empty + n_unfinished > config.most_unusable * len(rows):
        raise ValueError(
            f"of {len(rows)} reviews drawn, {n_empty} are empty and {n_unfinished} have no end "
            f"within {reviewer.max_len} tokens, more than most_unusable={config.most_unusable}: "
            "train longer on real reviews (n_learn), or raise max_len"
        )
    if not bool(usable.any()):
        raise ValueError(
            f"none of {len(rows)} reviews drawn can be scored ({n_empty} are empty, {n_unfinished} "
            "have no end): train longer on real reviews (n_learn), or raise max_len"
        )
    kept = [row for row, is_kept in zip(rows, usable.tolist(), strict=True) if is_kept]
    ids, mask = pad(kept, reviewer.end, usable.device)
    novel = torch.tensor(novels).repeat_interleave(config.n_drawn)[usable.cpu()]
    return Drawn(ids, mask, novel, n_empty, n_unfinished)


def _update(
    reviewer: Reviewer,
    head: ScoreHead,
    data: ReviewerData,
    drawn: Drawn | None,
    config: ReviewerConfig,
    optimiser: torch.optim.Optimizer,
    step: int,
) -> Update:
    """One update of the weights, a function of the weights, the seed and the step."""
    optimiser.zero_grad(set_to_none=True)
    is_learning = step < config.n_learn
    at, n = (step, config.n_learn) if is_learning else (step - config.n_learn, config.n_head)
    set_rate(optimiser, rate_share(at, n, config.optimiser))
    with torch.random.fork_rng(devices=[]):  # hidden fractions are drawn from the global generator
        torch.manual_seed(config.seed * 1_000_003 + step)
        if drawn is None or is_learning:
            error = None
            nats, loss = _learn(
                reviewer, review_batch(data, reviewer.vocabulary, config, step), config
            )
        else:
            batch = draw_batch(data, drawn.novel, drawn.ids, drawn.mask, config, step)
            error, nats, loss = _score(reviewer, head, batch, config)
        torch.autograd.backward(loss)
    norm = float(nn.utils.clip_grad_norm_(trained(optimiser), config.optimiser.clip_norm))
    if not bool(torch.tensor([float(loss.detach()), norm]).isfinite().all()):
        raise FloatingPointError(
            f"update {step}: loss {float(loss.detach())}, gradient norm {norm}: lower "
            "optimiser.learning_rate and resume from the last checkpoint"
        )
    optimiser.step()
    return Update(step, "learn" if is_learning else "head", nats, error, norm)


def _learn(reviewer: Reviewer, batch: ReviewBatch, config: ReviewerConfig) -> tuple[float, Tensor]:
    """Loss of real reviews, and of the novels where they have a weight."""
    state = _new_state(reviewer, len(batch.novels.ids), config)
    novel_loss = torch.zeros((), device=batch.novels.ids.device)
    if config.novel_weight and bool(batch.novels.mask.any()):
        state, told = reviewer.read_novel_with_nats(
            batch.novels.ids, state, batch.novels.mask, length=batch.length
        )
        novel_loss = told.sum() / batch.novels.mask.sum()
    else:
        state = reviewer.read_novel(batch.novels.ids, state, batch.novels.mask, length=batch.length)
    reading = reviewer.ask(state.fork(config.n_review), batch.group, batch.delay)
    nats = reviewer.nats(reading, batch.reviews.ids).where(batch.reviews.mask, 0.0)
    loss = nats.sum() / batch.reviews.mask.sum()
    return float(loss.detach()), loss + config.novel_weight * novel_loss


def _score(
    reviewer: Reviewer, head: ScoreHead, batch: DrawBatch, config: ReviewerConfig
) -> tuple[float, float, Tensor]:
    """Joint loss of head and language model on drawn reviews."""
    state = _new_state(reviewer, len(batch.novels.ids), config)
    state = reviewer.read_novel(batch.novels.ids, state, batch.novels.mask)
    reading = reviewer.ask(state.fork(config.n_review))
    loss = head_loss(
        reviewer, head, reading, batch.reviews.ids, batch.reviews.mask, batch.target,
        language_weight=config.language_weight, is_scored=batch.is_scored,
    )  # fmt: skip
    return float(loss.squared_error.detach()), float(loss.nats.detach()), loss.total


def _new_state(reviewer: Reviewer, n_lane: int, config: ReviewerConfig) -> DecoderState:
    # <review> and the review itself are two more segments
    return reviewer.model.new_state(n_lane, grad_segments=config.grad_segments + 2)
