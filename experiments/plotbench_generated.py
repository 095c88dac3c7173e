"""Does a model that goes on with a story keep to it, and does memory help it to?

SmolLM2-135M-Instruct (4-bit weights, unpacked; a window of 256 tokens and 4 sinks) goes on with
PlotBench's stories under each condition. A rule grammar reads what it wrote, and the rules of the
simulated world judge it. Beside it stand the stories' own texts, read and judged in the same way,
and how often the grammar is right: on held-out frames, on errors put in, on sentences read by a
person (`--labels`).

Expect: with memory fewer contradictions per 1,000 words than with window and sinks alone; most
        sentences assert nothing that the world knows, so that the interval is wide.
Read:   of 459 sentences of this model one asserts a fact (`results/plotbench_generated_read.json`):
        it leaves the story at once, and its rate of contradictions cannot be measured.
Run:    python experiments/plotbench_generated.py --out runs/generated
"""

import argparse
import json
import re
from pathlib import Path

from memformer.process import tune_process

tune_process()

from memformer.config import MemoryConfig
from memformer.config.plotbench import MakeConfig
from memformer.config.plotbench_generated import GenerateConfig
from memformer.data import smollm2
from memformer.data.records import to_record
from memformer.data.sources import SMOLLM2_FILE
from memformer.interop.transformers import load_llama
from memformer.plotbench.generated.extraction import ReadSentence, ReadText, is_judged, load_read
from memformer.plotbench.generated.grammar import extract
from memformer.plotbench.generated.known import known_of
from memformer.plotbench.generated.page import OWN, JudgedTexts, judged, measured, write_page
from memformer.plotbench.generated.rates import Rates
from memformer.plotbench.generated.report import Validity
from memformer.plotbench.generated.texts import TEXTS, Written, load_texts, write
from memformer.plotbench.make import make
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.story import Bench


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/generated"))
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 12))
    parser.add_argument("--bucket", type=int, default=128)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--places", type=float, nargs="+", default=[0.5, 0.75])
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--opening", choices=("free", "name"), default="free")
    parser.add_argument("--conditions", nargs="+", default=["off", "on"])
    parser.add_argument("--validity", action="store_true", help="measure the grammar, and stop")
    parser.add_argument("--validity-seeds", type=int, default=100)
    parser.add_argument("--labels", type=Path, help="JSON: sentences as they were read")
    parser.add_argument("--sheet", type=Path, help="write sentences to be labelled, and stop")
    parser.add_argument("--result", type=Path)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    read = [] if args.labels is None else load_read(args.labels)
    if args.validity:
        save(args.result, validity_numbers(measured(read, args.validity_seeds)))
        return
    made = MakeConfig(
        seeds=tuple(args.seeds), buckets=(args.bucket,), lengths=(args.length,), families=("all",)
    )
    config = GenerateConfig(places=tuple(args.places), n_words=args.words, opening=args.opening)
    bench = make(made)
    if args.sheet is not None:
        sheet(bench, load_texts(args.out / TEXTS), args.sheet)
        return
    memory = MemoryConfig(layers="all", n_retrieved=32, positions="rotary")
    model, tokenizer = load_llama(smollm2() / SMOLLM2_FILE, window=256, n_sink=4, memory=memory)
    texts = write(
        bench,
        MemformerScorer(model, tokenizer, name="smollm2-135m"),
        out=args.out,
        config=config,
        conditions=args.conditions,
        resume=args.resume,
        progress=lambda *told: print(*told, flush=True),
    )
    valid = measured(read, args.validity_seeds)
    found = judged(bench, texts, config, valid)
    print(*write_page(args.out, bench, found))
    save(args.result, numbers_of(found, valid))


def numbers_of(found: JudgedTexts, valid: Validity) -> dict[str, object]:
    """All that the table says, and what it was made from."""
    table, own, rates = found.table, found.own, found.rates
    halves = [Rates([t for t in own.tallies if t.seed % 2 == i]) for i in (0, 1)]
    every = {OWN: own, **rates}
    return {
        "head": table.head,
        "rows": [[[c.main, c.small] for c in row] for row in table.rows],
        "n_texts": {name: len(each.tallies) for name, each in every.items()},
        "n_words": {name: each.n_words for name, each in every.items()},
        "n_checkable": {name: each.n_checkable for name, each in every.items()},
        "divergence": {name: each.divergence(own) for name, each in rates.items()},
        "divergence_of_own_halves": halves[0].divergence(halves[1]),
        "contradicted": [
            [name, *j.assertion.states, j.assertion.kind, j.rule]
            for name, each in every.items()
            for tally in each.tallies
            for j in tally.judged
            if j.verdict == "contradicted"
        ],
        **validity_numbers(valid),
    }


def validity_numbers(valid: Validity) -> dict[str, object]:
    """As JSON: estimates are value, bounds and stories."""
    return {
        "simulator": valid.simulator._asdict(),
        "planted": valid.accuracy._asdict(),
        "read": None if valid.labelled is None else valid.labelled._asdict(),
    }


def save(path: Path | None, numbers: dict[str, object]) -> None:
    """Write what was measured; print it, if there is no path."""
    told = re.sub(r"\bNaN\b", "null", json.dumps(numbers, indent=1, ensure_ascii=False))
    if path is None:
        print(told)
    else:
        path.write_text(f"{told}\n", encoding="utf-8")


def sheet(bench: Bench, texts: list[Written], path: Path) -> None:
    """Sentences with what was extracted, to be read and mended: `states` is what they assert."""
    stories = {story.story_id: story for story in bench.stories}
    found = []
    for each in texts:
        lexicon = known_of(stories[each.story_id], bench.manifest, each.cut).lexicon
        cut, assertions = extract(each.text, lexicon)
        read = ReadText(
            id=f"{each.story_id}.{each.place}.{each.condition}",
            seed=each.seed,
            text=each.text,
            people=tuple((person.name, person.gender) for person in lexicon.people),
            aliases=lexicon.aliases,
            sentences=tuple(
                ReadSentence(
                    number=i,
                    text=sentence.text,
                    states=tuple(a.states for a in assertions if a.sentence == i and is_judged(a)),
                )
                for i, sentence in enumerate(cut)
            ),
        )
        found.append(to_record(read))
    path.write_text(json.dumps({"texts": found}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
