"""A result read back from a run folder, with the questions that tables and plots ask of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memformer.evaluation import store

SCHEMA = 1
"""Of `result.json`: raised when a field changes its meaning."""

MAX_PANELS = 3


def pooled(books: Sequence[dict[str, Any]]) -> list[str]:
    """Ids of the books that figures over all are of: those the model was not trained on, if there
    are any, else all."""
    # results of before have no such field
    held_out = [book["id"] for book in books if not book.get("trained_on")]
    return held_out or [book["id"] for book in books]


class Outcome:
    """The numbers of one evaluation.

    Attributes:
        result: the JSON as written.
        arms: by name, in the order of the run.
        metrics: by scope: a book's id, or `all`.
        pooled: ids of the books that `all` is of.
        baseline: the arm that gains are measured against.
        rivals: arms of full attention.
        rival: the fairest of them: clamped if there is one; None without any.
        remembering: arms with memory on, the most pairs first.
        lead: the first of them; None without any.
        controls: arms with a falsified memory, or a fraction of the novel that is not the true one.
        gaining: all but the baseline, rivals first, then memory, controls, the rest.

    Raises:
        ValueError: no whole result of this schema.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / store.RESULT
        if not path.exists():
            raise ValueError(f"{folder} holds no {store.RESULT}: run `memformer evaluate` first")
        self.result = store.read_json(path)
        if self.result.get("schema") != SCHEMA:
            raise ValueError(
                f"{path} has schema {self.result.get('schema')!r}, this version reads {SCHEMA}: "
                "evaluate again"
            )
        self.arms: dict[str, dict[str, Any]] = {arm["name"]: arm for arm in self.result["arms"]}
        self.metrics: dict[str, dict[str, Any]] = self.result["metrics"]
        self.pooled = pooled(self.books)
        self.baseline: str = self.result["settings"]["baseline"]
        self.rivals: list[str] = list(self.result["settings"]["rivals"])
        clamped = [a for a in self.rivals if self.arms[a]["attention"] == "full_clamped"]
        self.rival: str | None = next(iter([*clamped, *self.rivals]), None)
        self.controls = [name for name, arm in self.arms.items() if _is_control(arm)]
        apart = [self.baseline, *self.controls]
        on = [n for n, arm in self.arms.items() if arm["memory"] == "on" and n not in apart]
        self.remembering = sorted(on, key=lambda a: -self._n_retrieved(a))
        self.lead: str | None = next(iter(self.remembering), None)
        known = [*self.rivals, *self.remembering, *self.controls]
        rest = [arm for arm in self.arms if arm not in known and arm != self.baseline]
        self.gaining = [*known, *rest]

    @property
    def books(self) -> list[dict[str, Any]]:
        """Facts of each book."""
        books: list[dict[str, Any]] = self.result["books"]
        return books

    @property
    def scope(self) -> str:
        """All pooled books together, or the only one."""
        return "all" if "all" in self.metrics else self.pooled[0]

    @property
    def panels(self) -> list[str]:
        """Scopes drawn beside each other: each book, or all together where they are many."""
        ids = [book["id"] for book in self.books]
        return ids if len(ids) <= MAX_PANELS else [self.scope]

    def config(self, arm: str | None) -> dict[str, Any]:
        """Resolved config of an arm; None stands for the baseline."""
        config: dict[str, Any] = self.arms[arm or self.baseline]["config"]
        return config

    def label(self, arm: str) -> str:
        """What the arm is, in words."""
        facts, config = self.arms[arm], self.config(arm)
        local = "window + sinks" if facts["attention"] == "window_sinks" else "window"
        told = facts.get("fraction", "true")  # results of before have no such field
        if told != "true":
            return f"fraction {told}"
        match facts["memory"]:
            case "off" if facts["attention"] == "full":
                return "full attention"
            case "off" if facts["attention"] == "full_clamped":
                return f"full, distance ≤ {config['memory']['max_distance']:,}"
            case "off":
                return local
            case "on":
                return f"memory, K = {config['memory']['n_retrieved']}"
            case "shuffled":
                return "shuffled memory"
        return "another book's memory"

    def scope_title(self, scope: str) -> str:
        """A book's title, or how many there are; and whether the model was trained on it."""
        ids = self.ids(scope)
        book = next(book for book in self.books if book["id"] == ids[0])
        known = {None: "", True: "trained-on ", False: "held-out "}[book.get("trained_on")]
        if scope == "all":
            n = "both" if len(ids) == 2 else f"all {len(ids)}"
            return f"{n} {known}books"
        return f"{book['title']}{' (trained on)' if book.get('trained_on') else ''}"

    def ids(self, scope: str) -> list[str]:
        """Ids of the books of a scope."""
        return self.pooled if scope == "all" else [scope]

    def gap(self, scope: str, arm: str, rival: str) -> dict[str, Any]:
        """The row of an arm and a rival in `gap_closed`."""
        rows = self.metrics[scope]["gap_closed"]
        row: dict[str, Any] = next(r for r in rows if (r["arm"], r["rival"]) == (arm, rival))
        return row

    def reading(self, book: str, arm: str) -> dict[str, Any]:
        """Facts of one reading."""
        rows = self.result["readings"]
        row: dict[str, Any] = next(r for r in rows if (r["book"], r["arm"]) == (book, arm))
        return row

    def retrieval(self, scope: str) -> tuple[list[int], NDArray[np.float64], NDArray[np.float64]]:
        """Of the lead: layers, attention by layer and distance, pairs there were to be found."""
        assert self.lead is not None
        found = [self.reading(book, self.lead)["retrieved"] for book in self.ids(scope)]
        attention = np.sum([row["attention"] for row in found], axis=0)
        available = np.sum([row["available"] for row in found], axis=0)
        return found[0]["layers"], attention, available.astype(np.float64)

    def _n_retrieved(self, arm: str) -> int:
        n: int = self.arms[arm]["config"]["memory"]["n_retrieved"]
        return n


def _is_control(arm: dict[str, Any]) -> bool:
    return arm["memory"] in ("shuffled", "other_book") or arm.get("fraction", "true") != "true"
