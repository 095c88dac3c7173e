"""Which rating events a rater model is fitted to, and which of them it is judged by.

n cells
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from memformer.config.reward import RaterRunConfig
from memformer.data.feedback import Novel, RatingEvent, Review, refuse_unknown_items
from memformer.data.feedback_cells import RatedCells, cells_of, combine, norm_of
from memformer.data.feedback_splits import (
    RATER_SETS,
    RaterSet,
    part_novels,
    part_raters,
    part_reviews,
    split_events,
)
from memformer.data.manuscripts import Manuscript
from memformer.reward.event_ratings import ratings_of
from memformer.reward.ratings import Ratings
from memformer.reward.review_leaks import strip_leaks


class PartOfEvents(NamedTuple):
    """Events of raters and novels of one part."""

    events: list[RatingEvent]
    n_crossed: int
    """Events whose rater is of one part and whose novel of another: in none."""
    n_other_kind: int
    """Events that are about no review."""


class EventCells(NamedTuple):
    """Ratings of reviews, and which of them are held out."""

    ratings: Ratings
    raters: tuple[str, ...]
    """Names, by number."""
    items: tuple[str, ...]
    """Reviews, by number: those that were rated."""
    source: list[str]
    """(n,) where each rating came from."""
    is_held: Tensor
    """(n,) bool: of a novel that is held out."""
    held_novels: tuple[str, ...]
    left_out: dict[str, int]
    """Events, or judgements, that are no cell, by reason."""
    criterion: str


def split_criteria(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """`name` or `name=weight` as names and weights; no weights where none was given.

    Raises:
        ValueError: a weight that is no number.
    """
    pairs = [word.partition("=") for word in words]
    names = tuple(name.strip() for name, _, _ in pairs)
    if not any(found for _, found, _ in pairs):
        return names, ()
    try:
        return names, tuple(float(weight) if found else 1.0 for _, found, weight in pairs)
    except ValueError:
        raise ValueError(f"a criterion must be name or name=number, got {list(words)}") from None


def events_of_part(
    events: Sequence[RatingEvent],
    reviews: Sequence[Review],
    novels: Sequence[Novel],
    part: RaterSet,
    seed: int,
) -> PartOfEvents:
    """The events to train on, to stop by or to report: parts share no rater and no author.

    Raises:
        ValueError: another part, an event about a review or a review of a novel that is not there,
            an author that is unknown, or no event in this part.
    """
    if part not in RATER_SETS:
        raise ValueError(f"part must be one of {', '.join(RATER_SETS)}, got {part!r}")
    refuse_unknown_items(events, [each.review for each in reviews], "review")
    about = [each for each in events if each.item_kind == "review"]
    items = part_reviews(reviews, part_novels(novels, seed=seed))
    split = split_events(about, items, part_raters([e.rater for e in about], seed=seed))
    mine: list[RatingEvent] = getattr(split, part)
    if not mine:
        raise ValueError(
            f"no rating is of the part {part!r}: it has no rater who rated one of its novels "
            f"({split.n_crossed} ratings cross parts): take another split_seed, or more raters"
        )
    return PartOfEvents(mine, split.n_crossed, len(events) - len(about))


def without_leaks(
    reviews: Sequence[Review], events: Sequence[RatingEvent], manuscripts: Sequence[Manuscript]
) -> tuple[list[Review], list[RatingEvent], int]:
    """Reviews without stars, and without title and author where the novel is given: as a reviewer
    learned to write them.

    Returns:
        The reviews that still have a word, the events that are about none of the others, and how
        many events those were.
    """
    by_id = {each.id: (each.title, each.author) for each in manuscripts}
    kept, gone = [], set()
    for review in reviews:
        title, author = by_id.get(review.novel, (None, None))
        text = strip_leaks(review.text, title=title, author=author).text.strip()
        if any(character.isalnum() for character in text):
            kept.append(replace(review, text=text))
        else:
            gone.add(review.review)
    left = [e for e in events if not (e.item_kind == "review" and e.item in gone)]
    return kept, left, len(events) - len(left)


def cells_to_fit(
    events: Sequence[RatingEvent], reviews: Sequence[Review], config: RaterRunConfig
) -> EventCells:
    """Ratings of reviews on the criteria asked for, novels drawn to be held out.

    Whole novels are held out, with every rating of every review: the report is then about novels
    that the raters of the model never judged. What brings several criteria together (mean and
    standard deviation) is that of the other novels.

    Args:
        events: as of a date, of any kind and criterion.
        reviews: every review that may be rated.
        config: criteria, scale, flags, share held out, seed.

    Raises:
        ValueError: an event about a review that is not there, ratings off `config.scale`, fewer
            than two raters or two rated novels, training ratings that all agree, or what
            `cells_of`, `combine` and `ratings_of` refuse.
    """
    refuse_unknown_items(events, [each.review for each in reviews], "review")
    novel_of = {each.review: each.novel for each in reviews}
    _check_scale(events, config)
    found = [cells_of(events, name, without_flags=config.without_flags) for name in config.criteria]
    left_out = _left_out(events, config)
    rated = sorted({novel_of[item] for each in found for item in each.cells.items})
    held = _drawn_novels(rated, config)
    trained = [_outside(each.cells, novel_of, held) for each in found]
    norms = {each.criterion: norm_of(each) for each in trained}  # refuses what all agree on
    if len(found) == 1:
        (single,) = found
        is_raw = len(single.scales) == 1
        cells = (
            cells_of(events, *config.criteria, without_flags=config.without_flags, raw=True).cells
            if is_raw
            else single.cells
        )
    else:
        weights = config.weights or (1.0,) * len(config.criteria)
        both = combine(
            [each.cells for each in found], norms, dict(zip(config.criteria, weights, strict=True))
        )
        cells = both.cells
        left_out |= {"judgement without every criterion": both.n_incomplete}
    if len(cells.raters) < 2:
        raise ValueError(
            f"raters must be at least two, got one, {cells.raters[0]!r}: one person is no "
            "population, and what is taste cannot be told from quality"
        )
    held_set = set(held)
    is_held = torch.tensor([novel_of[cells.items[i]] in held_set for i in cells.item])
    return EventCells(
        ratings_of(cells, mixed_propensity=config.mixed_propensity),
        cells.raters, cells.items, _sources(events, cells, config), is_held, held,
        {reason: n for reason, n in left_out.items() if n}, cells.criterion,
    )  # fmt: skip


def _check_scale(events: Sequence[RatingEvent], config: RaterRunConfig) -> None:
    if config.scale is None:
        return
    wrong = [e for e in events if e.criterion in config.criteria and e.item_kind == "review"
             and e.value is not None and e.scale != config.scale]  # fmt: skip
    if wrong:
        raise ValueError(
            f"scale: event {wrong[0].event!r} is on {list(wrong[0].scale)}, not on "
            f"{list(config.scale)} ({len(wrong)} such events): leave them out, or give no scale"
        )


def _left_out(events: Sequence[RatingEvent], config: RaterRunConfig) -> dict[str, int]:
    """Each event once: with several criteria, none of them is "of another criterion"."""
    counts: dict[str, int] = {}
    of_any = [each for each in events if each.criterion in config.criteria]
    for name in config.criteria:
        mine = [each for each in of_any if each.criterion == name]
        for reason, n in cells_of(mine, name, without_flags=config.without_flags).left_out.items():
            counts[reason] = counts.get(reason, 0) + n
    return counts | {"of another criterion": len(events) - len(of_any)}


def _drawn_novels(rated: Sequence[str], config: RaterRunConfig) -> tuple[str, ...]:
    if len(rated) < 2:
        raise ValueError(
            f"reviews of at least two novels must have been rated, for one is held out, got "
            f"{len(rated)}"
        )
    n = min(len(rated) - 1, max(1, round(config.held_out * len(rated))))
    order = np.random.default_rng(config.seed).permutation(len(rated))
    return tuple(sorted(rated[i] for i in order[:n]))


def _outside(cells: RatedCells, novel_of: Mapping[str, str], held: Sequence[str]) -> RatedCells:
    """The cells of novels that are not held out; numbers stay."""
    gone = set(held)
    keep = np.array([novel_of[cells.items[i]] not in gone for i in cells.item])
    if not keep.any():
        raise ValueError(
            f"criterion {cells.criterion!r} has no rating outside the {len(held)} novels held out: "
            "take another seed or a smaller held_out"
        )
    return cells._replace(
        rater=cells.rater[keep], item=cells.item[keep], wave=cells.wave[keep],
        value=cells.value[keep], propensity=cells.propensity[keep],
    )  # fmt: skip


def _sources(events: Sequence[RatingEvent], cells: RatedCells, config: RaterRunConfig) -> list[str]:
    """Of each cell; of several criteria, where the first came from."""
    found = {
        (e.rater, e.item, e.wave): e.source
        for e in events
        if e.criterion == config.criteria[0] and e.item_kind == "review"
    }
    keys = zip(cells.rater, cells.item, cells.wave, strict=True)
    return [found[cells.raters[r], cells.items[i], int(w)] for r, i, w in keys]
