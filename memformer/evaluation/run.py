"""Evaluating a model: every manuscript under every arm, resumable, into one folder."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from memformer.config import to_json
from memformer.data.manuscripts import Manuscript
from memformer.data.tokenizer import Tokenizer
from memformer.evaluation import machine, store
from memformer.evaluation.arms import Arm, config_of
from memformer.evaluation.encoded import EncodedManuscript, encode
from memformer.evaluation.outcome import SCHEMA, pooled
from memformer.evaluation.read import read
from memformer.evaluation.retrievals import DISTANCE_EDGES
from memformer.evaluation.summary import Plan, summarise
from memformer.model.decoder import Decoder
from memformer.model.saved_state import weights_hash

PASSAGE_LEN = 192

Progress = Callable[[str, str, int, int], None]
"""Called with book id, arm name, tokens read, tokens to read; once, complete, if resumed."""


def evaluate(
    model: Decoder,
    tokenizer: Tokenizer,
    manuscripts: Sequence[Manuscript],
    arms: Sequence[Arm],
    folder: Path,
    *,
    n_tokens: int | None = None,
    trained_on: Collection[str] | None = None,
    baseline: str | None = None,
    seed: int = 0,
    block_len: int = 256,
    n_draw: int = 1000,
    n_passage: int = 4,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Read each manuscript under each arm, sum up, write `folder/result.json` and return it.

    A reading that the folder holds already, made under the same settings, is not made again; so an
    interrupted evaluation goes on, and arms and books can be added (with an arm `other_book` the
    last book gets another partner then, and its reading is refused). The result covers what this
    call names.

    Args:
        model: weights and base config; arms change the config, never the weights.
        tokenizer: the model's.
        manuscripts: books with different ids. The arm `other_book` of one reads the next one's
            memory, the last one's the first's.
        arms: with different names, at least one.
        folder: made if missing. Its `tokens/` holds text and is not meant to be kept.
        n_tokens: read of each manuscript, from its start; None for all of it.
        trained_on: ids of those manuscripts that the model was trained on: they are named so, and
            left out of the figures over all books if there are others. None if it is not known.
        baseline: name of the arm that gains are measured against; None takes the first plain arm
            with a window and sinks, else with a window, else the first arm.
        seed: of the resamples.
        block_len: tokens of a block of the bootstrap.
        n_draw: resamples.
        n_passage: stretches of the second half, `PASSAGE_LEN` tokens each, whose retrievals are
            kept for the report.
        progress: told of every segment read.

    Raises:
        ValueError: arms or manuscripts that do not fit the model or each other, or a folder with
            readings made under other settings (which setting, both values).
    """
    _check_names(manuscripts, arms)
    plan = _plan(arms, baseline, model.config.window, block_len, n_draw, seed)
    books = [encode(manuscript, tokenizer, n_tokens) for manuscript in manuscripts]
    for arm in arms:  # a clash shows now, not after hours
        config_of(arm, model.config, len(books[0]))
    if len(books) < 2 and any(arm.memory == "other_book" for arm in arms):
        raise ValueError("an arm with memory='other_book' needs at least two manuscripts, got 1")
    common = {
        "weights": weights_hash(model),
        "tokenizer": tokenizer.hash,
        "n_passage": n_passage,
    }
    readings: dict[tuple[str, str], store.Stored] = {}
    for i, book in enumerate(books):
        store.save_book(folder, book)
        other = books[(i + 1) % len(books)]
        for arm in arms:
            settings = {**common, **_settings_of(model, book, other, arm)}
            reported = None if progress is None else _bound(progress, book, arm)
            readings[book.id, arm.name] = _read_or_load(
                folder, model, book, other, arm, settings, reported
            )
    result = _result(model, books, arms, readings, plan, common, trained_on)
    store.write_json(folder / store.RESULT, result)
    return result


