"""A step of every variant before the first cell: what does not fit shows in the first minute.

python -m memformer.ablation.dry '{"file": ..., "variant": ..., "settings": [...]}'
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from memformer.ablation.experiment import Experiment, load_experiment
from memformer.ablation.sizes import Trial, try_steps
from memformer.process import tune_process
from memformer.training.texts import read_stages


def try_variants(
    experiment: Experiment, variants: Sequence[str], *, n_thread: int
) -> dict[str, Trial]:
    """Find the texts of each of these variants, and take two steps on random tokens, each in a
    process of its own.

    Raises:
        ValueError: a variant fails: names it, with the last line of what it said.
    """
    found = {}
    for name in variants:
        order = {
            "file": str(experiment.path.resolve()), "variant": name,
            "settings": experiment.settings,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "memformer.ablation.dry", json.dumps(order)],
            env={**os.environ, "OMP_NUM_THREADS": str(n_thread)}, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            said = done.stderr.strip().splitlines()
            why = said[-1] if said else f"ended with code {done.returncode} (out of memory?)"
            raise ValueError(f"VARIANTS {name!r} fails before its first step is done: {why}")
        found[name] = Trial(*json.loads(done.stdout.splitlines()[-1]))
    return found


def main() -> None:
    """See the top of the file."""
    tune_process()
    order = json.loads(sys.argv[1])
    experiment = load_experiment(Path(order["file"]), order["settings"])
    config = experiment.config_of(order["variant"], experiment.seeds[0])
    read_stages(config)
    print(json.dumps(try_steps(config)))


if __name__ == "__main__":
    main()
