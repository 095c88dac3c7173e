"""A CSV file that grows by rows and can be cut back to a step, so that resuming doubles none."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

Cell = str | int | float | None


class Table:
    """Rows of one file, each with its `step`.

    Args:
        path: made with the first row.
        columns: beside `step`, which comes first.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, ("step", *columns)

    def append(self, row: Mapping[str, Cell]) -> None:
        """Write a row; numbers are written in full, so that equal runs give equal files."""
        is_new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            if is_new:
                writer.writeheader()
            writer.writerow(row)

    def rows(self) -> list[dict[str, str]]:
        """All rows written so far."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def cut(self, step: int) -> None:
        """Forget rows of later steps than this, and a last one that was written in part."""
        kept = [
            row
            for row in self.rows()
            if all(value is not None for value in row.values()) and int(row["step"]) <= step
        ]
        if not self.path.exists():
            return
        temporary = self.path.with_suffix(".part")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(kept)
        temporary.replace(self.path)