def passages(n_tokens: int, window: int, n_passage: int) -> list[range]:
    """Stretches at even steps of the second half, beyond the window, that do not overlap."""
    first = max(n_tokens // 2, window + 1)
    room = (n_tokens - 1 - first) // n_passage if n_passage else 0
    length = min(PASSAGE_LEN, room)
    return [range(first + i * room, first + i * room + length) for i in range(n_passage) if length]


def _read_or_load(
    folder: Path,
    model: Decoder,
    book: EncodedManuscript,
    other: EncodedManuscript,
    arm: Arm,
    settings: dict[str, Any],
    progress: Callable[[int], None] | None,
) -> store.Stored:
    path = store.reading_path(folder, book.id, arm.name)
    if path.exists():
        stored = store.load_reading(path)
        _check_same(stored.settings, settings, path)
        if progress is not None:
            progress(len(book))
        return stored
    retrieves = arm.memory != "off"
    window, n_passage = settings["config"]["window"], settings["n_passage"]
    reading = read(
        model,
        book,
        arm,
        other=other if arm.memory == "other_book" else None,
        want=passages(len(book), window, n_passage) if retrieves else (),
        progress=progress,
    )
    store.save_reading(path, reading, settings)
    return store.Stored(reading, settings)


def _settings_of(
    model: Decoder, book: EncodedManuscript, other: EncodedManuscript, arm: Arm
) -> dict[str, Any]:
    """All that a reading depends on, as JSON will give it back."""
    config = config_of(arm, model.config, len(book))
    return {
        "text": hashlib.sha256(book.text.encode()).hexdigest(),
        "n_tokens": len(book),
        "n_total": book.n_total,
        "attention": arm.attention,
        "memory": arm.memory,
        "fraction": arm.fraction,
        "config": _listed(to_json(config)),
        "other_book": _identity(other) if arm.memory == "other_book" else None,
    }


def _identity(book: EncodedManuscript) -> dict[str, Any]:
    text = hashlib.sha256(book.text.encode()).hexdigest()
    return {"id": book.id, "text": text, "n_total": book.n_total}


def _check_same(stored: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    here, there = dict(_flat(wanted)), dict(_flat(stored))
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise ValueError(
                f"{path} was made with {name}={there.get(name)!r}, this evaluation has "
                f"{here.get(name)!r}: choose another folder, another name for the arm, or delete it"
            )


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in values.items():
        inner = isinstance(value, dict)
        flat += _flat(value, f"{prefix}{name}.") if inner else [(prefix + name, value)]
    return flat


def _listed(value: Any) -> Any:
    # JSON has no tuples: compare what it gives back
    if isinstance(value, dict):
        return {name: _listed(each) for name, each in value.items()}
    return [_listed(each) for each in value] if isinstance(value, list | tuple) else value


def _plan(
    arms: Sequence[Arm], baseline: str | None, window: int, block_len: int, n_draw: int, seed: int
) -> Plan:
    plain = [a for kind in ("window_sinks", "window") for a in arms
             if a.attention == kind and a.memory == "off"]  # fmt: skip
    base = [a for a in arms if a.name == baseline] if baseline else [*plain, arms[0]]
    if not base:
        raise ValueError(
            f"baseline must name one of the arms {[a.name for a in arms]}, got {baseline!r}"
        )
    width = base[0].overrides.get("window", window)
    return Plan(
        baseline=base[0].name,
        rivals=tuple(a.name for a in arms if a.is_full and a is not base[0]),
        edges=(width, 4 * width, 16 * width),
        block_len=block_len,
        n_draw=n_draw,
        seed=seed,
    )


def _check_names(manuscripts: Sequence[Manuscript], arms: Sequence[Arm]) -> None:
    for what, names in (
        ("manuscripts", [manuscript.id for manuscript in manuscripts]),
        ("arms", [arm.name for arm in arms]),
    ):
        if not names:
            raise ValueError(f"{what} must hold at least one, got none")
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{what} must have different names, got {twice[0]!r} twice")
    for manuscript in manuscripts:
        if manuscript.id == "all":
            raise ValueError(
                "id of a manuscript must not be 'all': in results that means all together"
            )


def _bound(progress: Progress, book: EncodedManuscript, arm: Arm) -> Callable[[int], None]:
    return lambda done: progress(book.id, arm.name, done, len(book))


def _result(
    model: Decoder,
    books: Sequence[EncodedManuscript],
    arms: Sequence[Arm],
    readings: dict[tuple[str, str], store.Stored],
    plan: Plan,
    common: dict[str, Any],
    trained_on: Collection[str] | None,
) -> dict[str, Any]:
    facts = [_book_facts(book, trained_on) for book in books]
    nats = {arm.name: [readings[b.id, arm.name].reading.nats for b in books] for arm in arms}
    return {
        "schema": SCHEMA,
        "made": {"when": datetime.now(UTC).isoformat(timespec="seconds"), **machine.describe()},
        "settings": {**common, "model": to_json(model.config), **vars(plan)},
        "books": facts,
        "arms": [
            {
                "name": arm.name,
                "attention": arm.attention,
                "memory": arm.memory,
                "fraction": arm.fraction,
                "overrides": arm.overrides,
                "config": to_json(config_of(arm, model.config, len(books[0]))),
            }
            for arm in arms
        ],
        "readings": [
            _reading_facts(book.id, arm.name, readings[book.id, arm.name])
            for book in books
            for arm in arms
        ],
        "distance_edges": DISTANCE_EDGES.tolist(),
        "metrics": summarise(
            books, {a: list(rows) for a, rows in nats.items()}, plan, pooled=pooled(facts)
        ),
    }


def _book_facts(book: EncodedManuscript, trained_on: Collection[str] | None) -> dict[str, Any]:
    return {
        "id": book.id,
        "author": book.author,
        "title": book.title,
        "trained_on": None if trained_on is None else book.id in trained_on,
        "text": hashlib.sha256(book.text.encode()).hexdigest(),
        "n_tokens": len(book),
        "n_total": book.n_total,
        "n_bytes": len(book.text.encode()),
        "n_words": len(book.text.split()),
    }


def _reading_facts(book: str, arm: str, stored: store.Stored) -> dict[str, Any]:
    reading = stored.reading
    found = reading.retrieved
    return {
        "book": book,
        "arm": arm,
        "seconds": round(reading.seconds, 3),
        "tokens_per_second": round((len(reading.nats) + 1) / reading.seconds, 1),
        "memory_bytes": reading.memory_bytes,
        "other_book": (stored.settings["other_book"] or {}).get("id"),
        "retrieved": None
        if found is None
        else {
            "layers": found.layers.tolist(),
            "attention": np.round(found.attention, 4).tolist(),
            "count": found.count.tolist(),
            "available": found.available.tolist(),
            "mass": float(found.mass.mean()),
        },
    }
