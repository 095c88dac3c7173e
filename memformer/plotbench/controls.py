"""Shortcuts as rows of results, so that they stand in every table beside the models."""

from memformer.plotbench.results import Result
from memformer.plotbench.rules import asked
from memformer.plotbench.shortcuts import Shortcut
from memformer.plotbench.story import Bench
from memformer.plotbench.story_words import words_of

CONDITION = "shortcut"


def control_rows(bench: Bench, shortcut: Shortcut, config_sha256: str = "") -> list[Result]:
    """A shortcut on every probe, in their order.

    Log-probabilities are ranks: margins have a sign and no size. Words are counted, not tokens.
    """
    stories = {story.story_id: story for story in bench.stories}
    told = str(bench.manifest.get("bench_version")), str(bench.manifest.get("content_sha256"))
    ranks = shortcut.rank(bench)
    rows = []
    for p, q in asked(bench):
        story, n_suffix = stories[p.story_id], len(words_of(p.suffix))
        near = q.n_read - q.story.n_read(p.insert_at_char - p.d_near_chars)
        rows.append(Result(
            probe_id=p.probe_id, group_id=p.group_id, story_id=p.story_id, seed=story.seed,
            family=p.family, cell=p.cell, bucket=story.bucket, model=shortcut.name,
            condition=CONDITION, fraction="true", gold=p.gold, logprob=ranks[p.probe_id],
            n_tokens=(len(q.options[0]) + n_suffix, len(q.options[1]) + n_suffix),
            n_bytes=(_n_byte(p.options[0] + p.suffix), _n_byte(p.options[1] + p.suffix)),
            d_near_tokens=near + len(q.stem), context_tokens=q.n_read + len(q.stem),
            truncated=False, retrieved=None,
            support=tuple((*each.span, each.of) for each in p.support),
            bench_version=told[0], bench_sha256=told[1], config_sha256=config_sha256,
        ))  # fmt: skip
    return rows


def _n_byte(text: str) -> int:
    return len(text.encode())
