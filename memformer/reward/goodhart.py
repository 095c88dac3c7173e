"""The goodhart lab: when does optimising a learned judgement stop being good? (`docs/goodhart.md`)

OUT/config.json   the settings, with seeds
OUT/rows.jsonl    a line a result, written as it comes; a run that is cut short goes on
"""

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from memformer.config import differences, to_json
from memformer.config.goodhart import GoodhartConfig
from memformer.evaluation.machine import describe
from memformer.evaluation.store import read_json, write_json
from memformer.reward.goodhart_lab import Lab, fit_proxies, make_lab
from memformer.reward.goodhart_measure import (
    Row,
    ablation_rows,
    delay_row,
    gold_rows,
    policy_row,
    proxy_row,
)
from memformer.reward.goodhart_rank import rank_row

ROWS, CONFIG = "rows.jsonl", "config.json"
PROXIES = ("linear", "quadratic", "mean", "uwo", "wco", "random_label")
_OPTIMISED = ("linear", "quadratic", "uwo")
_RESAMPLED = ("linear", "quadratic")
_DONE = "done"

Group = tuple[int, str, int]
"""(seed, kind, number of ratings; 0 where none are needed)."""

Progress = Callable[[str, int, int], None]
"""(what is done, how many groups are, of how many)."""


def goodhart(
    config: GoodhartConfig, out: Path, *, progress: Progress = lambda *_: None
) -> list[Row]:
    """Run the protocol, or go on with it; every row.

    A group of rows is written when it is whole. Each part of a group
    draws from its own stream, so that a resumed run gives what an uninterrupted one does.

    Raises:
        ValueError: `out` was made under other settings; names the field and both values.
    """
    _keep_config(config, out)
    path = out / ROWS
    rows, done = _read(path)
    groups = every_group(config)
    lab: Lab | None = None
    for k, group in enumerate(groups, 1):
        seed, kind, n_rating = group
        if group not in done:
            if lab is None or lab.seed != seed:
                lab = make_lab(config, seed)
            began = time.perf_counter()
            made = [{**row, "group": kind} for row in group_rows(lab, kind, n_rating)]
            seconds = round(time.perf_counter() - began, 2)
            end = {"seed": seed, "part": _DONE, "group": kind, "n_of_group": n_rating,
                   "wall_s": seconds}  # fmt: skip
            made = [{**row, "n_of_group": n_rating} for row in made]
            _append(path, [*made, end])
            rows += [*made, end]
        progress(f"seed {seed}, {kind}, {n_rating} ratings", k, len(groups))
    return rows


def every_group(config: GoodhartConfig) -> list[Group]:
    """What is run, seed by seed: a run that is cut short has whole seeds."""
    seeds = range(config.first_seed, config.first_seed + config.n_seed)
    kinds = [
        ("controls", 0),
        *(("proxies", n) for n in config.n_rating),
        *(("rank", n) for n in config.rank_n_rating),
    ]
    return [(seed, kind, n) for seed in seeds for kind, n in kinds]


def group_rows(lab: Lab, kind: str, n_rating: int) -> list[Row]:
    """All results of one group of one seed."""
    match kind:
        case "controls":
            return [*gold_rows(lab), delay_row(lab)]
        case "proxies":
            return _proxy_rows(lab, n_rating)
        case "rank":
            return [rank_row(lab, n_rating)]
        case _:
            raise ValueError(f"kind must be controls, proxies or rank, got {kind!r}")


def _proxy_rows(lab: Lab, n_rating: int) -> list[Row]:
    fits = fit_proxies(lab, n_rating)
    rows = [
        proxy_row(lab, name, n_rating, fits.proxies[name], fits.draws.get(name, []))
        for name in PROXIES
    ]
    if n_rating in lab.config.policy_n_rating:
        rows += [policy_row(lab, "rloo", name, n_rating, fits.proxies[name])
                 for name in _OPTIMISED]  # fmt: skip
        rows += [policy_row(lab, "direct", name, n_rating, fits.proxies[name])
                 for name in _RESAMPLED]  # fmt: skip
    return [*rows, *ablation_rows(lab, n_rating, fits)]


def read_rows(out: Path) -> list[Row]:
    """The rows of whole groups.

    Raises:
        ValueError: there are none.
    """
    rows, _ = _read(out / ROWS)
    if not rows:
        raise ValueError(f"{out} holds no finished group of the lab: run it first")
    return rows


def _read(path: Path) -> tuple[list[Row], set[Group]]:
    """Rows of whole groups; those of a group that was cut short are made again."""
    if not path.is_file():
        return [], set()
    held: list[Row] = []
    text = path.read_text(encoding="utf-8")
    for n, line in enumerate(lines := text.splitlines(), 1):
        try:
            held.append(json.loads(line))
        except ValueError as error:
            if n == len(lines):  # the process ended while writing it
                break
            raise ValueError(f"{path} line {n} is no JSON: {error}") from error
    done = {_group(row) for row in held if row["part"] == _DONE}
    whole = [row for row in held if _group(row) in done]
    if len(whole) < len(lines) or not text.endswith("\n"):  # or the next row joins the last
        _write(path, whole)
    return whole, done


def _group(row: Row) -> Group:
    return row["seed"], row["group"], row["n_of_group"]


def _append(path: Path, rows: Iterable[Row]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, rows: Iterable[Row]) -> None:
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    _append(part, rows)
    os.replace(part, path)


def _keep_config(config: GoodhartConfig, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / CONFIG
    ours = json.loads(json.dumps(to_json(config)))
    if path.is_file():
        for field, was, now in differences(read_json(path)["config"], ours):
            raise ValueError(
                f"{path} was made with {field}={was!r}, now it is {now!r}: take another folder"
            )
        return
    write_json(path, {"config": ours, "machine": describe()})
