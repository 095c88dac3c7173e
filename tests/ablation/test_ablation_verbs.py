"""`ablate` and `compare`, run as a user runs them."""

import json
from pathlib import Path

import pytest

from memformer.ablation.cell import run_cell
from memformer.ablation.experiment import load_experiment
from memformer.ablation.rows import Cell
from memformer.plotbench.make import make_base
from tests.ablation.toys import write
from tests.test_cli import process as process  # the fixture that keeps verbs within this process
from tests.test_cli import run

TRAINED = '''
"""Does a memory of 8 pairs help a toy?"""
from memformer.ablation import held_out_nats, memory_gain, recall_of_search
from memformer.config import DecoderConfig, MemoryConfig, OptimiserConfig, RunConfig, StageConfig

BASE = RunConfig(
    model=DecoderConfig(
        vocab_size=400, n_layer=2, n_head=2, n_kv_head=1, n_embd=32, head_dim=16, mlp_dim=64,
        window=16, segment_len=32, memory=MemoryConfig(layers=(1,), n_retrieved=8),
    ),
    novels=StageConfig(n_token=1024, corpora=("{texts}",)),
    validation=("{held}",), n_lane=4, validate_every=4, checkpoint_every=4,
    validation_tokens=256, split_by="manuscript", optimiser=OptimiserConfig(warmup_steps=2),
)
VARIANTS = {{"base": {{}}, "no memory": {{"model.memory.layers": ()}}}}
SEEDS = range(1)
METRICS = (held_out_nats, memory_gain, recall_of_search)
'''


@pytest.fixture
def trained(tmp_path):
    for folder, seeds, split in (("texts", (0, 1), "train"), ("held", (2, 3), "dev")):
        (tmp_path / folder).mkdir()
        for seed in seeds:
            text = make_base(seed, bucket=128, length=1024, split=split).stories[0].text
            (tmp_path / folder / f"{folder}{seed}.txt").write_text(text)
    path = tmp_path / "memory.py"
    path.write_text(TRAINED.format(texts=tmp_path / "texts", held=tmp_path / "held"))
    return path


def test_a_file_is_ablated_and_reported_and_two_runs_compared(trained, tmp_path):
    out = tmp_path / "out"
    dry = run("ablate", trained, "--out", out, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "model.memory.layers=()" in dry.output and not (out / "cells").exists()
    done = run("ablate", trained, "--out", out, "--jobs", "2")
    assert done.exit_code == 0, done.output
    assert "[2/2]" in done.output and "report: " in done.output
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert [row["variant"] for row in rows] == ["base", "no memory"]
    assert rows[0]["n_token"] == 1024 and rows[0]["n_parameter"] > 10_000
    assert set(rows[0]["metrics"]["memory gain"]) == {"held2", "held3"}
    assert rows[1]["metrics"]["memory gain"] == rows[1]["metrics"]["recall of search"] == {}
    assert rows[0]["metrics"]["recall of search"] == {"held2, layer 1": 1, "held3, layer 1": 1}
    assert [step for step, _ in rows[0]["curve"]] == [4, 8]
    assert (out / "plots" / "curves.svg").is_file()
    before = (out / "report.md").read_text()
    again = run("ablate", trained, "--out", out, "--report")
    assert again.exit_code == 0 and (out / "report.md").read_text() == before

    (out / "cells" / "base" / "0" / "row.json").unlink()  # as if killed between run and row
    edited = trained.with_name("edited.py")
    edited.write_text(trained.read_text().replace("warmup_steps=2", "warmup_steps=3"))
    cell = Cell("base", 0)
    with pytest.raises(ValueError, match=r"begun with optimiser.warmup_steps=2"):
        run_cell(load_experiment(edited), out, cell)
    (out / "cells" / "base" / "0" / "config.json").unlink()  # as in folders of before
    with pytest.raises(ValueError, match=r"begun with optimiser.warmup_steps=2"):
        run_cell(load_experiment(edited), out, cell)

    folders = [out / "cells" / name / "0" / "run" for name in ("base", "no memory")]
    compared = run("compare", *folders)
    assert compared.exit_code == 0, compared.output
    assert "model.memory.layers: [1] -> []" in compared.output.replace("(1,)", "[1]").replace(
        "()", "[]"
    )
    nats = [row["metrics"]["held-out nats"] for row in rows]
    gap = sum(nats[1][book] - nats[0][book] for book in nats[0]) / 2
    assert f"B − A over 2 books: {gap:+.4f} [" in compared.output
    wrong = run("compare", folders[0], tmp_path)
    assert wrong.exit_code == 1 and "is no run of `memformer train`" in wrong.output


def test_a_variant_that_does_not_fit_ends_before_anything_runs(trained, tmp_path):
    text = trained.read_text().replace('"model.memory.layers": ()', '"model.n_kv_head": 3')
    trained.write_text(text)
    found = run("ablate", trained, "--out", tmp_path / "out")
    assert found.exit_code == 1 and "VARIANTS 'no memory': " in found.output
    assert "n_kv_head" in found.output and not (tmp_path / "out").exists()


def test_a_failed_cell_is_named_and_the_exit_code_says_so(tmp_path):
    variants = 'VARIANTS = {"base": {}, "bad": {"slope": 13.0}}\n'
    path = write(tmp_path, variants, "SEEDS = (0,)\n")
    done = run("ablate", path, "--out", tmp_path / "out")
    assert done.exit_code == 1, done.output
    assert "failed: bad, seed 0: RuntimeError: the thirteenth slope breaks" in done.output
    assert Path(tmp_path / "out" / "report.html").is_file()
    assert load_experiment(path).seeds == (0,)


def test_hours_are_not_for_slurm(tmp_path):
    done = run("ablate", write(tmp_path), "--executor", "slurm", "--hours", "1")
    assert done.exit_code == 2 and "SLURM job has" in done.output


def test_texts_that_are_missing_show_before_anything_runs(tmp_path, trained):
    path = tmp_path / "typo.py"
    path.write_text(TRAINED.format(texts=tmp_path / "typo", held=tmp_path / "held"))
    done = run("ablate", path, "--dry-run")
    assert done.exit_code != 0 and "no texts" in done.output and "VARIANTS 'base'" in done.output
