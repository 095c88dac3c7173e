"""Does a pretrained decoder use a memory that it was never trained with?

SmolLM2-135M-Instruct (trained on 8,192 tokens; 4-bit weights, unpacked) reads held-out novels in a
window of 256 tokens and 4 sinks. With memory, every layer also attends to the K = 32 older pairs
with the largest logits of each head; nothing is trained.

Parts   passages   4,096 tokens from the start, a third and two thirds of each of three novels,
                   true distances: how much of the gap between window + sinks and full attention
                   does memory close, with K = 8 and K = 32?
        beyond     12,288 tokens of each novel, beyond the trained length, distances clamped to
                   6,000: does it beat full attention, and how much of the gap to full attention
                   with the same clamp does it close?
        novel      32,768 tokens of one novel with memory in every layer.
Expect: passages 80 %, beyond 65 to 75 % and below plain full attention in nats, from a prototype on
        two books.
Run:    python experiments/memory_without_training.py passages --out runs/passages
Result: experiments/README.md
"""

import argparse
from dataclasses import replace
from pathlib import Path

from memformer.process import tune_process

tune_process()

from memformer.data import Manuscript, classics, smollm2
from memformer.data.sources import SMOLLM2_FILE
from memformer.evaluation.arms import Arm, usual_arms
from memformer.evaluation.progress import reading_bars
from memformer.evaluation.run import evaluate
from memformer.interop.transformers import load_llama

BOOKS = ("huxley-crome", "wells-moreau", "woolf-voyage")
WINDOW, N_SINK, MAX_DISTANCE = 256, 4, 6000


def starting_at(book: Manuscript, share: float) -> Manuscript:
    """The rest of a book from the first paragraph after a share of its characters."""
    if share == 0:
        return book
    start = book.text.index("\n\n", int(share * len(book.text))) + 2
    return replace(book, id=f"{book.id}-{share:.2f}", text=book.text[start:], chapters=())


def arms_of(part: str) -> list[Arm]:
    """What is compared in each part."""
    wanted = {
        "passages": ("full", "window-sinks", "memory-8", "memory-32"),
        "beyond": ("full", f"full-clamped-{MAX_DISTANCE}", "window-sinks", "memory-32"),
        "novel": ("window-sinks", "memory-32"),
    }[part]
    arms = usual_arms(
        window=WINDOW,
        n_sink=N_SINK,
        n_retrieved=(8, 32),
        max_distance=None if part == "passages" else MAX_DISTANCE,
    )
    return [arm for arm in arms if arm.name in wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("passages", "beyond", "novel"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model, tokenizer = load_llama(smollm2() / SMOLLM2_FILE, window=WINDOW, n_sink=N_SINK)
    books = [book for book in classics() if book.id in BOOKS]
    match args.part:
        case "passages":
            texts, n_tokens = [starting_at(b, s) for s in (0, 1 / 3, 2 / 3) for b in books], 4096
        case "beyond":
            texts, n_tokens = books, 12_288
        case "novel":
            texts, n_tokens = [book for book in books if book.id == "woolf-voyage"], 32_768
    with reading_bars() as bars:
        evaluate(
            model, tokenizer, texts, arms_of(args.part), args.out, n_tokens=n_tokens, progress=bars
        )
    print(args.out / "result.json")


if __name__ == "__main__":
    main()
