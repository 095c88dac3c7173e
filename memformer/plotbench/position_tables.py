"""The report's tables of position and of the words that bear on facts."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from memformer.evaluation.tables import Cell, Table
from memformer.plotbench.arc_told import ArcRow
from memformer.plotbench.passages import PassageRow
from memformer.plotbench.position import (
    PositionRows,
    arc_contrast,
    perplexity,
    position_gain,
)
from memformer.plotbench.report_tables import NONE, cell
from memformer.plotbench.run_folder import HasRun

_OTHERS = ("shuffled", "header", "unknown", "estimated")
R = TypeVar("R", bound=HasRun)


def position_tables(found: PositionRows) -> Iterator[Table]:
    """What the rows allow; none without rows."""
    passages = _by_run(found.passages)
    arcs = {(model, condition): rows for (model, condition, _), rows in _by_run(found.arcs).items()}
    yield from _gains(passages, arcs)
    if passages:
        yield _perplexities(passages)


def _gains(
    passages: dict[tuple[str, str, str], list[PassageRow]],
    arcs: dict[tuple[str, str], list[ArcRow]],
) -> Iterator[Table]:
    ways = dict.fromkeys((model, condition) for model, condition, _ in passages)
    rows = []
    for way in dict.fromkeys([*ways, *arcs]):
        true = passages.get((*way, "true"))
        others = [passages.get((*way, other)) for other in _OTHERS]
        gains = [
            cell(position_gain(true, other), 4, sign=True) if true and other else NONE
            for other in others
        ]
        contrast = cell(arc_contrast(arcs[way]), 3, sign=True) if way in arcs else NONE
        if any(each != NONE for each in (*gains, contrast)):
            rows.append([Cell(" ".join(way)), *gains, contrast])
    if rows:
        yield Table(
            title="Does it use the place in the story?",
            caption="Nats a token that the story's own text costs more when the fraction is told "
            "in another way than truly; above 0, the true one helps. A model that takes no "
            "fraction is told nothing instead of the true one: below 0, headings in the text "
            "help it. Arc contrast: nats that a next scene gains when its own act is told instead "
            "of the other one. In brackets: 95% intervals over stories (BCa bootstrap), from ten "
            "stories on.",
            head=["", *_OTHERS, "arc contrast"],
            rows=rows,
            strong=set(),
        )


def _perplexities(passages: dict[tuple[str, str, str], list[PassageRow]]) -> Table:
    rows = []
    for (model, condition, fraction), own in passages.items():
        n = sum(row.n_tokens for row in own if row.kind == "fact")
        told = "" if fraction == "true" else f", fraction {fraction}"
        rows.append([
            Cell(f"{model} {condition}{told}"), cell(perplexity(own, "fact"), 2),
            cell(perplexity(own, "text"), 2), Cell(f"{n:,}"),
        ])  # fmt: skip
    return Table(
        title="Perplexity of the words that bear on facts",
        caption="exp of the mean nats a token, where the trace marks that something bears on a "
        "fact, and in stretches outside all of these. In brackets: 95% intervals over stories "
        "(BCa bootstrap), from ten stories on. Perplexities of different tokenizers cannot be "
        "compared.",
        head=["", "facts", "other text", "tokens of facts, n"],
        rows=rows,
        strong=set(),
    )


def _by_run(rows: Sequence[R]) -> dict[tuple[str, str, str], list[R]]:
    found: dict[tuple[str, str, str], list[R]] = {}
    for row in rows:
        found.setdefault((row.model, row.condition, row.fraction), []).append(row)
    return found
