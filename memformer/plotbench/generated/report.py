"""The table of generated text: no rate without guards, none without the extractor's validity."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from memformer.evaluation.tables import Cell, Table
from memformer.plotbench.generated.extraction import (
    ENOUGH_FACTS,
    ENOUGH_RECALL,
    Accuracy,
    Reach,
    corrected,
)
from memformer.plotbench.generated.rates import Rates
from memformer.plotbench.report_tables import NONE, cell


class Validity(NamedTuple):
    """How far the extractor may be trusted on a run's texts."""

    simulator: Reach
    """On the simulator's prose of held-out frames and names."""
    accuracy: Accuracy
    """Of the judge on errors that were put in."""
    labelled: Reach | None = None
    """On sentences of the same family of models that were read; None: nobody has."""
    is_own: bool = False
    """Whether the texts are the simulator's own."""

    @property
    def is_enough(self) -> bool:
        """Whether recall on free text was measured, and is enough."""
        return self.labelled is not None and self.labelled.is_enough


_HEAD = [
    "", "contradictions per 1,000 words", "facts consistent", "contradicted, corrected",
    "facts per 100 words", "people named", "dead speak", "knowledge broken", "teleports",
    "unresolved", "closed against plan", "kinds of events, JSD", "|u_end − 1|", "distinct-2",
    "repetition-4", "longest copy", "unparsed", "extractor: precision", "recall",
]  # fmt: skip


def generated_table(
    rates: Mapping[str, Rates], validity: Mapping[str, Validity], reference: Rates
) -> Table:
    """A row a run.

    Args:
        rates: by what the table calls a run (`rates.tallies`).
        validity: of each run.
        reference: of the stories' own texts at the same places (`texts.own_texts`): kinds of events
            are compared with these.

    Raises:
        ValueError: a run without validity.
    """
    missing = [name for name in rates if name not in validity]
    if missing:
        raise ValueError(
            f"validity: no extractor's precision and recall for {', '.join(missing)}; measure them "
            "(extraction.simulator_reach, labelled_reach) before rates are shown"
        )
    shown = {name: each for name, each in rates.items() if each.has_guards}
    left_out = [name for name in rates if name not in shown]
    caption = (
        "Stories continued by models and judged in their own worlds. Facts are checkable where the "
        "story told them; corrected: the share of contradictions among them after Rogan and "
        "Gladen, with the judge's sensitivity and specificity on errors put into the simulator's "
        "prose. Kinds of events: Jensen-Shannon divergence in bits from the stories' own texts, "
        "mean of the tenths of a story that have enough. Precision and recall of the extractor: on "
        "sentences of the same family of models that were read, or else on the simulator's prose. "
        "In brackets: 95% intervals over stories (BCa bootstrap)."
    )
    if left_out:
        caption += (
            f" Not shown, since their texts are too short or name nobody: {', '.join(left_out)}."
        )
    return Table(
        title="Generated text",
        caption=caption,
        head=_HEAD,
        rows=[_row(name, each, validity[name], reference) for name, each in shown.items()],
        strong=set(),
    )


def _row(name: str, rates: Rates, valid: Validity, reference: Rates) -> list[Cell]:
    reach = valid.labelled or valid.simulator
    source = "read" if valid.labelled else "simulator"
    return [
        Cell(name, _warning(valid)),
        cell(rates.contradictions),
        _noted(cell(rates.consistency), f"of {rates.n_checkable}"),
        _corrected(rates, valid.accuracy),
        cell(rates.density),
        cell(rates.entity_recall),
        _noted(cell(rates.dead_speak, 3), f"{rates.n_excluded} excluded"),
        cell(rates.knowledge),
        cell(rates.teleports),
        _noted(cell(rates.unresolved), f"plan {cell(rates.planned_open).main}"),
        cell(rates.spurious),
        _divergence(rates.divergence(reference)),
        cell(rates.end_gap),
        cell(rates.distinct),
        cell(rates.repetition, 3),
        Cell(f"{rates.longest_copy} words"),
        cell(rates.unparsed),
        _noted(cell(reach.precision), source),
        _noted(cell(reach.recall), f"{reach.n_gold} {source}"),
    ]


def _warning(valid: Validity) -> str:
    if valid.is_own:
        return "control"
    if valid.labelled is None:
        return "nobody has read its sentences: recall on free text is unknown"
    if valid.labelled.n_facts < ENOUGH_FACTS:
        return (
            f"facts in the sentences that were read: {valid.labelled.n_facts}; recall on free "
            "text is unknown"
        )
    if not valid.is_enough:
        return (
            f"recall on free text {valid.labelled.fact_recall:.2f}, below {ENOUGH_RECALL}: most "
            "of what it says is not judged"
        )
    return ""


def _corrected(rates: Rates, accuracy: Accuracy) -> Cell:
    wrong = 1 - rates.consistency.value
    pair = accuracy.sensitivity.value, accuracy.specificity.value
    if math.isnan(wrong) or any(map(math.isnan, pair)) or sum(pair) <= 1:
        return NONE
    return Cell(f"{corrected(wrong, *pair):.2f}", f"Se {pair[0]:.2f}, Sp {pair[1]:.2f}")


def _divergence(by_decile: Mapping[int, float]) -> Cell:
    if not by_decile:
        return NONE
    return Cell(
        f"{sum(by_decile.values()) / len(by_decile):.2f}",
        f"{len(by_decile)} {'tenth' if len(by_decile) == 1 else 'tenths'}",
    )


def _noted(found: Cell, note: str) -> Cell:
    return found if found == NONE else Cell(found.main, f"{found.small} {note}".strip())
