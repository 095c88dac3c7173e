"""Rows of results for tests: all fields but those that a test is about."""

from memformer.plotbench.results import Result


def made_row(**fields):
    """A row with plain values wherever none is given."""
    plain = dict(
        probe_id="p", story_id="s", family="attr.alias", bucket=512, model="m", condition="on",
        fraction="true", n_tokens=(2, 2), n_bytes=(4, 8), d_near_tokens=600, context_tokens=700,
        truncated=False, retrieved=None, support=(), bench_version="0", bench_sha256="0",
        config_sha256="0",
    )  # fmt: skip
    return Result(**plain | fields)


def rows_on(bench, margins, **fields):
    """A row for each probe, with its margin between the options."""
    stories = {story.story_id: story for story in bench.stories}
    return [
        made_row(
            probe_id=p.probe_id, group_id=p.group_id, story_id=p.story_id,
            seed=stories[p.story_id].seed, family=p.family, cell=p.cell,
            bucket=stories[p.story_id].bucket, gold=p.gold,
            logprob=(m / 2 - 9, -m / 2 - 9) if p.gold == 0 else (-m / 2 - 9, m / 2 - 9),
            support=tuple((*s.span, s.of) for s in p.support),
            bench_version=str(bench.manifest["bench_version"]),
            bench_sha256=str(bench.manifest["content_sha256"]),
            **fields,
        )
        for p, m in zip(bench.probes, margins, strict=True)
    ]  # fmt: skip
