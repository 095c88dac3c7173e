"""The study of rival memories is an experiment, and each of its cells can be made."""

from dataclasses import replace
from pathlib import Path

import pytest

from memformer.ablation.experiment import load_experiment

FILE = Path(__file__).parents[2] / "experiments" / "rivals.py"
ARMS = [
    "joint", "none", "window 16", "full", "gate", "tanh", "infini", "rmt",
]  # fmt: skip


def test_every_rival_is_an_arm():
    study = load_experiment(FILE)
    assert [v.name for v in study.variants] == ARMS and len(study.seeds) == 3


@pytest.mark.parametrize("arm", ["joint", "rmt"])
def test_a_cell_gives_every_metric(arm, tmp_path):
    study = load_experiment(FILE)
    made = study.make(replace(study.config_of(arm, 0), n_step=1), tmp_path)
    for metric in study.metrics:
        found = metric.of(made)
        assert found and all(value >= 0 for value in found.values())
