"""How long PlotBench takes on its smallest data: 16 worlds of 1,024 tokens.

Two stories a world (twins), facts 128 tokens from their questions: made, judged by the release
gate, asked of every shortcut and the oracle, reported. Seconds of the clock, one process, after
imports.
First: every core family is there, and the oracle is right in every group.

    python benchmarks/plotbench_smoke.py benchmarks/results/plotbench_smoke.json
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from memformer.config.plotbench import MakeConfig
from memformer.evaluation.machine import describe
from memformer.plotbench.check import check
from memformer.plotbench.files import load, save
from memformer.plotbench.make import make
from memformer.plotbench.metrics import scores
from memformer.plotbench.report import write_report
from memformer.plotbench.run import run
from memformer.plotbench.shortcuts import ORACLE, shortcuts_for
from memformer.plotbench.story import CORE

CONFIG = MakeConfig(seeds=(0, 16), buckets=(128,), lengths=(1024,))


def smoke(folder: Path) -> dict[str, Any]:
    """Seconds of each step.

    Raises:
        RuntimeError: the data or the oracle are not as they must be.
    """
    seconds: dict[str, float] = {}
    at = time.perf_counter()

    def done(step: str) -> None:
        nonlocal at
        seconds[step] = round(time.perf_counter() - at, 2)
        at = time.perf_counter()

    save(folder / "data", make(CONFIG))
    bench = load(folder / "data")
    done("make")
    check(bench)
    done("check")
    shortcuts = shortcuts_for(bench)
    rows = run(bench, shortcuts, out=folder / "results")
    done("run")
    write_report(folder / "results", bench, rows)
    done("report")
    missing = set(CORE) - {probe.family for probe in bench.probes}
    oracle = scores([row for row in rows if row.model == ORACLE])
    if missing or oracle.group.value != 1:
        raise RuntimeError(f"missing families {missing}, the oracle's groups {oracle.group}")
    return {
        "n_story": len(bench.stories), "n_probe": len(bench.probes), "n_shortcut": len(shortcuts),
        "seconds": seconds, "total_s": round(sum(seconds.values()), 2),
    }  # fmt: skip


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        found = {**smoke(Path(folder)), "machine": describe()}
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
