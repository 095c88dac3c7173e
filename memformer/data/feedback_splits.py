"""Who and what is trained on: novels by author, raters in three sets that share nobody.

Parts are drawn by hashing names, so that a name that comes later moves none that was there.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from memformer.data.cleaning import same_words
from memformer.data.feedback import Novel, RatingEvent, Review
from memformer.data.manuscripts import natural_name
from memformer.data.splits import PARTS, Part

RaterSet = Literal["train", "early_stop", "report"]
RATER_SETS: tuple[RaterSet, ...] = ("train", "early_stop", "report")
_WITH: dict[Part, RaterSet] = {"train": "train", "validation": "early_stop", "test": "report"}


class EventSplit(NamedTuple):
    """Events to train on, to stop by, and to report: no rater and no author in two of them."""

    train: list[RatingEvent]
    early_stop: list[RatingEvent]
    report: list[RatingEvent]
    n_crossed: int
    """Events whose rater is of one part and whose item of another: in none of the three."""


def part_novels(
    novels: Sequence[Novel], *, shares: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int
) -> dict[str, Part]:
    """The part of each novel: what its `split` says, else drawn, all of an author together.

    Args:
        novels: each once.
        shares: of authors that are drawn for train, validation and test.
        seed: of the draw.

    Raises:
        ValueError: an author is unknown or, by `split`, in two parts; or shares that are no shares.
    """
    _check_shares(shares)
    told: dict[str, tuple[str, Part]] = {}
    for novel in novels:
        if novel.split is None:
            continue
        key = _author(novel)
        other, part = told.setdefault(key, (novel.novel, novel.split))
        if part != novel.split:
            raise ValueError(
                f"author {novel.author!r} must stand in one part only: {other!r} is in {part}, "
                f"{novel.novel!r} in {novel.split}"
            )
    return {
        n.novel: told[key][1]
        if (key := _author(n)) in told
        else PARTS[_drawn(f"author:{key}", shares, seed)]
        for n in novels
    }


def part_reviews(reviews: Iterable[Review], novels: Mapping[str, Part]) -> dict[str, Part]:
    """The part of each review: that of its novel.

    Raises:
        ValueError: a review of a novel that has no part.
    """
    found = {}
    for review in reviews:
        if review.novel not in novels:
            raise ValueError(
                f"review {review.review!r} is of novel {review.novel!r}, which is none of the "
                f"{len(novels)} known"
            )
        found[review.review] = novels[review.novel]
    return found


def part_raters(
    raters: Iterable[str], *, shares: tuple[float, float, float] = (0.7, 0.15, 0.15), seed: int
) -> dict[str, RaterSet]:
    """The set of each rater, drawn by name: who is in it stays in it as others come.

    Raises:
        ValueError: shares that are no shares.
    """
    _check_shares(shares)
    return {name: RATER_SETS[_drawn(f"rater:{name}", shares, seed)] for name in sorted(set(raters))}


def split_events(
    events: Iterable[RatingEvent], items: Mapping[str, Part], raters: Mapping[str, RaterSet]
) -> EventSplit:
    """Events of training raters about training items, and so on; the others are counted.

    Args:
        events: as of a date.
        items: the part of each item.
        raters: the set of each rater.

    Raises:
        ValueError: an event about an item, or of a rater, that has no part.
    """
    found: dict[RaterSet, list[RatingEvent]] = {name: [] for name in RATER_SETS}
    n_crossed = 0
    for event in events:
        if event.item not in items or event.rater not in raters:
            name, value = ("item", event.item) if event.item not in items else (
                "rater", event.rater)  # fmt: skip
            raise ValueError(f"event {event.event!r}: {name} {value!r} has no part")
        if _WITH[items[event.item]] == (own := raters[event.rater]):
            found[own].append(event)
        else:
            n_crossed += 1
    return EventSplit(found["train"], found["early_stop"], found["report"], n_crossed)


def refuse_shared(train: Iterable[RatingEvent], gold: Iterable[RatingEvent]) -> None:
    """Gold is of raters and items that were never trained on.

    Raises:
        ValueError: a rater or an item is in both; names one and how many there are.
    """
    train, gold = list(train), list(gold)
    for name in ("rater", "item"):
        both = {getattr(e, name) for e in train} & {getattr(e, name) for e in gold}
        if both:
            raise ValueError(
                f"gold must share no {name} with the training data, got {min(both)!r} in both "
                f"({len(both)} such)"
            )


def _author(novel: Novel) -> str:
    name = natural_name(novel.author)
    key = same_words(name) if name else ""
    if not key:
        raise ValueError(f"a split by author needs every author, novel {novel.novel!r} has none")
    return key


def _check_shares(shares: tuple[float, float, float]) -> None:
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares must be three of at least 0 that sum to 1, got {shares}")


def _drawn(name: str, shares: tuple[float, float, float], seed: int) -> int:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    at = int.from_bytes(digest[:7], "big") / 2**56
    return 0 if at < shares[0] else 1 if at < shares[0] + shares[1] else 2
