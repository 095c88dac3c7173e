"""From rating events and reviews to a folder that holds raters, and how good they are.

OUT/raters.json     settings, what was read, what was left out, trials of ranks, the report
OUT/report.txt      the report to be read
OUT/values.json     novel: mean score of its reviews, as `reward review --values` takes it
OUT/next.jsonl      what to ask next, if that was asked for
OUT/raters/         the rater model
OUT/features/       vectors of the reviews, a file a part: where an interrupted run goes on

m reviews, d features
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from safetensors.torch import load, save
from torch import Tensor

from memformer.config.changes import differences, to_json
from memformer.config.reward import RaterRunConfig
from memformer.data.feedback import RatingEvent, Review, refuse_unknown_items
from memformer.data.feedback_files import to_lines
from memformer.data.manuscripts import Manuscript
from memformer.evaluation.machine import describe
from memformer.evaluation.store import read_json, write_json, write_whole
from memformer.reward.acceptance import LEAST_ITEMS, Acceptance, accept
from memformer.reward.ask_next import ask_next
from memformer.reward.choice import Choice, Trial, choose_raters
from memformer.reward.event_cells import EventCells, cells_to_fit, without_leaks
from memformer.reward.raters import RaterModel, fit_raters
from memformer.reward.ratings import Ratings, select

RECORD, REPORT, VALUES, NEXT, MODEL, FEATURES = (
    "raters.json", "report.txt", "values.json", "next.jsonl", "raters", "features",
)  # fmt: skip
_PART = 256
"""Reviews a file of features."""


class Features(Protocol):
    """A model that makes vectors of texts."""

    kind: Any
    """What model it is."""
    source: str
    """What names it."""
    digest: str
    """Of its weights."""
    n_cut: int
    """Texts that were too long, so far."""

    def __call__(self, texts: Sequence[str], /) -> Tensor:
        """(m, d) float, NaN for a text that cannot be read."""
        ...


class RaterRun(NamedTuple):
    """Raters, and what is known of them."""

    model: RaterModel
    choice: Choice
    report: Acceptance | None
    """None if there were too few ratings for one and it was not asked for."""
    cells: EventCells


def fit_events(
    events: Sequence[RatingEvent],
    reviews: Sequence[Review],
    features: Features,
    config: RaterRunConfig,
    out: Path,
    *,
    exchangeable: bool,
    manuscripts: Sequence[Manuscript] = (),
    as_of: datetime | None = None,
    unreported: bool = False,
    n_next: int = 0,
    resume: bool = False,
    told: Callable[[str], None] = lambda line: None,
) -> RaterRun:
    """Fit raters to rating events, judge them on novels held out, and write all of it to a folder.

    The model is that of the report: it is not fitted again with the ratings held out.

    Args:
        events: that stood at a date (`feedback_log.as_of`).
        reviews: all that may be rated; unrated ones get a score too. Stars are taken out, as
            they are for a reviewer; a review without a word then is left out with its ratings.
        features: of the reviews' texts.
        config: everything else.
        out: the folder.
        manuscripts: novels whose titles and authors are taken out of their reviews too.
        exchangeable: whether a rater's name is no person, see `accept`.
        as_of: the date, for the record.
        unreported: go on without a report where too few held-out reviews were rated twice.
        n_next: how many pairs of review and rater to name that should be asked next.
        resume: go on in a folder that holds raters of the very same settings and data.
        told: gets lines of progress.

    Raises:
        ValueError: the folder holds raters and `resume` is not asked for; it holds none, or others,
            and it is; too few ratings for a report; a review whose features are not finite; as
            `cells_to_fit`, `choose_raters`, `fit_raters` and, with `n_next`, `ask_next`.
    """
    _check_place(out, resume)
    refuse_unknown_items(events, [each.review for each in reviews], "review")
    reviews, events, n_wordless = without_leaks(reviews, events, manuscripts)
    cells = cells_to_fit(events, reviews, config)
    test = select(cells.ratings, cells.is_held)
    reported = _can_report(test, unreported)
    asked = {
        "config": to_json(config),
        "exchangeable": exchangeable,
        "as_of": None if as_of is None else as_of.isoformat(),
        "events": hashlib.sha256(to_lines(events)).hexdigest(),
        "reviews": hashlib.sha256(to_lines(reviews)).hexdigest(),
        "features": {
            "kind": features.kind, "source": features.source, "digest": features.digest,
        },
    }  # fmt: skip
    if resume:
        _check_same(read_json(out / RECORD)["asked"], asked, out)
    else:
        write_json(out / RECORD, {"asked": asked, "finished": False})
    every, n_cut = review_features(reviews, features, out / FEATURES, told)
    place = {each.review: i for i, each in enumerate(reviews)}
    rated = torch.tensor([place[name] for name in cells.items])
    x = every[rated]
    n_word = torch.tensor([float(max(1, len(each.text.split()))) for each in reviews])[rated]
    choice, model = _fit(cells, x, n_word, config, told)
    report = None
    if reported:
        sources = [s for s, held in zip(cells.source, cells.is_held.tolist(), strict=True) if held]
        report = accept(
            model, test, x, exchangeable=exchangeable, length=n_word,
            source=sources if len(set(sources)) > 1 else None, seed=config.seed,
        )  # fmt: skip
    if n_wordless:
        cells.left_out["of a review without a word"] = n_wordless
    run = RaterRun(model, choice, report, cells)
    if n_next:
        _write_next(out, run, reviews, every, rated, n_next)
    _write(out, run, reviews, every, asked, n_cut)
    return run


def review_features(
    reviews: Sequence[Review], features: Features, folder: Path, told: Callable[[str], None]
) -> tuple[Tensor, int]:
    """(m, d) vectors of all reviews, and how many were cut.

    Parts that a folder has are read, others are written to it.

    A part's file is named by model and texts, so that nothing stale is ever read.

    Raises:
        ValueError: a review's vector is not finite.
    """
    parts, n_cut = [], 0
    for start in range(0, len(reviews), _PART):
        some = reviews[start : start + _PART]
        name = hashlib.sha256(
            json.dumps([features.digest, *(each.text for each in some)]).encode()
        ).hexdigest()
        path = folder / f"{name[:16]}.safetensors"
        if path.exists():
            kept = load(path.read_bytes())
            part, cut = kept["features"], int(kept["n_cut"])
        else:
            cut = features.n_cut
            part = features([each.text for each in some])
            cut = features.n_cut - cut
            is_bad = ~torch.isfinite(part).all(1)
            if is_bad.any():
                first = some[int(is_bad.nonzero()[0])]
                raise ValueError(
                    f"features of review {first.review!r} are not finite ({int(is_bad.sum())} such "
                    f"reviews): {features.source} can make nothing of its text; leave it out"
                )
            write_whole(path, save({"features": part.contiguous(), "n_cut": torch.tensor(cut)}))
        parts.append(part)
        n_cut += cut
        told(f"features of {start + len(some)}/{len(reviews)} reviews by {features.source}")
    return torch.cat(parts), n_cut


def load_raters(folder: Path) -> tuple[RaterModel, dict[str, Any]]:
    """The model in a folder that `fit_events` wrote, and the folder's record.

    Raises:
        ValueError: nothing was completed there, or it is damaged.
    """
    if not (folder / RECORD).is_file() or not read_json(folder / RECORD).get("finished"):
        raise ValueError(f"{folder} holds no raters: make them with `memformer reward raters`")
    return RaterModel.load(folder / MODEL), read_json(folder / RECORD)


def refuse_same_raters(train: dict[str, Any], gold: dict[str, Any]) -> None:
    """Gold is of raters and novels that the reward was not fitted to.

    Args:
        train, gold: records, as `load_raters` gives them.

    Raises:
        ValueError: a rater or a novel is in both; names one and how many there are.
    """
    for name in ("raters", "novels"):
        if both := set(train[name]) & set(gold[name]):
            raise ValueError(
                f"gold raters must share no {name} with the reward's, got {min(both)!r} in both "
                f"({len(both)} such): fit the one to --part train, the other to --part early_stop"
            )


def _check_place(out: Path, resume: bool) -> None:
    """An unfinished folder may be begun anew: its features are named by what they are of."""
    has = (out / RECORD).is_file()
    if has and not resume and read_json(out / RECORD).get("finished"):
        raise ValueError(f"{out} holds raters: go on with them by --resume, or choose another")
    if resume and not has:
        raise ValueError(f"{out} holds no raters to go on with")


def _check_same(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    for name, was, is_now in differences(before, json.loads(json.dumps(now))):
        raise ValueError(
            f"{out} was made with {name}={was!r}, now it is {is_now!r}: give what it was made "
            "with, or choose another folder"
        )


def _can_report(test: Ratings, unreported: bool) -> bool:
    """Whether there are enough held-out ratings to judge by: said before the work begins."""
    n = int((torch.bincount(test.item, minlength=test.n_item) >= 2).sum())
    if n >= LEAST_ITEMS:
        return True
    if not unreported:
        raise ValueError(
            f"a report needs {LEAST_ITEMS} held-out reviews that two raters rated, got {n}: hold "
            "out more novels (held_out), or go on without a report by --unreported"
        )
    return False


def _fit(
    cells: EventCells, x: Tensor, n_word: Tensor, config: RaterRunConfig,
    told: Callable[[str], None],
) -> tuple[Choice, RaterModel]:  # fmt: skip
    train = select(cells.ratings, ~cells.is_held)

    def watch(trial: Trial) -> None:
        told(f"rank {trial.config.rank}: held-out error {trial.mean:.3f}")

    candidates = [replace(config.raters, rank=rank) for rank in config.ranks]
    choice = choose_raters(
        train, x, candidates, by=config.choose_by, n_fold=config.n_fold, seed=config.seed,
        watch=watch,
    )  # fmt: skip
    nuisance = n_word.log()[:, None].to(x.dtype) if config.drop_length else None
    told(f"fitting rank {choice.config.rank} to {len(train.value)} ratings")
    return choice, fit_raters(train, x, choice.config, seed=config.seed, nuisance=nuisance)


def _write_next(
    out: Path, run: RaterRun, reviews: Sequence[Review], every: Tensor, rated: Tensor, n: int
) -> None:
    """By all ratings, held-out ones too: they are known."""
    ratings = run.cells.ratings
    known = ratings._replace(item=rated[ratings.item], n_item=len(reviews))
    rows = [
        {
            "review": reviews[ask.item].review, "rater": run.cells.raters[ask.rater],
            "reduction": ask.reduction, "variance": ask.variance,
        }
        for ask in ask_next(run.model, known, every, n)
    ]  # fmt: skip
    write_whole(out / NEXT, "".join(json.dumps(row) + "\n" for row in rows).encode())


def _write(
    out: Path, run: RaterRun, reviews: Sequence[Review], every: Tensor, asked: dict[str, Any],
    n_cut: int,
) -> None:  # fmt: skip
    """The record last: it says that all of it is there."""
    run.model.save(out / MODEL)
    score = run.model.score(every).tolist()
    by_novel: dict[str, list[float]] = {}
    for review, value in zip(reviews, score, strict=True):
        by_novel.setdefault(review.novel, []).append(value)
    write_json(out / VALUES, {name: sum(v) / len(v) for name, v in sorted(by_novel.items())})
    report = run.report
    text = "no report: too few held-out reviews" if report is None else report.text()
    write_whole(out / REPORT, f"{text}\n".encode())
    rated = set(run.cells.items)
    write_json(
        out / RECORD,
        {
            "asked": asked,
            "criterion": run.cells.criterion,
            "left_out": run.cells.left_out,
            "raters": list(run.cells.raters),
            "novels": sorted({each.novel for each in reviews if each.review in rated}),
            "held_novels": list(run.cells.held_novels),
            "n_feature": every.shape[1],
            "n_cut": n_cut,
            "rank": run.choice.config.rank,
            "trials": [
                {"rank": trial.config.rank, "rmse": list(trial.rmse), "mean": trial.mean}
                for trial in run.choice.trials
            ],
            "fit": run.model.report,
            "report": None if report is None else report.to_json(),
            "unreported": report is None,
            "made_with": describe(),
            "finished": True,
        },
    )
