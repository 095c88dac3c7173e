"""Reviews as people wrote them in tokens, without leaks. Nothing is left out uncounted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from memformer.config.reviewer import ReviewConfig
from memformer.data.feedback import Review
from memformer.data.manuscripts import Manuscript
from memformer.data.tokenizer import Tokenizer
from memformer.reward.review_leaks import strip_leaks
from memformer.reward.review_set import ReviewIds
from memformer.reward.review_text import ReviewVocabulary


@dataclass
class ReviewCounts:
    """What happened on the way to tokens."""

    n_read: int = 0
    """Reviews given."""
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


def encode_reviews(
    reviews: Sequence[Review],
    manuscripts: Sequence[Manuscript],
    tokenizer: Tokenizer,
    vocabulary: ReviewVocabulary,
    config: ReviewConfig,
    *,
    groups: Mapping[str, str] | None = None,
    delays: Mapping[str, float] | None = None,
    as_of: datetime | None = None,
) -> tuple[list[ReviewIds], ReviewCounts]:
    """Reviews without leaks, in tokens; `ReviewIds.novel` counts the manuscripts.

    A review longer than `max_len` with its end is left out or cut as `config.too_long` says; a cut
    one has no end, so that the reviewer does not learn to end there.

    Args:
        groups: by pseudonym of the reviewer, a group of readers; one that has no token is unknown,
            and counted.
        delays: by id of the review, days from reading to writing.
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
        elif as_of is not None and (each.written_at is None or each.written_at > as_of):
            counts.n_later += 1
        else:
            novel = place[each.novel]
            ids = _ids(each, manuscripts[novel], tokenizer, vocabulary, config, counts)
            if ids:
                group = (groups or {}).get(each.reviewer or "")
                counts.n_unknown_group += group is not None and group not in vocabulary.groups
                found.append(ReviewIds(
                    each.review, novel, ids,
                    vocabulary.group_id(group if group in vocabulary.groups else None),
                    vocabulary.delay_id((delays or {}).get(each.review)), each.upto_u,
                ))  # fmt: skip
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
