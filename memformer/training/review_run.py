"""A folder of a reviewer: trained on a file of reviews, measured on another's novels.

OUT/review.json      config, what became of the reviews, the texts it was trained on, the gain
OUT/reviewer/        decoder, head, tokenizer
OUT/checkpoint/      where an interrupted run goes on
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import torch

from memformer.config import from_json, to_json
from memformer.config.reviewer import ReviewerConfig
from memformer.data.feedback import Review
from memformer.data.manuscripts import Manuscript
from memformer.data.tokenizer import Tokenizer
from memformer.evaluation.machine import describe
from memformer.evaluation.store import read_json, write_json
from memformer.memory.storage import read_manifest
from memformer.model.decoder import Decoder
from memformer.reward.gain import Gain, gain_from_json, gain_json, information_gain
from memformer.reward.review_text import review_vocabulary, with_review_tokens
from memformer.reward.review_tokens import ReviewCounts, encode_reviews
from memformer.reward.saved_reviewer import KIND, load_reviewer, save_reviewer
from memformer.training.reviewer import TrainedReviewer, Update, train_reviewer
from memformer.training.reviewer_batches import ReviewerData

RECORD = "review.json"
REVIEWER = "reviewer"


class ReviewRun(NamedTuple):
    """What training on a file of reviews gave."""

    trained: TrainedReviewer
    counts: ReviewCounts
    """What became of the reviews."""


class Measured(NamedTuple):
    """A gain, and what it was measured on."""

    gain: Gain
    counts: ReviewCounts
    """What became of the reviews."""
    n_known: int
    """Reviews left out: of texts or authors that the reviewer was trained on."""


def is_reviewer(folder: Path) -> bool:
    """Whether a folder holds a trained reviewer."""
    return (folder / REVIEWER / "manifest.json").is_file()


def train_on_reviews(
    decoder: Decoder,
    tokenizer: Tokenizer,
    manuscripts: Sequence[Manuscript],
    reviews: Sequence[Review],
    config: ReviewerConfig,
    out: Path,
    *,
    values: Mapping[str, float] | None = None,
    groups: Mapping[str, str] | None = None,
    as_of: datetime | None = None,
    resume: bool = False,
    watch: Callable[[Update], None] | None = None,
) -> ReviewRun:
    """Train a reviewer that starts from a decoder, and write it to a folder.

    Args:
        decoder: of a run; it is copied.
        tokenizer: the decoder's.
        manuscripts: the novels; those without a review are only used by the head.
        reviews: of some of them.
        config: everything else; `n_head` needs values.
        out: the folder.
        values: by id of manuscript, what the head is to predict.
        groups: by pseudonym, as in `encode_reviews`.
        as_of: of reviews written later nothing is used.
        resume: go on from the folder's checkpoint.
        watch: told each update.

    Raises:
        ValueError: the folder holds a reviewer and `resume` is not asked for; a value of a
            manuscript that is not there, or that is no finite number; as `train_reviewer`.
    """
    if (out / RECORD).exists() and not resume:
        raise ValueError(f"{out} holds a reviewer: go on with it by --resume, or choose another")
    if resume and not (out / RECORD).exists():
        raise ValueError(f"{out} holds no reviewer to go on with")
    vocabulary = review_vocabulary(tokenizer, config.review, n_text=decoder.config.vocab_size)
    encoded, counts = encode_reviews(
        reviews, manuscripts, tokenizer, vocabulary, config.review, groups=groups, as_of=as_of
    )
    if unknown := sorted(set(values or {}) - {each.id for each in manuscripts}):
        raise ValueError(f"values: there is no manuscript {unknown[0]!r} among the texts")
    for name, value in (values or {}).items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise ValueError(
                f"values: {name!r} must be a finite number, got {value!r}: leave out what is not "
                "known"
            )
    targets = None
    if values is not None:
        targets = torch.tensor([float(values.get(each.id, math.nan)) for each in manuscripts])
    novels = [tokenizer.encode(each.text).ids for each in manuscripts]
    record = {
        "config": to_json(config),
        "as_of": None if as_of is None else as_of.isoformat(),
        "reviews": asdict(counts),
        "trained_on": [
            {"id": each.id, "text": each.hash, "author": each.author} for each in manuscripts
        ],
        "made_with": describe(),
    }
    write_json(out / RECORD, record)
    trained = train_reviewer(
        with_review_tokens(decoder, vocabulary, seed=config.seed), vocabulary,
        ReviewerData(novels, encoded, targets), config, out / "checkpoint",
        resume=resume and (out / "checkpoint").exists(), watch=watch,
    )  # fmt: skip
    save_reviewer(out / REVIEWER, trained.reviewer, trained.head)
    tokenizer.save_in(out / REVIEWER)
    drawn = trained.drawn
    left_out = None if drawn is None else {"empty": drawn.n_empty, "no end": drawn.n_unfinished}
    write_json(out / RECORD, {**record, "drawn_left_out": left_out})
    return ReviewRun(trained, counts)


def measure_gain(
    out: Path,
    tokenizer: Tokenizer,
    manuscripts: Sequence[Manuscript],
    reviews: Sequence[Review],
    *,
    groups: Mapping[str, str] | None = None,
    as_of: datetime | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Information gain of the reviewer in a folder, on novels it was not trained on; it is added to
    the folder's record.

    Reviews of texts that it was trained on, or of their authors, are left out and counted.

    Raises:
        UnreadableSave: there is no reviewer, or another tokenizer's.
        ValueError: fewer than 5 novels are left; as `information_gain`.
    """
    reviewer = load_reviewer(out / REVIEWER, tokenizer).reviewer
    record = read_json(out / RECORD)
    config = from_json(ReviewerConfig, record["config"])
    texts = {each["text"] for each in record["trained_on"]}
    authors = {each["author"] for each in record["trained_on"]} - {None}
    known = {each.id for each in manuscripts if each.hash in texts or each.author in authors}
    kept = [each for each in reviews if each.novel not in known]
    encoded, counts = encode_reviews(
        kept,
        manuscripts,
        tokenizer,
        reviewer.vocabulary,
        config.review,
        groups=groups,
        as_of=as_of,
    )
    n_known, n_novel = len(reviews) - len(kept), len({each.novel for each in encoded})
    if n_novel < 5:
        raise ValueError(
            f"a gain needs reviews of at least 5 novels that the reviewer was not trained on, got "
            f"{n_novel} ({n_known} reviews are of texts or authors that it was trained on; "
            f"{counts.told()})"
        )
    has_review = {each.novel for each in encoded}
    novels = [
        tokenizer.encode(each.text).ids if i in has_review else []
        for i, each in enumerate(manuscripts)
    ]
    gain = information_gain(reviewer, novels, encoded, seed=seed, progress=progress)
    found = {**gain_json(gain), "seed": seed, "reviews": asdict(counts), "n_known": n_known}
    write_json(out / RECORD, {**record, "information_gain": found})
    return Measured(gain, counts, n_known)


