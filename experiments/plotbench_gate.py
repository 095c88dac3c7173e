"""May PlotBench's stories be used to claim anything? The release gate on 200 of them.

Each story in twins of 4,096 tokens, facts 1,024 tokens from their questions, all families. Written
down are the verdicts of `plotbench check`, every shortcut's group accuracy in every family with its
95% interval over stories, the same of readers of one sentence or two (`readers.py`, two of them
trained on as many stories of the train split), what looks at lengths, places and letters alone on
more groups of three families, of the dev and the test split, and how many sentences of a story are
like no other.

Expect: shortcuts by co-occurrence solve attr.static and attr.update and nothing else; readers solve
        what they were made for, time.order by comparing two numbers, and a part of the families
        that one sentence decides or two with a word in common.
Run:    python experiments/plotbench_gate.py experiments/results/plotbench_gate.json
Result: docs/plotbench-datasheet.md
"""

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

from memformer.config.plotbench import MakeConfig
from memformer.evaluation.machine import describe
from memformer.plotbench.check import ShortcutScore, check, shortcut_scores
from memformer.plotbench.make import make, make_base
from memformer.plotbench.readers import (
    along_names,
    learned_shape,
    learned_words,
    shared_letters,
    smaller_number,
)
from memformer.plotbench.shortcuts import Shortcut, build_shortcut
from memformer.plotbench.story import Bench, Split

SEEDS, BUCKET, LENGTH = (0, 200), 1024, 4096
MORE_SEEDS, MORE_FAMILIES = (1000, 1500), ("know.secret", "life", "thread.payoff")
"""With up to four groups a story, so that a net of a tenth cannot hide in its interval."""
LENGTHS = {128: 512, 512: 1024, 2048: 4096, 8192: 11_264}
"""Shortest stories by distance, of which groups are counted."""


def distinct(length: int, seed: int = 1) -> dict[str, int]:
    """Longer sentences of one story, and how many different ones, names taken out."""
    base = make_base(seed, bucket=min(2048, length // 4), length=length, families=("all",))
    sentences = re.split(r"(?<=[.!?])[\"']?\s+|\n+", base.stories[0].text)
    shapes = [re.sub(r"\b[A-Z][a-z]+\b", "N", s) for s in sentences if len(s) > 25]
    return {"length": length, "sentences": len(shapes), "distinct": len(set(shapes))}


def groups(bucket: int, length: int) -> dict[str, Any]:
    """Groups of a story over 20 seeds."""
    found = [
        len(make_base(s, bucket=bucket, length=length, families=("all",)).probes) // 4
        for s in range(20)
    ]
    return {
        "bucket": bucket, "length": length,
        "least": min(found), "mean": sum(found) / len(found), "most": max(found),
    }  # fmt: skip


def figures(score: ShortcutScore) -> dict[str, Any]:
    """One rule in one family."""
    group = score.group
    return {
        "shortcut": score.shortcut, "family": score.family, "n_groups": score.n_groups,
        "group": [round(x, 4) for x in (group.value, group.low, group.high)],
        "net": [round(x, 4) for x in (score.net.value, score.net.low, score.net.high)],
        "is_exempt": score.is_exempt,
    }  # fmt: skip


def reacting(split: Split, train: Bench) -> list[dict[str, Any]]:
    """What looks at lengths, places and letters, on more stories and groups than the gate has."""
    rules = [
        *(build_shortcut(name) for name in ("longer", "named-first")),
        Shortcut("learned shape", lambda asked: learned_shape(train, asked)),
        Shortcut("learned words", lambda asked: learned_words(train, asked)),
        Shortcut("shared letters", shared_letters),
    ]
    return [
        {"split": split, **figures(each), "is_within": each.is_within}
        for each in shortcut_scores(more(split), rules)
    ]


def more(split: Split) -> Bench:
    """Stories of the families in which a net of a tenth matters."""
    return make(
        MakeConfig(
            seeds=MORE_SEEDS, buckets=(512,), lengths=(3072,), families=MORE_FAMILIES, split=split
        )
    )


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    started = time.time()
    bench, train = (
        make(
            MakeConfig(
                seeds=SEEDS, buckets=(BUCKET,), lengths=(LENGTH,), families=("all",), split=split
            )
        )
        for split in ("dev", "train")
    )
    gate = check(bench)
    for line in gate.lines():
        print(line)
    readers = [
        Shortcut("along names", along_names),
        Shortcut("smaller number", smaller_number),
        Shortcut("shared letters", shared_letters),
        Shortcut("learned words", lambda asked: learned_words(train, asked)),
        Shortcut("learned shape", lambda asked: learned_shape(train, asked)),
    ]
    more_train = more("train")
    row = {
        **describe(),
        "content_sha256": bench.manifest["content_sha256"],
        "n_story": len(bench.stories), "n_probe": len(bench.probes),
        "seeds": SEEDS, "bucket": BUCKET, "length": LENGTH,
        "passed": gate.passed,
        "findings": [each._asdict() for each in gate.findings],
        "shortcuts": [figures(each) for each in gate.shortcuts],
        "readers": [figures(each) for each in shortcut_scores(bench, readers)],
        "more_seeds": MORE_SEEDS,
        "more": [row for split in ("dev", "test") for row in reacting(split, more_train)],
        "distinct_sentences": [distinct(length) for length in (1024, 4096, 16_384, 65_536)],
        "groups_a_story": [groups(*each) for each in LENGTHS.items()],
        "wall_s": round(time.time() - started, 1),
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(row, indent=1) + "\n")
    print("passed" if gate.passed else "not passed")


if __name__ == "__main__":
    main()
