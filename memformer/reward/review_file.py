"""Reviews in a JSONL file, and the way from there to tokens. Nothing is left out uncounted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

from memformer.config.reviewer import ReviewConfig
from memformer.data.manuscripts import Manuscript, decode
from memformer.data.tokenizer import Tokenizer
from memformer.reward.review_leaks import strip_leaks
from memformer.reward.review_set import ReviewIds
from memformer.reward.review_text import ReviewVocabulary


@dataclass(frozen=True, kw_only=True)
class Review:
    """A line of a file of reviews."""

    review: str
    """Its id."""
    novel: str
    """Id of its manuscript."""
    text: str
    origin: str | None = None
    """`human` or `model`."""
    model_version: str | None = None
    reviewer: str | None = None
    """A pseudonym."""
    reader_group: str | None = None
    """Group of readers; one that `ReviewConfig.groups` does not name is unknown, and counted."""
    upto_u: float = 1.0
    """Share of the novel that was read, in (0, 1]."""
    delay_days: float | None = None
    """From reading to writing."""
    stars: float | None = None
    """Withheld from the reviewer."""
    written_at: str | None = None
    """ISO 8601."""


@dataclass
class ReviewCounts:
    """What happened on the way from a file to tokens."""

    n_read: int = 0
    """Lines."""
    n_used: int = 0
    """Reviews in tokens."""
    n_without_novel: int = 0
    """Left out: their manuscript is not among the texts."""
    n_later: int = 0
    """Left out: written after `as_of`, or without a date where one was asked for."""
    n_empty: int = 0
    """Left out: no word, or none but a title, an author or stars."""
    n_too_long_left_out: int = 0
    """Left out: longer than `max_len`."""
    n_cut: int = 0
    """Used without their end, which lay beyond `max_len`."""
    n_title: int = 0
    """Titles replaced."""
    n_author: int = 0
    """Authors replaced."""
    n_stars: int = 0
    """Stars removed."""
    n_unknown_group: int = 0
    """Of those used: their group has no token."""

    def told(self) -> str:
        """One line, zeros left out."""
        names = [each.name for each in fields(self)]
        rest = [
            f"{name.removeprefix('n_').replace('_', ' ')} {n:,}"
            for name in names[2:] if (n := getattr(self, name))
        ]  # fmt: skip
        return "; ".join([f"{self.n_used:,} of {self.n_read:,} reviews used", *rest])


def read_reviews(path: Path) -> tuple[Review, ...]:
    """Reviews of a .jsonl file, one object a line with fields of `Review`.

    Raises:
        ValueError: a line is no such object, a field is unknown, of the wrong type or out of range,
            or an id stands twice; names file, line and field.
        OSError: the file cannot be read.
    """
    found: dict[str, Review] = {}
    for n, line in enumerate(decode(path.read_bytes(), str(path)).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}, line {n}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: not JSON ({error})") from None
        review = _review(row, where)
        if review.review in found:
            raise ValueError(f"{where}: review {review.review!r} stands there twice")
        found[review.review] = review
    if not found:
        raise ValueError(f"{path} holds no review")
    return tuple(found.values())


def encode_reviews(
    reviews: Sequence[Review],
    manuscripts: Sequence[Manuscript],
    tokenizer: Tokenizer,
    vocabulary: ReviewVocabulary,
    config: ReviewConfig,
    *,
    as_of: date | None = None,
) -> tuple[list[ReviewIds], ReviewCounts]:
    """Reviews without leaks, in tokens; `ReviewIds.novel` counts the manuscripts.

    A review longer than `max_len` with its end is left out or cut as `config.too_long` says; a cut
    one has no end, so that the reviewer does not learn to end there.

    Args:
        as_of: leave out what was written later, or without a date.

    Raises:
        ValueError: another tokenizer than the vocabulary's.
    """
    if tokenizer.hash != vocabulary.tokenizer:
        raise ValueError(
            f"the vocabulary is over tokenizer {vocabulary.tokenizer[:6]}, this one is "
            f"{tokenizer.hash[:6]}: encode with the reviewer's"
        )
    place = {manuscript.id: i for i, manuscript in enumerate(manuscripts)}
    found, counts = [], ReviewCounts(n_read=len(reviews))
    for each in reviews:
        if each.novel not in place:
            counts.n_without_novel += 1
        elif as_of is not None and not _is_by(each.written_at, as_of):
            counts.n_later += 1
        else:
            novel = place[each.novel]
            ids = _ids(each, manuscripts[novel], tokenizer, vocabulary, config, counts)
            if ids:
                found.append(_with_metadata(each, novel, ids, vocabulary, counts))
    counts.n_used = len(found)
    return found, counts


def _ids(
    review: Review,
    manuscript: Manuscript,
    tokenizer: Tokenizer,
    vocabulary: ReviewVocabulary,
    config: ReviewConfig,
    counts: ReviewCounts,
) -> tuple[int, ...]:
    """Tokens of a review; none if it is left out, which is counted."""
    stripped = strip_leaks(review.text, title=manuscript.title, author=manuscript.author)
    counts.n_title += stripped.n_title
    counts.n_author += stripped.n_author
    counts.n_stars += stripped.n_stars
    if not any(character.isalnum() for character in stripped.text):
        counts.n_empty += 1
        return ()
    ids = (*tokenizer.encode(stripped.text.strip()).ids, vocabulary.end)
    if len(ids) <= config.max_len:
        return ids
    if config.too_long == "cut":
        counts.n_cut += 1
        return ids[: config.max_len]
    counts.n_too_long_left_out += 1
    return ()


def _with_metadata(
    review: Review, novel: int, ids: tuple[int, ...], words: ReviewVocabulary, counts: ReviewCounts
) -> ReviewIds:
    group = review.reader_group if review.reader_group in words.groups else None
    counts.n_unknown_group += group != review.reader_group
    return ReviewIds(
        review.review, novel, ids, words.group_id(group), words.delay_id(review.delay_days),
        review.upto_u,
    )  # fmt: skip


def _is_by(written_at: str | None, as_of: date) -> bool:
    return written_at is not None and datetime.fromisoformat(written_at).date() <= as_of


_TEXTS = (
    "review", "novel", "text", "origin", "model_version", "reviewer", "reader_group", "written_at",
)  # fmt: skip


def _review(row: Any, where: str) -> Review:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: must be a JSON object, got {type(row).__name__}")
    known = {each.name for each in fields(Review)}
    if unknown := sorted(set(row) - known):
        raise ValueError(f"{where}: {unknown[0]!r} is no field of a review; {sorted(known)} are")
    for name in ("review", "novel", "text"):
        if name not in row:
            raise ValueError(f"{where}: {name!r} is missing")
    for name, value in row.items():
        is_needed = name in ("review", "novel", "text", "upto_u")
        if value is None and not is_needed:
            continue
        kind = str if name in _TEXTS else int | float
        if not isinstance(value, kind) or isinstance(value, bool):
            wanted = "a string" if name in _TEXTS else "a number"
            raise ValueError(f"{where}: {name} must be {wanted}, got {value!r}")
    review = Review(**row)
    if not 0 < review.upto_u <= 1:
        raise ValueError(f"{where}: upto_u must be in (0, 1], got {review.upto_u}")
    if review.delay_days is not None and not review.delay_days >= 0:
        raise ValueError(f"{where}: delay_days must be at least 0, got {review.delay_days}")
    if review.written_at is not None:
        try:
            datetime.fromisoformat(review.written_at)
        except ValueError:
            raise ValueError(
                f"{where}: written_at must be ISO 8601, got {review.written_at!r}"
            ) from None
    return review
