"""A page about generated texts: how often they contradict their stories, if that can be said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memformer.config.plotbench_generated import GenerateConfig
from memformer.evaluation.store import write_whole
from memformer.evaluation.tables import Table
from memformer.plotbench.generated.extraction import (
    ReadText,
    labelled_reach,
    simulator_accuracy,
    simulator_reach,
)
from memformer.plotbench.generated.rates import Rates, tallies
from memformer.plotbench.generated.report import Validity, generated_table
from memformer.plotbench.generated.texts import Written, own_texts
from memformer.plotbench.report_page import Page, html_page, markdown_page
from memformer.plotbench.story import Bench

OWN = "the stories' own texts"
N_SEEDS = 20
"""Stories of the test split on which the grammar is measured for a page."""
LIMITS = (
    "A text that leaves the story is never wrong: look at facts per 100 words and people named "
    "before contradictions.",
    "The grammar finds a part of what is said. Its recall on free text is known only for models "
    "whose sentences somebody has read.",
    "Rules judge what the story's world knows; style, sense and what is merely odd are not judged.",
)


@dataclass(frozen=True, kw_only=True)
class JudgedTexts:
    """What came of reading texts in the worlds of their stories."""

    table: Table
    own: Rates
    """Of the stories' own texts at the same places."""
    rates: Mapping[str, Rates]
    """By run."""


def measured(labels: Sequence[ReadText] = (), n_seeds: int | None = None) -> Validity:
    """The grammar on held-out prose, on errors put in, and on sentences that were read."""
    n_seeds = N_SEEDS if n_seeds is None else n_seeds
    read = labelled_reach(list(labels)) if labels else None
    return Validity(simulator_reach(range(n_seeds)), simulator_accuracy(range(n_seeds)), read)


def judged(
    bench: Bench, texts: Sequence[Written], config: GenerateConfig, valid: Validity
) -> JudgedTexts:
    """Rates of every run beside those of the stories themselves."""
    own = Rates([t for each in tallies(bench, own_texts(bench, config)).values() for t in each])
    rates = {name: Rates(each) for name, each in tallies(bench, texts).items()}
    validity = dict.fromkeys(rates, valid)
    validity[OWN] = valid._replace(labelled=None, is_own=True)
    return JudgedTexts(table=generated_table({OWN: own, **rates}, validity, own), own=own,
                       rates=rates)  # fmt: skip


def write_page(folder: Path, bench: Bench, found: JudgedTexts) -> tuple[Path, Path]:
    """Write `generated.html` and `generated.md` into a folder; their paths."""
    page = Page(
        title="PlotBench: generated text",
        subtitle=f"Data {bench.manifest.get('bench_version')}, "
        f"{str(bench.manifest.get('content_sha256'))[:12]}.",
        headline=[
            f"{name}: {len(rates.tallies)} texts, {rates.n_words:,} words, "
            f"{rates.n_checkable} facts that can be checked."
            for name, rates in found.rates.items()
        ],
        plots=(), tables=[found.table], examples=(), limits=LIMITS,
    )  # fmt: skip
    html, markdown = folder / "generated.html", folder / "generated.md"
    write_whole(html, html_page(page).encode())
    write_whole(markdown, markdown_page(page).encode())
    return html, markdown
