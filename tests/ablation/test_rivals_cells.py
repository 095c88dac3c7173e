"""Rival memories are trained, validated with and without, and reported like the paged one."""

import pytest

from memformer.ablation.cell import run_cell
from memformer.ablation.experiment import load_experiment
from memformer.ablation.rows import Cell
from tests.ablation.test_ablation_verbs import trained as trained  # the fixture

OFF = '"model.memory.layers": ()'
VARIANTS = f"""VARIANTS = {{
    "base": {{}},
    "infini": {{{OFF}, "model.compressive.layers": (0, 1), "model.compressive.block_len": 16}},
    "rmt": {{{OFF}, "model.recurrent.n_token": 2, "model.recurrent.block_len": 8,
            "grad_segments": 2}},
    "ivf": {{"model.memory.search": "IVF8,Flat", "model.memory.nprobe": 1}},
}}
"""


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["infini", "rmt", "ivf"])
def test_a_cell_of_a_rival_gives_its_gain(trained, tmp_path, arm):
    before, _, after = trained.read_text().partition("VARIANTS = ")
    trained.write_text(before + VARIANTS + after.partition("\n")[2])
    row = run_cell(load_experiment(trained), tmp_path / "out", Cell(arm, 0))
    gain = row.metrics["memory gain"]
    assert set(gain) == {"held2", "held3"} and any(value != 0 for value in gain.values())
    recall = row.metrics["recall of search"]
    assert recall == ({"held2, layer 1": 1, "held3, layer 1": 1} if arm == "ivf" else {})
