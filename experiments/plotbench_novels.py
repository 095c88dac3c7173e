"""Does a pretrained decoder keep real novels straight, or recite them?

SmolLM2-135M-Instruct (trained on 8,192 tokens; 4-bit weights, unpacked) has probably read all of
these books. `precision` prints how much of what the patterns found holds when read; `corrupt` asks
published lines in the book and in a twin in which two values have traded places, and the same with
all names renamed; `suffix` asks which of six openings follows a chapter; `place` tells the place
in the book from 512 tokens by a linear probe, beside what needs no model.

Expect: Acc(A) - Acc(B) above 0 in a short window, and less with renamed names; the true opening
        above 1/6 against later ones; the probe no better than TF-IDF.
Result: `place` with 6 excerpts a book, 13 books: MAE .251 for always .5, .241 for TF-IDF, .247 for
        hidden states, their intervals overlap: no difference shows (docs/plotbench-novels.md).
        `corrupt` and `suffix`: not run at size yet.
Run:    python experiments/plotbench_novels.py precision corrupt suffix place --out runs/novels
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from memformer.process import tune_process

tune_process()

from memformer.config import MemoryConfig
from memformer.config.plotbench_novels import NovelConfig, PlaceConfig, SuffixConfig
from memformer.data import smollm2
from memformer.data.sources import SMOLLM2_FILE
from memformer.evaluation.machine import describe
from memformer.interop.transformers import load_llama
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.metrics import scores
from memformer.plotbench.novels.candidates import precision
from memformer.plotbench.novels.corpus import novels
from memformer.plotbench.novels.corrupt import make_novels, memorisation_index
from memformer.plotbench.novels.excerpts import excerpts, mean_hidden
from memformer.plotbench.novels.place import (
    by_chapter_number,
    by_constant,
    judge,
    probe,
    scaled,
    tf_idf,
)
from memformer.plotbench.novels.recipes import recipes
from memformer.plotbench.novels.suffixes import CHANCE, N_OTHER, accuracy, identify
from memformer.plotbench.rows import by_run
from memformer.plotbench.run import run
from memformer.plotbench.statistics import Estimate


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tasks", nargs="+", choices=("precision", "corrupt", "suffix", "place"))
    parser.add_argument("--out", type=Path, help="folder of the rows of `corrupt`")
    parser.add_argument("--result", type=Path, help="JSON of the numbers of `place`")
    parser.add_argument("--books", nargs="+", default=[])
    parser.add_argument("--context-chars", type=int, default=16_000)
    parser.add_argument("--conditions", nargs="+", default=["on", "off", "full", "truncated"])
    parser.add_argument("--n-place", type=int, default=4)
    parser.add_argument("--n-excerpt", type=int, default=16)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    if "corrupt" in args.tasks and args.out is None:
        parser.error("corrupt needs --out")
    do: dict[str, Callable[[argparse.Namespace], None]] = {
        "precision": print_precision, "corrupt": corrupt, "suffix": suffix, "place": place,
    }  # fmt: skip
    for task in args.tasks:
        started = time.perf_counter()
        do[task](args)
        print(f"{task}: {time.perf_counter() - started:.0f} s", flush=True)


def print_precision(args: argparse.Namespace) -> None:
    """Raw patterns as they were read."""
    made = recipes(args.books)
    for attribute, found in precision(made).items():
        print(f"{attribute}: {found.n_good} of {found.n_read} hold; others {found.why}")
    swaps = [swap for recipe in made for swap in recipe.swaps]
    n = sum(min(len(s.good("x")), len(s.good("y"))) for s in swaps)
    print(f"{len(made)} books, {len(swaps)} swaps, {n} groups of four")


def scorer() -> MemformerScorer:
    """The imported model in a window of 256 tokens and 4 sinks, with a memory of K = 32."""
    memory = MemoryConfig(layers="all", n_retrieved=32, positions="rotary")
    model, tokenizer = load_llama(smollm2() / SMOLLM2_FILE, window=256, n_sink=4, memory=memory)
    return MemformerScorer(model, tokenizer, name="smollm2-135m")


def corrupt(args: argparse.Namespace) -> None:
    """The book against its twin, and both renamed."""
    asked = scorer()
    for name, is_renamed in (("book", False), ("renamed", True)):
        config = NovelConfig(
            books=tuple(args.books), context_chars=args.context_chars, renamed=is_renamed
        )
        bench = make_novels(config)
        print(f"{name}: {len(bench.probes) // 4} groups, lost {bench.manifest['lost']}")
        rows = run(
            bench, asked, out=args.out / name, conditions=args.conditions, resume=args.resume,
            progress=lambda *told: print(*told, end="\r", flush=True),
        )  # fmt: skip
        print()
        for label, own in by_run(rows).items():
            found = scores(own)
            print(
                f"{name} {label.label}: item {shown(found.item)}, pair {shown(found.pair)}, "
                f"group {shown(found.group)}, DiD {shown(found.did)} nats, "
                f"A - B {shown(memorisation_index(own))}"
            )


def suffix(args: argparse.Namespace) -> None:
    """The true next opening among six."""
    config = SuffixConfig(n_place=args.n_place, context_chars=args.context_chars)
    books = [each for each in novels(args.books).values() if len(each.chapters) > N_OTHER]
    plain = scorer()
    for condition in args.conditions:
        found = accuracy(identify(plain.under(condition), books, config))
        for stratum, share in found.items():
            print(f"{condition}, others {stratum}: {shown(share)}, chance {CHANCE:.3f}", flush=True)


def place(args: argparse.Namespace) -> None:
    """Where in the book."""
    model, tokenizer = load_llama(smollm2() / SMOLLM2_FILE, window=512)
    config = PlaceConfig(n_excerpt=args.n_excerpt)
    found = excerpts(novels(args.books).values(), tokenizer, config)
    numbered = by_chapter_number(found)
    print(f"{len(found)} excerpts; a chapter's number stands in {numbered.share:.3f} of them")
    hidden = mean_hidden(model, found)
    rows = []
    for name, predicted in (
        ("constant .5", by_constant(found)),
        ("chapter number", numbered.predicted),
        ("TF-IDF", probe(found, tf_idf([each.text for each in found]), config)),
        ("hidden states", probe(found, scaled(hidden), config)),
    ):
        told = judge(found, predicted)
        print(f"{name}: MAE {shown(told.mae)}, Spearman {shown(told.spearman)}")
        rows.append({"way": name, "mae": listed(told.mae), "spearman": listed(told.spearman)})
    if args.result is not None:
        about = {"n_excerpt": len(found), "n_book": len({each.book for each in found})}
        text = json.dumps({**describe(), **about, "rows": rows}, indent=1)
        args.result.write_text(text + "\n")


def listed(found: Estimate) -> list[float | None]:
    """Value and bounds, for JSON."""
    return [None if x != x else round(x, 4) for x in (found.value, found.low, found.high)]


def shown(found: Estimate) -> str:
    """Value, interval and books."""
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}] ({found.n_stories} books)"


if __name__ == "__main__":
    main()
