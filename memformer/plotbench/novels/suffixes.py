"""Which opening follows? At a chapter's end, the next chapter's against five of the same book.

The six are equal in length in words and are scored by log-likelihood per token. Strata say where
the five are from: `earlier` chapters (which were read: who copies prefers them), `later` ones, and
the five `adjacent` to the true one.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from memformer.config.plotbench_novels import SuffixConfig
from memformer.data.cleaning import PARAGRAPH
from memformer.data.manuscripts import Manuscript
from memformer.plotbench.scorers import Scorer
from memformer.plotbench.statistics import Estimate, mean_interval

Stratum = Literal["earlier", "later", "adjacent"]
STRATA: tuple[Stratum, ...] = ("earlier", "later", "adjacent")
N_OTHER = 5
CHANCE = 1 / (1 + N_OTHER)


class Place(NamedTuple):
    """A chapter's end, and what could come next."""

    book: str
    chapter: int
    """Of the true opening, from 0."""
    end: int
    """Offset at which the chapter before it ends."""
    strata: dict[Stratum, tuple[int, ...]]
    """Five other chapters each; strata that the book has too few for are left out."""

    @property
    def chapters(self) -> tuple[int, ...]:
        """All chapters whose openings are scored, the true one first."""
        others = sorted({i for each in self.strata.values() for i in each})
        return (self.chapter, *others)


class Answer(NamedTuple):
    """What was said at one place."""

    book: str
    chapter: int
    stratum: Stratum
    is_right: bool
    """The true opening is likelier a token than each of the five; a tie is not."""
    margin: float
    """Nats a token, over the likeliest of the five."""


def opening(manuscript: Manuscript, chapter: int, n_words: int) -> str:
    """A paragraph break and the first words of a chapter, its headings dropped."""
    start = manuscript.chapters[chapter].offset
    nexts = [each.offset for each in manuscript.chapters[chapter + 1 :][:1]]
    body = manuscript.text[start : nexts[0] if nexts else len(manuscript.text)]
    return PARAGRAPH + " ".join(body.split()[:n_words])


def places(manuscript: Manuscript, config: SuffixConfig) -> list[Place]:
    """Chapter ends to ask at, evenly spread over those with five others in some stratum."""
    n = len(manuscript.chapters)
    found = []
    for chapter in range(1, n):
        strata = _strata(manuscript.id, chapter, n, config.seed)
        end = manuscript.chapters[chapter].offset - len(PARAGRAPH)
        if strata and end > 0:
            found.append(Place(manuscript.id, chapter, end, strata))
    k = min(config.n_place, len(found))
    return [found[(2 * i + 1) * len(found) // (2 * k)] for i in range(k)]


def identify(
    scorer: Scorer,
    manuscripts: Iterable[Manuscript],
    config: SuffixConfig,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Answer]:
    """Ask a scorer at every place of every book.

    Args:
        scorer: any; it is told no fraction beyond what `open` tells it.
        manuscripts: read without headings, with their chapters.
        config: how many places, and what is read before them.
        progress: told of each place: book, places done, places to do.

    Raises:
        ValueError: a book without enough chapters, or as the scorer's session.
    """
    answers = []
    for manuscript in manuscripts:
        here = places(manuscript, config)
        if not here:
            raise ValueError(
                f"{manuscript.id} has {len(manuscript.chapters)} chapters, {N_OTHER + 1} are "
                "needed: leave it out"
            )
        session, begin = None, 0
        for n_done, place in enumerate(here, 1):
            if config.context_chars is not None or session is None:
                begin = max(0, place.end - (config.context_chars or place.end))
                stop = place.end if config.context_chars is not None else None
                session = scorer.open(manuscript.text[begin:stop])
            session.advance(place.end - begin)
            texts = [opening(manuscript, i, config.n_words) for i in place.chapters]
            scored = session.score("", texts)
            each = {
                i: score.logprob / score.n_tokens
                for i, score in zip(place.chapters, scored, strict=True)
            }
            answers += [_answer(place, stratum, each) for stratum in place.strata]
            if progress is not None:
                progress(manuscript.id, n_done, len(here))
    return answers


def accuracy(answers: Sequence[Answer]) -> dict[Stratum, Estimate]:
    """Share of right answers by stratum, with intervals over books; chance is `CHANCE`.

    Raises:
        ValueError: no answers.
    """
    if not answers:
        raise ValueError("answers must hold at least one, got none")
    found: dict[Stratum, Estimate] = {}
    for stratum in STRATA:
        own = [a for a in answers if a.stratum == stratum]
        if own:
            found[stratum] = mean_interval(
                [float(a.is_right) for a in own], [a.book for a in own], is_share=True
            )
    return found


def _answer(place: Place, stratum: Stratum, each: dict[int, float]) -> Answer:
    margin = each[place.chapter] - max(each[i] for i in place.strata[stratum])
    return Answer(place.book, place.chapter, stratum, margin > 0, margin)


def _strata(book: str, chapter: int, n: int, seed: int) -> dict[Stratum, tuple[int, ...]]:
    rng = random.Random(f"{seed}.{book}.{chapter}")
    others = [i for i in range(n) if i != chapter]
    found: dict[Stratum, tuple[int, ...]] = {}
    for stratum in STRATA:
        match stratum:
            case "earlier":
                pool = [i for i in others if i < chapter]
            case "later":
                pool = [i for i in others if i > chapter]
            case "adjacent":
                pool = sorted(others, key=lambda i: (abs(i - chapter), -i))[:N_OTHER]
        if len(pool) >= N_OTHER:
            found[stratum] = tuple(sorted(rng.sample(pool, N_OTHER)))
    return found