def read_gain(out: Path) -> Gain | None:
    """The gain that `measure_gain` found for the reviewer in a folder; None if it never did.

    Raises:
        ValueError: the folder's record is damaged.
    """
    found = read_json(out / RECORD).get("information_gain")
    return None if found is None else gain_from_json(found)


def refuse_shared_gold(reviewer: Path, gold: Path) -> None:
    """A reviewer that stops a tuning has learned from other novels than the one that rewards it.

    Which raters stand behind the values of either is not recorded, and not looked at.

    Args:
        reviewer, gold: folders of reviewers.

    Raises:
        ValueError: both have the same weights, or a text or an author was trained on by both.
    """
    one, other = (read_manifest(folder / REVIEWER, KIND)["weights"] for folder in (reviewer, gold))
    if one == other:
        raise ValueError(
            f"gold must be judged by another reviewer than the reward, {gold} has the weights of "
            f"{reviewer}"
        )
    read = [read_json(folder / RECORD).get("trained_on", []) for folder in (reviewer, gold)]
    for name in ("text", "author"):
        first, second = ({each[name] for each in rows} - {None} for rows in read)
        if both := first & second:
            raise ValueError(
                f"gold must share no {name} with the reward's training, {gold} and {reviewer} "
                f"share {len(both)}: fit it to reviews of other novels"
            )
