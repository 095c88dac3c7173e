"""The novels that can be fetched, without chapter headings, by id."""

from collections.abc import Sequence
from pathlib import Path

from memformer.data.manuscripts import Manuscript
from memformer.data.sources import fetch
from memformer.data.works import AUSTEN_WORKS, CLASSIC_WORKS, MOBY_DICK_WORK
from memformer.plotbench.novels.recipes import Source

NOVELS: dict[str, Source] = {
    **{work.id: "classics" for work in CLASSIC_WORKS if not work.is_collection},
    **{work.id: "austen" for work in AUSTEN_WORKS},
    MOBY_DICK_WORK.id: "moby-dick",
}
"""Thirteen, by the source that holds each; collections of tales are none."""


def novels(
    ids: Sequence[str] = (), *, cache: Path | None = None, keep_headings: bool = False
) -> dict[str, Manuscript]:
    """These novels, or all; a source is fetched only if one of its novels is wanted.

    A heading tells how far the book is, so it is left out unless asked for.

    Raises:
        ValueError: an unknown id, or a text that is not the pinned one.
        FetchError: a source is neither in the cache nor within reach.
    """
    wanted = dict.fromkeys(ids or NOVELS)
    for id in wanted:
        if id not in NOVELS:
            raise ValueError(f"novels: there is no {id!r}; known are {', '.join(NOVELS)}")
    found: dict[str, Manuscript] = {}
    for source in dict.fromkeys(NOVELS[id] for id in wanted):
        for manuscript in fetch(source, cache=cache, keep_headings=keep_headings):
            found[manuscript.id] = manuscript
    return {id: found[id] for id in wanted}
