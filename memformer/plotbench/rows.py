"""Rows of results: which may be taken together, and how they are read from a run's folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from memformer.plotbench.results import Result
from memformer.plotbench.row_file import read_rows
from memformer.plotbench.scorers import FractionTold
from memformer.plotbench.story import Bench, Probe, Story


class Run(NamedTuple):
    """Rows that may be taken together. What was cut to fit a context is a run of its own."""

    model: str
    condition: str
    fraction: str
    truncated: bool = False

    @property
    def label(self) -> str:
        """As tables name it."""
        told = "" if self.fraction == "true" else f", fraction {self.fraction}"
        return f"{self.model} {self.condition}{told}{', cut' if self.truncated else ''}"


def by_run(rows: Iterable[Result]) -> dict[Run, list[Result]]:
    """Rows of each run, in the order in which runs first occur."""
    found: dict[Run, list[Result]] = {}
    for row in rows:
        run = Run(row.model, row.condition, row.fraction, row.truncated)
        found.setdefault(run, []).append(row)
    return found


def load_results(path: Path | str, bench: Bench) -> list[Result]:
    """Read `results.jsonl` of this data.

    Raises:
        ValueError: results of other data or another version (both named), a log-probability that is
            no number, a probe that is unknown, told otherwise than in the data, or asked twice
            under one run, a damaged line; the message names line and probe.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: give a folder that `run` wrote")
    rows = read_rows(path, Result)
    if not rows:
        raise ValueError(f"{path.name} holds no row: run something first")
    refuse_bad_rows(rows, bench, path.name)
    return rows


def refuse_bad_rows(rows: Sequence[Result], bench: Bench, name: str = "results") -> None:
    """Raise ValueError as `load_results` says."""
    told = (bench.manifest.get("bench_version"), bench.manifest.get("content_sha256"))
    stories = {story.story_id: story for story in bench.stories}
    told_of = {probe.probe_id: _of_probe(probe, stories[probe.story_id]) for probe in bench.probes}
    seen: set[tuple[str, Run]] = set()
    for line, row in enumerate(rows, 1):
        where = f"{name} line {line} ({row.probe_id})"
        if (row.bench_version, row.bench_sha256) != told:
            raise ValueError(
                f"{where}: results are of data {row.bench_version} {row.bench_sha256[:12]}, this "
                f"is {told[0]} {str(told[1])[:12]}: run it again on this data"
            )
        if row.probe_id not in told_of:
            raise ValueError(f"{where}: the data has no such probe")
        for name_of, expected in told_of[row.probe_id].items():
            if getattr(row, name_of) != expected:
                raise ValueError(
                    f"{where}: {name_of} is {expected} in the data, got {getattr(row, name_of)}"
                )
        if min(*row.n_bytes, *row.n_tokens) < 1:
            raise ValueError(
                f"{where}: n_bytes and n_tokens must be at least 1, got {row.n_bytes} and "
                f"{row.n_tokens}"
            )
        _refuse_impossible(row, len(stories[row.story_id].text), where)
        key = row.probe_id, Run(row.model, row.condition, row.fraction, row.truncated)
        if key in seen:
            raise ValueError(f"{where}: stands on an earlier line for {key[1].label} too")
        seen.add(key)


def _refuse_impossible(row: Result, n_chars: int, where: str) -> None:
    """Raise ValueError for what no run can have written."""
    if row.fraction not in get_args(FractionTold):
        raise ValueError(
            f"{where}: fraction must be one of {', '.join(get_args(FractionTold))}, "
            f"got {row.fraction!r}"
        )
    if min(row.d_near_tokens, row.context_tokens) < 0:
        raise ValueError(
            f"{where}: d_near_tokens and context_tokens must be at least 0, got "
            f"{row.d_near_tokens} and {row.context_tokens}"
        )
    for start, stop in row.retrieved or ():
        if not 0 <= start <= stop <= n_chars:
            raise ValueError(
                f"{where}: retrieved must be spans within the {n_chars} characters of the story, "
                f"got ({start}, {stop})"
            )


def _of_probe(probe: Probe, story: Story) -> dict[str, object]:
    """What a row repeats of the data, so that metrics need nothing else."""
    return {
        "gold": probe.gold, "group_id": probe.group_id, "story_id": probe.story_id,
        "family": probe.family, "cell": probe.cell, "seed": story.seed, "bucket": story.bucket,
    }  # fmt: skip
